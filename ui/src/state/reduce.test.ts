/** Rules of the reducer that the golden files do not hold: sharing, lists, prompts, the outbox. */
import { describe, expect, it } from "vitest";
import { initialState, messageOf, type PageState, type Thread } from "./model";
import { after, AT, bridge, conversation, HERE, joined, message, NOW, prompt, run, snapshot, THERE, told, wire } from "./samples";

const LATER = "2026-01-02T03:05:00.000Z";
const refused = { code: "conflict", message: "No", retryable: false };

function thread(state: PageState): Thread {
  return state.open.get(HERE) as Thread;
}

function stateTold(fields: object = {}) {
  const payload = { conversationId: HERE, projectId: null, title: "T", state: "idle" as const, pendingPrompts: 0, updatedAt: LATER, seq: 9 };
  return wire({ name: "conversation:state", payload: { ...payload, ...fields } });
}

describe("an event touches only what it changes", () => {
  const begun = after(
    joined({ messages: [message({ id: "old" })], seq: 1 }),
    told(2, { type: "message.started", messageId: "new", ordinal: 2 }),
  );
  const state = after(begun, told(3, { type: "text.delta", messageId: "new", block: 0, offset: 0, text: "a" }));

  it("leaves settled messages, ids, runs, prompts and lists as they are", () => {
    for (const part of ["settled", "ids", "runs", "prompts", "queue", "conversation"] as const) {
      expect(thread(state)[part]).toBe(thread(begun)[part]);
    }
    for (const part of ["conversations", "prompts", "outbox", "bridges", "connection"] as const) {
      expect(state[part]).toBe(begun[part]);
    }
  });

  it("makes the message that grew new, and keeps its earlier blocks", () => {
    const grown = after(state, told(4, { type: "tool.started", messageId: "new", block: 1, id: "t", name: "Bash", kind: "execute", title: "" }));
    expect(messageOf(thread(grown), "new")).not.toBe(messageOf(thread(state), "new"));
    expect(messageOf(thread(grown), "new")?.blocks[0]).toBe(messageOf(thread(state), "new")?.blocks[0]);
  });

  it("gives the same state for an event that is skipped", () => {
    expect(after(state, told(3, { type: "text.delta", messageId: "new", block: 0, offset: 0, text: "a" }))).toBe(state);
  });
});

describe("a message that came whole in the middle of a stream", () => {
  const whole = message({ id: "m", status: "streaming", content: "", seq: 5, blocks: [{ type: "text", text: "abc" }] });

  it("grows where its text ends, also where an empty block before it was left out", () => {
    const state = after(
      joined({ seq: 5, messages: [whole] }),
      told(6, { type: "text.delta", messageId: "m", block: 1, offset: 3, text: "d" }),
      told(7, { type: "text.delta", messageId: "m", block: 1, offset: 4, text: "e" }),
      told(8, { type: "text.delta", messageId: "m", block: 2, offset: 0, text: "f" }),
    );
    expect(messageOf(thread(state), "m")?.blocks).toEqual([
      { type: "text", text: "abcde" },
      { type: "text", text: "f" },
    ]);
    expect(thread(state).needsJoin).toBe(false);
  });

  it("must join again where no block fits", () => {
    const state = after(joined({ seq: 5, messages: [whole] }), told(6, { type: "text.delta", messageId: "m", block: 1, offset: 2, text: "d" }));
    expect(thread(state).needsJoin).toBe(true);
    expect(thread(state).seq).toBe(5);
  });
});

describe("what an agent says beside its messages", () => {
  it("is kept with its run", () => {
    const usage = { inputTokens: 1, outputTokens: 2, cacheReadTokens: 0, cacheWriteTokens: 0 };
    const state = after(
      joined({ runs: [run()] }),
      told(2, { type: "plan.updated", entries: [{ text: "Dig", status: "pending" }] }, { type: "usage.updated", usage }),
      told(3, { type: "notice", level: "warning", text: "Busy" }),
    );
    expect(thread(state).runs.get("r1")).toMatchObject({
      seq: 3,
      plan: [{ text: "Dig", status: "pending" }],
      usage,
      notices: [{ level: "warning", text: "Busy" }],
    });
  });

  it("is not said twice where a page of history knew it already", () => {
    const notices = [{ level: "warning", text: "Busy" }];
    const newer = run({ seq: 3, notices });
    const state = after(
      joined({ runs: [run()], messages: [message({ ordinal: 2 })] }),
      { type: "older", conversationId: HERE, before: 2, messages: [message({ id: "m0" })], runs: [newer], next: null },
      told(2, { type: "usage.updated", usage: newer.usage }),
      told(3, { type: "notice", level: "warning", text: "Busy" }),
    );
    expect(thread(state).runs.get("r1")).toEqual(newer);
  });

  it("keeps the newest notices, as many as the server does", () => {
    const many = Array.from({ length: 25 }, (_, at) => told(at + 2, { type: "notice", level: "info", text: `${at}` }));
    const { notices } = thread(after(joined({ runs: [run()] }), ...many)).runs.get("r1") ?? {};
    expect(notices?.map(({ text }) => text)).toEqual(Array.from({ length: 20 }, (_, at) => `${at + 5}`));
  });
});

describe("prompts", () => {
  const opened = wire({ name: "interactive_prompt", payload: { conversationId: HERE, seq: 2, prevSeq: 1, prompt: prompt({ seq: 2 }) } });
  const listed = after(joined(), { type: "listed", key: "/active", isFirst: true, conversations: [conversation()], seen: {}, next: null });

  it("come into the tray and its entry's count, and go when another tab answers", () => {
    const asked = after(listed, opened);
    expect([...asked.prompts.keys()]).toEqual(["p1"]);
    expect(asked.conversations.get(HERE)?.pendingPrompts).toBe(1);
    const answered = prompt({ seq: 3, status: "answered", answeredBy: "ben" });
    const ended = after(asked, wire({ name: "prompt:resolved", payload: { conversationId: HERE, seq: 3, prevSeq: 2, prompt: answered } }));
    expect(ended.prompts.size).toBe(0);
    expect(ended.conversations.get(HERE)?.pendingPrompts).toBe(0);
    expect(thread(ended).prompts.get("p1")?.answeredBy).toBe("ben");
  });

  it("do not come back by a list that is older than what the thread was told", () => {
    const ended = after(listed, opened, { type: "promptTold", prompt: prompt({ seq: 3, status: "answered" }) });
    expect(after(ended, { type: "pendingPrompts", conversationId: null, prompts: [prompt({ seq: 2 })] }).prompts.size).toBe(0);
  });

  it("of other conversations come from the list, and go with their state", () => {
    const other = prompt({ id: "p2", conversationId: THERE });
    const both = after(listed, { type: "listed", key: "/active", isFirst: true, conversations: [conversation({ id: THERE })], seen: {}, next: null }, {
      type: "pendingPrompts",
      conversationId: null,
      prompts: [other],
    });
    expect(both.prompts.has("p2")).toBe(true);
    expect(after(both, stateTold({ conversationId: THERE })).prompts.has("p2")).toBe(false);
  });

  it("take their escalation with them", () => {
    const payload = { conversationId: HERE, promptId: "p1", stage: 1, toolName: null, riskLevel: "HIGH", deadline: null };
    const loud = after(listed, opened, wire({ name: "permission_escalation", payload }));
    expect(loud.escalations.size).toBe(1);
    expect(after(loud, { type: "promptTold", prompt: prompt({ seq: 3, status: "timeout" }) }).escalations.size).toBe(0);
  });
});

describe("unread", () => {
  const listed = after(initialState(NOW, { seenSince: AT }), { type: "listed", key: "/active", isFirst: true, conversations: [conversation()], seen: {}, next: null });

  it("is what changed since this browser came here, where there is no mark", () => {
    expect(listed.conversations.get(HERE)?.isUnread).toBe(false);
    expect(after(listed, stateTold()).conversations.get(HERE)?.isUnread).toBe(true);
  });

  it("is what has a greater seq than the server's mark, whatever this browser has looked at", () => {
    const marked = (seq: number) => after(listed, stateTold(), { type: "listed", key: "/active", isFirst: true, conversations: [conversation({ seq: 9 })], seen: { [HERE]: seq }, next: null });
    expect(marked(8).conversations.get(HERE)?.isUnread).toBe(true);
    expect(marked(9).conversations.get(HERE)?.isUnread).toBe(false);
  });

  it("ends when another tab of the same person has looked", () => {
    const unread = after(listed, stateTold());
    const seen = wire({ name: "conversation:seen", payload: { conversationId: HERE, seq: 9 } });
    expect(after(unread, seen).conversations.get(HERE)?.isUnread).toBe(false);
    expect(after(unread, seen, stateTold({ seq: 10 })).conversations.get(HERE)?.isUnread).toBe(true);
    const older = wire({ name: "conversation:seen", payload: { conversationId: HERE, seq: 2 } });
    expect(after(unread, seen, older).seen.get(HERE)).toBe(9);
  });

  it("is not what came while the conversation was on the screen", () => {
    const thread = after(joined(), { type: "viewing", conversationId: HERE }, told(2, { type: "notice", level: "info", text: "" }));
    const left = after(thread, { type: "viewing", conversationId: null });
    expect(left.seen.get(HERE)).toBe(2);
    expect(after(left, stateTold({ seq: 2 })).conversations.get(HERE)?.isUnread).toBe(false);
  });

  it("is nothing that still works", () => {
    expect(after(listed, stateTold({ state: "running" })).conversations.get(HERE)?.isUnread).toBe(false);
  });

  it("ends when the conversation is on the screen of a visible page", () => {
    const viewed = after(listed, stateTold(), { type: "viewing", conversationId: HERE });
    expect(viewed.conversations.get(HERE)?.isUnread).toBe(false);
    expect(viewed.seen.get(HERE)).toBe(9);
    const hidden = after(listed, { type: "visibility", isVisible: false }, { type: "viewing", conversationId: HERE }, stateTold());
    expect(hidden.conversations.get(HERE)?.isUnread).toBe(true);
    expect(after(hidden, { type: "visibility", isVisible: true }).conversations.get(HERE)?.isUnread).toBe(false);
  });
});

describe("the outbox", () => {
  const send = { type: "sendAsked" as const, message: { requestId: "r9", content: "Hi", conversationId: HERE } };
  const stored = { type: "sendStored" as const, sent: { requestId: "r9", conversationId: HERE, messageId: "m9", status: "dispatched" as const } };
  const own = message({ id: "m9", requestId: "r9", role: "user", seq: 2, ordinal: 2 });
  const arrived = wire({ name: "chat:message", payload: { conversationId: HERE, seq: 2, prevSeq: 1, message: own } });

  it("keeps a message from the click to its place in the thread, whatever comes first", () => {
    const begun = after(joined(), send, { type: "sendBegun", requestId: "r9" });
    expect(begun.outbox.get("r9")?.status).toBe("sent");
    expect(after(begun, stored).outbox.get("r9")?.status).toBe("stored");
    expect(after(begun, stored, arrived).outbox.size).toBe(0);
    expect(after(begun, arrived, stored).outbox.size).toBe(0);
  });

  it("waits again when the connection goes, and keeps why it was refused", () => {
    const begun = after(joined(), send, { type: "sendBegun", requestId: "r9" });
    expect(after(begun, { type: "connection", change: { phase: "lost" } }).outbox.get("r9")?.status).toBe("waiting");
    expect(after(begun, { type: "sendRefused", requestId: "r9", error: refused }).outbox.get("r9")).toMatchObject({ status: "failed", error: refused });
  });

  it("has nothing stored of a conversation that was just told whole", () => {
    const state = after(joined(), send, stored, { type: "joined", conversationId: HERE, after: null, snapshot: snapshot({ seq: 9 }) });
    expect(state.outbox.size).toBe(0);
  });
});

describe("the connection", () => {
  it("that is lost or new makes every open conversation join again", () => {
    const lost = after(joined(), { type: "connection", change: { phase: "lost", retryAt: NOW + 500, attempts: 1 } });
    expect(thread(lost)).toMatchObject({ isJoined: false, needsJoin: true });
    expect(lost.connection).toMatchObject({ phase: "lost", since: NOW, retryAt: NOW + 500, attempts: 1 });
  });

  it("says that the server leaves and when to come back", () => {
    const state = after(joined(), wire({ name: "server:draining", payload: { reconnectAfterMs: 1000 } }));
    expect(state.connection).toMatchObject({ phase: "draining", retryAt: NOW + 1000 });
  });

  it("to a server of another version makes the page outdated", () => {
    const health = { status: "ok", version: "2" } as never;
    expect(after({ ...initialState(NOW), serverVersion: "1" }, { type: "health", health }).isOutdated).toBe(true);
    expect(after(initialState(NOW), { type: "health", health }).isOutdated).toBe(false);
  });
});

describe("lists", () => {
  it("follow what the server tells of conversations and bridges", () => {
    const changed = after(
      joined(),
      wire({ name: "chat:conversation-created", payload: { conversationId: HERE, conversation: conversation() } }),
      wire({ name: "conversation:updated", payload: { conversationId: HERE, conversation: conversation({ title: "New" }) } }),
      wire({ name: "bridge:status", payload: { bridges: [bridge()] } }),
    );
    expect(changed.conversations.get(HERE)?.conversation.title).toBe("New");
    expect(thread(changed).conversation?.title).toBe("New");
    expect(changed.bridges).toHaveLength(1);
    const deleted = after(changed, wire({ name: "conversation:deleted", payload: { conversationId: HERE, projectId: null } }));
    expect(deleted.conversations.get(HERE)?.conversation.status).toBe("deleted");
  });

  it("follow what the server tells of projects", () => {
    const project = (id: string, createdAt: string, name = id) => ({ id, name, workingDirectory: null, userId: "anna", createdAt, updatedAt: createdAt });
    const told = (one: ReturnType<typeof project>) => wire({ name: "project:updated", payload: { project: one } });
    expect(after(initialState(NOW), told(project("a", "1"))).projects).toBeNull();
    const loaded = after(initialState(NOW), { type: "projects", projects: [project("b", "2"), project("a", "1")] });
    const changed = after(loaded, told(project("c", "3")), told(project("a", "1", "Park")));
    expect(changed.projects?.map(({ name }) => name)).toEqual(["c", "b", "Park"]);
    const deleted = after(changed, wire({ name: "project:deleted", payload: { projectId: "b" } }));
    expect(deleted.projects?.map(({ id }) => id)).toEqual(["c", "a"]);
  });

  it("know how far they are loaded", () => {
    const state = after(initialState(NOW), { type: "listAsked", key: "k" }, { type: "listed", key: "k", isFirst: true, conversations: [], seen: {}, next: "c" });
    expect(state.lists.get("k")).toEqual({ next: "c", isLoading: false, error: null });
  });

  it("lose with a first page what went while the connection was away, and nothing that may be on the next one", () => {
    const told = ["a", "b", "c"].map((id, at) => conversation({ id, updatedAt: `2026-01-0${3 - at}` }));
    const state = after(initialState(NOW), { type: "conversationsTold", conversations: told });
    const page = { type: "listed" as const, key: "/active", isFirst: true, conversations: told.slice(1, 2), seen: {} };
    expect([...after(state, { ...page, next: "more" }).conversations.keys()].sort()).toEqual(["b", "c"]);
    expect([...after(state, { ...page, next: null }).conversations.keys()]).toEqual(["b"]);
    expect([...after(state, { ...page, next: null, isFirst: false }).conversations.keys()].sort()).toEqual(["a", "b", "c"]);
  });

  it("show the mode that was changed", () => {
    const state = after(
      joined(),
      { type: "conversationsTold", conversations: [conversation()] },
      wire({ name: "permission_mode_changed", payload: { conversationId: HERE, seq: 2, prevSeq: 1, mode: "plan", by: "ben" } }),
    );
    expect(state.conversations.get(HERE)?.conversation.permissionMode).toBe("plan");
    expect(thread(state).conversation?.permissionMode).toBe("plan");
  });
});

describe("a join that fails", () => {
  it("is tried again where that may help, and not where there is no such conversation", () => {
    const opened = after(initialState(NOW), { type: "opened", conversationId: HERE });
    const gone = after(opened, { type: "joinFailed", conversationId: HERE, error: refused, joinAfter: null });
    expect(thread(gone)).toMatchObject({ needsJoin: false, joinError: refused });
    const later = after(opened, { type: "joinFailed", conversationId: HERE, error: refused, joinAfter: NOW + 5 });
    expect(thread(later)).toMatchObject({ needsJoin: true, joinAfter: NOW + 5 });
  });
});

describe("runs", () => {
  it("change with their queue", () => {
    const queue = { paused: true, reason: "A run failed", runs: [run({ requestId: "r2", status: "queued" })] };
    const state = after(joined(), wire({ name: "chat:run", payload: { conversationId: HERE, seq: 2, prevSeq: 1, run: run({ status: "failed" }), queue } }));
    expect(thread(state).runs.get("r1")?.status).toBe("failed");
    expect(thread(state).queue).toEqual(queue);
  });

  it("that were open here and are in no whole snapshot of the same history are forgotten; ended ones stay", () => {
    const before = joined({ runs: [run({ requestId: "a", status: "completed" }), run({ requestId: "b" })] });
    const state = after(before, { type: "joined", conversationId: HERE, after: 1, snapshot: snapshot({ seq: 9, truncated: true }) });
    expect([...thread(state).runs.keys()]).toEqual(["a"]);
  });
});

describe("answers that cross events", () => {
  it("leave a message alone that a page of history has brought in a newer version", () => {
    const live = message({ id: "m0", status: "streaming", content: "", seq: 5, ordinal: 1, blocks: [{ type: "text", text: "abc" }] });
    const state = after(
      joined({ seq: 3, messages: [message({ id: "m1", ordinal: 2 })] }),
      { type: "older", conversationId: HERE, before: 2, messages: [live], runs: [], next: null },
      told(4, { type: "text.delta", messageId: "m0", block: 0, offset: 1, text: "b" }),
      told(5, { type: "text.delta", messageId: "m0", block: 0, offset: 2, text: "?" }),
      told(6, { type: "text.delta", messageId: "m0", block: 0, offset: 3, text: "d" }),
    );
    expect(thread(state)).toMatchObject({ seq: 6, needsJoin: false });
    expect(messageOf(thread(state), "m0")?.blocks).toEqual([{ type: "text", text: "abcd" }]);
  });

  it("keep nothing of another epoch, ended or not", () => {
    const before = joined({ runs: [run({ status: "completed" })], prompts: [prompt({ status: "answered" })] });
    const state = after(before, { type: "joined", conversationId: HERE, after: 1, snapshot: snapshot({ epoch: "other", seq: 9 }) });
    expect(thread(state).runs.size).toBe(0);
    expect(thread(state).prompts.size).toBe(0);
  });

  it("take nothing from a join that was answered late, after a later one", () => {
    const known = after(joined({ seq: 5 }), told(6));
    const state = after(known, { type: "joined", conversationId: HERE, after: 2, snapshot: snapshot({ seq: 4 }) });
    expect(thread(state).seq).toBe(6);
  });
});
