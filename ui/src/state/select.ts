/**
 * What views show, read out of the state. Pure; what makes a list remembers it, so that equal is identical.
 *
 * The words that a person reads about the state of things are made here, in one place.
 */
import type { Agent, Block, Bridge, Conversation, Message, Project, Prompt, Run } from "../wire/types";
import {
  isFinalRun,
  messageOf,
  type Connection,
  type Escalation,
  type ListEntry,
  type OutboxEntry,
  type PageState,
  type Thread,
} from "./model";
import { textOf } from "./streaming";

export { messageOf } from "./model";

// --- messages ---------------------------------------------------------------------------------------------------

/** A message's text; of one that grows, by its blocks. */
export function contentOf(message: Message): string {
  return message.status === "streaming" ? textOf(message.blocks) : message.content;
}

interface Shown {
  readonly ids: readonly string[];
  readonly visible: readonly string[];
  readonly children: ReadonlyMap<string, readonly string[]>;
  readonly byRun: ReadonlyMap<string, readonly string[]>;
}

const shownOf = new WeakMap<ReadonlyMap<string, Message>, Shown>();

/** Made anew only when a message comes or settles: one that grows changes neither its place nor whether it is shown. */
function shown(thread: Thread): Shown {
  const known = shownOf.get(thread.settled);
  if (known?.ids === thread.ids) return known;
  const visible: string[] = [];
  const children = new Map<string, string[]>();
  const byRun = new Map<string, string[]>();
  for (const id of thread.ids) {
    const message = messageOf(thread, id);
    if (message === undefined || message.status === "discarded") continue;
    if (message.parentToolUseId === null) {
      visible.push(id);
      if (message.requestId !== null) push(byRun, message.requestId, id);
    } else push(children, message.parentToolUseId, id);
  }
  const made = { ids: thread.ids, visible, children, byRun };
  shownOf.set(thread.settled, made);
  return made;
}

function push(lists: Map<string, string[]>, key: string, id: string): void {
  const list = lists.get(key);
  if (list === undefined) lists.set(key, [id]);
  else list.push(id);
}

/** The messages of the thread's own level, in order: without sub-agents' and without what the agent took back. */
export function visibleIds(thread: Thread): readonly string[] {
  return shown(thread).visible;
}

const NO_IDS: readonly string[] = [];

/** The messages of the sub-agent that this tool call started. */
export function childIds(thread: Thread, toolUseId: string): readonly string[] {
  return shown(thread).children.get(toolUseId) ?? NO_IDS;
}

/** How many visible messages come after that ordinal. */
export function messagesAfter(thread: Thread, ordinal: number): number {
  const ids = visibleIds(thread);
  let count = 0;
  for (let at = ids.length - 1; at >= 0; at -= 1) {
    if ((messageOf(thread, ids[at] as string)?.ordinal ?? 0) <= ordinal) break;
    count += 1;
  }
  return count;
}

/** Whether the message is the last visible one of its run: where its footer stands. */
export function isLastOfRun(thread: Thread, messageId: string): boolean {
  const requestId = messageOf(thread, messageId)?.requestId;
  return !!requestId && shown(thread).byRun.get(requestId)?.at(-1) === messageId;
}

// --- runs -------------------------------------------------------------------------------------------------------

/** The run that the message belongs to; what was imported or forked belongs to none. */
export function runOf(thread: Thread, message: Message): Run | undefined {
  return message.requestId === null ? undefined : thread.runs.get(message.requestId);
}

/** The run that is being worked on. */
export function activeRun(thread: Thread): Run | undefined {
  for (const run of thread.runs.values()) if (!isFinalRun(run) && run.status !== "queued") return run;
  return undefined;
}

export interface RunFacts {
  readonly model: string | null;
  readonly agent: string | null;
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly cacheReadTokens: number;
  readonly cacheWriteTokens: number;
  /** null: not known. */
  readonly costUsd: number | null;
  /** null: not ended, or not known. */
  readonly durationMs: number | null;
  /** To count from while it has not ended. */
  readonly startedAt: string | null;
}

/** Model, tokens, cost and time of a run; null: it is not known. */
export function runFacts(thread: Thread, requestId: string): RunFacts | null {
  const run = thread.runs.get(requestId);
  if (run === undefined) return null;
  const startedAt = run.startedAt ?? run.dispatchedAt;
  return {
    model: run.model ?? messagesOfRun(thread, requestId).findLast((message) => message.model)?.model ?? null,
    agent: run.agent,
    ...run.usage,
    costUsd: isFinalRun(run) ? run.costUsd : null,
    durationMs: between(startedAt, run.finishedAt),
    startedAt,
  };
}

function messagesOfRun(thread: Thread, requestId: string): readonly Message[] {
  const ids = shown(thread).byRun.get(requestId) ?? NO_IDS;
  return ids.flatMap((id) => messageOf(thread, id) ?? []);
}

function between(from: string | null, to: string | null): number | null {
  return from === null || to === null ? null : Math.max(0, Date.parse(to) - Date.parse(from));
}

// --- a message's way --------------------------------------------------------------------------------------------

export type WayStep =
  | "saving" | "unsent" | "stored" | "queued" | "sent" | "started" | "streaming" | "waiting" | "done" | "failed" | "aborted";

/** How far a person's message is, in words. */
export interface Way {
  readonly step: WayStep;
  readonly text: string;
  readonly reason: string | null;
  /** In the queue, from 1. */
  readonly position: number | null;
  readonly canRetry: boolean;
  /** The code of what went wrong. */
  readonly code: string | null;
  readonly deadlineAt: string | null;
  /** Its bridge is not connected now. */
  readonly isAway: boolean;
}

const SOMEWHERE: Omit<Way, "step" | "text"> = {
  reason: null,
  position: null,
  canRetry: false,
  code: null,
  deadlineAt: null,
  isAway: false,
};

/** The way of a message that the server does not have, or that has not come back from it yet. */
export function wayOfOutbox(entry: OutboxEntry): Way {
  switch (entry.status) {
    case "waiting":
      return { ...SOMEWHERE, step: "unsent", text: "Kept here until there is a connection" };
    case "sent":
      return { ...SOMEWHERE, step: "saving", text: "Saving" };
    case "stored":
      return { ...SOMEWHERE, step: "stored", text: "Stored" };
    case "failed": {
      const { error } = entry;
      return {
        ...SOMEWHERE,
        step: "failed",
        text: "Not sent",
        reason: error?.message ?? null,
        code: error?.code ?? null,
        canRetry: true,
      };
    }
  }
}

/** The way of a stored message of a person; null: no such message. */
export function wayOf(state: PageState, thread: Thread, messageId: string): Way | null {
  const message = messageOf(thread, messageId);
  if (message === undefined) return null;
  const run = runOf(thread, message);
  return run === undefined ? wayOfMessage(message) : wayOfRun(state, thread, run);
}

/** Of a message without a run, as a fork or an import has them. */
function wayOfMessage(message: Message): Way {
  const { error } = message;
  switch (message.status) {
    case "failed":
      return ended("failed", error?.message ?? null, error?.code ?? null);
    case "aborted":
      return ended("aborted", null, null);
    case "completed":
    case "discarded":
      return { ...SOMEWHERE, step: "done", text: "Done" };
    default:
      return { ...SOMEWHERE, step: "stored", text: "Stored" };
  }
}

function ended(step: "failed" | "aborted", reason: string | null, code: string | null): Way {
  return { ...SOMEWHERE, step, text: step === "failed" ? "Failed" : "Stopped", reason, code, canRetry: true };
}

function wayOfRun(state: PageState, thread: Thread, run: Run): Way {
  const here = { ...SOMEWHERE, deadlineAt: run.deadlineAt, reason: run.deadlineReason, isAway: run.away };
  switch (run.status) {
    case "queued":
      return wayInQueue(thread, run, here);
    case "dispatched":
      return { ...here, step: "sent", text: `Sent to ${bridgeName(state, run.bridgeId)}` };
    case "running":
      return hasSpoken(thread, run)
        ? { ...here, step: "streaming", text: "Answering" }
        : { ...here, step: "started", text: "Started" };
    case "awaiting_input":
      return { ...here, step: "waiting", text: "Waits for you" };
    case "completed":
      return { ...SOMEWHERE, step: "done", text: "Done" };
    case "failed":
      return ended("failed", run.error?.message ?? null, run.error?.code ?? null);
    case "aborted":
      return ended("aborted", null, null);
  }
}

function wayInQueue(thread: Thread, run: Run, here: Omit<Way, "step" | "text">): Way {
  const at = thread.queue.runs.findIndex((queued) => queued.requestId === run.requestId);
  const position = at < 0 ? null : at + 1;
  const behind = activeRun(thread) ? "Another message is being answered" : null;
  const reason = thread.queue.paused ? (thread.queue.reason ?? "The queue is paused") : (run.deadlineReason ?? behind);
  const text = thread.queue.paused ? "Waits: the queue is paused" : `Waits${position === null ? "" : `, number ${position}`}`;
  return { ...here, step: "queued", text, reason, position };
}

function hasSpoken(thread: Thread, run: Run): boolean {
  return messagesOfRun(thread, run.requestId).some((message) => message.role !== "user");
}

function bridgeName(state: PageState, bridgeId: string | null): string {
  const bridge = state.bridges?.find(({ id }) => id === bridgeId);
  return bridge === undefined || bridge.inProcess ? "the agent" : `the bridge ${bridge.name}`;
}

/** What is on its way to a conversation, oldest first; null: to new ones. */
export function outboxOf(state: PageState, conversationId: string | null): readonly OutboxEntry[] {
  const entries = [...state.outbox.values()].filter((entry) => entry.conversationId === conversationId);
  return entries.sort((a, b) => a.createdAt - b.createdAt);
}

// --- prompts ----------------------------------------------------------------------------------------------------

/** What waits for an answer in this conversation, oldest first. */
export function pendingPromptsOf(thread: Thread): readonly Prompt[] {
  const pending = [...thread.prompts.values()].filter((prompt) => prompt.status === "pending");
  return pending.sort((a, b) => compare(a.createdAt, b.createdAt));
}

/** The prompt that asks about this tool call. */
export function promptForTool(thread: Thread, toolUseId: string): Prompt | undefined {
  for (const prompt of thread.prompts.values()) if (prompt.toolUseId === toolUseId) return prompt;
  return undefined;
}

export interface TrayItem {
  readonly prompt: Prompt;
  /** The title of its conversation. */
  readonly title: string;
  readonly escalation: Escalation | null;
}

const trayOf = new WeakMap<ReadonlyMap<string, Prompt>, { of: PageState; items: readonly TrayItem[] }>();

/** All that waits for a person, what ends first before the rest. */
export function promptTray(state: PageState): readonly TrayItem[] {
  const known = trayOf.get(state.prompts);
  if (known?.of.conversations === state.conversations && known.of.escalations === state.escalations) return known.items;
  const items = [...state.prompts.values()].map((prompt) => ({
    prompt,
    title: state.conversations.get(prompt.conversationId)?.conversation.title ?? "",
    escalation: state.escalations.get(prompt.id) ?? null,
  }));
  items.sort((a, b) => compare(urgency(a), urgency(b)) || compare(a.prompt.createdAt, b.prompt.createdAt));
  trayOf.set(state.prompts, { of: state, items });
  return items;
}

function urgency({ prompt }: TrayItem): string {
  return prompt.timeoutAt ?? "9999";
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

// --- the server, bridges and agents -----------------------------------------------------------------------------

export interface ConnectionSentence {
  readonly text: string;
  /** Whether "Retry now" makes sense. */
  readonly canRetry: boolean;
  readonly tone: "ok" | "busy" | "bad";
}

/** How the connection is, in one sentence. */
export function connectionSentence(connection: Connection, now: number): ConnectionSentence {
  const again = connection.retryAt === null ? "" : `, next try in ${inWords(connection.retryAt - now)}`;
  switch (connection.phase) {
    case "live":
      return { text: "Connected", canRetry: false, tone: "ok" };
    case "connecting":
      return { text: "Connecting", canRetry: false, tone: "busy" };
    case "lost": {
      const text = `No connection for ${inWords(now - connection.since)}${again}`;
      return { text, canRetry: true, tone: "bad" };
    }
    case "draining":
      return { text: "The server is restarting", canRetry: true, tone: "busy" };
    case "refused":
      return { text: connection.reason ?? "The server refused the connection", canRetry: true, tone: "bad" };
  }
}

function inWords(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

export interface BridgeFacts {
  readonly kind: "unknown" | "ok" | "none" | "lost" | "agent_missing" | "not_logged_in";
  readonly text: string;
  /** What to run to change it. */
  readonly command: string | null;
}

const ALL_WELL: BridgeFacts = { kind: "ok", text: "", command: null };

/** Whether something can run what is sent (to this conversation), and what to do where nothing can. */
export function bridgeFacts(state: PageState, conversation: Conversation | null = null, origin = ownOrigin()): BridgeFacts {
  if (state.bridges === null) return { kind: "unknown", text: "", command: null };
  const start = `baton bridge --backend ${origin} --token "$TOKEN" --workspace .`;
  const connected = state.bridges.filter((bridge) => bridge.connected);
  const own = state.bridges.find((bridge) => bridge.id === conversation?.bridgeId);
  if (conversation?.bridgeId && !own?.connected) {
    const name = own?.name ?? conversation.bridgeId;
    return { kind: "lost", text: `The bridge ${name} is not connected. Messages wait until it is back.`, command: start };
  }
  if (connected.length === 0) return { kind: "none", text: "No bridge service connected", command: start };
  return agentFacts(own ? [own] : connected, conversation?.agent ?? null);
}

/** Where the page came from; nowhere in tests. */
function ownOrigin(): string {
  return typeof location === "undefined" ? "" : location.origin;
}

function agentFacts(bridges: readonly Bridge[], agentId: string | null): BridgeFacts {
  const offers = bridges.flatMap((bridge) => bridge.agents).filter((agent) => agentId === null || agent.id === agentId);
  if (offers.some((agent) => agent.available)) return ALL_WELL;
  const offer = offers[0];
  if (offer === undefined) {
    return { kind: "agent_missing", text: `No bridge here has the agent ${agentId ?? ""}`.trimEnd(), command: null };
  }
  const text = offer.reason ?? `${offer.title} is not available`;
  return { kind: /log(ged)? ?in|API key/i.test(text) ? "not_logged_in" : "agent_missing", text, command: commandIn(text) };
}

/** The command that a text names between backticks. */
function commandIn(text: string): string | null {
  return /`([^`]+)`/.exec(text)?.[1] ?? null;
}

/** Every agent of every connected bridge. */
export function agentsOf(state: PageState): readonly { readonly agent: Agent; readonly bridge: Bridge }[] {
  const connected = (state.bridges ?? []).filter((bridge) => bridge.connected);
  return connected.flatMap((bridge) => bridge.agents.map((agent) => ({ agent, bridge })));
}

// --- lists and the title ----------------------------------------------------------------------------------------

export interface ProjectGroup {
  readonly project: Project | null;
  readonly entries: readonly ListEntry[];
}

/** Conversations below their projects, most recently changed first; those without one come under null, at the end. */
export function conversationsByProject(
  state: Pick<PageState, "conversations" | "projects">,
  where: { readonly status?: Conversation["status"] } = {},
): readonly ProjectGroup[] {
  const status = where.status ?? "active";
  const entries = [...state.conversations.values()].filter((entry) => entry.conversation.status === status);
  entries.sort((a, b) => compare(b.conversation.updatedAt, a.conversation.updatedAt));
  const projects = state.projects ?? [];
  const known = new Set(projects.map((project) => project.id));
  const of = (id: string) => entries.filter((entry) => entry.conversation.projectId === id);
  const rest = entries.filter(({ conversation: { projectId } }) => projectId === null || !known.has(projectId));
  return [...projects.map((project) => ({ project, entries: of(project.id) })), { project: null, entries: rest }];
}

/** What the page's title counts: questions that wait, and conversations with news. */
export function badgeCount(state: PageState): number {
  let unread = 0;
  for (const entry of state.conversations.values()) {
    const isCounted = entry.isUnread && entry.pendingPrompts === 0 && entry.conversation.status === "active";
    if (isCounted) unread += 1;
  }
  return state.prompts.size + unread;
}

/** The page's title. */
export function titleOf(state: PageState): string {
  const viewed = state.viewing === null ? undefined : state.open.get(state.viewing)?.conversation;
  const name = viewed?.title ? `${viewed.title} · Baton` : "Baton";
  const count = badgeCount(state);
  return count === 0 ? name : `(${count}) ${name}`;
}

/** Blocks of a message by kind, for views that show one. */
export function blocksOf<Kind extends Block["type"]>(message: Message, kind: Kind): readonly Extract<Block, { type: Kind }>[] {
  return message.blocks.filter((block): block is Extract<Block, { type: Kind }> => block.type === kind);
}
