import { memo } from "react";

import { useMessage } from "../state";
import { AgentMessage } from "./AgentMessage";
import { UserMessage } from "./UserMessage";

interface MessageRowProps {
  readonly conversationId: string;
  readonly messageId: string;
}

export const MessageRow = memo(function MessageRow({ conversationId, messageId }: MessageRowProps) {
  const message = useMessage(conversationId, messageId);
  if (message === undefined) return null;
  if (message.role === "user") return <UserMessage message={message} />;
  return <AgentMessage message={message} />;
});
