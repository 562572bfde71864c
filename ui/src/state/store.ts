/**
 * The page's one store: events go in, are reduced together once per frame, and whoever listens is told once.
 *
 * Built for `useSyncExternalStore`: `getState` gives the same value until something has changed.
 */
import type { PageState } from "./model";
import { reduceAll, type PageEvent } from "./reduce";

/** Runs `flush` soon; what it gives back calls it off. */
export type Schedule = (flush: () => void) => () => void;

export interface Store {
  readonly getState: () => PageState;
  /** Calls `listener` after each change, until what it gives back is called. */
  readonly subscribe: (listener: () => void) => () => void;
  /** Reduces what waits and `event`, now: for what a person did. */
  dispatch(event: PageEvent): void;
  /** Reduces `event` with others of the same frame: for what the server says. */
  enqueue(event: PageEvent): void;
  /** Reduces what waits. */
  flush(): void;
}

/** Frames stop in a hidden page, whose title and notifications must go on; there a timer does it. */
const LONGEST_WAIT_MS = 100;

/** Once per animation frame; in a hidden page, or where frames do not come, after a short time. */
export const perFrame: Schedule = (flush) => {
  const timer = setTimeout(flush, LONGEST_WAIT_MS);
  const frame = requestAnimationFrame(flush);
  return () => {
    clearTimeout(timer);
    cancelAnimationFrame(frame);
  };
};

/** A store that begins with `initial`. */
export function createStore(initial: PageState, schedule: Schedule = perFrame, now: () => number = Date.now): Store {
  let state = initial;
  let waiting: PageEvent[] = [];
  let callOff: (() => void) | null = null;
  const listeners = new Set<() => void>();

  function flush(): void {
    callOff?.();
    callOff = null;
    if (waiting.length === 0) return;
    const events = waiting;
    waiting = [];
    const next = reduceAll(state, events, now());
    if (next === state) return;
    state = next;
    for (const listener of [...listeners]) listener();
  }

  return {
    getState: () => state,
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    dispatch(event) {
      waiting.push(event);
      flush();
    },
    enqueue(event) {
      waiting.push(event);
      callOff ??= schedule(flush);
    },
    flush,
  };
}
