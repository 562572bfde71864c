/** The page's addresses. Small enough that a library would be larger than what it does here. */
import { useSyncExternalStore } from "react";

export type OperatorView = "projects" | "bridges" | "permissions" | "usage" | "tokens";

export type Route =
  | { readonly view: "new"; readonly projectId: string | null }
  | { readonly view: "conversation"; readonly conversationId: string; readonly messageId: string | null }
  | { readonly view: "session"; readonly sessionId: string }
  | { readonly view: "operator"; readonly name: OperatorView };

const OPERATOR_VIEWS: readonly string[] = ["projects", "bridges", "permissions", "usage", "tokens"];

/** What an address means; what means nothing is a new chat. */
export function parseRoute(pathname: string, search: string): Route {
  const query = new URLSearchParams(search);
  const [kind = "", value = ""] = pathname.split("/").filter(Boolean).map(decode);
  if (kind === "c" && /^[0-9a-f]{24}$/i.test(value)) {
    return { view: "conversation", conversationId: value.toLowerCase(), messageId: query.get("m") };
  }
  if (kind === "s" && value !== "") return { view: "session", sessionId: value };
  if (kind === "o" && OPERATOR_VIEWS.includes(value)) return { view: "operator", name: value as OperatorView };
  // Links of other clients name the thread in the query.
  const conversationId = query.get("conversationId");
  if (conversationId !== null && /^[0-9a-f]{24}$/i.test(conversationId)) {
    return { view: "conversation", conversationId: conversationId.toLowerCase(), messageId: query.get("m") };
  }
  const sessionId = query.get("sessionId");
  if (sessionId !== null && sessionId !== "") return { view: "session", sessionId };
  return { view: "new", projectId: query.get("project") };
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return ""; // a broken escape in a link that somebody typed
  }
}

export function conversationPath(conversationId: string, messageId?: string | null): string {
  return `/c/${conversationId}${messageId ? `?m=${messageId}` : ""}`;
}

export function newChatPath(projectId?: string | null): string {
  return projectId ? `/?project=${projectId}` : "/";
}

export function operatorPath(name: OperatorView): string {
  return `/o/${name}`;
}

const CHANGED = "baton:route";

/** Go there; `isReplacing` leaves no step back to where one was. */
export function navigate(path: string, { isReplacing = false } = {}): void {
  if (isReplacing) history.replaceState(null, "", path);
  else history.pushState(null, "", path);
  window.dispatchEvent(new Event(CHANGED));
}

function subscribe(changed: () => void): () => void {
  window.addEventListener("popstate", changed);
  window.addEventListener(CHANGED, changed);
  return () => {
    window.removeEventListener("popstate", changed);
    window.removeEventListener(CHANGED, changed);
  };
}

let last: { readonly address: string; readonly route: Route } | null = null;

function current(): Route {
  const address = location.pathname + location.search;
  if (last?.address !== address) last = { address, route: parseRoute(location.pathname, location.search) };
  return last.route;
}

export function useRoute(): Route {
  return useSyncExternalStore(subscribe, current);
}
