import { PromptCard } from "../prompts/PromptCard";
import { Outcome } from "../prompts/Outcome";
import { useSelector } from "../state";

interface PromptRowProps {
  readonly conversationId: string;
  readonly promptId: string;
}

/** A question in the thread: a card while it waits, a line once it has its end. */
export function PromptRow({ conversationId, promptId }: PromptRowProps) {
  const prompt = useSelector((state) => state.open.get(conversationId)?.prompts.get(promptId));
  if (prompt === undefined) return null;
  return prompt.status === "pending" ? <PromptCard prompt={prompt} /> : <Outcome prompt={prompt} withTitle />;
}
