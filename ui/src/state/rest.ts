/** The server's REST side: every call gives its answer or the one error shape, and none throws. */
import type { ApiError, AttachmentAnswer, ErrorAnswer } from "../wire/types";

/** What was asked for, or why not. */
export type Answer<T> = T | ErrorAnswer;

/** The request never reached the server, as far as the page can know. */
export const UNREACHABLE = "unreachable";
/** No answer came in time: it may or may not have happened. */
export const NO_ANSWER = "no_answer";

const TIMEOUT_MS = 30_000;

type Query = Readonly<Record<string, string | number | null | undefined>>;

/** An error of the page's own making, in the server's shape. */
export function failure(code: string, message: string): ErrorAnswer {
  return { ok: false, error: { code, message, retryable: true } };
}

/** Whether asking again later may help, without anybody changing anything. */
export function isTransient(error: ApiError): boolean {
  return error.retryable || error.code === UNREACHABLE || error.code === NO_ANSWER;
}

/** `path` with what is set of `query`. */
export function withQuery(path: string, query: Query): string {
  const pairs = Object.entries(query).flatMap(([name, value]) =>
    value === null || value === undefined || value === "" ? [] : [[name, String(value)] as [string, string]],
  );
  return pairs.length === 0 ? path : `${path}?${new URLSearchParams(pairs)}`;
}

/** One request; `body` is sent as JSON. */
export async function request<T>(method: string, path: string, body?: unknown): Promise<Answer<T>> {
  try {
    const response = await fetch(path, {
      method,
      credentials: "same-origin",
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? null : JSON.stringify(body),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    return answerOf<T>(await response.text(), response.status);
  } catch (error) {
    const isLate = error instanceof DOMException && error.name === "TimeoutError";
    return isLate ? failure(NO_ANSWER, "The server did not answer in time") : failure(UNREACHABLE, "The server cannot be reached");
  }
}

/** What a body says; a proxy may answer with something that is not ours. */
function answerOf<T>(text: string, status: number): Answer<T> {
  try {
    const answer = JSON.parse(text) as unknown;
    if (typeof answer === "object" && answer !== null && ("ok" in answer || status < 400 || "status" in answer)) {
      return answer as Answer<T>;
    }
  } catch {
    // Not JSON: said below.
  }
  return { ok: false, error: { code: "internal", message: `The server answered with status ${status}`, retryable: status >= 502 } };
}

/** Uploads a file; XMLHttpRequest, because `fetch` does not tell how far an upload is. */
export function upload(
  file: Blob,
  name: string,
  onProgress: (sentBytes: number, totalBytes: number) => void,
  signal?: AbortSignal,
): Promise<Answer<AttachmentAnswer>> {
  return new Promise((resolve) => {
    const form = new FormData();
    form.append("file", file, name);
    const call = new XMLHttpRequest();
    call.open("POST", "/api/attachments");
    call.upload.onprogress = (event) => onProgress(event.loaded, event.total);
    call.onload = () => resolve(answerOf<AttachmentAnswer>(call.responseText, call.status));
    call.onerror = () => resolve(failure(UNREACHABLE, "The upload was cut off"));
    call.onabort = () => resolve({ ok: false, error: { code: "aborted", message: "The upload was stopped", retryable: false } });
    signal?.addEventListener("abort", () => call.abort(), { once: true });
    if (signal?.aborted) resolve({ ok: false, error: { code: "aborted", message: "The upload was stopped", retryable: false } });
    else call.send(form);
  });
}
