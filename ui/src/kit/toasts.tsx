/** What happened just now and can be undone or mended; gone by itself after a while, unless one points at it. */
import { X } from "lucide-react";
import { useSyncExternalStore } from "react";

import type { ApiError } from "../wire/types";

interface Toast {
  readonly id: number;
  readonly text: string;
  readonly isBad: boolean;
  readonly action: { readonly label: string; readonly run: () => void } | null;
}

const STAYS_MS = 8000;
let toasts: readonly Toast[] = [];
let lastId = 0;
const listeners = new Set<() => void>();

function set(next: readonly Toast[]): void {
  toasts = next;
  for (const listener of listeners) listener();
}

function dismiss(id: number): void {
  set(toasts.filter((toast) => toast.id !== id));
}

export function toast(text: string, more: { isBad?: boolean; action?: Toast["action"] } = {}): void {
  lastId += 1;
  const id = lastId;
  set([...toasts.slice(-2), { id, text, isBad: more.isBad ?? false, action: more.action ?? null }]);
  setTimeout(() => dismiss(id), STAYS_MS);
}

/** Says why something was refused; gives the answer on. */
export function told<T extends { readonly ok: true } | { readonly ok: false; readonly error: ApiError }>(answer: T): T {
  if (!answer.ok) toast(answer.error.message, { isBad: true });
  return answer;
}

export function Toasts() {
  const shown = useSyncExternalStore(
    (changed) => {
      listeners.add(changed);
      return () => listeners.delete(changed);
    },
    () => toasts,
  );
  return (
    <div className="toasts" role="status" aria-live="polite">
      {shown.map(({ id, text, isBad, action }) => (
        <div key={id} className="toast" data-bad={isBad}>
          <span>{text}</span>
          {action !== null && (
            <button type="button" className="button small" onClick={() => { action.run(); dismiss(id); }}>
              {action.label}
            </button>
          )}
          <button type="button" className="icon-button small" aria-label="Dismiss" onClick={() => dismiss(id)}>
            <X aria-hidden />
          </button>
        </div>
      ))}
    </div>
  );
}
