/** What the page knows of all conversations: lists, badges, the prompt tray. Pure. */
import type { Conversation, ConversationStateTold, Project, Prompt } from "../wire/types";
import { filtered, withEntries, withEntry, withoutEntry } from "./maps";
import type { ListEntry, PageState } from "./model";
import { withPrompts } from "./thread";

/** Under which key `PageState.lists` keeps how far a list has been loaded. */
export function listKey(where: { projectId?: string | undefined; status?: string | undefined } = {}): string {
  return `${where.projectId ?? ""}/${where.status ?? "active"}`;
}

/** The state with these conversations as the server tells them. */
export function withConversations(state: PageState, told: readonly Conversation[]): PageState {
  const entries = told.map((conversation) => [conversation.id, entryOf(state, conversation)] as const);
  return withThreadConversations({ ...state, conversations: withEntries(state.conversations, entries) }, told);
}

/**
 * The state without entries that a first page should have and has not: they went while the connection was away.
 * What is older than the page's last one may still come with the next page.
 */
export function withoutGone(
  state: PageState,
  page: { readonly key: string; readonly conversations: readonly Conversation[]; readonly next: string | null },
): PageState {
  const listed = new Set(page.conversations.map(({ id }) => id));
  const floor = page.next === null ? "" : (page.conversations.at(-1)?.updatedAt ?? "");
  const conversations = filtered(state.conversations, ({ conversation }) => {
    const { id, projectId, status, updatedAt } = conversation;
    const belongs = page.key === listKey({ status }) || page.key === listKey({ projectId: projectId ?? undefined, status });
    return listed.has(id) || state.open.has(id) || !belongs || updatedAt < floor;
  });
  return { ...state, conversations };
}

/** The state after `conversation:state`. Of one that is not in the list, the client asks for the rest. */
export function withState(state: PageState, told: ConversationStateTold): PageState {
  const known = state.conversations.get(told.conversationId);
  if (known === undefined) return state;
  const { projectId, title, updatedAt } = told;
  const seq = Math.max(known.conversation.seq, told.seq);
  const conversation = { ...known.conversation, projectId, title, updatedAt, seq, state: told.state };
  const entry = { conversation, state: told.state, pendingPrompts: told.pendingPrompts, isUnread: known.isUnread };
  const conversations = withEntry(state.conversations, told.conversationId, entry);
  const next = withSeen({ ...state, conversations }, told.conversationId);
  return told.pendingPrompts > 0 ? next : withPendingOf(next, told.conversationId, []);
}

/** The state without a conversation that was deleted, but for what is needed to bring it back. */
export function withDeleted(state: PageState, conversationId: string): PageState {
  const entry = state.conversations.get(conversationId);
  const conversation = entry?.conversation ?? state.open.get(conversationId)?.conversation;
  const next = withPendingOf(state, conversationId, []);
  return conversation ? withConversations(next, [{ ...conversation, status: "deleted" }]) : next;
}

/** The state with a project as it is now, the newest first; before they are loaded, all will come at once. */
export function withProject(state: PageState, project: Project): PageState {
  if (state.projects === null) return state;
  const others = state.projects.filter(({ id }) => id !== project.id);
  const projects = [...others, project].sort((a, b) => (a.createdAt === b.createdAt ? 0 : a.createdAt < b.createdAt ? 1 : -1));
  return { ...state, projects };
}

/** The state without a project. Its conversations are shown without one. */
export function withoutProject(state: PageState, projectId: string): PageState {
  return state.projects === null ? state : { ...state, projects: state.projects.filter(({ id }) => id !== projectId) };
}

/** The state in which `conversationId` is on the screen; null: none. */
export function withViewing(state: PageState, conversationId: string | null): PageState {
  if (state.viewing === conversationId) return conversationId === null ? state : withSeen(state, conversationId);
  const next = { ...withLooked(state), viewing: conversationId };
  return conversationId === null ? next : withSeen(next, conversationId);
}

/** The state in which the page is visible, or is not. */
export function withVisibility(state: PageState, isVisible: boolean): PageState {
  return withLooked({ ...withLooked(state), isPageVisible: isVisible });
}

/** The state in which what is on the screen is noted as seen: it grows meanwhile, and no delta notes it. */
function withLooked(state: PageState): PageState {
  return state.viewing === null ? state : withSeen(state, state.viewing);
}

/** The state with marks of the server; one that is less far than what is known here is older. */
export function withMarks(state: PageState, marks: Readonly<Record<string, number>>): PageState {
  const further = Object.entries(marks).filter(([id, seq]) => seq > (state.seen.get(id) ?? -1));
  const next = { ...state, seen: withEntries(state.seen, further) };
  return further.reduce((before, [id]) => withSeen(before, id), next);
}

/** Notes what is looked at as seen, and tells of one entry whether it is unread. */
export function withSeen(state: PageState, conversationId: string): PageState {
  const entry = state.conversations.get(conversationId);
  if (entry === undefined) return state;
  const isSeen = state.viewing === conversationId && state.isPageVisible;
  const reached = Math.max(entry.conversation.seq, state.open.get(conversationId)?.seq ?? 0, state.seen.get(conversationId) ?? 0);
  const seen = isSeen ? withEntry(state.seen, conversationId, reached) : state.seen;
  const isUnread = !isSeen && isUnreadEntry({ ...state, seen }, entry);
  const changed = isUnread === entry.isUnread ? entry : { ...entry, isUnread };
  return { ...state, seen, conversations: withEntry(state.conversations, conversationId, changed) };
}

/** The state whose tray has `prompts` as those that wait in one conversation; null: as all there are. */
export function withPendingOf(
  state: PageState,
  conversationId: string | null,
  prompts: readonly Prompt[],
): PageState {
  const others = filtered(state.prompts, (prompt) => conversationId !== null && prompt.conversationId !== conversationId);
  const pending = prompts.filter((prompt) => prompt.status === "pending");
  if (others.size === state.prompts.size && pending.length === 0) return state;
  return withTray(state, withEntries(others, pending.map((prompt) => [prompt.id, prompt] as const)));
}

/** The state with one prompt as it is now, in the tray and in its thread. */
export function withPrompt(state: PageState, prompt: Prompt): PageState {
  const known = state.prompts.get(prompt.id);
  const thread = state.open.get(prompt.conversationId);
  const ended = thread?.prompts.get(prompt.id);
  const isOld = (known?.seq ?? -1) > prompt.seq || (ended?.seq ?? -1) > prompt.seq;
  if (isOld) return state;
  const prompts =
    prompt.status === "pending" ? withEntry(state.prompts, prompt.id, prompt) : withoutEntry(state.prompts, prompt.id);
  const next = prompts === state.prompts ? state : withTray(state, prompts);
  if (thread === undefined) return next;
  return { ...next, open: withEntry(next.open, thread.conversationId, withPrompts(thread, [prompt])) };
}

/** The state with another tray; escalations of what no longer waits go with it. */
function withTray(state: PageState, prompts: ReadonlyMap<string, Prompt>): PageState {
  const escalations = filtered(state.escalations, (_, id) => prompts.has(id));
  return { ...state, prompts, escalations, conversations: withCounts(state, prompts) };
}

/** Entries count their prompts: a list from REST does not say how many wait. */
function withCounts(state: PageState, prompts: ReadonlyMap<string, Prompt>): ReadonlyMap<string, ListEntry> {
  const touched = new Set([...state.prompts.values(), ...prompts.values()].map((prompt) => prompt.conversationId));
  const entries = [...touched].flatMap((id) => {
    const entry = state.conversations.get(id);
    const pendingPrompts = countOf(prompts, id);
    return entry && entry.pendingPrompts !== pendingPrompts ? [[id, { ...entry, pendingPrompts }] as const] : [];
  });
  return withEntries(state.conversations, entries);
}

function countOf(prompts: ReadonlyMap<string, Prompt>, conversationId: string): number {
  let count = 0;
  for (const prompt of prompts.values()) if (prompt.conversationId === conversationId) count += 1;
  return count;
}

function entryOf(state: PageState, conversation: Conversation): ListEntry {
  const known = state.conversations.get(conversation.id);
  const pendingPrompts = known?.pendingPrompts ?? countOf(state.prompts, conversation.id);
  const entry = { conversation, state: conversation.state, pendingPrompts, isUnread: false };
  const isSeen = state.viewing === conversation.id && state.isPageVisible;
  return { ...entry, isUnread: !isSeen && isUnreadEntry(state, entry) };
}

/** What still works is not unread: it says so itself. */
function isUnreadEntry(state: PageState, entry: ListEntry): boolean {
  if (entry.state === "running" || entry.state === "queued") return false;
  const { id, seq, updatedAt } = entry.conversation;
  const seen = state.seen.get(id);
  return seen === undefined ? updatedAt > state.seenSince : seq > seen;
}

function withThreadConversations(state: PageState, told: readonly Conversation[]): PageState {
  const threads = told.flatMap((conversation) => {
    const thread = state.open.get(conversation.id);
    return thread?.conversation ? [[conversation.id, { ...thread, conversation }] as const] : [];
  });
  return threads.length === 0 ? state : { ...state, open: withEntries(state.open, threads) };
}
