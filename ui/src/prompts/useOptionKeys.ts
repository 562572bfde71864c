import { useEffect, useRef } from "react";

import { isTyping } from "../app/keys";

/** A key that was meant for the message box must not answer a question that has just come up. */
const GRACE_MS = 500;

/** Runs `act` for a key pressed in the card of `id`, or anywhere while nobody types. */
export function useOptionKeys(act: (key: string) => boolean): void {
  const latest = useRef(act);
  useEffect(() => {
    latest.current = act;
  });
  useEffect(() => {
    const since = performance.now();
    const onKey = (event: KeyboardEvent) => {
      if (performance.now() - since < GRACE_MS || event.repeat) return;
      if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
      if (document.querySelector("[role=dialog], [role=menu]") !== null) return;
      if (latest.current(event.key)) event.preventDefault();
    };
    // Of several cards the oldest, which is mounted first, takes the key.
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, []);
}
