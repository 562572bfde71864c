import { Folder, PanelLeft } from "lucide-react";

import { cost, count, folderName, modelName } from "../app/format";
import { StateMark } from "../kit/StateMark";
import { useSelector, type Thread } from "../state";

export function ThreadHeader({ thread, onOpenSidebar }: { readonly thread: Thread; readonly onOpenSidebar: () => void }) {
  const { conversation } = thread;
  const state = useSelector((page) => page.conversations.get(thread.conversationId)?.state);
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
      <StateMark state={state ?? conversation.state} />
    </header>
  );
}
