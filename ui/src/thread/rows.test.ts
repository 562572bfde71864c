import { describe, expect, it } from "vitest";

import type { Thread } from "../state";
import { editsOf, resultText, rowsOf, todosOf } from "./rows";

/** A thread with these messages (`role requestId`) and runs, as far as the rows look at it. */
function threadOf(messages: readonly string[], runs: Readonly<Record<string, string>>): Thread {
  const settled = messages.map((text, at) => {
    const [role, requestId] = text.split(" ");
    return [text, { id: text, role, requestId, createdAt: `2026-01-01T00:00:0${at}` }];
  });
  const told = Object.entries(runs).map(([requestId, status]) => [requestId, { requestId, status }]);
  return { settled: new Map(settled as []), live: new Map(), prompts: new Map(), runs: new Map(told as []) } as unknown as Thread;
}

function order(messages: readonly string[], runs: Readonly<Record<string, string>>): readonly string[] {
  return rowsOf(messages, threadOf(messages, runs)).map((row) => row.key);
}

describe("the order of a thread", () => {
  it("puts a message that had to wait before its own answer", () => {
    expect(order(["user a", "user b", "assistant a", "assistant b"], {})).toEqual(["user a", "assistant a", "user b", "assistant b"]);
  });
  it("leaves what waits to the queue, and what was just taken up at the end", () => {
    expect(order(["user a", "user b", "assistant a"], { a: "running", b: "queued" })).toEqual(["user a", "assistant a"]);
    expect(order(["user a", "user b", "assistant a"], { b: "running" })).toEqual(["user a", "assistant a", "user b"]);
  });
  it("loses nothing: what was never answered stays where it was said", () => {
    expect(order(["user a", "user b", "assistant b"], { a: "aborted" })).toEqual(["user a", "user b", "assistant b"]);
    expect(order(["assistant a", "user a"], {})).toEqual(["assistant a", "user a"]);
  });
});

describe("what tools say", () => {
  it("edits are read from one or from many", () => {
    expect(editsOf({ file_path: "a", old_string: "x", new_string: "y" })).toEqual([{ path: "a", before: "x", after: "y" }]);
    expect(editsOf({ file_path: "a", content: "new" })).toEqual([{ path: "a", before: "", after: "new" }]);
    expect(editsOf({ file_path: "a", edits: [{ old_string: "x", new_string: "y" }, "no"] })).toHaveLength(1);
    expect(editsOf(null)).toEqual([]);
  });
  it("results are text, whatever their shape", () => {
    expect(resultText("x")).toBe("x");
    expect(resultText([{ type: "text", text: "a" }, "b"])).toBe("a\nb");
    expect(resultText({ code: 1 })).toContain('"code": 1');
    expect(resultText(null)).toBe("");
  });
  it("to-do lists hold what has the shape of one", () => {
    expect(todosOf({ todos: [{ content: "a", status: "completed" }, 3, null, { content: 4 }] })).toEqual([{ text: "a", status: "completed" }]);
  });
});
