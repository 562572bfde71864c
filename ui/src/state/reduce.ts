/**
 * The page's state as a pure function of what happened: events of the server, answers, and what the person did.
 *
 * An event makes new only what it changes, so that views can compare by identity.
 */
import type {
  ApiError,
  Conversation,
  ConversationsAnswer,
  GlobalEvents,
  HealthAnswer,
  MessagesAnswer,
  Project,
  Prompt,
  RoomEvents,
  SendMessage,
  SentAnswer,
  SnapshotAnswer,
} from "../wire/types";
import * as lists from "./lists";
import { withEntries, withEntry, withoutEntry } from "./maps";
import { emptyThread, type Connection, type Identity, type ListPage, type PageState, type Thread } from "./model";
import * as outbox from "./outbox";
import { afterOlder, afterRoomEvent, afterSnapshot, mustJoin, type RoomEvent } from "./thread";

type GlobalEvent = {
  [Name in keyof GlobalEvents]: { readonly name: Name; readonly payload: GlobalEvents[Name] };
}[keyof GlobalEvents];

/** An event of the server, as it came. */
export type WireEvent = RoomEvent | GlobalEvent;

/** Everything that can change the page. */
export type PageEvent =
  | ({ readonly type: "wire" } & WireEvent)
  // the connection
  | { readonly type: "connection"; readonly change: Partial<Connection> & Pick<Connection, "phase"> }
  | { readonly type: "identity"; readonly me: Identity | null }
  | { readonly type: "health"; readonly health: HealthAnswer }
  | { readonly type: "visibility"; readonly isVisible: boolean }
  // open conversations
  | { readonly type: "opened" | "closed"; readonly conversationId: string }
  | { readonly type: "viewing"; readonly conversationId: string | null }
  | { readonly type: "joined"; readonly conversationId: string; readonly after: number | null; readonly snapshot: SnapshotAnswer }
  | { readonly type: "joinFailed"; readonly conversationId: string; readonly error: ApiError; readonly joinAfter: number | null }
  | { readonly type: "olderAsked"; readonly conversationId: string }
  | ({ readonly type: "older"; readonly conversationId: string; readonly before: number | null } & Pick<MessagesAnswer, "messages" | "runs" | "next">)
  | { readonly type: "olderFailed"; readonly conversationId: string; readonly error: ApiError }
  // lists
  | { readonly type: "listAsked"; readonly key: string }
  | ({ readonly type: "listed"; readonly key: string; readonly isFirst: boolean } & Pick<ConversationsAnswer, "conversations" | "seen" | "next">)
  | { readonly type: "listFailed"; readonly key: string; readonly error: ApiError }
  | { readonly type: "conversationsTold"; readonly conversations: readonly Conversation[] }
  | { readonly type: "deleted"; readonly conversationId: string }
  | { readonly type: "projects"; readonly projects: readonly Project[] }
  // prompts; `conversationId` null: these are all that wait anywhere
  | { readonly type: "pendingPrompts"; readonly conversationId: string | null; readonly prompts: readonly Prompt[] }
  | { readonly type: "promptTold"; readonly prompt: Prompt }
  // the outbox
  | { readonly type: "sendAsked"; readonly message: SendMessage }
  | { readonly type: "sendBegun" | "sendPostponed" | "sendDropped"; readonly requestId: string }
  | { readonly type: "sendStored"; readonly sent: Omit<SentAnswer, "ok" | "run"> }
  | { readonly type: "sendRefused"; readonly requestId: string; readonly error: ApiError };

const ROOM_EVENTS: Readonly<Record<keyof RoomEvents, true>> = {
  "chat:message": true,
  "chat:stream-response": true,
  "chat:run": true,
  "chat:message-complete": true,
  "chat:error": true,
  "chat:aborted": true,
  "chat:session-id-available": true,
  interactive_prompt: true,
  "prompt:resolved": true,
  permission_mode_changed: true,
};

const GLOBAL_EVENTS: Readonly<Record<keyof GlobalEvents, true>> = {
  "conversation:state": true,
  "chat:conversation-created": true,
  "conversation:updated": true,
  "conversation:deleted": true,
  "conversation:seen": true,
  "project:updated": true,
  "project:deleted": true,
  permission_escalation: true,
  "bridge:status": true,
  "chat:resync": true,
  "server:draining": true,
};

/** Whether the page knows an event of that name; a newer server may have more. */
export function isKnownEvent(name: string): name is keyof RoomEvents | keyof GlobalEvents {
  return name in ROOM_EVENTS || name in GLOBAL_EVENTS;
}

/** The state after all of `events`, in order. */
export function reduceAll(state: PageState, events: readonly PageEvent[], now: number): PageState {
  return events.reduce((before, event) => reduce(before, event, now), state);
}

/** The state after `event`; `now` in ms since 1970. */
export function reduce(state: PageState, event: PageEvent, now: number): PageState {
  switch (event.type) {
    case "wire":
      return isRoomEvent(event) ? afterRoom(state, event, now) : afterGlobal(state, event, now);
    case "connection":
      return afterConnection(state, event.change, now);
    case "identity":
      return { ...state, me: event.me };
    case "health":
      return afterHealth(state, event.health);
    case "visibility":
      return lists.withVisibility(state, event.isVisible);
    case "opened":
      return state.open.has(event.conversationId) ? state : withThread(state, emptyThread(event.conversationId));
    case "closed":
      return { ...state, open: withoutEntry(state.open, event.conversationId) };
    case "viewing":
      return lists.withViewing(state, event.conversationId);
    case "joined":
      return afterJoin(state, event);
    case "joinFailed":
      return changeThread(state, event.conversationId, (thread) => ({
        ...thread,
        joinError: event.error,
        joinAfter: event.joinAfter,
        needsJoin: event.joinAfter !== null,
      }));
    case "olderAsked":
      return changeThread(state, event.conversationId, (thread) => ({ ...thread, isLoadingOlder: true, olderError: null }));
    case "older":
      return changeThread(state, event.conversationId, (thread) => afterOlder(thread, event));
    case "olderFailed":
      return changeThread(state, event.conversationId, (thread) => ({ ...thread, isLoadingOlder: false, olderError: event.error }));
    case "listAsked":
      return withPage(state, event.key, { isLoading: true, error: null });
    case "listed": {
      const base = lists.withMarks(event.isFirst ? lists.withoutGone(state, event) : state, event.seen);
      return lists.withConversations(withPage(base, event.key, { isLoading: false, error: null, next: event.next }), event.conversations);
    }
    case "listFailed":
      return withPage(state, event.key, { isLoading: false, error: event.error });
    case "conversationsTold":
      return lists.withConversations(state, event.conversations);
    case "deleted":
      return lists.withDeleted(state, event.conversationId);
    case "projects":
      return { ...state, projects: event.projects };
    case "pendingPrompts":
      return afterPending(state, event.conversationId, event.prompts);
    case "promptTold":
      return lists.withPrompt(state, event.prompt);
    case "sendAsked":
      return outbox.withUnsent(state, event.message, now);
    case "sendBegun":
      return outbox.withChanged(state, event.requestId, { status: "sent", error: null });
    case "sendPostponed":
      return outbox.withChanged(state, event.requestId, { status: "waiting", error: null });
    case "sendDropped":
      return outbox.without(state, event.requestId);
    case "sendStored":
      return outbox.withStored(state, event.sent);
    case "sendRefused":
      return outbox.withRefused(state, event.requestId, event.error);
  }
}

function isRoomEvent(event: WireEvent): event is RoomEvent {
  return event.name in ROOM_EVENTS;
}

// --- open conversations -----------------------------------------------------------------------------------------

function withThread(state: PageState, thread: Thread): PageState {
  return { ...state, open: withEntry(state.open, thread.conversationId, thread) };
}

function changeThread(state: PageState, conversationId: string, change: (thread: Thread) => Thread): PageState {
  const thread = state.open.get(conversationId);
  const next = thread === undefined ? undefined : change(thread);
  return next === undefined || next === thread ? state : withThread(state, next);
}

function afterRoom(state: PageState, event: RoomEvent, now: number): PageState {
  const { conversationId } = event.payload;
  const next = changeThread(state, conversationId, (thread) => afterRoomEvent(thread, event, now));
  // What a thread has skipped is not told to the rest of the page either.
  if (next === state || next.open.get(conversationId)?.seq !== event.payload.seq) return next;
  switch (event.name) {
    case "chat:message":
      return outbox.withArrived(next, [event.payload.message]);
    case "interactive_prompt":
    case "prompt:resolved":
      return lists.withPrompt(next, event.payload.prompt);
    case "permission_mode_changed":
    case "chat:session-id-available":
      return withListed(next, conversationId);
    default:
      return next;
  }
}

/** The list shows a conversation as its thread does. */
function withListed(state: PageState, conversationId: string): PageState {
  const conversation = state.open.get(conversationId)?.conversation;
  const entry = state.conversations.get(conversationId);
  if (!conversation || !entry) return state;
  const { permissionMode, claudeSessionId } = conversation;
  const listed = { ...entry, conversation: { ...entry.conversation, permissionMode, claudeSessionId } };
  return { ...state, conversations: withEntry(state.conversations, conversationId, listed) };
}

function afterJoin(state: PageState, event: Extract<PageEvent, { type: "joined" }>): PageState {
  const { conversationId, snapshot, after } = event;
  if (!state.open.has(conversationId)) return state;
  const joined = changeThread(state, conversationId, (thread) => afterSnapshot(thread, snapshot, after));
  const pending = [...(joined.open.get(conversationId)?.prompts.values() ?? [])].filter((prompt) => prompt.status === "pending");
  const told = lists.withPendingOf(lists.withConversations(joined, [snapshot.conversation]), conversationId, pending);
  return outbox.withoutStored(outbox.withArrived(told, snapshot.messages), conversationId);
}

/** A list of prompts may be older than what a joined thread was told meanwhile: that one knows its own. */
function afterPending(state: PageState, conversationId: string | null, told: readonly Prompt[]): PageState {
  const joined = [...state.open.values()].filter(
    (thread) => thread.isJoined && (conversationId === null || thread.conversationId === conversationId),
  );
  const own = new Set(joined.map((thread) => thread.conversationId));
  const others = told.filter((prompt) => !own.has(prompt.conversationId));
  return lists.withPendingOf(state, conversationId, [...others, ...joined.flatMap((thread) => [...thread.prompts.values()])]);
}

// --- everything else --------------------------------------------------------------------------------------------

function afterGlobal(state: PageState, event: GlobalEvent, now: number): PageState {
  switch (event.name) {
    case "conversation:state":
      return lists.withState(state, event.payload);
    case "chat:conversation-created":
    case "conversation:updated":
      return lists.withConversations(state, [event.payload.conversation]);
    case "conversation:deleted":
      return lists.withDeleted(state, event.payload.conversationId);
    case "conversation:seen":
      return lists.withMarks(state, { [event.payload.conversationId]: event.payload.seq });
    case "project:updated":
      return lists.withProject(state, event.payload.project);
    case "project:deleted":
      return lists.withoutProject(state, event.payload.projectId);
    case "permission_escalation":
      return { ...state, escalations: withEntry(state.escalations, event.payload.promptId, event.payload) };
    case "bridge:status":
      return { ...state, bridges: event.payload.bridges };
    case "chat:resync":
      return changeThread(state, event.payload.conversationId, (thread) => ({
        ...mustJoin(thread, now + event.payload.retryAfterMs),
        isJoined: false,
      }));
    case "server:draining":
      return afterConnection(
        state,
        { phase: "draining", retryAt: now + event.payload.reconnectAfterMs, reason: "The server is restarting" },
        now,
      );
  }
}

function afterConnection(state: PageState, change: Partial<Connection> & Pick<Connection, "phase">, now: number): PageState {
  const isSame = change.phase === state.connection.phase;
  const since = isSame ? state.connection.since : now;
  const connection = { retryAt: null, reason: null, code: null, attempts: state.connection.attempts, ...change, since };
  if (change.phase === "live") connection.attempts = 0;
  const next = { ...state, connection };
  if (isSame || change.phase === "draining") return next;
  // Whatever the connection was: the server knows this socket of no room, and no answer of an older one comes.
  const threads = [...state.open].map(([id, thread]) => [id, { ...mustJoin(thread), isJoined: false }] as const);
  return outbox.withAllWaiting({ ...next, open: withEntries(state.open, threads) });
}

function afterHealth(state: PageState, health: HealthAnswer): PageState {
  const serverVersion = state.serverVersion ?? health.version;
  return { ...state, health, serverVersion, isOutdated: state.isOutdated || serverVersion !== health.version };
}

function withPage(state: PageState, key: string, change: Partial<ListPage>): PageState {
  const known = state.lists.get(key) ?? { next: null, isLoading: false, error: null };
  return { ...state, lists: withEntry(state.lists, key, { ...known, ...change }) };
}
