import { describe, expect, it } from "vitest";

import { parseAnsi } from "./ansi";
import { showHidden } from "./clean";
import { createLexer, isSafeUrl } from "./lex";
import { inPieces } from "./pieces";

describe("what cannot be seen", () => {
  it("is written out", () => {
    expect(showHidden("rm \u202etxt.exe")).toBe("rm [U+202E]txt.exe");
    expect(showHidden("a\tb\nc")).toBe("a\tb\nc");
  });
});

describe("terminal output", () => {
  it("keeps colours and drops other controls", () => {
    expect(parseAnsi("a\u001b[31mred\u001b[0m\u001b[2Kz")).toEqual([
      { text: "a", style: "" },
      { text: "red", style: "ansi-red" },
      { text: "z", style: "" },
    ]);
    expect(parseAnsi("\u001b]8;;http://x\u0007link").map((span) => span.text)).toEqual(["link"]);
  });
  it("shows of a progress bar its last state", () => {
    expect(parseAnsi("10%\r20%\r30%\nnext")[0]?.text).toBe("30%\nnext");
  });
  it("takes a megabyte in a moment", () => {
    // By the CPU's clock: a machine that does something else meanwhile proves nothing.
    const started = process.cpuUsage();
    parseAnsi("\u001b[1mx\u001b[0m".repeat(100_000));
    expect(process.cpuUsage(started).user / 1000).toBeLessThan(1000);
  });
});

describe("code that grows", () => {
  it("keeps its pieces but the last, and loses nothing", () => {
    const code = Array.from({ length: 130 }, (_, line) => `line ${line}${line % 7 === 0 ? "\n" : ""}`).join("\n");
    const all = inPieces(code);
    expect(all.join("")).toBe(code);
    for (const length of [1, 500, 900, code.length - 1]) {
      const some = inPieces(code.slice(0, length));
      expect(some.join("")).toBe(code.slice(0, length));
      expect(some.slice(0, -1)).toEqual(all.slice(0, some.length - 1));
    }
    expect(inPieces("")).toEqual([]);
  });
});

describe("Markdown nested beyond reason", () => {
  it("is one block of its own text", () => {
    for (const text of ["> ".repeat(3000) + "deep", "- ".repeat(2000) + "deep", "1. ".repeat(2000), "fine\n\n" + ">".repeat(4000)]) {
      expect(createLexer()(text).map((token) => token.raw).join("")).toBe(text);
    }
    expect(createLexer()("> > > quoted")[0]?.type).toBe("blockquote");
    expect(createLexer()("-".repeat(300))[0]?.type).toBe("hr");
  });
});

describe("links", () => {
  it("go to the web and to mail only", () => {
    for (const url of ["https://x.example", "http://x", "mailto:a@b.example"]) expect(isSafeUrl(url)).toBe(true);
    for (const url of ["javascript:alert(1)", " JaVaScRiPt:x", "java\nscript:x", "data:text/html,x", "vbscript:x", "/c/1", "file:///etc"]) {
      expect(isSafeUrl(url)).toBe(false);
    }
  });
});

describe("Markdown while it streams", () => {
  it("gives the blocks of the whole, and keeps those that have ended", () => {
    const whole = "# One\n\ntext\n\n```js\nlet a = 1;\n\nlet b;\n```\n\n- x\n- y\n\nend";
    const lex = createLexer();
    let previous = lex("");
    for (let at = 1; at <= whole.length; at += 1) {
      const next = lex(whole.slice(0, at));
      if (at > 30) expect(next[0]).toBe(previous[0]);
      previous = next;
    }
    expect(previous.map((token) => token.type)).toEqual(createLexer()(whole).map((token) => token.type));
    expect(previous.map((token) => token.raw).join("")).toBe(whole);
  });
});
