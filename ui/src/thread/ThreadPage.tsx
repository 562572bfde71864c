import { PanelLeft } from "lucide-react";
import { useEffect } from "react";

import { Composer } from "../composer/Composer";
import { navigate, newChatPath } from "../app/router";
import { bridgeFacts, useActions, useOpenConversation, useSelector } from "../state";
import { Notice } from "../kit/Notice";
import { Queue } from "./Queue";
import { ThreadHeader } from "./ThreadHeader";
import { ThreadView } from "./ThreadView";

interface ThreadPageProps {
  readonly conversationId: string;
  readonly messageId: string | null;
  readonly onOpenSidebar: () => void;
}

/** One conversation: what was said, what waits, and where one speaks. */
export function ThreadPage({ conversationId, messageId, onOpenSidebar }: ThreadPageProps) {
  const thread = useOpenConversation(conversationId);
  const { open } = useActions();
  const bridge = useSelector((state) => bridgeFacts(state, thread?.conversation ?? null, location.origin));
  const isOpen = thread?.conversation != null;
  useEffect(() => {
    // On a touch screen this would bring up the keyboard over what one came to read.
    if (isOpen && !window.matchMedia("(pointer: coarse)").matches) document.getElementById("composer")?.focus({ preventScroll: true });
  }, [conversationId, isOpen]);

  if (thread?.joinError && thread.conversation === null) {
    const isGone = thread.joinError.code === "not_found";
    return (
      <>
        <BareHeader onOpenSidebar={onOpenSidebar} />
        <div className="blank" role="alert">
          <h2>{isGone ? "There is no such conversation" : "It cannot be shown now"}</h2>
          <p>{isGone ? "It was deleted, or the address is not whole." : thread.joinError.message}</p>
          {isGone ? (
            <button type="button" className="button" onClick={() => navigate(newChatPath())}>New chat</button>
          ) : (
            <button type="button" className="button" onClick={() => open(conversationId)}>Try again</button>
          )}
        </div>
      </>
    );
  }
  if (thread === undefined || thread.conversation === null) {
    return (
      <>
        <BareHeader onOpenSidebar={onOpenSidebar} />
        <div className="blank"><p role="status">Opening</p></div>
      </>
    );
  }
  return (
    <>
      <ThreadHeader thread={thread} onOpenSidebar={onOpenSidebar} />
      <ThreadView conversationId={conversationId} messageId={messageId} />
      <div className="thread-foot">
        {bridge.kind !== "ok" && bridge.kind !== "unknown" && <Notice tone="busy" text={bridge.text} command={bridge.command} />}
        <Queue thread={thread} />
        <Composer key={conversationId} thread={thread} />
      </div>
    </>
  );
}

function BareHeader({ onOpenSidebar }: { readonly onOpenSidebar: () => void }) {
  return (
    <header className="thread-header bare">
      <button type="button" className="icon-button open-sidebar" aria-label="Show the list" onClick={onOpenSidebar}>
        <PanelLeft aria-hidden />
      </button>
    </header>
  );
}
