/**
 * What keeps the state true: connects, joins what is open, sends what waits, and asks for what events do not tell.
 *
 * With `socket`, `rest` and `keep` the only part of the page that has effects.
 */
import type { ConversationStateTold, DispatchedAnswer, MessagesAnswer, PromptsAnswer, SendMessage } from "../wire/types";
import { createActions, type Actions } from "./actions";
import { createKeep, type Drafts, type Keep, type Place } from "./keep";
import { initialState, type OutboxEntry, type PageState, type Thread } from "./model";
import type { PageEvent } from "./reduce";
import { failure, isTransient, request, type Answer } from "./rest";
import { createWire, type Listener, type Wire } from "./socket";
import { createStore, type Schedule, type Store } from "./store";

const JOIN_AGAIN_MS = 3000;
const SEND_AGAIN_MS = 3000;
const LEAVE_AFTER_MS = 60_000;
const LEASE_MS = 30_000;
const SEEN_EVERY_MS = 2000;

export interface Baton {
  readonly store: Store;
  readonly actions: Actions;
  readonly drafts: Drafts;
  /** Connects and loads lists; once. */
  start(): void;
  stop(): void;
}

export interface Options {
  readonly place?: Place | null;
  readonly schedule?: Schedule;
  readonly wire?: (listener: Listener) => Wire;
  /** The version of the server that this page was built for; a server of another one makes the page outdated. */
  readonly version?: string;
}

/** The page's client. Nothing happens before `start`. */
export function createBaton(options: Options = {}): Baton {
  const keep = createKeep(options.place === undefined ? browserPlace() : options.place);
  const now = Date.now();
  const kept = { outbox: keep.outbox(), seenSince: keep.seenSince(now) };
  const initial = { ...initialState(now, kept), serverVersion: options.version ?? null };
  const store = createStore(initial, options.schedule);
  const client = new Client(store, keep, options.wire ?? createWire);
  return {
    store,
    actions: client.actions,
    drafts: keep.drafts,
    start: () => client.start(),
    stop: () => client.stop(),
  };
}

/** A browser may forbid even to ask. */
function browserPlace(): Place | null {
  try {
    return globalThis.localStorage;
  } catch {
    return null;
  }
}

/** Up to where that conversation has been seen, by what is known now. */
function seenSeq(state: PageState, conversationId: string): number {
  const thread = state.open.get(conversationId);
  const isSeen = state.viewing === conversationId && state.isPageVisible && thread?.isJoined === true;
  return Math.max(isSeen ? thread.seq : 0, state.seen.get(conversationId) ?? 0);
}

type Sent = Answer<DispatchedAnswer>;

/** See the module. `actions` is what views see of it. */
export class Client {
  readonly wire: Wire;
  readonly actions: Actions;
  private readonly joining = new Set<string>();
  private readonly timers = new Set<ReturnType<typeof setTimeout>>();
  private readonly joinTimers = new Set<string>();
  private readonly leaving = new Map<string, ReturnType<typeof setTimeout>>();
  private readonly holders = new Map<string, number>();
  private readonly waiters = new Map<string, ((sent: Sent) => void)[]>();
  private readonly olderLoads = new Map<string, Promise<boolean>>();
  private readonly asking = new Set<string>();
  private readonly seenSeqs = new Map<string, number>();
  private readonly seenTimers = new Set<string>();
  private isSending = false;
  private sendsAgain = false;
  private known: PageState;
  private unsubscribe: (() => void) | null = null;

  constructor(
    readonly store: Store,
    private readonly keep: Keep,
    makeWire: (listener: Listener) => Wire,
  ) {
    this.known = store.getState();
    this.actions = createActions(this);
    this.wire = makeWire({
      event: (event) => {
        store.enqueue({ type: "wire", ...event });
        if (event.name === "conversation:state") this.followState(event.payload);
      },
      connection: (change) => {
        store.dispatch({ type: "connection", change });
        if (change.phase === "live") this.refresh();
      },
    });
  }

  start(): void {
    if (this.unsubscribe !== null) return;
    this.unsubscribe = this.store.subscribe(() => this.follow());
    addEventListener("visibilitychange", this.onVisibility);
    addEventListener("online", this.onOnline);
    this.onVisibility();
    this.wire.connect();
  }

  stop(): void {
    this.unsubscribe?.();
    this.unsubscribe = null;
    removeEventListener("visibilitychange", this.onVisibility);
    removeEventListener("online", this.onOnline);
    for (const timer of [...this.timers, ...this.leaving.values()]) clearTimeout(timer);
    this.wire.disconnect();
  }

  dispatch(event: PageEvent): void {
    this.store.dispatch(event);
  }

  private readonly onVisibility = (): void => {
    this.dispatch({ type: "visibility", isVisible: document.visibilityState === "visible" });
  };

  /** A network that is back is tried at once. */
  private readonly onOnline = (): void => {
    if (this.store.getState().connection.phase !== "refused") this.wire.connect();
  };

  private later(ms: number, act: () => void): void {
    const timer = setTimeout(() => {
      this.timers.delete(timer);
      act();
    }, ms);
    this.timers.add(timer);
  }

  // --- following the state ---

  private follow(): void {
    const state = this.store.getState();
    const before = this.known;
    this.known = state;
    if (state.outbox !== before.outbox) this.keep.keepOutbox(state.outbox.values());
    if (state.connection.phase !== "live") return;
    for (const thread of state.open.values()) if (thread.needsJoin) this.join(thread);
    if (state.outbox !== before.outbox || state.connection !== before.connection) void this.sendWaiting();
    if (state.viewing !== null) {
      // What is left now is told now: there may be no later.
      if (before.isPageVisible && !state.isPageVisible) this.seenTimers.delete(state.viewing);
      this.tellSeen(state.viewing);
    }
  }

  /** What no event has told while the connection was away. */
  private refresh(): void {
    void this.actions.me();
    void this.loadPending(null);
    void this.actions.health();
    void this.actions.loadProjects();
    void this.actions.loadConversations({});
  }

  private join(thread: Thread): void {
    const { conversationId, joinAfter } = thread;
    if (this.joining.has(conversationId)) return;
    const wait = (joinAfter ?? 0) - Date.now();
    if (wait > 0) {
      this.joinLater(conversationId, wait);
      return;
    }
    this.joining.add(conversationId);
    const after = thread.epoch !== null && thread.seq > 0 ? thread.seq : null;
    const payload = after === null ? { conversationId } : { conversationId, after, epoch: thread.epoch };
    this.wire.ask("join-conversation", payload, (answer) => {
      this.joining.delete(conversationId);
      if (answer.ok) {
        this.store.enqueue({ type: "joined", conversationId, after, snapshot: answer });
      } else {
        const joinAfter = isTransient(answer.error) ? Date.now() + JOIN_AGAIN_MS : null;
        this.store.enqueue({ type: "joinFailed", conversationId, error: answer.error, joinAfter });
      }
    });
  }

  private joinLater(conversationId: string, ms: number): void {
    if (this.joinTimers.has(conversationId)) return;
    this.joinTimers.add(conversationId);
    this.later(ms, () => {
      this.joinTimers.delete(conversationId);
      const thread = this.store.getState().open.get(conversationId);
      if (thread?.needsJoin && this.wire.isLive()) this.join(thread);
    });
  }

  /** Only people in its room are told a conversation's prompts; for others this asks. */
  private followState(told: ConversationStateTold): void {
    const state = this.store.getState();
    const { conversationId } = told;
    if (!state.conversations.has(conversationId)) void this.loadConversation(conversationId);
    if (state.open.get(conversationId)?.isJoined) return;
    const waiting = [...state.prompts.values()].filter((prompt) => prompt.conversationId === conversationId).length;
    if (waiting !== told.pendingPrompts) void this.loadPending(conversationId);
  }

  /** Tells the server up to where a conversation has been seen: at once, and then every two seconds at most. */
  private tellSeen(conversationId: string): void {
    const seq = seenSeq(this.store.getState(), conversationId);
    const isTold = seq <= (this.seenSeqs.get(conversationId) ?? 0);
    if (isTold || this.seenTimers.has(conversationId) || !this.wire.isLive()) return;
    this.seenSeqs.set(conversationId, seq);
    this.seenTimers.add(conversationId);
    this.wire.ask("conversation:seen", { conversationId, seq }, (answer) => {
      if (!answer.ok && isTransient(answer.error)) this.seenSeqs.delete(conversationId);
    });
    this.later(SEEN_EVERY_MS, () => {
      this.seenTimers.delete(conversationId);
      this.tellSeen(conversationId);
    });
  }

  // --- open conversations ---

  /** Joins, and stays so until as many have closed it as have opened it, and a while longer. */
  open(conversationId: string): void {
    clearTimeout(this.leaving.get(conversationId));
    this.leaving.delete(conversationId);
    this.holders.set(conversationId, (this.holders.get(conversationId) ?? 0) + 1);
    this.dispatch({ type: "opened", conversationId });
  }

  close(conversationId: string): void {
    const holders = (this.holders.get(conversationId) ?? 1) - 1;
    this.holders.set(conversationId, holders);
    if (holders > 0) return;
    this.holders.delete(conversationId);
    const timer = setTimeout(() => this.leave(conversationId), LEAVE_AFTER_MS);
    this.leaving.set(conversationId, timer);
  }

  private leave(conversationId: string): void {
    this.leaving.delete(conversationId);
    this.wire.ask("leave-conversation", { conversationId }, () => undefined);
    this.seenSeqs.delete(conversationId);
    this.dispatch({ type: "closed", conversationId });
  }

  /** Loads a page of older messages; whether something came. Who asks while one is under way waits for that one. */
  loadOlder(conversationId: string, before: number | null, limit: number): Promise<boolean> {
    const key = `${conversationId} ${before}`;
    const underWay = this.olderLoads.get(key);
    if (underWay !== undefined) return underWay;
    const load = this.fetchOlder(conversationId, before, limit, () => this.olderLoads.delete(key));
    this.olderLoads.set(key, load);
    return load;
  }

  private async fetchOlder(conversationId: string, before: number | null, limit: number, onAnswer: () => void): Promise<boolean> {
    this.dispatch({ type: "olderAsked", conversationId });
    const answer = await request<MessagesAnswer>(
      "GET",
      `/api/chat/conversations/${conversationId}/messages?limit=${limit}${before === null ? "" : `&before=${before}`}`,
    );
    onAnswer(); // before it is told: whoever hears of it may ask for the next page at once
    if (answer.ok) {
      const { messages, runs, next } = answer;
      this.dispatch({ type: "older", conversationId, before, messages, runs, next });
      return messages.length > 0;
    }
    this.dispatch({ type: "olderFailed", conversationId, error: answer.error });
    return false;
  }

  // --- sending ---

  /** Takes the message into the outbox; the promise tells its end, which may be after a reconnect. */
  send(message: SendMessage): Promise<Sent> {
    const sent = this.whenSent(message.requestId);
    this.dispatch({ type: "sendAsked", message });
    return sent;
  }

  private whenSent(requestId: string): Promise<Sent> {
    return new Promise((resolve) => {
      this.waiters.set(requestId, [...(this.waiters.get(requestId) ?? []), resolve]);
    });
  }

  /** Tries a refused message once more, with the same requestId. */
  resend(requestId: string): Promise<Sent> {
    const sent = this.whenSent(requestId);
    this.dispatch({ type: "sendPostponed", requestId });
    return sent;
  }

  discard(requestId: string): void {
    this.dispatch({ type: "sendDropped", requestId });
    this.settle(requestId, failure("discarded", "The message was taken back before it was sent"));
  }

  private settle(requestId: string, sent: Sent): void {
    for (const resolve of this.waiters.get(requestId) ?? []) resolve(sent);
    this.waiters.delete(requestId);
  }

  /** One after the other, so that they arrive in the order in which they were written. */
  private async sendWaiting(): Promise<void> {
    if (this.isSending || this.sendsAgain) return;
    this.isSending = true;
    try {
      for (let entry = this.nextWaiting(); entry; entry = this.nextWaiting()) {
        if (!(await this.sendOne(entry))) {
          this.sendsAgain = true;
          this.later(SEND_AGAIN_MS, () => {
            this.sendsAgain = false;
            void this.sendWaiting();
          });
          return;
        }
      }
    } finally {
      this.isSending = false;
    }
  }

  private nextWaiting(): OutboxEntry | undefined {
    if (!this.wire.isLive()) return undefined;
    const waiting = [...this.store.getState().outbox.values()].filter((entry) => entry.status === "waiting");
    return waiting.sort((a, b) => a.createdAt - b.createdAt)[0];
  }

  /** Whether it has its end, and the next one can go. */
  private async sendOne({ requestId, message }: OutboxEntry): Promise<boolean> {
    this.dispatch({ type: "sendBegun", requestId });
    const answer = await new Promise<Sent>((resolve) => {
      this.wire.ask("chat:send-message", message, resolve);
    });
    if (!answer.ok && isTransient(answer.error)) {
      this.dispatch({ type: "sendPostponed", requestId });
      return false;
    }
    this.dispatch(answer.ok ? { type: "sendStored", sent: answer } : { type: "sendRefused", requestId, error: answer.error });
    this.settle(requestId, answer);
    return true;
  }

  // --- loading ---

  /** Runs `load` unless it runs already under this name. */
  private async once(name: string, load: () => Promise<void>): Promise<void> {
    if (this.asking.has(name)) return;
    this.asking.add(name);
    try {
      await load();
    } finally {
      this.asking.delete(name);
    }
  }

  private loadPending(conversationId: string | null): Promise<void> {
    const path =
      conversationId === null
        ? "/api/chat/prompts?status=pending"
        : `/api/chat/conversations/${conversationId}/prompts/pending`;
    return this.once(path, async () => {
      const answer = await request<PromptsAnswer>("GET", path);
      if (answer.ok) this.dispatch({ type: "pendingPrompts", conversationId, prompts: answer.prompts });
    });
  }

  private loadConversation(id: string): Promise<void> {
    return this.once(id, async () => {
      await this.actions.loadConversation(id);
    });
  }

  // --- prompts ---

  /** Holds a prompt's deadline up while somebody looks at it; until what it gives back is called. */
  holdPrompt(promptId: string): () => void {
    const look = (): void => {
      const { isPageVisible } = this.store.getState();
      if (isPageVisible && this.wire.isLive()) this.wire.ask("prompt:seen", { promptId }, () => undefined);
    };
    look();
    const timer = setInterval(look, LEASE_MS);
    return () => clearInterval(timer);
  }
}
