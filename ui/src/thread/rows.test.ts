import { describe, expect, it } from "vitest";

import { editsOf, resultText, todosOf } from "./rows";

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
