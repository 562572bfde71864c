import { Check, CheckCheck, CircleAlert, CircleSlash, Clock, Copy, GitFork, LoaderCircle, PencilLine, RotateCcw } from "lucide-react";
import { memo } from "react";

import { clock, countdown, fullTime } from "../app/format";
import { conversationPath, navigate } from "../app/router";
import { editInComposer } from "../composer/handover";
import { useCopy } from "../kit/copy";
import { told } from "../kit/toasts";
import { Markdown } from "../text/Markdown";
import { useActions, useNow, useSelector, wayOf, wayOfOutbox, type Way } from "../state";
import type { Message } from "../wire/types";
import { Attachments } from "./Attachments";

/** What a person said, and how far it has come. */
export const UserMessage = memo(function UserMessage({ message }: { readonly message: Message }) {
  const { conversationId, id, requestId } = message;
  const way = useSelector((state) => {
    const thread = state.open.get(conversationId);
    return thread === undefined ? null : wayOf(state, thread, id);
  });
  const { retry, fork } = useActions();
  const { isCopied, copy } = useCopy();
  const forkHere = async () => {
    const answer = told(await fork(conversationId, id));
    if (answer.ok) navigate(conversationPath(answer.conversation.id));
  };
  return (
    <article className="user-message" aria-label="You">
      <div className="bubble">
        <Markdown text={message.content} />
        <Attachments attachments={message.attachments} />
      </div>
      <footer>
        <span className="message-actions">
          <button type="button" className="icon-button small" aria-label={isCopied ? "Copied" : "Copy"} title="Copy" onClick={() => copy(message.content)}>
            {isCopied ? <Check aria-hidden /> : <Copy aria-hidden />}
          </button>
          <button type="button" className="icon-button small" aria-label="Edit and send again" title="Edit and send again" onClick={() => editInComposer(message.content)}>
            <PencilLine aria-hidden />
          </button>
          <button type="button" className="icon-button small" aria-label="Fork from here" title="Fork from here" onClick={() => void forkHere()}>
            <GitFork aria-hidden />
          </button>
        </span>
        {way !== null && <WayLine way={way} onRetry={requestId === null ? null : () => void retry(requestId).then(told)} />}
        <time dateTime={message.createdAt} title={fullTime(message.createdAt)}>{clock(message.createdAt)}</time>
      </footer>
    </article>
  );
});

/** What the server does not have yet, or has refused. */
export function Unsent({ requestId }: { readonly requestId: string }) {
  const entry = useSelector((state) => state.outbox.get(requestId));
  const { resend, discardUnsent } = useActions();
  if (entry === undefined) return null;
  const discard = () => {
    editInComposer(entry.message.content);
    discardUnsent(requestId);
  };
  return (
    <article className="user-message" aria-label="You, not stored yet" data-unsent>
      <div className="bubble">
        <Markdown text={entry.message.content} />
      </div>
      <footer>
        <WayLine way={wayOfOutbox(entry)} onRetry={() => void resend(requestId)} />
        {(entry.status === "failed" || entry.status === "waiting") && (
          <button type="button" className="button small" onClick={discard}>Take back</button>
        )}
      </footer>
    </article>
  );
}

const ICONS: Readonly<Record<Way["step"], typeof Check>> = {
  saving: LoaderCircle, unsent: Clock, stored: Check, queued: Clock, sent: Check, started: CheckCheck, streaming: CheckCheck,
  waiting: CheckCheck, done: CheckCheck, failed: CircleAlert, aborted: CircleSlash,
};

function WayLine({ way, onRetry }: { readonly way: Way; readonly onRetry: (() => void) | null }) {
  const Icon = ICONS[way.step];
  const isDone = way.step === "done";
  return (
    <span className="way" data-step={way.step}>
      <Icon aria-hidden className={way.step === "saving" ? "spin" : undefined} />
      <span className={isDone ? "away" : undefined}>{way.text}</span>
      {way.reason !== null && <span className="reason">{way.reason}</span>}
      {way.deadlineAt !== null && <Deadline at={way.deadlineAt} />}
      {way.canRetry && onRetry !== null && (
        <button type="button" className="button small" onClick={onRetry}>
          <RotateCcw aria-hidden />
          Retry
        </button>
      )}
    </span>
  );
}

function Deadline({ at }: { readonly at: string }) {
  const now = useNow();
  return <span aria-hidden>{countdown(Date.parse(at) - now)}</span>;
}
