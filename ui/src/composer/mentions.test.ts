import { describe, expect, it } from "vitest";

import { mentionAt, withMention } from "./mentions";

describe("mentions", () => {
  it("are files after a blank, and commands at the beginning", () => {
    expect(mentionAt("see @src/a", 10)).toEqual({ kind: "file", query: "src/a", from: 4, to: 10 });
    expect(mentionAt("@", 1)).toMatchObject({ kind: "file", query: "" });
    expect(mentionAt("/he", 3)).toEqual({ kind: "command", query: "he", from: 0, to: 3 });
  });
  it("are no addresses, and no paths in a text", () => {
    expect(mentionAt("a@b.example", 11)).toBeNull();
    expect(mentionAt("see /tmp", 8)).toBeNull();
    expect(mentionAt("/help now", 9)).toBeNull();
  });
  it("are replaced where they stand; a folder goes on", () => {
    const mention = mentionAt("see @sr and", 7);
    expect(mention && withMention("see @sr and", mention, "src/a.py")).toEqual({ text: "see @src/a.py  and", caret: 14 });
    expect(mention && withMention("see @sr and", mention, "src/")).toEqual({ text: "see @src/ and", caret: 9 });
  });
});
