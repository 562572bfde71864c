/** What stands below what in a thread. Pure. */
import { messageOf, type OutboxEntry, type Thread } from "../state";
import type { Prompt, ToolUseBlock } from "../wire/types";

export type Row =
  | { readonly kind: "message"; readonly key: string }
  | { readonly kind: "prompt"; readonly key: string }
  | { readonly kind: "unsent"; readonly key: string };

const NOTHING: readonly OutboxEntry[] = [];

/** Messages in the order of their runs, ended prompts where they were asked, and what waits at the end. */
export function rowsOf(ids: readonly string[], thread: Thread, outbox: readonly OutboxEntry[] = NOTHING): readonly Row[] {
  const ended = [...thread.prompts.values()]
    .filter((prompt) => prompt.status !== "pending" && prompt.type !== "tool_permission")
    .sort((a, b) => a.seq - b.seq);
  const rows: Row[] = [];
  let next = 0;
  for (const id of inOrderOfRuns(ids, thread)) {
    const time = messageOf(thread, id)?.createdAt ?? "";
    while (next < ended.length && (ended[next]?.createdAt ?? "") < time) rows.push(promptRow(ended[next++]));
    rows.push({ kind: "message", key: id });
  }
  while (next < ended.length) rows.push(promptRow(ended[next++]));
  const pending = [...thread.prompts.values()].filter((prompt) => prompt.status === "pending").sort((a, b) => a.seq - b.seq);
  return [...rows, ...pending.map(promptRow), ...outbox.map((entry): Row => ({ kind: "unsent", key: entry.requestId }))];
}

/**
 * A message that had to wait was born before the answers that it waited for. It stands before its own answer; while it
 * waits it is in the queue, and not here.
 */
function inOrderOfRuns(ids: readonly string[], thread: Thread): readonly string[] {
  const answered = new Set<string>();
  const asked = new Map<string, string[]>();
  for (const id of ids) {
    const message = messageOf(thread, id);
    if (message?.role !== "user" && message?.requestId != null) answered.add(message.requestId);
  }
  const order: string[] = [];
  const last: string[] = [];
  for (const id of ids) {
    const message = messageOf(thread, id);
    const requestId = message?.requestId ?? null;
    if (message === undefined || requestId === null) order.push(id);
    else if (message.role !== "user") {
      order.push(...(asked.get(requestId) ?? []), id);
      asked.delete(requestId);
    } else if (answered.has(requestId)) {
      asked.set(requestId, [...(asked.get(requestId) ?? []), id]);
    } else {
      const status = thread.runs.get(requestId)?.status;
      if (status === undefined || isFinal(status)) order.push(id);
      else if (status !== "queued") last.push(id);
    }
  }
  // A question that stands behind its answer, as after a retry, must not get lost.
  return [...order, ...[...asked.values()].flat(), ...last];
}

function isFinal(status: string): boolean {
  return status === "completed" || status === "failed" || status === "aborted";
}

function promptRow(prompt: Prompt | undefined): Row {
  return { kind: "prompt", key: prompt?.id ?? "" };
}

// --- tools ------------------------------------------------------------------------------------------------------

/** A field of a tool's input, where it is text. */
export function field(input: ToolUseBlock["input"], ...names: readonly string[]): string | null {
  if (input === null || typeof input !== "object" || Array.isArray(input)) return null;
  for (const name of names) {
    const value = (input as Readonly<Record<string, unknown>>)[name];
    if (typeof value === "string") return value;
  }
  return null;
}

export interface Edit {
  readonly path: string;
  readonly before: string;
  readonly after: string;
}

/** What an edit changes, of the tools of Claude Code and their like. */
export function editsOf(input: ToolUseBlock["input"]): readonly Edit[] {
  const path = field(input, "file_path", "path", "notebook_path", "filePath") ?? "";
  const edits = (input as { readonly edits?: unknown } | null)?.edits;
  if (Array.isArray(edits)) return edits.flatMap((edit) => oneEdit(edit as ToolUseBlock["input"], path));
  return oneEdit(input, path);
}

function oneEdit(input: ToolUseBlock["input"], path: string): readonly Edit[] {
  const after = field(input, "new_string", "newText", "content", "new_source", "file_text");
  const before = field(input, "old_string", "oldText") ?? "";
  return after === null ? [] : [{ path, before, after }];
}

export interface Todo {
  readonly text: string;
  readonly status: string;
}

/** The to-do list of an input, if it is one. */
export function todosOf(input: ToolUseBlock["input"]): readonly Todo[] {
  const todos = (input as { readonly todos?: unknown } | null)?.todos;
  if (!Array.isArray(todos)) return [];
  return todos.flatMap((todo: unknown) => {
    const { content, status } = (todo ?? {}) as { readonly content?: unknown; readonly status?: unknown };
    return typeof content === "string" ? [{ text: content, status: typeof status === "string" ? status : "pending" }] : [];
  });
}

/** A tool's result as text: texts of content blocks joined, anything else as JSON. */
export function resultText(result: ToolUseBlock["result"]): string {
  if (result === null) return "";
  if (typeof result === "string") return result;
  if (Array.isArray(result)) return result.map((part) => resultText(part as ToolUseBlock["result"])).join("\n");
  if (typeof result === "object") {
    const text = (result as Readonly<Record<string, unknown>>).text;
    if (typeof text === "string") return text;
  }
  return JSON.stringify(result, null, 2);
}
