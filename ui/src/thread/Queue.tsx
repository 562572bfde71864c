import { ChevronDown, ChevronUp, ListOrdered, Pencil, Play, X } from "lucide-react";
import { useState } from "react";

import { plural } from "../app/format";
import { told } from "../kit/toasts";
import { contentOf, messageOf, useActions, type Thread } from "../state";
import type { Run } from "../wire/types";

/** What waits behind the active run: each can be changed, moved and taken out. */
export function Queue({ thread }: { readonly thread: Thread }) {
  const { queue, conversationId } = thread;
  const { queueResume } = useActions();
  if (queue.runs.length === 0 && !queue.paused) return null;
  return (
    <section className="queue" aria-label="Waiting messages">
      <header>
        <ListOrdered aria-hidden />
        <h2>{queue.paused ? "Paused" : "Next"}: {plural(queue.runs.length, "message")}</h2>
        {queue.paused && queue.reason != null && <span className="quiet">{queue.reason}</span>}
        {queue.paused && (
          <button type="button" className="button small" onClick={() => void queueResume(conversationId).then(told)}>
            <Play aria-hidden />
            Go on
          </button>
        )}
      </header>
      <ol>
        {queue.runs.map((run, at) => (
          <Waiting key={run.requestId} run={run} text={textOf(thread, run)} position={at + 1} isLast={at === queue.runs.length - 1} />
        ))}
      </ol>
    </section>
  );
}

function textOf(thread: Thread, run: Run): string {
  for (const id of run.messageIds) {
    const message = messageOf(thread, id);
    if (message?.role === "user") return contentOf(message);
  }
  for (const id of thread.ids) {
    const message = messageOf(thread, id);
    if (message?.requestId === run.requestId && message.role === "user") return contentOf(message);
  }
  return "";
}

interface WaitingProps {
  readonly run: Run;
  readonly text: string;
  readonly position: number;
  readonly isLast: boolean;
}

function Waiting({ run, text, position, isLast }: WaitingProps) {
  const { queueMove, queueRemove, queueUpdate } = useActions();
  const [isEditing, setEditing] = useState(false);
  const { requestId } = run;
  const move = (to: number) => void queueMove(requestId, to).then(told);
  if (isEditing) {
    return (
      <li>
        <QueueEdit
          text={text}
          onDone={(next) => {
            setEditing(false);
            if (next !== null && next.trim() !== "" && next !== text) void queueUpdate(requestId, next).then(told);
          }}
        />
      </li>
    );
  }
  return (
    <li>
      <span className="queue-text">{text}</span>
      <button type="button" className="icon-button small" aria-label={`Earlier: ${text.slice(0, 40)}`} title="Earlier" disabled={position === 1} onClick={() => move(position - 1)}><ChevronUp aria-hidden /></button>
      <button type="button" className="icon-button small" aria-label={`Later: ${text.slice(0, 40)}`} title="Later" disabled={isLast} onClick={() => move(position + 1)}><ChevronDown aria-hidden /></button>
      <button type="button" className="icon-button small" aria-label={`Edit: ${text.slice(0, 40)}`} title="Edit" onClick={() => setEditing(true)}><Pencil aria-hidden /></button>
      <button type="button" className="icon-button small" aria-label={`Remove: ${text.slice(0, 40)}`} title="Remove" onClick={() => void queueRemove(requestId).then(told)}><X aria-hidden /></button>
    </li>
  );
}

function QueueEdit({ text, onDone }: { readonly text: string; readonly onDone: (text: string | null) => void }) {
  const [value, setValue] = useState(text);
  return (
    <div className="queue-edit">
      <textarea
        aria-label="Waiting message"
        autoFocus
        value={value}
        rows={Math.min(8, value.split("\n").length)}
        onChange={(event) => setValue(event.target.value)}
        onKeyDown={(event) => {
          if (event.key === "Escape") {
            event.stopPropagation();
            onDone(null);
          }
          if (event.key === "Enter" && !event.shiftKey) {
            event.preventDefault();
            onDone(value);
          }
        }}
      />
      <button type="button" className="button small primary" onClick={() => onDone(value)}>Save</button>
      <button type="button" className="button small" onClick={() => onDone(null)}>Cancel</button>
    </div>
  );
}
