/** The reducer against tests/golden/page: the same files, and the same rules, as pytest's. */
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { Block, Message, MessagesAnswer, Run, SnapshotAnswer } from "../wire/types";
import { initialState, messageOf, type PageState, type Thread } from "./model";
import { isKnownEvent, reduce, type PageEvent, type WireEvent } from "./reduce";

const FOLDER = new URL("../../../tests/golden/page/", import.meta.url);
const NOW = Date.parse("2026-01-02T03:04:05Z");

type Step =
  | { event: string; payload: unknown }
  | { snapshot: Omit<SnapshotAnswer, "ok">; after: number | null }
  | { older: Pick<MessagesAnswer, "messages" | "runs" | "next">; before: number | null }
  | { lost: true };

interface Golden {
  about: string;
  steps: Step[];
  expected: unknown;
}

function eventOf(step: Step, conversationId: string): PageEvent {
  if ("snapshot" in step) return { type: "joined", conversationId, after: step.after, snapshot: { ok: true, ...step.snapshot } };
  if ("older" in step) return { type: "older", conversationId, before: step.before, ...step.older };
  if ("lost" in step) return { type: "connection", change: { phase: "lost" } };
  expect(isKnownEvent(step.event)).toBe(true);
  return { type: "wire", name: step.event, payload: step.payload } as { type: "wire" } & WireEvent;
}

function played({ steps }: Golden): Thread {
  const first = steps[0];
  if (!first || !("snapshot" in first)) throw new Error("it begins with a snapshot");
  const { id } = first.snapshot.conversation;
  const live: PageEvent[] = [{ type: "connection", change: { phase: "live" } }, { type: "opened", conversationId: id }];
  const events = [...live, ...steps.map((step) => eventOf(step, id))];
  const state = events.reduce((before: PageState, event) => {
    const after = reduce(before, event, NOW);
    if (event.type !== "connection" || event.change.phase !== "lost") return after;
    return reduce(after, { type: "connection", change: { phase: "live" } }, NOW);
  }, initialState(NOW));
  return state.open.get(id) as Thread;
}

function shown(thread: Thread): unknown {
  return {
    epoch: thread.epoch,
    seq: thread.seq,
    isJoined: thread.isJoined,
    needsJoin: thread.needsJoin,
    hasOlder: thread.hasOlder,
    messages: thread.ids.map((id) => shownMessage(messageOf(thread, id) as Message)),
    runs: Object.fromEntries([...thread.runs].map(([id, run]) => [id, shownRun(run)])),
    prompts: Object.fromEntries([...thread.prompts].map(([id, prompt]) => [id, prompt.status])),
    queue: thread.queue.runs.map((run) => run.requestId),
  };
}

function shownRun({ status, usage, plan, notices, finishedAt }: Run): unknown {
  return { status, usage, plan, notices, finishedAt };
}

function shownMessage({ id, ordinal, seq, role, status, blocks }: Message): unknown {
  return { id, ordinal, seq, role, status, blocks: blocks.map(shownBlock) };
}

function shownBlock(block: Block): unknown {
  if (block.type !== "tool_use") return { type: block.type, text: block.text };
  const { type, id, name, title, input, status, result, isError, progress } = block;
  return { type, id, name, title, input, status, result, isError, progress };
}

describe("the page holds what the golden files expect", () => {
  for (const file of readdirSync(FOLDER)) {
    const golden = JSON.parse(readFileSync(new URL(file, FOLDER), "utf-8")) as Golden;
    it(`${file}: ${golden.about}`, () => {
      expect(shown(played(golden))).toEqual(golden.expected);
    });
  }
});
