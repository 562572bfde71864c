/** Keys that work everywhere. They need a modifier or stay away while somebody types. */
import { useEffect, useRef } from "react";

export interface KeyActions {
  readonly newChat: () => void;
  readonly showSheet: () => void;
  readonly toggleSidebar: () => void;
}

/** What the `?` sheet lists; docs/page.md has the same. */
export const SHORTCUTS: readonly { readonly group: string; readonly keys: readonly (readonly [string, string])[] }[] = [
  {
    group: "Everywhere",
    keys: [
      ["?", "These shortcuts"],
      ["Ctrl K", "Search"],
      ["Alt N", "New chat"],
      ["Alt B", "Show or hide the list"],
      ["Alt P", "To the next question that waits"],
      ["/", "To the message box"],
    ],
  },
  {
    group: "Message box",
    keys: [
      ["Enter", "Send"],
      ["Shift Enter", "New line"],
      ["Shift Tab", "Next permission mode"],
      ["Esc", "Stop the run"],
      ["Arrow up", "Bring back the last message (in an empty box)"],
      ["@", "Name a file"],
      ["/", "Commands of the agent"],
    ],
  },
  {
    group: "A question of the agent",
    keys: [
      ["1 to 9", "Choose that answer"],
      ["D", "Deny with a reason"],
      ["E", "Change what will be run"],
    ],
  },
  {
    group: "Thread",
    keys: [
      ["End", "To the latest"],
      ["Home", "To the beginning of what is loaded"],
    ],
  },
];

export function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
}

export function focusById(id: string): void {
  document.getElementById(id)?.focus();
}

/** To the question in this thread, or to the first one in the tray. */
function toNextQuestion(): void {
  const here = document.querySelector<HTMLElement>(".prompt");
  if (here === null) return focusById("tray");
  here.scrollIntoView({ block: "nearest" });
  here.focus();
}

export function useKeys(actions: KeyActions): void {
  const latest = useRef(actions);
  useEffect(() => {
    latest.current = actions;
  });
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (event.defaultPrevented) return;
      const isPlain = !event.ctrlKey && !event.metaKey && !event.altKey;
      const done = (run: () => void) => {
        event.preventDefault();
        run();
      };
      if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") return done(() => focusById("search"));
      if (event.altKey && event.code === "KeyN") return done(latest.current.newChat);
      if (event.altKey && event.code === "KeyB") return done(latest.current.toggleSidebar);
      if (event.altKey && event.code === "KeyP") return done(toNextQuestion);
      if (!isPlain || isTyping(event.target)) return;
      if (event.key === "?") return done(latest.current.showSheet);
      if (event.key === "/") return done(() => focusById("composer"));
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, []);
}
