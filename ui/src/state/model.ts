/**
 * What the page knows, as plain read-only values. Only `reduce` makes new ones; views compare them by identity.
 *
 * Knows the wire's types and nothing of React, sockets or storage.
 */
import type {
  ApiError,
  Bridge,
  Conversation,
  ConversationState,
  EscalationTold,
  HealthAnswer,
  IdentityAnswer,
  Message,
  Project,
  Prompt,
  Run,
  SendMessage,
  ToldQueue,
  Usage,
} from "../wire/types";

export type ConnectionPhase = "connecting" | "live" | "lost" | "refused" | "draining";

export interface Connection {
  readonly phase: ConnectionPhase;
  /** When the phase began, in ms since 1970. */
  readonly since: number;
  /** When the next try is made; null: none is planned, or one is under way. */
  readonly retryAt: number | null;
  /** Why, in words for a person. */
  readonly reason: string | null;
  /** The server's code, where it refused. */
  readonly code: string | null;
  /** Tries since it was last live. */
  readonly attempts: number;
}

export type Identity = Omit<IdentityAnswer, "ok">;

/** A conversation as lists show it. */
export interface ListEntry {
  readonly conversation: Conversation;
  readonly state: ConversationState;
  readonly pendingPrompts: number;
  /** Something happened since this person last looked at it, in whatever browser. */
  readonly isUnread: boolean;
}

/** How far a list has been loaded. */
export interface ListPage {
  /** The cursor of the next page; null: that was all. */
  readonly next: string | null;
  readonly isLoading: boolean;
  readonly error: ApiError | null;
}

/** One open conversation. */
export interface Thread {
  readonly conversationId: string;
  /** Names the history that `seq` counts in; null before the first snapshot. */
  readonly epoch: string | null;
  readonly seq: number;
  /** Whether a snapshot has come since the connection is there. */
  readonly isJoined: boolean;
  /** Events are missing: the client must join again with `after`. */
  readonly needsJoin: boolean;
  /** Not before this time (ms since 1970); null: at once. */
  readonly joinAfter: number | null;
  readonly joinError: ApiError | null;
  readonly conversation: Conversation | null;
  /** All message ids by ordinal. */
  readonly ids: readonly string[];
  /** Messages that no delta is expected for. */
  readonly settled: ReadonlyMap<string, Message>;
  /** Messages that grow: kept apart, so that a delta copies a handful of entries and not ten thousand. */
  readonly live: ReadonlyMap<string, LiveMessage>;
  readonly runs: ReadonlyMap<string, Run>;
  readonly prompts: ReadonlyMap<string, Prompt>;
  readonly queue: ToldQueue;
  /** The last full snapshot had no room for all: older messages are paged. */
  readonly truncated: boolean;
  readonly hasOlder: boolean;
  readonly isLoadingOlder: boolean;
  readonly olderError: ApiError | null;
  /** Grows with each page of older messages that came, so that a view can hold its scroll position. */
  readonly olderLoads: number;
}

/** A message that grows. `content` is not kept up: see `contentOf`. */
export interface LiveMessage extends Message {
  /**
   * The wire's index of each block. Blocks that nothing was said of are left out of a whole message, so that
   * places and indices may differ; null: it came whole and no delta has told yet.
   */
  readonly slots: readonly number[] | null;
}

export type OutboxStatus = "waiting" | "sent" | "failed" | "stored";

/** A message on its way to the server. */
export interface OutboxEntry {
  readonly requestId: string;
  readonly message: SendMessage;
  /** waiting: for a connection; sent: for its answer; stored: for its message to come; failed: refused. */
  readonly status: OutboxStatus;
  readonly error: ApiError | null;
  /** Where it goes, once that is known. */
  readonly conversationId: string | null;
  /** The id of the stored message. */
  readonly messageId: string | null;
  readonly createdAt: number;
}

export type Escalation = EscalationTold;

export interface PageState {
  readonly connection: Connection;
  readonly me: Identity | null;
  /** null: the server has not said yet. */
  readonly bridges: readonly Bridge[] | null;
  readonly projects: readonly Project[] | null;
  readonly conversations: ReadonlyMap<string, ListEntry>;
  readonly lists: ReadonlyMap<string, ListPage>;
  /** Pending prompts of all conversations. */
  readonly prompts: ReadonlyMap<string, Prompt>;
  /** By prompt. */
  readonly escalations: ReadonlyMap<string, Escalation>;
  readonly open: ReadonlyMap<string, Thread>;
  readonly outbox: ReadonlyMap<string, OutboxEntry>;
  /** The seq up to which this person has looked at each conversation: the server's marks, and this page's own. */
  readonly seen: ReadonlyMap<string, number>;
  /** What has no mark and changed before this counts as seen: when this browser came here first. */
  readonly seenSince: string;
  /** The conversation on the screen. */
  readonly viewing: string | null;
  readonly isPageVisible: boolean;
  readonly health: HealthAnswer | null;
  /** The version of the server that the page belongs to. */
  readonly serverVersion: string | null;
  /** The server has another version now: the page must be loaded again. */
  readonly isOutdated: boolean;
}

export const NO_QUEUE: ToldQueue = { paused: false, runs: [] };
export const NO_USAGE: Usage = { inputTokens: 0, outputTokens: 0, cacheReadTokens: 0, cacheWriteTokens: 0 };

/** A thread of which nothing is known yet. */
export function emptyThread(conversationId: string): Thread {
  return {
    conversationId,
    epoch: null,
    seq: 0,
    isJoined: false,
    needsJoin: true,
    joinAfter: null,
    joinError: null,
    conversation: null,
    ids: [],
    settled: new Map(),
    live: new Map(),
    runs: new Map(),
    prompts: new Map(),
    queue: NO_QUEUE,
    truncated: false,
    hasOlder: false,
    isLoadingOlder: false,
    olderError: null,
    olderLoads: 0,
  };
}

/** A page that has just been loaded; `kept` is what the browser kept of an earlier one. */
export function initialState(
  now: number,
  kept: { outbox?: readonly OutboxEntry[]; seenSince?: string } = {},
): PageState {
  return {
    connection: { phase: "connecting", since: now, retryAt: null, reason: null, code: null, attempts: 0 },
    me: null,
    bridges: null,
    projects: null,
    conversations: new Map(),
    lists: new Map(),
    prompts: new Map(),
    escalations: new Map(),
    open: new Map(),
    outbox: new Map((kept.outbox ?? []).map((entry) => [entry.requestId, entry])),
    seen: new Map(),
    seenSince: kept.seenSince ?? new Date(now).toISOString(),
    viewing: null,
    isPageVisible: true,
    health: null,
    serverVersion: null,
    isOutdated: false,
  };
}

const FINAL_RUNS: ReadonlySet<string> = new Set(["completed", "failed", "aborted"]);

/** Whether a run has its final state. */
export function isFinalRun(run: Run): boolean {
  return FINAL_RUNS.has(run.status);
}

/** The message of that id, growing or not. */
export function messageOf(thread: Thread, id: string): Message | undefined {
  return thread.live.get(id) ?? thread.settled.get(id);
}
