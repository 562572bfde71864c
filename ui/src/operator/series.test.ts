import { describe, expect, it } from "vitest";

import type { Bucket } from "../wire/types";
import { heightOf, linesOf, shownStamps, spanOf, stampsOf, sumOf, ticksUpTo, timeTicksUpTo } from "./series";

const NOW = new Date(2026, 6, 15, 13, 37, 12).getTime();

function bucket(more: Partial<Bucket> = {}): Bucket {
  const usage = { inputTokens: 0, outputTokens: 0, cacheReadTokens: 0, cacheWriteTokens: 0 };
  return { startAt: "2026-07-15T10:00:00.000Z", runs: {}, usage, costUsd: 0, prompts: {}, answers: 0, medianLatencyMs: null, p95LatencyMs: null, ...more };
}

describe("a series", () => {
  it("is asked for in whole hours or days of this clock, with the present one", () => {
    const day = spanOf("day", NOW);
    expect(day.bucket).toBe("hour");
    expect(new Date(day.since).getTime()).toBe(new Date(2026, 6, 14, 14).getTime());
    expect(new Date(spanOf("week", NOW).since).getTime()).toBe(new Date(2026, 6, 9).getTime());
    expect(new Date(spanOf("month", NOW).since).getTime()).toBe(new Date(2026, 5, 16).getTime());
  });

  it("calls a day by its middle, so that a change of summer time names none twice", () => {
    const midnight = new Date(2026, 6, 15).getTime();
    const starts = [midnight, midnight + 23 * 3_600_000].map((at) => bucket({ startAt: new Date(at).toISOString() }));
    const names = stampsOf({ bucket: "day", buckets: starts }).map(({ short }) => short);
    expect(new Set(names).size).toBe(2);
  });

  it("is split into what ended how", () => {
    const lines = linesOf([bucket({ runs: { completed: 2, failed: 1 } }), bucket({ runs: { aborted: 4 }, medianLatencyMs: 5, p95LatencyMs: 9 })]);
    expect(lines.runs.map((line) => [line.name, sumOf(line)])).toEqual([["Completed", 2], ["Stopped", 4], ["Failed", 1]]);
    expect([heightOf(lines.runs, 0), heightOf(lines.runs, 1)]).toEqual([3, 4]);
    expect(lines.latency[0]?.values).toEqual([null, 5]);
  });
});

describe("an axis", () => {
  it.each([
    [0, [0]],
    [1, [0, 1]],
    [3, [0, 1, 2, 3]],
    [7, [0, 2, 4, 6, 8]],
    [40, [0, 10, 20, 30, 40]],
    [90, [0, 25, 50, 75, 100]],
    [1234, [0, 500, 1000, 1500]],
  ])("up to %d has whole round numbers", (most, expected) => {
    expect(ticksUpTo(most, { isWhole: true })).toEqual(expected);
  });

  it("of costs may have parts of a whole", () => {
    expect(ticksUpTo(0.37)).toEqual([0, 0.1, 0.2, 0.3, 0.4]);
  });

  it.each([
    [0, [0]],
    [3100, [0, 1000, 2000, 3000, 4000]],
    [100_000, [0, 30_000, 60_000, 90_000, 120_000]],
    [40 * 86_400_000, [0, 10, 20, 30, 40].map((days) => days * 86_400_000)],
  ])("of %d ms is round as clocks are", (most, expected) => {
    expect(timeTicksUpTo(most)).toEqual(expected);
  });

  it("names the last bucket, and no more than there is room for", () => {
    expect(shownStamps(24, 6)).toEqual([3, 7, 11, 15, 19, 23]);
    expect(shownStamps(7, 8)).toEqual([0, 1, 2, 3, 4, 5, 6]);
    expect(shownStamps(0, 8)).toEqual([]);
  });
});
