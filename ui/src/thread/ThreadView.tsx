/**
 * The messages. Only what is near the screen exists as nodes, so that ten thousand scroll like ten. The end stays in
 * sight while text comes, until the person scrolls up.
 */
import { ArrowDown } from "lucide-react";
import { memo, useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from "react";
import { Virtualizer, type VirtualizerHandle } from "virtua";

import { plural } from "../app/format";
import { Boundary } from "../kit/Boundary";
import { toast } from "../kit/toasts";
import { messageOf, messagesAfter, outboxOf, useActions, useSelector, useStillThread, visibleIds, type Thread } from "../state";
import { MessageRow } from "./MessageRow";
import { PromptRow } from "./PromptRow";
import { rowsOf, type Row } from "./rows";
import { Unsent } from "./UserMessage";
import { Working } from "./Working";

/** So near to the end counts as at the end. */
const END_PX = 60;
/** So long after a wheel, a key or a finger a scroll is the person's. */
const INPUT_MS = 600;
/** What stays free above a question. */
const MARGIN_PX = 12;
/** The list scrolls to the end of its last row; what stands below that is in sight too. */
const LAST = { align: "end", offset: 200 } as const;
/** So near to the beginning older messages are asked for. */
const BEGIN_PX = 1200;

interface ThreadViewProps {
  readonly conversationId: string;
  readonly messageId: string | null;
}

export function ThreadView({ conversationId, messageId }: ThreadViewProps) {
  const thread = useStillThread(conversationId);
  return thread === undefined ? null : <Messages thread={thread} messageId={messageId} />;
}

function Messages({ thread, messageId }: { readonly thread: Thread; readonly messageId: string | null }) {
  const { conversationId, prompts, runs, hasOlder, isLoadingOlder, isJoined, olderError, olderLoads } = thread;
  const outbox = useSelector((state) => outboxOf(state, conversationId));
  const ids = visibleIds(thread);
  // eslint-disable-next-line react-hooks/exhaustive-deps
  const rows = useMemo(() => rowsOf(ids, thread, outbox), [ids, prompts, runs, outbox]);
  const rowCount = rows.length;
  const { loadOlder, loadAround } = useActions();
  const scroller = useRef<HTMLDivElement>(null);
  const content = useRef<HTMLDivElement>(null);
  const list = useRef<VirtualizerHandle>(null);
  const beginning = useRef<HTMLDivElement>(null);
  const sticks = useRef(messageId === null);
  const lastTop = useRef(0);
  // Lists also scroll by themselves, when they learn how high something is. Only a person lets go of the end.
  const lastInput = useRef(0);
  // On the way to a message: passing the end on that way is not to stay there.
  const seeks = useRef(messageId !== null);
  const onInput = () => {
    lastInput.current = performance.now();
    seeks.current = false;
  };
  const [isAway, setAway] = useState(false);
  const [leftAt, setLeftAt] = useState(0);
  const [shownLoads, setShownLoads] = useState(olderLoads);

  const toEnd = useCallback(() => {
    const element = scroller.current;
    if (element === null) return;
    // A question that is higher than the screen is read from its beginning.
    const card = element.querySelector(".prompt");
    const above = card === null ? Infinity : card.getBoundingClientRect().top - element.getBoundingClientRect().top - MARGIN_PX;
    element.scrollTop = Math.min(element.scrollHeight - element.clientHeight, element.scrollTop + above);
  }, []);

  const jump = useCallback(() => {
    sticks.current = true;
    seeks.current = false;
    setAway(false);
    lastInput.current = 0;
    list.current?.scrollToIndex(rowCount - 1, LAST);
    toEnd();
  }, [rowCount, toEnd]);

  // What stands above the list moves all of it; the list must know, or it stops so far before the place it scrolls to.
  const [above, setAbove] = useState(0);
  const isEmpty = rowCount === 0;
  useLayoutEffect(() => {
    const [inner, outer] = [beginning.current, scroller.current];
    if (inner === null || outer === null) return;
    setAbove(inner.getBoundingClientRect().top - outer.getBoundingClientRect().top + outer.scrollTop);
  }, [hasOlder, isEmpty]);

  // Whatever makes the content grow, a message, an image, a card that opens: the end stays in sight if it was.
  useLayoutEffect(() => {
    const observer = new ResizeObserver(() => sticks.current && toEnd());
    for (const element of [content.current, scroller.current]) if (element !== null) observer.observe(element);
    return () => observer.disconnect();
  }, [toEnd]);

  useLayoutEffect(() => {
    if (sticks.current && rowCount > 0) list.current?.scrollToIndex(rowCount - 1, LAST);
  }, [rowCount]);

  // What a person has just sent is always brought into sight.
  const lastUnsent = outbox.at(-1)?.requestId;
  useEffect(() => {
    if (lastUnsent !== undefined) jump();
    // eslint-disable-next-line react-hooks/exhaustive-deps -- only a new message of one's own jumps
  }, [lastUnsent]);

  const askOlder = () => {
    if (hasOlder && !isLoadingOlder && isJoined) void loadOlder(conversationId);
  };
  // Who waits at the very beginning scrolls no more: what came may not have been enough, or the link was away.
  useEffect(() => {
    setShownLoads(olderLoads);
    const element = scroller.current;
    if (element === null || olderError !== null) return;
    const isWaiting = sticks.current ? element.scrollHeight <= element.clientHeight : element.scrollTop < BEGIN_PX;
    if (isWaiting) askOlder();
    // eslint-disable-next-line react-hooks/exhaustive-deps -- once per page that came or was no use, and per link
  }, [olderLoads, isLoadingOlder, isJoined]);

  const onScroll = () => {
    const element = scroller.current;
    if (element === null) return;
    const isAtEnd = element.scrollHeight - element.scrollTop - element.clientHeight < END_PX;
    if (isAtEnd && !seeks.current) sticks.current = true;
    else if (element.scrollTop < lastTop.current - 1 && performance.now() - lastInput.current < INPUT_MS) sticks.current = false;
    lastTop.current = element.scrollTop;
    if (sticks.current === isAway) {
      setAway(!sticks.current);
      setLeftAt(messageOf(thread, visibleIds(thread).at(-1) ?? "")?.ordinal ?? 0);
    }
    if (element.scrollTop < BEGIN_PX && olderError === null) askOlder();
  };

  // Once per address: who has read on is not brought back by each new link.
  const [found, setFound] = useState<string | null>(null);
  useEffect(() => {
    if (messageId === null) setFound(null);
    if (messageId === null || messageId === found || !isJoined) return;
    let isWanted = true;
    sticks.current = false;
    seeks.current = true;
    void loadAround(conversationId, messageId).then((isHere) => {
      if (!isWanted) return;
      if (isHere) {
        setFound(messageId);
        setTarget(messageId);
      } else {
        seeks.current = false;
        toast("The message of this address is not here, or did not come", { isBad: true });
      }
    });
    return () => {
      isWanted = false;
    };
  }, [conversationId, messageId, found, isJoined, loadAround]);
  const [target, setTarget] = useState<string | null>(null);
  const targetIndex = target === null ? -1 : rows.findIndex((row) => row.key === target);
  useEffect(() => {
    if (targetIndex < 0) return;
    list.current?.scrollToIndex(targetIndex, { align: "center" });
    const timer = setTimeout(() => setTarget(null), 4000);
    return () => clearTimeout(timer);
    // eslint-disable-next-line react-hooks/exhaustive-deps -- once per target
  }, [target, targetIndex >= 0]);

  const missed = isAway ? messagesAfter(thread, leftAt) : 0;
  return (
    <div className="thread-frame">
      <div className="thread" ref={scroller} onScroll={onScroll} onWheel={onInput} onTouchMove={onInput} onPointerDown={onInput} onKeyDown={onInput} role="log" aria-live="off" aria-label="Messages" tabIndex={0}>
        <div ref={content} className="thread-content">
          {hasOlder && <Older problem={olderError?.message} onRetry={askOlder} />}
          {isEmpty && <p className="blank quiet">Nothing was said yet.</p>}
          <div ref={beginning} />
          <Virtualizer ref={list} scrollRef={scroller} data={rows} shift={olderLoads !== shownLoads} bufferSize={600} startMargin={above}>
            {(row) => <ThreadRow key={row.key} row={row} conversationId={conversationId} isTarget={row.key === target} />}
          </Virtualizer>
          <Working thread={thread} />
        </div>
      </div>
      {isAway && (
        <button type="button" className="jump" onClick={jump}>
          <ArrowDown aria-hidden />
          {missed > 0 ? `${plural(missed, "new message")}` : "Jump to latest"}
        </button>
      )}
      <Announcer conversationId={conversationId} />
    </div>
  );
}

interface OlderProps {
  readonly problem: string | undefined;
  readonly onRetry: () => void;
}

/** What stands above the oldest message there is. */
function Older({ problem, onRetry }: OlderProps) {
  if (problem === undefined) return <p className="older" role="status">Loading older messages</p>;
  return (
    <p className="older" role="alert">
      {problem} <button type="button" className="button" onClick={onRetry}>Try again</button>
    </p>
  );
}

interface ThreadRowProps {
  readonly row: Row;
  readonly conversationId: string;
  readonly isTarget: boolean;
}

const ThreadRow = memo(
  function ThreadRow({ row, conversationId, isTarget }: ThreadRowProps) {
    return (
      <div className="row" data-target={isTarget}>
        <Boundary instead={<p className="problem">This cannot be shown here. An export of the conversation has it.</p>}>
          {row.kind === "message" && <MessageRow conversationId={conversationId} messageId={row.key} />}
          {row.kind === "prompt" && <PromptRow conversationId={conversationId} promptId={row.key} />}
          {row.kind === "unsent" && <Unsent requestId={row.key} />}
        </Boundary>
      </div>
    );
  },
  (a, b) => a.row.key === b.row.key && a.row.kind === b.row.kind && a.isTarget === b.isTarget,
);

/** For screen readers: whole answers when they are done, not each word. */
function Announcer({ conversationId }: { readonly conversationId: string }) {
  const text = useSelector((state) => {
    const thread = state.open.get(conversationId);
    const last = thread && messageOf(thread, thread.ids.at(-1) ?? "");
    return last?.role === "assistant" && last.status === "completed" ? last.content.slice(0, 500) : "";
  });
  return <p className="away" role="status" aria-live="polite">{text}</p>;
}
