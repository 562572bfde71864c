/** What the browser keeps between two loads of the page: drafts, unsent messages, since when. */
import type { OutboxEntry } from "./model";

const OUTBOX = "baton.outbox.";
const SEEN_SINCE = "baton.seenSince";
const DRAFT = "baton.draft.";

/** A place for texts; the browser's own may be full or forbidden, and then nothing is kept. */
export type Place = Pick<Storage, "getItem" | "setItem" | "removeItem" | "key" | "length">;

/** What has been written into a composer and not been sent. */
export interface Drafts {
  /** The draft for a conversation, or for a "new" one; "" without one. */
  get(key: string): string;
  set(key: string, text: string): void;
  clear(key: string): void;
}

export interface Keep {
  readonly drafts: Drafts;
  outbox(): readonly OutboxEntry[];
  /** Keeps what the server has not acknowledged. One place per message, so that tabs do not overwrite each other's. */
  keepOutbox(entries: Iterable<OutboxEntry>): void;
  seenSince(now: number): string;
}

/** Keeps things in `place`; null: nowhere. */
export function createKeep(place: Place | null): Keep {
  const read = (key: string): string | null => tried(() => place?.getItem(key) ?? null, null);
  const write = (key: string, text: string | null): void =>
    tried(() => (text === null ? place?.removeItem(key) : place?.setItem(key, text)), undefined);
  let kept = new Map<string, OutboxEntry>();
  return {
    drafts: {
      get: (key) => read(DRAFT + key) ?? "",
      set: (key, text) => write(DRAFT + key, text === "" ? null : text),
      clear: (key) => write(DRAFT + key, null),
    },
    outbox() {
      const keys = tried(() => keysOf(place), []).filter((key) => key.startsWith(OUTBOX));
      const entries = keys.map((key) => parsed<Partial<OutboxEntry> | null>(read(key), null));
      return entries.filter(isEntry).map((entry) => {
        kept.set(entry.requestId, entry);
        return asUnsent(entry);
      });
    },
    keepOutbox(entries) {
      const unsent = new Map([...entries].flatMap((entry) => (entry.status === "stored" ? [] : [[entry.requestId, entry] as const])));
      for (const id of kept.keys()) if (!unsent.has(id)) write(OUTBOX + id, null);
      for (const [id, entry] of unsent) if (kept.get(id) !== entry) write(OUTBOX + id, JSON.stringify(entry));
      kept = unsent;
    },
    seenSince(now) {
      const since = read(SEEN_SINCE) ?? new Date(now).toISOString();
      write(SEEN_SINCE, since);
      return since;
    },
  };
}

function keysOf(place: Place | null): string[] {
  return Array.from({ length: place?.length ?? 0 }, (_, at) => place?.key(at) ?? "");
}

function asUnsent(entry: OutboxEntry): OutboxEntry {
  return entry.status === "sent" ? { ...entry, status: "waiting" } : entry;
}

/** Another version of the page may have written what this one cannot read. */
function isEntry(value: Partial<OutboxEntry> | null): value is OutboxEntry {
  return typeof value?.requestId === "string" && typeof value.message?.content === "string" && !!value.status;
}

function parsed<T>(text: string | null, otherwise: T): T {
  return text === null ? otherwise : tried(() => (JSON.parse(text) as T | null) ?? otherwise, otherwise);
}

function tried<T>(act: () => T, otherwise: T): T {
  try {
    return act();
  } catch {
    return otherwise;
  }
}
