/** The store in React: thin hooks, no logic. */
import { createContext, createElement, useCallback, useContext, useEffect, useRef, useState, useSyncExternalStore } from "react";
import type { ReactElement, ReactNode } from "react";
import type { Message } from "../wire/types";
import type { Actions } from "./actions";
import type { Baton } from "./client";
import type { Drafts } from "./keep";
import type { PageState, Thread } from "./model";
import { messageOf } from "./model";

const Context = createContext<Baton | null>(null);

/** Gives `baton` to everything inside. */
export function BatonProvider({ baton, children }: { baton: Baton; children: ReactNode }): ReactElement {
  return createElement(Context.Provider, { value: baton }, children);
}

/** The client of this page. */
export function useBaton(): Baton {
  const baton = useContext(Context);
  if (baton === null) throw new Error("There is no BatonProvider around this");
  return baton;
}

export function useActions(): Actions {
  return useBaton().actions;
}

export function useDrafts(): Drafts {
  return useBaton().drafts;
}

/** What `select` reads from the state; renders again only when it differs by `isEqual`. */
export function useSelector<T>(select: (state: PageState) => T, isEqual: (a: T, b: T) => boolean = shallowEqual): T {
  const { store } = useBaton();
  // What was last given out, for the comparison; a cache beside the render, which no render shows.
  const last = useRef<{ readonly value: T } | null>(null);
  const read = useCallback((): T => {
    const value = select(store.getState());
    if (last.current !== null && isEqual(last.current.value, value)) return last.current.value;
    last.current = { value };
    return value;
  }, [store, select, isEqual]);
  return useSyncExternalStore(store.subscribe, read);
}

/** Equal, or lists or plain objects with identical parts. */
export function shallowEqual(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
  if (Object.getPrototypeOf(a) !== Object.getPrototypeOf(b) || a instanceof Map || a instanceof Set) return false;
  const keys = Object.keys(a);
  if (keys.length !== Object.keys(b).length) return false;
  return keys.every((key) => Object.is(a[key as keyof typeof a], b[key as keyof typeof b]));
}

/** The thread as if it did not grow: again only when something else than the text of its live messages has changed. */
export function useStillThread(conversationId: string | null): Thread | undefined {
  return useSelector((state) => (conversationId === null ? undefined : state.open.get(conversationId)), isSameButGrown);
}

/** What each delta changes. Views of it select what they show; the rest of a thread need not render 30 times a second. */
const GROWING: ReadonlySet<string> = new Set<keyof Thread>(["live", "seq"]);

function isSameButGrown(a: Thread | undefined, b: Thread | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return (Object.keys(a) as (keyof Thread)[]).every((key) => GROWING.has(key) || Object.is(a[key], b[key]));
}

/** The message; renders again only when that message changes. */
export function useMessage(conversationId: string, messageId: string): Message | undefined {
  return useSelector((state) => {
    const thread = state.open.get(conversationId);
    return thread && messageOf(thread, messageId);
  }, Object.is);
}

/** Joins the conversation and shows it as the one on the screen, while mounted. See `useStillThread`. */
export function useOpenConversation(conversationId: string | null): Thread | undefined {
  const { actions } = useBaton();
  useEffect(() => {
    if (conversationId === null) return undefined;
    actions.open(conversationId);
    actions.setViewing(conversationId);
    return () => {
      actions.setViewing(null);
      actions.close(conversationId);
    };
  }, [actions, conversationId]);
  return useStillThread(conversationId);
}

/** Holds the deadline of a prompt up while mounted and the page is visible. */
export function useSeenPrompt(promptId: string | null): void {
  const { actions } = useBaton();
  const isVisible = useSelector((state) => state.isPageVisible);
  useEffect(
    () => (promptId === null || !isVisible ? undefined : actions.holdPrompt(promptId)),
    [actions, promptId, isVisible],
  );
}

/** The time in ms since 1970, again every `everyMs`: for countdowns and durations. */
export function useNow(everyMs = 1000): number {
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return now;
}
