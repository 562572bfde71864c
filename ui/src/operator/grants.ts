/** What the form of standing permissions knows about tools, times and errors. Pure. */
import type { ApiError } from "../wire/types";

/** Names to begin with; every other name can be typed. */
export const TOOLS = ["Bash", "Edit", "Glob", "Grep", "MultiEdit", "NotebookEdit", "Read", "Task", "WebFetch", "WebSearch", "Write"];

const FILE_TOOLS = new Set(["edit", "glob", "grep", "multiedit", "notebookedit", "read", "write"]);

/** What a pattern of this tool looks like. */
export function patternHint(tool: string): string {
  const name = tool.trim().toLowerCase();
  if (name === "bash" || name === "run") return "A command, with :* for any further arguments: npm test, git commit:*";
  if (FILE_TOOLS.has(name)) return "A path below the working directory; * stands for anything: src/*, *.md";
  if (name === "webfetch") return "A host: example.com, *.example.com";
  if (name.startsWith("mcp__")) return "Tools of MCP servers take no pattern.";
  return "Commands, paths and hosts can be named; other tools take none.";
}

export type Expiry = "never" | "hour" | "day" | "week" | "month" | "at";

export const EXPIRIES: readonly { readonly value: Expiry; readonly label: string }[] = [
  { value: "never", label: "It is taken back" },
  { value: "hour", label: "In an hour" },
  { value: "day", label: "In a day" },
  { value: "week", label: "In 7 days" },
  { value: "month", label: "In 30 days" },
  { value: "at", label: "A date and time" },
];

const HOUR_MS = 3_600_000;
const LASTS_MS = { hour: HOUR_MS, day: 24 * HOUR_MS, week: 7 * 24 * HOUR_MS, month: 30 * 24 * HOUR_MS } as const;

/** When a grant ends; null: not by itself. `at` is what a field for a local date and time holds. */
export function expiryOf(expiry: Expiry, at: string, now: number): string | null {
  if (expiry === "never") return null;
  if (expiry !== "at") return new Date(now + LASTS_MS[expiry]).toISOString();
  const chosen = Date.parse(at);
  // A time that lies behind is refused by the server, with the reason: so is none.
  return new Date(Number.isNaN(chosen) ? now : chosen).toISOString();
}

export interface Problems {
  readonly toolName?: readonly string[];
  readonly pattern?: readonly string[];
  readonly projectId?: readonly string[];
  readonly conversationId?: readonly string[];
  readonly expiresAt?: readonly string[];
  /** What belongs to no field of the form. */
  readonly other: readonly string[];
}

const FIELDS: ReadonlySet<string> = new Set(["toolName", "pattern", "projectId", "conversationId", "expiresAt"]);

/** An error by the fields of the form. */
export function problemsOf(error: ApiError | null): Problems {
  if (error === null) return { other: [] };
  const entries = Object.entries(error.fields ?? {});
  const other = entries.filter(([name]) => !FIELDS.has(name)).flatMap(([, said]) => said);
  return { ...Object.fromEntries(entries.filter(([name]) => FIELDS.has(name))), other: entries.length === 0 ? [error.message] : other };
}
