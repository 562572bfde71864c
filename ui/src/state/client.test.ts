/** The client over a wire that the test plays: joins, sends, and what survives a reconnect or a reload. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { ClientAnswers, ClientPayloads, Conversation } from "../wire/types";
import { createBaton, type Baton } from "./client";
import type { Place } from "./keep";
import type { Answer } from "./rest";
import { retryDelay, type Listener, type Wire } from "./socket";
import { conversation, HERE, message, prompt, snapshot, THERE } from "./samples";

type Asked = { name: keyof ClientPayloads; payload: unknown; answer: (answer: unknown) => void };

class FakeWire implements Wire {
  listener!: Listener;
  readonly asked: Asked[] = [];
  live = false;

  connect = (): void => {
    this.live = true;
    this.listener.connection({ phase: "live" });
  };
  disconnect = (): void => {
    this.live = false;
  };
  isLive = (): boolean => this.live;

  ask<Name extends keyof ClientPayloads>(name: Name, payload: ClientPayloads[Name], answered: (answer: Answer<ClientAnswers[Name]>) => void): void {
    this.asked.push({ name, payload, answer: answered as (answer: unknown) => void });
  }

  lose(): void {
    this.live = false;
    this.listener.connection({ phase: "lost", retryAt: Date.now() + 1000 });
    for (const { answer } of this.asked.splice(0)) answer({ ok: false, error: { code: "no_answer", message: "", retryable: true } });
  }

  take(name: keyof ClientPayloads): Asked {
    const at = this.asked.findIndex((asked) => asked.name === name);
    expect(at, `${name} was asked`).toBeGreaterThanOrEqual(0);
    return this.asked.splice(at, 1)[0] as Asked;
  }
}

function memoryPlace(): Place {
  const held = new Map<string, string>();
  return {
    getItem: (key) => held.get(key) ?? null,
    setItem: (key, text) => void held.set(key, text),
    removeItem: (key) => void held.delete(key),
    key: (at) => [...held.keys()][at] ?? null,
    get length() {
      return held.size;
    },
  };
}

const answers = new Map<string, unknown>();
let wire: FakeWire;
let place: Place;
let flush: () => void;

function page(): Baton {
  wire = new FakeWire();
  const baton = createBaton({
    place,
    schedule: (now) => {
      flush = now;
      return () => undefined;
    },
    wire: (listener) => {
      wire.listener = listener;
      return wire;
    },
  });
  baton.start();
  return baton;
}

beforeEach(() => {
  vi.useFakeTimers();
  place = memoryPlace();
  answers.clear();
  vi.stubGlobal("addEventListener", () => undefined);
  vi.stubGlobal("removeEventListener", () => undefined);
  vi.stubGlobal("document", { visibilityState: "visible" });
  vi.stubGlobal("fetch", (path: string, { method }: { method: string }) => {
    const answer = answers.get(`${method} ${path}`) ?? { ok: false, error: { code: "not_found", message: "", retryable: false } };
    return Promise.resolve(new Response(JSON.stringify(answer)));
  });
});

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const sentOk = { ok: true, requestId: "", conversationId: HERE, messageId: "m9", status: "dispatched" };

describe("an open conversation", () => {
  it("is joined, and joined again with what it has after a loss", () => {
    const baton = page();
    baton.actions.open(HERE);
    const join = wire.take("join-conversation");
    expect(join.payload).toEqual({ conversationId: HERE });
    join.answer(snapshot({ seq: 7, epoch: "e" }));
    flush();
    wire.lose();
    wire.connect();
    expect(wire.take("join-conversation").payload).toEqual({ conversationId: HERE, after: 7, epoch: "e" });
    baton.stop();
  });

  it("takes an event that comes right behind the answer of its join", () => {
    const baton = page();
    baton.actions.open(HERE);
    wire.take("join-conversation").answer(snapshot({ seq: 1 }));
    wire.listener.event({ name: "chat:message", payload: { conversationId: HERE, seq: 2, prevSeq: 1, message: message({ seq: 2 }) } });
    flush();
    expect(baton.store.getState().open.get(HERE)).toMatchObject({ seq: 2, needsJoin: false });
    baton.stop();
  });

  it("waits as long as a resync says before it joins again", () => {
    const baton = page();
    baton.actions.open(HERE);
    wire.take("join-conversation").answer(snapshot());
    wire.listener.event({ name: "chat:resync", payload: { conversationId: HERE, retryAfterMs: 500 } });
    flush();
    vi.advanceTimersByTime(400);
    expect(wire.asked.map(({ name }) => name)).not.toContain("join-conversation");
    vi.advanceTimersByTime(200);
    wire.take("join-conversation");
    baton.stop();
  });

  it("that was closed stays for a minute, so that to come back is instant", () => {
    const baton = page();
    baton.actions.open(HERE);
    wire.take("join-conversation").answer(snapshot());
    flush();
    baton.actions.close(HERE);
    vi.advanceTimersByTime(30_000);
    baton.actions.open(HERE);
    vi.advanceTimersByTime(120_000);
    expect(baton.store.getState().open.has(HERE)).toBe(true);
    baton.actions.close(HERE);
    vi.advanceTimersByTime(60_000);
    wire.take("leave-conversation");
    expect(baton.store.getState().open.has(HERE)).toBe(false);
    baton.stop();
  });
});

describe("a message", () => {
  it("goes out once, and its promise tells where it went", async () => {
    const baton = page();
    const { requestId, sent } = baton.actions.send({ content: "Hi", conversationId: HERE });
    const asked = wire.take("chat:send-message");
    expect(asked.payload).toEqual({ requestId, content: "Hi", conversationId: HERE });
    asked.answer({ ...sentOk, requestId });
    expect(await sent).toMatchObject({ ok: true, messageId: "m9" });
    expect(baton.store.getState().outbox.get(requestId)?.status).toBe("stored");
    baton.stop();
  });

  it("is sent again after a loss, under the same requestId", async () => {
    const baton = page();
    const { requestId } = baton.actions.send({ content: "Hi", conversationId: HERE });
    wire.lose();
    await vi.advanceTimersByTimeAsync(0);
    expect(baton.store.getState().outbox.get(requestId)?.status).toBe("waiting");
    wire.connect();
    await vi.advanceTimersByTimeAsync(5000);
    expect(wire.take("chat:send-message").payload).toMatchObject({ requestId });
    baton.stop();
  });

  it("survives a reload, and is forgotten by the browser once it is stored", async () => {
    const first = page();
    const { requestId } = first.actions.send({ content: "Hi", conversationId: HERE });
    first.stop();
    const second = page();
    expect(second.store.getState().outbox.has(requestId)).toBe(true);
    await vi.advanceTimersByTimeAsync(0);
    wire.take("chat:send-message").answer({ ...sentOk, requestId });
    await vi.advanceTimersByTimeAsync(0);
    second.stop();
    expect(page().store.getState().outbox.size).toBe(0);
  });

  it("waits for the one before it", async () => {
    const baton = page();
    const one = baton.actions.send({ content: "1", conversationId: HERE });
    const two = baton.actions.send({ content: "2", conversationId: HERE });
    const asked = wire.take("chat:send-message");
    expect(asked.payload).toMatchObject({ requestId: one.requestId });
    expect(wire.asked.some(({ name }) => name === "chat:send-message")).toBe(false);
    asked.answer({ ...sentOk, requestId: one.requestId });
    await vi.advanceTimersByTimeAsync(0);
    expect(wire.take("chat:send-message").payload).toMatchObject({ requestId: two.requestId });
    baton.stop();
  });

  it("that is refused says why, can be sent again, and can be dropped", async () => {
    const baton = page();
    const { requestId, sent } = baton.actions.send({ content: "Hi", conversationId: HERE });
    wire.take("chat:send-message").answer({ ok: false, error: { code: "too_large", message: "Too long", retryable: false } });
    expect(await sent).toMatchObject({ ok: false });
    expect(baton.store.getState().outbox.get(requestId)?.status).toBe("failed");
    void baton.actions.resend(requestId);
    await vi.advanceTimersByTimeAsync(0);
    wire.take("chat:send-message");
    baton.actions.discardUnsent(requestId);
    expect(baton.store.getState().outbox.size).toBe(0);
    baton.stop();
  });
});

describe("what events do not tell", () => {
  it("is asked for: a conversation that no list has, and the prompts of one that is not open", async () => {
    const other: Conversation = conversation({ id: THERE });
    answers.set(`GET /api/chat/conversations/${THERE}`, { ok: true, conversation: other });
    answers.set(`GET /api/chat/conversations/${THERE}/prompts/pending`, { ok: true, prompts: [prompt({ conversationId: THERE })] });
    const baton = page();
    const payload = { conversationId: THERE, projectId: null, title: "T", state: "awaiting_input" as const, pendingPrompts: 1, seq: 2, updatedAt: "2026-01-02T03:05:00.000Z" };
    wire.listener.event({ name: "conversation:state", payload });
    await vi.advanceTimersByTimeAsync(0);
    expect(baton.store.getState().conversations.has(THERE)).toBe(true);
    expect(baton.store.getState().prompts.size).toBe(1);
    baton.stop();
  });

  it("is the winner of a race, which its loser is told", async () => {
    const baton = page();
    baton.store.dispatch({ type: "promptTold", prompt: prompt() });
    const answer = baton.actions.respond({ promptId: "p1", selectedOption: "deny" });
    const winner = prompt({ seq: 2, status: "answered", answeredBy: "ben" });
    wire.take("permission:respond").answer({ ok: false, error: { code: "already_resolved", message: "", retryable: false }, prompt: winner });
    expect(await answer).toMatchObject({ ok: false });
    expect(baton.store.getState().prompts.size).toBe(0);
    baton.stop();
  });
});

describe("what is seen", () => {
  const looking = (): Baton => {
    const baton = page();
    baton.actions.open(HERE);
    baton.actions.setViewing(HERE);
    wire.take("join-conversation").answer(snapshot({ seq: 7 }));
    flush();
    return baton;
  };
  const hear = (seq: number): void => {
    wire.listener.event({ name: "chat:message", payload: { conversationId: HERE, seq, prevSeq: seq - 1, message: message({ seq }) } });
    flush();
  };

  it("is told at once, and while more comes every two seconds and not with each word", () => {
    const baton = looking();
    expect(wire.take("conversation:seen").payload).toEqual({ conversationId: HERE, seq: 7 });
    for (let seq = 8; seq < 30; seq += 1) hear(seq);
    expect(wire.asked.some(({ name }) => name === "conversation:seen")).toBe(false);
    vi.advanceTimersByTime(2000);
    expect(wire.take("conversation:seen").payload).toEqual({ conversationId: HERE, seq: 29 });
    vi.advanceTimersByTime(10_000);
    expect(wire.asked.some(({ name }) => name === "conversation:seen")).toBe(false);
    baton.stop();
  });

  it("is told at once when the page is left, and nothing is that comes after", () => {
    const baton = looking();
    wire.take("conversation:seen");
    hear(8);
    baton.store.dispatch({ type: "visibility", isVisible: false });
    expect(wire.take("conversation:seen").payload).toEqual({ conversationId: HERE, seq: 8 });
    hear(9);
    vi.advanceTimersByTime(10_000);
    expect(wire.asked.some(({ name }) => name === "conversation:seen")).toBe(false);
    baton.stop();
  });
});

describe("a prompt that is looked at", () => {
  it("is told at once and every 30 s, until it is let go", () => {
    const baton = page();
    const release = baton.actions.holdPrompt("p1");
    wire.take("prompt:seen");
    vi.advanceTimersByTime(30_000);
    wire.take("prompt:seen");
    release();
    vi.advanceTimersByTime(60_000);
    expect(wire.asked.some(({ name }) => name === "prompt:seen")).toBe(false);
    baton.stop();
  });
});

describe("the store", () => {
  it("tells its listeners once for all events of a frame", () => {
    const baton = page();
    let told = 0;
    baton.store.subscribe(() => (told += 1));
    for (let n = 0; n < 10; n += 1) baton.store.enqueue({ type: "wire", name: "bridge:status", payload: { bridges: [] } });
    expect(told).toBe(0);
    flush();
    expect(told).toBe(1);
    baton.stop();
  });

  it("keeps drafts, and keeps nothing where the browser forbids it", () => {
    const baton = page();
    baton.drafts.set(HERE, "half a");
    expect(baton.drafts.get(HERE)).toBe("half a");
    baton.drafts.clear(HERE);
    expect(baton.drafts.get(HERE)).toBe("");
    place = { ...memoryPlace(), setItem: () => { throw new Error("full"); } };
    const poor = page();
    poor.drafts.set(HERE, "x");
    expect(poor.drafts.get(HERE)).toBe("");
    baton.stop();
    poor.stop();
  });
});

it("tries again later and later, and never all pages at once", () => {
  expect(retryDelay(0, 0)).toBe(250);
  expect(retryDelay(0, 1)).toBe(500);
  expect(retryDelay(3, 1)).toBe(4000);
  expect(retryDelay(20, 1)).toBe(15_000);
});
