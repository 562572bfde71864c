import { memo } from "react";

import { Markdown } from "../text/Markdown";
import { isLastOfRun, useSelector } from "../state";
import type { Block, Message } from "../wire/types";
import { RunFooter } from "./RunFooter";
import { Thinking } from "./Thinking";
import { ToolCard } from "./ToolCard";

/** One message of the agent: its blocks in order, and below the last one of a run what the run took. */
export const AgentMessage = memo(function AgentMessage({ message, isNested = false }: { readonly message: Message; readonly isNested?: boolean }) {
  const { conversationId, id, blocks } = message;
  const isLive = message.status === "streaming" || message.status === "sending";
  const isLast = useSelector((state) => {
    const thread = state.open.get(conversationId);
    return thread !== undefined && isLastOfRun(thread, id);
  });
  return (
    <article className="agent-message" aria-label={message.role === "system" ? "System" : "Agent"} data-role={message.role}>
      {blocks.map((block, at) => (
        <BlockView key={at} block={block} conversationId={conversationId} isLive={isLive} isLast={at === blocks.length - 1} />
      ))}
      {message.status === "aborted" && <p className="stopped">Stopped here.</p>}
      {isLast && !isNested && <RunFooter message={message} />}
    </article>
  );
});

interface BlockViewProps {
  readonly block: Block;
  readonly conversationId: string;
  readonly isLive: boolean;
  readonly isLast: boolean;
}

const BlockView = memo(function BlockView({ block, conversationId, isLive, isLast }: BlockViewProps) {
  switch (block.type) {
    case "text":
      return <Markdown text={block.text} isLive={isLive && isLast} />;
    case "thinking":
      return <Thinking text={block.text} isLive={isLive && isLast} />;
    case "tool_use":
      return <ToolCard block={block} conversationId={conversationId} isLive={isLive} />;
  }
});
