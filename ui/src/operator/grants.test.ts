import { describe, expect, it } from "vitest";

import { expiryOf, patternHint, problemsOf } from "./grants";

const NOW = Date.parse("2026-01-02T03:04:05.000Z");

describe("a standing permission", () => {
  it("ends when it was chosen to, or never by itself", () => {
    expect(expiryOf("never", "", NOW)).toBeNull();
    expect(expiryOf("day", "", NOW)).toBe("2026-01-03T03:04:05.000Z");
    expect(expiryOf("at", "2026-05-06T07:08", NOW)).toBe(new Date(2026, 4, 6, 7, 8).toISOString());
    expect(expiryOf("at", "", NOW)).toBe(new Date(NOW).toISOString());
  });

  it("has a pattern in the language of its tool", () => {
    expect(patternHint(" Bash ")).toContain("git commit:*");
    expect(patternHint("Write")).toContain("src/*");
    expect(patternHint("mcp__x__y")).toContain("no pattern");
  });

  it("that is refused says so beside the field, and what belongs to none below", () => {
    const refused = { code: "invalid_payload", message: "Invalid", retryable: false, fields: { pattern: ["Wrong."], effect: ["Odd."] } };
    expect(problemsOf(refused)).toEqual({ pattern: ["Wrong."], other: ["Odd."] });
    expect(problemsOf({ code: "not_found", message: "There is no such project", retryable: false })).toEqual({ other: ["There is no such project"] });
    expect(problemsOf(null)).toEqual({ other: [] });
  });
});
