/**
 * The page's one store: events go in, are reduced together once in two frames, and whoever listens is told once.
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
  /** Reduces `event` with others that come soon: for what the server says. */
  enqueue(event: PageEvent): void;
  /** Reduces what waits. */
  flush(): void;
}

/** Frames stop in a hidden page, whose title and notifications must go on; there a timer does it. */
const LONGEST_WAIT_MS = 100;

/** So far apart, at least: text that grows thirty times a second reads as well as sixty, and is drawn half as often. */
const LEAST_GAP_MS = 30;

/**
 * In an animation frame, at most every `LEAST_GAP_MS`; what comes after a pause is in the very next one. In a hidden
 * page, or where frames do not come, after a short time.
 */
export function inFrames(): Schedule {
  let last = -Infinity;
  return (flush) => {
    const timer = setTimeout(flush, LONGEST_WAIT_MS);
    const onFrame = (now: number) => {
      if (now - last < LEAST_GAP_MS) {
        frame = requestAnimationFrame(onFrame);
        return;
      }
      last = now;
      flush();
    };
    let frame = requestAnimationFrame(onFrame);
    return () => {
      clearTimeout(timer);
      cancelAnimationFrame(frame);
    };
  };
}

/** A store that begins with `initial`. */
export function createStore(initial: PageState, schedule: Schedule = inFrames(), now: () => number = Date.now): Store {
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
