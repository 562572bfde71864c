import { Folder, PanelLeft } from "lucide-react";

import { cost, count, folderName, modelName } from "../app/format";
import { StateMark } from "../kit/StateMark";
import { activeRun, useSelector, type Thread } from "../state";
import type { ConversationState } from "../wire/types";

export function ThreadHeader({ thread, onOpenSidebar }: { readonly thread: Thread; readonly onOpenSidebar: () => void }) {
  const { conversation } = thread;
  const listed = useSelector((page) => page.conversations.get(thread.conversationId)?.state ?? "idle");
  if (conversation === null) return null;
  const { usage } = conversation;
  const tokens = usage.inputTokens + usage.outputTokens + usage.cacheReadTokens + usage.cacheWriteTokens;
  return (
    <header className="thread-header">
      <button type="button" className="icon-button open-sidebar" aria-label="Show the list" onClick={onOpenSidebar}>
        <PanelLeft aria-hidden />
      </button>
      <div className="thread-title">
        <h1 title={conversation.title}>{conversation.title || "Untitled"}</h1>
        <p>
          <span>{[conversation.agent, conversation.model && modelName(conversation.model)].filter(Boolean).join(", ")}</span>
          {conversation.workingDirectory !== null && (
            <span title={conversation.workingDirectory}>
              <Folder aria-hidden />
              {folderName(conversation.workingDirectory)}
            </span>
          )}
          {tokens > 0 && <span className="thread-usage" title={`${tokens} tokens in all, caches with them`}>{count(tokens)} tokens{conversation.costUsd > 0 && `, ${cost(conversation.costUsd)}`}</span>}
        </p>
      </div>
      <StateMark state={stateOf(thread, listed)} />
    </header>
  );
}

/** The thread knows its own run a moment before the list does. */
function stateOf(thread: Thread, listed: ConversationState): ConversationState {
  const run = activeRun(thread);
  if (run !== undefined) return run.status === "awaiting_input" ? "awaiting_input" : "running";
  return listed === "failed" || listed === "queued" ? listed : "idle";
}
