import { describe, expect, it } from "vitest";

import { wordCount } from "./format";

describe("words", () => {
  it("are counted as a person would", () => {
    for (const [text, words] of [["", 0], ["  ", 0], ["one", 1], [" one\ttwo\n\nthree ", 3], ["a b", 2]] as const) {
      expect(wordCount(text)).toBe(words);
    }
  });
});
