/**
 * One conversation's events, in their order: the rules of docs/protocol.md sections 2.2 and 6. Pure.
 *
 * An event at or below the thread's seq is skipped; one that does not follow on, or does not fit what is here, marks
 * the thread as one that must join again and changes nothing else.
 */
import type {
  Conversation,
  Message,
  MessagesAnswer,
  Prompt,
  RoomEvents,
  Run,
  RunTold,
  SnapshotAnswer,
  StreamEvent,
  StreamTold,
} from "../wire/types";
import { filtered, withEntries, withEntry, withoutEntry } from "./maps";
import {
  emptyThread,
  isFinalRun,
  messageOf,
  type LiveMessage,
  type Thread,
} from "./model";
import { asLive, begun, grown, mayGrow, MISFIT, type MessageEvent } from "./streaming";

/** Ordinals count from here. */
const FIRST_ORDINAL = 1;
/** Of one run; older ones give way. */
const MOST_NOTICES = 20;

/** One event of a conversation's room. */
export type RoomEvent = { [Name in keyof RoomEvents]: { readonly name: Name; readonly payload: RoomEvents[Name] } }[keyof RoomEvents];

// --- events -----------------------------------------------------------------------------------------------------

/** The thread after `event`. */
export function afterRoomEvent(thread: Thread, event: RoomEvent, now: number): Thread {
  const { seq, prevSeq } = event.payload;
  if (!thread.isJoined || seq <= thread.seq) return thread;
  const applied = prevSeq === thread.seq ? applyInOrder(thread, event, now) : null;
  return applied === null ? mustJoin(thread) : { ...applied, seq };
}

/** The thread as one that misses something. */
export function mustJoin(thread: Thread, joinAfter: number | null = null): Thread {
  return thread.needsJoin && thread.joinAfter === joinAfter ? thread : { ...thread, needsJoin: true, joinAfter };
}

/** null: the event does not fit. */
function applyInOrder(thread: Thread, event: RoomEvent, now: number): Thread | null {
  switch (event.name) {
    case "chat:message":
      return withMessages(thread, [event.payload.message]);
    case "chat:stream-response":
      return withStream(thread, event.payload, now);
    case "chat:run":
      return withRun(thread, event.payload);
    case "chat:message-complete":
    case "chat:error":
    case "chat:aborted":
      // The run itself says so in `chat:run`; these are for clients that keep no runs.
      return thread;
    case "chat:session-id-available":
      return withConversation(thread, { claudeSessionId: event.payload.sessionId });
    case "interactive_prompt":
    case "prompt:resolved":
      return withPrompts(thread, [event.payload.prompt]);
    case "permission_mode_changed":
      return withConversation(thread, { permissionMode: event.payload.mode });
  }
}

function withRun(thread: Thread, told: RunTold): Thread {
  return { ...thread, runs: withRuns(thread, [told.run]), queue: told.queue ?? thread.queue };
}

/** The runs with those of `told` that are not older than what is here. */
function withRuns(thread: Thread, told: readonly Run[]): ReadonlyMap<string, Run> {
  const news = told.filter((run) => run.seq >= (thread.runs.get(run.requestId)?.seq ?? 0));
  return withEntries(thread.runs, news.map((run) => [run.requestId, run] as const));
}

function withConversation(thread: Thread, change: Partial<Conversation>): Thread {
  return thread.conversation === null ? thread : { ...thread, conversation: { ...thread.conversation, ...change } };
}

/** The thread with what is new in `prompts`. */
export function withPrompts(thread: Thread, prompts: readonly Prompt[]): Thread {
  const news = prompts.filter((prompt) => prompt.seq > (thread.prompts.get(prompt.id)?.seq ?? -1));
  if (news.length === 0) return thread;
  return { ...thread, prompts: withEntries(thread.prompts, news.map((prompt) => [prompt.id, prompt] as const)) };
}

// --- deltas -----------------------------------------------------------------------------------------------------

function withStream(thread: Thread, told: StreamTold, now: number): Thread | null {
  let run = thread.runs.get(told.requestId);
  // One that a page of history has brought may know already.
  const isOld = run === undefined || run.seq >= told.seq;
  const changed = new Map<string, LiveMessage>();
  for (const event of told.events) {
    if ("messageId" in event) {
      const message = changed.get(event.messageId) ?? growing(thread, event, told, now);
      const after = message === null ? null : grown(message, event, now);
      if (after === MISFIT) return null;
      if (after !== null) changed.set(after.id, after);
    } else if (run !== undefined && !isOld) {
      run = heard(run, event, told.seq);
    }
  }
  const next = run === undefined ? thread : { ...thread, runs: withEntry(thread.runs, run.requestId, run) };
  return changed.size === 0 ? next : withLive(next, changed, told.seq);
}

/** The run after what its agent says of it, as the server keeps it (`core/activity.py`). */
function heard(run: Run, event: Exclude<StreamEvent, MessageEvent>, seq: number): Run {
  switch (event.type) {
    case "usage.updated":
      return { ...run, seq, usage: event.usage };
    case "plan.updated":
      return { ...run, seq, plan: event.entries };
    case "notice":
      return { ...run, seq, notices: [...run.notices, { level: event.level, text: event.text }].slice(-MOST_NOTICES) };
    default:
      return run;
  }
}

/** The message that the event changes; null: it is not loaded, or it knows already. */
function growing(thread: Thread, event: MessageEvent, told: StreamTold, now: number): LiveMessage | null {
  const known = messageOf(thread, event.messageId);
  if (known !== undefined) {
    return known.seq >= told.seq ? null : (thread.live.get(known.id) ?? asLive(known));
  }
  if (event.type !== "message.started") return null;
  const projectId = thread.conversation?.projectId ?? null;
  return begun(event, { conversationId: thread.conversationId, projectId, requestId: told.requestId, seq: told.seq }, now);
}

function withLive(thread: Thread, changed: ReadonlyMap<string, LiveMessage>, seq: number): Thread {
  const live = new Map(thread.live);
  let { settled, ids } = thread;
  for (const [id, message] of changed) {
    const known = messageOf(thread, id);
    const told = { ...message, seq };
    if (told.status === "discarded") {
      live.delete(id);
      settled = withEntry(settled, id, told);
    } else {
      live.set(id, told);
      settled = withoutEntry(settled, id);
    }
    if (known === undefined) ids = withId({ ...thread, ids, live, settled }, told);
  }
  return { ...thread, live, settled, ids };
}

// --- messages ---------------------------------------------------------------------------------------------------

/** The thread with those of `messages` that are newer than what is here, and not before what is loaded. */
function withMessages(thread: Thread, messages: readonly Message[]): Thread {
  const floor = thread.hasOlder ? floorOf(thread) : null;
  const news = messages.filter((message) => {
    const known = messageOf(thread, message.id);
    // One before the loaded part would leave a hole behind it: it comes with its page.
    return known === undefined ? floor === null || message.ordinal >= floor : message.seq > known.seq;
  });
  return news.length === 0 ? thread : put(thread, news);
}

function put(thread: Thread, news: readonly Message[]): Thread {
  const live = new Map(thread.live);
  const settled = new Map(thread.settled);
  const fresh = news.filter((message) => messageOf(thread, message.id) === undefined);
  for (const message of news) {
    const [to, from] = mayGrow(message) ? [live, settled] : [settled, live];
    from.delete(message.id);
    if (to === live) live.set(message.id, asLive(message));
    else settled.set(message.id, message);
  }
  const next = { ...thread, live, settled };
  return fresh.length === 0 ? next : { ...next, ids: withIds(next, fresh) };
}

/** The ordinal of the oldest loaded message. */
export function floorOf(thread: Thread): number | null {
  const [first] = thread.ids;
  return first === undefined ? null : ordinalOf(thread, first);
}

function ordinalOf(thread: Thread, id: string): number {
  return messageOf(thread, id)?.ordinal ?? 0;
}

function withIds(thread: Thread, fresh: readonly Message[]): readonly string[] {
  const [only, ...more] = fresh;
  if (only !== undefined && more.length === 0) return withId(thread, only);
  const ids = [...thread.ids, ...fresh.map((message) => message.id)];
  return ids.sort((a, b) => ordinalOf(thread, a) - ordinalOf(thread, b));
}

/** The ids with one more; nearly always it is the last. */
function withId(thread: Thread, message: Message): readonly string[] {
  let at = thread.ids.length;
  while (at > 0 && ordinalOf(thread, thread.ids[at - 1] as string) > message.ordinal) at -= 1;
  return [...thread.ids.slice(0, at), message.id, ...thread.ids.slice(at)];
}

// --- snapshots and pages ----------------------------------------------------------------------------------------

/** The thread after the acknowledgement of a join that asked for what came after `after`; null: for all. */
export function afterSnapshot(thread: Thread, snapshot: SnapshotAnswer, after: number | null): Thread {
  const isWhole =
    !after || snapshot.truncated || snapshot.epoch !== thread.epoch || thread.epoch === null || snapshot.seq < after;
  if (!isWhole && snapshot.seq < thread.seq) {
    // The answer to a join that was asked twice: what is here is newer.
    return { ...thread, isJoined: true };
  }
  const base = isWhole ? cleared(thread, snapshot) : thread;
  const joined = {
    ...base,
    epoch: snapshot.epoch,
    seq: snapshot.seq,
    isJoined: true,
    needsJoin: false,
    joinAfter: null,
    joinError: null,
    conversation: snapshot.conversation,
    runs: withRuns(base, snapshot.runs),
    queue: snapshot.queue,
    truncated: snapshot.truncated || (base.truncated && !isWhole),
  };
  const filled = withMessages(withPrompts(joined, snapshot.prompts), snapshot.messages);
  return isWhole ? { ...filled, hasOlder: (floorOf(filled) ?? 0) > FIRST_ORDINAL } : filled;
}

/**
 * What stays when a whole snapshot replaces the rest: in the same history, what has its end and cannot change.
 * A run or prompt that was open here and is not in the snapshot has ended unseen: nothing true is known of it.
 */
function cleared(thread: Thread, snapshot: SnapshotAnswer): Thread {
  const { conversationId, joinError, isLoadingOlder, olderLoads } = thread;
  const empty = { ...emptyThread(conversationId), joinError, isLoadingOlder, olderLoads };
  if (snapshot.epoch !== thread.epoch) return empty;
  return {
    ...empty,
    runs: filtered(thread.runs, isFinalRun),
    prompts: filtered(thread.prompts, (prompt) => prompt.status !== "pending"),
  };
}

/** The thread with a page of older messages; one that does not end where the thread begins is dropped. */
export function afterOlder(
  thread: Thread,
  page: Pick<MessagesAnswer, "messages" | "runs" | "next"> & { readonly before: number | null },
): Thread {
  const loaded = { ...thread, isLoadingOlder: false, olderError: null };
  if (page.before !== floorOf(thread)) return loaded;
  const filled = withMessages({ ...loaded, hasOlder: false, runs: withRuns(thread, page.runs) }, page.messages);
  return { ...filled, hasOlder: page.next !== null, olderLoads: thread.olderLoads + 1 };
}
