/** What this browser's person likes; kept in the browser alone. */
import { useSyncExternalStore } from "react";

export type Theme = "system" | "light" | "dark";

export interface Preferences {
  readonly theme: Theme;
  readonly sound: boolean;
  readonly notifications: boolean;
  readonly sidebarClosed: boolean;
  /** The agent and so on of the last new chat, to begin the next one with. */
  readonly lastChoice: LastChoice;
}

export interface LastChoice {
  readonly agent: string | null;
  readonly model: string | null;
  readonly mode: string;
  readonly bridgeId: string | null;
  readonly folder: string | null;
}

const KEY = "baton:preferences";
const DEFAULTS: Preferences = {
  theme: "system",
  sound: false,
  notifications: false,
  sidebarClosed: false,
  lastChoice: { agent: null, model: null, mode: "default", bridgeId: null, folder: null },
};

let now: Preferences = read();
const listeners = new Set<() => void>();

function read(): Preferences {
  try {
    const kept: unknown = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    return { ...DEFAULTS, ...(kept as Partial<Preferences>) };
  } catch {
    return DEFAULTS; // no storage here, or not ours
  }
}

export function preferences(): Preferences {
  return now;
}

export function setPreferences(change: Partial<Preferences>): void {
  now = { ...now, ...change };
  try {
    localStorage.setItem(KEY, JSON.stringify(now));
  } catch {
    // Full or forbidden: it counts until the page is closed.
  }
  applyTheme();
  for (const listener of listeners) listener();
}

/** `data-theme` on the root; without it the system decides. */
export function applyTheme(): void {
  const root = document.documentElement;
  if (now.theme === "system") delete root.dataset.theme;
  else root.dataset.theme = now.theme;
}

export function usePreferences(): Preferences {
  return useSyncExternalStore(
    (changed) => {
      listeners.add(changed);
      return () => listeners.delete(changed);
    },
    () => now,
  );
}
