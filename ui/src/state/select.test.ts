/** What views read: words and facts. */
import { describe, expect, it } from "vitest";
import type { Message } from "../wire/types";
import { initialState, type PageState, type Thread } from "./model";
import { after, bridge, conversation, HERE, joined, message, NOW, prompt, run, told } from "./samples";
import * as select from "./select";

function thread(state: PageState): Thread {
  return state.open.get(HERE) as Thread;
}

describe("messages", () => {
  const state = joined({
    messages: [
      message({ id: "u", role: "user", ordinal: 1 }),
      message({ id: "a", ordinal: 2, model: "m", usage: { inputTokens: 1, outputTokens: 2, cacheReadTokens: 0, cacheWriteTokens: 0 } }),
      message({ id: "d", ordinal: 3, status: "discarded" }),
      message({ id: "s", ordinal: 4, parentToolUseId: "t1" }),
      message({ id: "z", ordinal: 5 }),
    ],
  });

  it("are shown without discarded ones and sub-agents' own", () => {
    expect(select.visibleIds(thread(state))).toEqual(["u", "a", "z"]);
    expect(select.childIds(thread(state), "t1")).toEqual(["s"]);
    expect(select.childIds(thread(state), "t2")).toEqual([]);
  });

  it("are the same list while deltas come, and another one when a message is taken back", () => {
    const begun = after(state, told(2, { type: "message.started", messageId: "n", ordinal: 6 }));
    const grown = after(begun, told(3, { type: "text.delta", messageId: "n", block: 0, offset: 0, text: "x" }));
    expect(select.visibleIds(thread(grown))).toBe(select.visibleIds(thread(begun)));
    const taken = after(grown, told(4, { type: "message.discarded", messageId: "n" }));
    expect(select.visibleIds(thread(taken))).not.toContain("n");
  });

  it("are counted behind an ordinal", () => {
    expect(select.messagesAfter(thread(state), 1)).toBe(2);
    expect(select.messagesAfter(thread(state), 5)).toBe(0);
  });

  it("have the text of their blocks while they grow", () => {
    const blocks = [{ type: "text" as const, text: "a" }, { type: "thinking" as const, text: "b" }, { type: "text" as const, text: "c" }];
    expect(select.contentOf(message({ status: "streaming", content: "", blocks }))).toBe("a\n\nc");
    expect(select.contentOf(message({ content: "whole" }))).toBe("whole");
  });

  it("end their run at the last visible one", () => {
    expect(select.isLastOfRun(thread(state), "z")).toBe(true);
    expect(select.isLastOfRun(thread(state), "a")).toBe(false);
  });
});

describe("the facts of a run", () => {
  const usage = { inputTokens: 1, outputTokens: 2, cacheReadTokens: 3, cacheWriteTokens: 4 };

  it("are the run's own where it is known", () => {
    const ended = run({ status: "completed", model: "m", usage, costUsd: 0.5, finishedAt: "2026-01-02T03:04:07.000Z" });
    expect(select.runFacts(thread(joined({ runs: [ended] })), "r1")).toMatchObject({ ...usage, model: "m", costUsd: 0.5, durationMs: 2000 });
  });

  it("are those told last while it works", () => {
    const state = after(joined({ runs: [run()] }), told(2, { type: "usage.updated", usage }));
    expect(select.runFacts(thread(state), "r1")).toMatchObject({ ...usage, costUsd: null, durationMs: null });
  });

  it("are none where the message belongs to no run", () => {
    expect(select.runFacts(thread(joined({ messages: [message({ requestId: null })] })), "r1")).toBeNull();
  });
});

describe("a message's way", () => {
  const own = message({ id: "u", role: "user", status: "sending" });
  const way = (fields: Parameters<typeof run>[0], more: Partial<Thread["queue"]> = {}, answers: readonly Message[] = []) => {
    const its = run(fields);
    const runs = its.status === "queued" ? [its] : [];
    const state = joined({ messages: [own, ...answers], runs: [its], queue: { paused: false, runs, ...more } });
    return select.wayOf(state, thread(state), "u");
  };

  it("names each step", () => {
    expect(way({ status: "dispatched" })).toMatchObject({ step: "sent", text: "Sent to the agent" });
    // The message that asked is one of the run's own.
    expect(way({ status: "running", messageIds: ["u"] })).toMatchObject({ step: "started", text: "Started" });
    const answer = message({ id: "a", ordinal: 2, status: "streaming" });
    expect(way({ status: "running", messageIds: ["u"] }, {}, [answer])).toMatchObject({ step: "streaming" });
    expect(way({ status: "awaiting_input" })).toMatchObject({ step: "waiting", text: "Waits for you" });
    expect(way({ status: "completed" })).toMatchObject({ step: "done", canRetry: false });
    expect(way({ status: "aborted" })).toMatchObject({ step: "aborted", canRetry: true });
  });

  it("says where in the queue it is, and why", () => {
    expect(way({ status: "queued", deadlineReason: "No bridge" })).toMatchObject({ step: "queued", position: 1, reason: "No bridge" });
    expect(way({ status: "queued" }, { paused: true, reason: "A run failed" })).toMatchObject({ text: "Waits: the queue is paused", reason: "A run failed" });
  });

  it("says why it failed, also of a message without a run, as a fork has them", () => {
    const error = { code: "agent_failed", message: "It broke", retryable: true };
    expect(way({ status: "failed", error })).toMatchObject({ step: "failed", reason: "It broke", code: "agent_failed", canRetry: true });
    const state = joined({ messages: [message({ id: "u", role: "user", status: "failed", error })] });
    expect(select.wayOf(state, thread(state), "u")).toMatchObject({ step: "failed", reason: "It broke", canRetry: true });
  });

  it("says that it is kept, saved or refused before the server has it", () => {
    const entry = { requestId: "r", message: { requestId: "r", content: "x" }, error: null, conversationId: HERE, messageId: null, createdAt: 1 };
    expect(select.wayOfOutbox({ ...entry, status: "waiting" }).step).toBe("unsent");
    expect(select.wayOfOutbox({ ...entry, status: "sent" }).step).toBe("saving");
    const error = { code: "too_large", message: "Too long", retryable: false };
    expect(select.wayOfOutbox({ ...entry, status: "failed", error })).toMatchObject({ step: "failed", reason: "Too long" });
  });
});

describe("the state of things in words", () => {
  const base = initialState(NOW).connection;

  it("tells of the connection", () => {
    expect(select.connectionSentence({ ...base, phase: "live" }, NOW)).toEqual({ text: "Connected", canRetry: false, tone: "ok" });
    const lost = { ...base, phase: "lost" as const, retryAt: NOW + 63_000 };
    expect(select.connectionSentence(lost, NOW + 5000).text).toBe("No connection for 5 s, next try in 58 s");
  });

  it("tells how to start a bridge where there is none", () => {
    const none = { ...initialState(NOW), bridges: [] };
    expect(select.bridgeFacts(none, null, "https://b")).toEqual({
      kind: "none",
      text: "No bridge service connected",
      command: 'baton bridge --backend https://b --token "$TOKEN" --workspace .',
    });
    expect(select.bridgeFacts(initialState(NOW)).kind).toBe("unknown");
  });

  it("tells of the conversation's own bridge, and of its agent", () => {
    const state = { ...initialState(NOW), bridges: [bridge(), bridge({ id: "laptop", name: "laptop", connected: false })] };
    expect(select.bridgeFacts(state, conversation()).kind).toBe("ok");
    expect(select.bridgeFacts(state, conversation({ bridgeId: "laptop" })).kind).toBe("lost");
    expect(select.bridgeFacts(state, conversation({ agent: "acp:x" })).kind).toBe("agent_missing");
    const agent = { id: "claude", title: "Claude", available: false, reason: "Not logged in: run `claude /login`", models: [], modes: [] };
    const logged = { ...state, bridges: [bridge({ agents: [agent] })] };
    expect(select.bridgeFacts(logged, conversation({ agent: "claude" }))).toMatchObject({ kind: "not_logged_in", command: "claude /login" });
  });

  it("counts in the title what waits for a person", () => {
    const state = after(
      joined({ prompts: [prompt(), prompt({ id: "p2", timeoutAt: "2026-01-02T03:10:00.000Z" })] }),
      { type: "viewing", conversationId: HERE },
    );
    expect(select.titleOf(state)).toBe("(2) Garden · Baton");
    expect(select.promptTray(state).map(({ prompt: { id } }) => id)).toEqual(["p2", "p1"]);
    expect(select.promptTray(state)).toBe(select.promptTray(state));
    expect(select.titleOf(initialState(NOW))).toBe("Baton");
  });

  it("groups conversations by project, with the newest first", () => {
    const project = { id: "p", name: "P", workingDirectory: null, userId: "anna", createdAt: "", updatedAt: "" };
    const told = [conversation({ id: "a", projectId: "p", updatedAt: "1" }), conversation({ id: "b", projectId: "p", updatedAt: "2" }), conversation({ id: "c" }), conversation({ id: "d", status: "archived" })];
    const state = after(initialState(NOW), { type: "projects", projects: [project] }, { type: "conversationsTold", conversations: told });
    const groups = select.conversationsByProject(state).map((group) => [group.project?.id, group.entries.map((entry) => entry.conversation.id)]);
    expect(groups).toEqual([["p", ["b", "a"]], [undefined, ["c"]]]);
  });
});
