/** What the charts show, made from the server's buckets. Pure. */
import type { Bucket, SeriesAnswer } from "../wire/types";

export type Range = "day" | "week" | "month";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** What to ask for: whole hours or days of this person's clock, with the one that is under way. */
export function spanOf(range: Range, now: number): { readonly since: string; readonly bucket: SeriesAnswer["bucket"] } {
  const begin = new Date(now);
  if (range === "day") {
    begin.setMinutes(0, 0, 0);
    return { since: new Date(begin.getTime() - 23 * HOUR_MS).toISOString(), bucket: "hour" };
  }
  begin.setHours(0, 0, 0, 0);
  begin.setDate(begin.getDate() - (range === "week" ? 6 : 29));
  return { since: begin.toISOString(), bucket: "day" };
}

export interface Stamp {
  /** Below the axis. */
  readonly short: string;
  /** In tables and where somebody points. */
  readonly long: string;
}

/** How the buckets are called. By their middle: after a change of summer time, days begin an hour beside midnight. */
export function stampsOf(answer: Pick<SeriesAnswer, "bucket" | "buckets">): readonly Stamp[] {
  const isHours = answer.bucket === "hour";
  return answer.buckets.map(({ startAt }) => {
    const at = new Date(Date.parse(startAt) + (isHours ? 0 : DAY_MS / 2));
    const day = at.toLocaleDateString(undefined, { weekday: "short", day: "numeric", month: "short" });
    if (!isHours) return { short: at.toLocaleDateString(undefined, { day: "numeric", month: "short" }), long: day };
    const hour = at.toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" });
    return { short: hour, long: `${day}, ${hour}` };
  });
}

export type Tone = "first" | "second" | "third" | "fourth" | "good" | "warn" | "bad" | "quiet";

/** One kind of value over time; null where there is none to tell. */
export interface Line {
  readonly name: string;
  readonly tone: Tone;
  readonly values: readonly (number | null)[];
}

export interface Lines {
  readonly runs: readonly Line[];
  readonly tokens: readonly Line[];
  readonly cost: readonly Line[];
  readonly prompts: readonly Line[];
  readonly latency: readonly Line[];
}

/** The five charts of the page. */
export function linesOf(buckets: readonly Bucket[]): Lines {
  const line = (name: string, tone: Tone, value: (bucket: Bucket) => number | null): Line => ({ name, tone, values: buckets.map(value) });
  return {
    runs: [
      line("Completed", "first", ({ runs }) => runs.completed ?? 0),
      line("Stopped", "quiet", ({ runs }) => runs.aborted ?? 0),
      line("Failed", "bad", ({ runs }) => runs.failed ?? 0),
    ],
    tokens: [
      line("Read from cache", "fourth", ({ usage }) => usage.cacheReadTokens),
      line("Written to cache", "third", ({ usage }) => usage.cacheWriteTokens),
      line("Input", "second", ({ usage }) => usage.inputTokens),
      line("Output", "first", ({ usage }) => usage.outputTokens),
    ],
    cost: [line("Cost", "first", ({ costUsd }) => costUsd)],
    prompts: [
      line("Allowed", "first", ({ prompts }) => prompts.allow ?? 0),
      line("Answered", "third", ({ prompts }) => prompts.answered ?? 0),
      line("Denied", "bad", ({ prompts }) => prompts.deny ?? 0),
      line("Nobody answered", "warn", ({ prompts }) => prompts.timeout ?? 0),
      line("Cancelled", "quiet", ({ prompts }) => prompts.cancelled ?? 0),
    ],
    latency: [
      line("Half took less than", "first", (bucket) => bucket.medianLatencyMs),
      line("19 of 20 took less than", "warn", (bucket) => bucket.p95LatencyMs),
    ],
  };
}

/** All values of a line together. */
export function sumOf(line: Line): number {
  return line.values.reduce<number>((sum, value) => sum + (value ?? 0), 0);
}

/** What a column holds at its top. */
export function heightOf(lines: readonly Line[], at: number): number {
  return lines.reduce((sum, line) => sum + (line.values[at] ?? 0), 0);
}

/**
 * Round numbers from 0 to at least `most`, at most five of them with 0. Whole ones where `isWhole`: there is no half
 * a run.
 */
export function ticksUpTo(most: number, { isWhole = false }: { readonly isWhole?: boolean } = {}): readonly number[] {
  if (most <= 0) return [0];
  const rough = most / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((one) => one >= rough * 0.999_999 && (!isWhole || Number.isInteger(one))) ?? 1;
  const count = Math.ceil(most / step - 1e-9);
  return Array.from({ length: count + 1 }, (_, at) => Number((at * step).toPrecision(12)));
}

const TIME_STEPS_MS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000, 600_000, 900_000, 1_800_000, HOUR_MS, 2 * HOUR_MS, 6 * HOUR_MS, 12 * HOUR_MS, DAY_MS];

/** The same for durations: steps as a clock has them. */
export function timeTicksUpTo(mostMs: number): readonly number[] {
  if (mostMs <= 0) return [0];
  const step = TIME_STEPS_MS.find((one) => one * 4 >= mostMs) ?? Math.ceil(mostMs / 4 / DAY_MS) * DAY_MS;
  return Array.from({ length: Math.ceil(mostMs / step) + 1 }, (_, at) => at * step);
}

/** Which stamps stand below the axis: at most `most`, evenly, with the last one. */
export function shownStamps(count: number, most: number): readonly number[] {
  const step = Math.ceil(count / most);
  return Array.from({ length: count }, (_, at) => at).filter((at) => (count - 1 - at) % step === 0);
}
