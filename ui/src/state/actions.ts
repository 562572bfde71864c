/** Everything that a person can do, one function each. Each gives its answer or the one error shape; none throws. */
import type {
  AttachmentAnswer,
  AuditAnswer,
  ClientAnswers,
  ClientPayloads,
  Conversation,
  ConversationAnswer,
  ConversationsAnswer,
  CreateConversation,
  CreateGrant,
  CreateProject,
  CreateToken,
  CreateWideGrant,
  DispatchedAnswer,
  DoneAnswer,
  GrantAnswer,
  GrantsAnswer,
  HealthAnswer,
  IdentityAnswer,
  ImportedAnswer,
  ImportSession,
  LatencyAnswer,
  NewTokenAnswer,
  ListFiles,
  PatchConversation,
  PatchProject,
  PermissionMode,
  ProjectAnswer,
  ProjectsAnswer,
  Prompt,
  RespondPrompt,
  SearchAnswer,
  SendMessage,
  SeriesAnswer,
  SessionsAnswer,
  StatsAnswer,
  TokenAnswer,
  TokensAnswer,
} from "../wire/types";
import type { Client } from "./client";
import { listKey } from "./lists";
import { messageOf } from "./model";
import { request, upload, withQuery, type Answer } from "./rest";
import { floorOf } from "./thread";

const OLDER_PAGE = 100;
/** Pages on the way to a search hit. */
const FAR_PAGE = 500;
const MOST_FAR_PAGES = 200;

export type Actions = ReturnType<typeof createActions>;

type Promised<T> = Promise<Answer<T>>;

/** The actions of one client. */
export function createActions(client: Client) {
  return { ...socketActions(client), ...threadActions(client), ...listActions(client), ...promptActions(client), ...serverActions(client) };
}

function chat(conversationId: string, rest = ""): string {
  return `/api/chat/conversations/${encodeURIComponent(conversationId)}${rest}`;
}

/** A name that no other request has, also where the page is not served over HTTPS and `randomUUID` is missing. */
export function newRequestId(): string {
  if (typeof crypto.randomUUID === "function") return crypto.randomUUID();
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

function emitter(client: Client) {
  return <Name extends keyof ClientPayloads>(name: Name, payload: ClientPayloads[Name]): Promised<ClientAnswers[Name]> =>
    new Promise((resolve) => client.wire.ask(name, payload, resolve));
}

function socketActions(client: Client) {
  const emit = emitter(client);
  return {
    /** Shown at once and kept until the server has it; `sent` may be answered after a reconnect. */
    send(message: Omit<SendMessage, "requestId">): { requestId: string; sent: Promised<DispatchedAnswer> } {
      const requestId = newRequestId();
      return { requestId, sent: client.send({ ...message, requestId }) };
    },
    /** Sends a message that was refused once more. */
    resend: (requestId: string): Promised<DispatchedAnswer> => client.resend(requestId),
    /** Forgets a message that was not sent. */
    discardUnsent: (requestId: string): void => client.discard(requestId),
    abort: (requestId: string) => emit("chat:abort", { requestId }),
    /** Runs a failed or stopped message again, under a new requestId. */
    retry: (requestId: string) => emit("chat:retry", { requestId, newRequestId: newRequestId() }),
    extendRun: (requestId: string, seconds: number) => emit("chat:extend", { requestId, seconds }),
    queueUpdate: (requestId: string, content: string) => emit("chat:queue-update", { requestId, content }),
    queueRemove: (requestId: string) => emit("chat:queue-remove", { requestId }),
    /** Positions count from 1. */
    queueMove: (requestId: string, position: number) => emit("chat:queue-move", { requestId, position }),
    queueResume: (conversationId: string) => emit("chat:queue-resume", { conversationId }),
    setMode: (conversationId: string, mode: PermissionMode) => emit("permission:set-mode", { conversationId, mode }),
    files: (where: ListFiles) => emit("bridge:files", where),
    commands: (conversationId: string) => emit("bridge:commands", { conversationId }),
    ping: () => emit("latency:ping", { sentAt: Date.now() }),
    async createConversation(payload: CreateConversation = {}): Promised<ConversationAnswer> {
      const answer = await emit("conversation:create", { requestId: newRequestId(), ...payload });
      return tellConversation(client, answer);
    },
    reconnectNow: (): void => client.wire.connect(),
  };
}

function threadActions(client: Client) {
  const loadOlder = async (conversationId: string, limit = OLDER_PAGE): Promise<boolean> => {
    const thread = client.store.getState().open.get(conversationId);
    if (!thread?.hasOlder) return false;
    return client.loadOlder(conversationId, floorOf(thread), limit);
  };
  return {
    open: (conversationId: string): void => client.open(conversationId),
    close: (conversationId: string): void => client.close(conversationId),
    setViewing: (conversationId: string | null): void => client.dispatch({ type: "viewing", conversationId }),
    /** Loads one page before what is there; whether something came. */
    loadOlder,
    /** Pages back until that message is there; whether it is. */
    async loadAround(conversationId: string, messageId: string): Promise<boolean> {
      const isHere = (): boolean => {
        const thread = client.store.getState().open.get(conversationId);
        return thread !== undefined && messageOf(thread, messageId) !== undefined;
      };
      for (let page = 0; page < MOST_FAR_PAGES && !isHere(); page += 1) {
        if (!(await loadOlder(conversationId, FAR_PAGE))) break;
      }
      return isHere();
    },
  };
}

function tellConversation<T extends ConversationAnswer>(client: Client, answer: Answer<T>): Answer<T> {
  if (answer.ok) client.dispatch({ type: "conversationsTold", conversations: [answer.conversation] });
  return answer;
}

function listActions(client: Client) {
  const told = async (asked: Promised<ConversationAnswer>) => tellConversation(client, await asked);
  const patchConversation = (id: string, patch: PatchConversation) => told(request("PATCH", chat(id), patch));
  return {
    /** Loads the first page of a list, or with `more` the one after what is loaded. */
    async loadConversations(
      where: { projectId?: string; status?: Conversation["status"]; more?: boolean } = {},
    ): Promised<ConversationsAnswer> {
      const { projectId, status = "active", more = false } = where;
      const key = listKey({ projectId, status });
      const next = more ? client.store.getState().lists.get(key)?.next : null;
      client.dispatch({ type: "listAsked", key });
      const path = withQuery("/api/chat/conversations", { projectId, status, next });
      const answer = await request<ConversationsAnswer>("GET", path);
      if (answer.ok) client.dispatch({ type: "listed", key, isFirst: !more, conversations: answer.conversations, seen: answer.seen, next: answer.next });
      else client.dispatch({ type: "listFailed", key, error: answer.error });
      return answer;
    },
    loadConversation: (id: string) => told(request("GET", chat(id))),
    /** The conversation of an agent's own session; null: there is none. */
    async findBySession(sessionId: string): Promise<Conversation | null> {
      const answer = await request<ConversationsAnswer>("GET", withQuery("/api/chat/conversations", { sessionId, limit: 1 }));
      return answer.ok ? (answer.conversations[0] ?? null) : null;
    },
    search: (query: { q: string; projectId?: string; next?: string | null; limit?: number }): Promised<SearchAnswer> =>
      request("GET", withQuery("/api/chat/search", query)),
    patchConversation,
    rename: (id: string, title: string) => patchConversation(id, { title }),
    move: (id: string, projectId: string | null) => patchConversation(id, { projectId }),
    archive: (id: string) => told(request("PUT", chat(id, "/archive"))),
    /** Can be undone by `restore` for 30 days. */
    async remove(id: string): Promised<DoneAnswer> {
      const answer = await request<DoneAnswer>("DELETE", chat(id));
      if (answer.ok) client.dispatch({ type: "deleted", conversationId: id });
      return answer;
    },
    restore: (id: string) => told(request("POST", chat(id, "/restore"))),
    fork: (id: string, atMessageId?: string) => told(request("POST", chat(id, "/fork"), atMessageId ? { atMessageId } : {})),
    exportUrl: (id: string, format: "json" | "md"): string => chat(id, `/export?format=${format}`),
    async loadProjects(): Promised<ProjectsAnswer> {
      const answer = await request<ProjectsAnswer>("GET", "/api/projects");
      if (answer.ok) client.dispatch({ type: "projects", projects: answer.projects });
      return answer;
    },
    async createProject(project: CreateProject): Promised<ProjectAnswer> {
      return thenProjects(client, await request<ProjectAnswer>("POST", "/api/projects", project));
    },
    async patchProject(id: string, patch: PatchProject): Promised<ProjectAnswer> {
      return thenProjects(client, await request<ProjectAnswer>("PATCH", `/api/projects/${id}`, patch));
    },
    async removeProject(id: string): Promised<DoneAnswer> {
      return thenProjects(client, await request<DoneAnswer>("DELETE", `/api/projects/${id}`));
    },
    sessions: (where: { bridgeId?: string; workingDirectory?: string | null; next?: string | null }): Promised<SessionsAnswer> =>
      request("GET", withQuery("/api/bridges/sessions", where)),
    async importSession(session: ImportSession): Promised<ImportedAnswer> {
      return tellConversation(client, await request<ImportedAnswer>("POST", "/api/bridges/sessions/import", session));
    },
  };
}

async function thenProjects<T extends DoneAnswer>(client: Client, answer: Answer<T>): Promise<Answer<T>> {
  if (answer.ok) await client.actions.loadProjects();
  return answer;
}

function promptActions(client: Client) {
  const emit = emitter(client);
  /** The winner of a race is told to its loser: either way the page shows what is. */
  const tell = <T extends { readonly prompt: Prompt }>(answer: Answer<T>): Answer<T> => {
    if (answer.prompt) client.dispatch({ type: "promptTold", prompt: answer.prompt });
    return answer;
  };
  return {
    respond: async (response: RespondPrompt) => tell(await emit("permission:respond", response)),
    extendPrompt: async (promptId: string, seconds: number) => tell(await emit("prompt:extend", { promptId, seconds })),
    /** Holds the deadline up until the returned function is called. */
    holdPrompt: (promptId: string): (() => void) => client.holdPrompt(promptId),
    grants: (conversationId: string): Promised<GrantsAnswer> => request("GET", chat(conversationId, "/permissions")),
    giveGrant: (conversationId: string, grant: CreateGrant): Promised<GrantAnswer> =>
      request("POST", chat(conversationId, "/permissions"), grant),
    revokeGrant: (conversationId: string, grantId: string): Promised<GrantAnswer> =>
      request("DELETE", chat(conversationId, `/permissions/${grantId}`)),
    /** Grants in force in a project or everywhere. */
    wideGrants: (): Promised<GrantsAnswer> => request("GET", "/api/permissions"),
    giveWideGrant: (grant: CreateWideGrant): Promised<GrantAnswer> => request("POST", "/api/permissions", grant),
    revokeWideGrant: (grantId: string): Promised<GrantAnswer> => request("DELETE", `/api/permissions/${grantId}`),
    audit: (where: { conversationId?: string; action?: string; next?: string | null; limit?: number } = {}): Promised<AuditAnswer> =>
      request("GET", withQuery("/api/audit", where)),
  };
}

function serverActions(client: Client) {
  return {
    upload: (
      file: Blob,
      name: string,
      onProgress: (sentBytes: number, totalBytes: number) => void,
      signal?: AbortSignal,
    ): Promised<AttachmentAnswer> => upload(file, name, onProgress, signal),
    attachmentUrl: (id: string): string => `/api/attachments/${id}`,
    tokens: (): Promised<TokensAnswer> => request("GET", "/api/tokens"),
    /** Its text is told this once. */
    createToken: (token: CreateToken): Promised<NewTokenAnswer> => request("POST", "/api/tokens", token),
    revokeToken: (tokenId: string): Promised<TokenAnswer> => request("DELETE", `/api/tokens/${tokenId}`),
    stats: (): Promised<StatsAnswer> => request("GET", "/api/stats"),
    series: (where: { since: string; until?: string; bucket: SeriesAnswer["bucket"] }): Promised<SeriesAnswer> =>
      request("GET", withQuery("/api/stats/series", where)),
    latency: (): Promised<LatencyAnswer> => request("POST", "/api/chat/test-latency"),
    /** How the server is; null: it cannot be reached. */
    async health(): Promise<HealthAnswer | null> {
      const answer = await request<HealthAnswer>("GET", "/health");
      if ("error" in answer) return null;
      client.dispatch({ type: "health", health: answer });
      return answer;
    },
    async me(): Promised<IdentityAnswer> {
      const answer = await request<IdentityAnswer>("GET", "/api/me");
      if (answer.ok) client.dispatch({ type: "identity", me: { userId: answer.userId, role: answer.role } });
      else if (answer.error.code === "unauthenticated") client.dispatch({ type: "identity", me: null });
      return answer;
    },
    /** Puts the token into the browser's cookie, and connects with it. */
    async login(token: string): Promised<DoneAnswer> {
      const answer = await request<DoneAnswer>("POST", "/api/login", { token });
      if (answer.ok) {
        client.wire.disconnect();
        client.wire.connect();
      }
      return answer;
    },
    async logout(): Promised<DoneAnswer> {
      const answer = await request<DoneAnswer>("POST", "/api/logout");
      if (answer.ok) {
        client.wire.disconnect();
        client.dispatch({ type: "identity", me: null });
        const change = { phase: "refused", reason: "You have logged out", code: "unauthenticated" } as const;
        client.dispatch({ type: "connection", change });
      }
      return answer;
    },
  };
}
