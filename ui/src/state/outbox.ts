/** Messages on their way to the server: shown before they are stored, and never forgotten before. Pure. */
import type { ApiError, Message, SendMessage, SentAnswer } from "../wire/types";
import { filtered, withEntries, withEntry, withoutEntry } from "./maps";
import type { OutboxEntry, PageState } from "./model";

/** The state with a message that is to be sent. */
export function withUnsent(state: PageState, message: SendMessage, now: number): PageState {
  const entry: OutboxEntry = {
    requestId: message.requestId,
    message,
    status: "waiting",
    error: null,
    conversationId: message.conversationId ?? null,
    messageId: null,
    createdAt: now,
  };
  return { ...state, outbox: withEntry(state.outbox, entry.requestId, entry) };
}

/** The state in which one entry has changed; one that has gone meanwhile stays gone. */
export function withChanged(state: PageState, requestId: string, change: Partial<OutboxEntry>): PageState {
  const entry = state.outbox.get(requestId);
  return entry === undefined ? state : { ...state, outbox: withEntry(state.outbox, requestId, { ...entry, ...change }) };
}

/** It is stored. The entry stays until its message is in the thread, so that nothing flickers. */
export function withStored(state: PageState, sent: Omit<SentAnswer, "ok" | "run">): PageState {
  const { requestId, conversationId, messageId } = sent;
  const thread = state.open.get(conversationId);
  if (thread?.settled.has(messageId)) return without(state, requestId);
  return withChanged(state, requestId, { status: "stored", error: null, conversationId, messageId });
}

/** It was refused for good. */
export function withRefused(state: PageState, requestId: string, error: ApiError): PageState {
  return withChanged(state, requestId, { status: "failed", error });
}

/** The state without one entry. */
export function without(state: PageState, requestId: string): PageState {
  return { ...state, outbox: withoutEntry(state.outbox, requestId) };
}

/** No answer can come any more: what waited for one waits for a connection again. */
export function withAllWaiting(state: PageState): PageState {
  const waiting = [...state.outbox.values()].flatMap((entry) =>
    entry.status === "sent" ? [[entry.requestId, { ...entry, status: "waiting" as const }] as const] : [],
  );
  return { ...state, outbox: withEntries(state.outbox, waiting) };
}

/** The state without the entries whose messages have come. */
export function withArrived(state: PageState, messages: readonly Message[]): PageState {
  if (state.outbox.size === 0) return state;
  const arrived = new Set(messages.flatMap(({ role, requestId }) => (role === "user" && requestId ? [requestId] : [])));
  return { ...state, outbox: filtered(state.outbox, (entry) => !arrived.has(entry.requestId)) };
}

/** After a snapshot of a conversation, none that the server has stored there can still be on its way. */
export function withoutStored(state: PageState, conversationId: string): PageState {
  const stays = (entry: OutboxEntry) => entry.status !== "stored" || entry.conversationId !== conversationId;
  return { ...state, outbox: filtered(state.outbox, stays) };
}
