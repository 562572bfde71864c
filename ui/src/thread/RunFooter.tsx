import { Check, Copy } from "lucide-react";

import { clock, cost, count, duration, fullTime, modelName } from "../app/format";
import { useCopy } from "../kit/copy";
import { contentOf, isFinalRun, runFacts, useSelector } from "../state";
import type { Message } from "../wire/types";

/** What a run took: model, tokens, cost and time; and a way to take its answer along. */
export function RunFooter({ message }: { readonly message: Message }) {
  const facts = useSelector((state) => {
    const thread = state.open.get(message.conversationId);
    return thread === undefined || message.requestId === null ? null : runFacts(thread, message.requestId);
  });
  const { isCopied, copy } = useCopy();
  const tokensIn = facts === null ? 0 : facts.inputTokens + facts.cacheReadTokens + facts.cacheWriteTokens;
  const isOpen = useSelector((state) => {
    const run = message.requestId === null ? undefined : state.open.get(message.conversationId)?.runs.get(message.requestId);
    return run !== undefined && !isFinalRun(run);
  });
  const isEnded = !isOpen && message.status !== "streaming" && message.status !== "sending";
  if (!isEnded) return null;
  return (
    <footer className="run-footer">
      <button type="button" className="icon-button small" aria-label={isCopied ? "Copied" : "Copy the answer"} title="Copy the answer" onClick={() => copy(contentOf(message))}>
        {isCopied ? <Check aria-hidden /> : <Copy aria-hidden />}
      </button>
      {facts?.model && <span>{modelName(facts.model)}</span>}
      {facts !== null && tokensIn + facts.outputTokens > 0 && (
        <span title={`${facts.inputTokens} in, ${facts.cacheReadTokens} from the cache, ${facts.cacheWriteTokens} into it, ${facts.outputTokens} out`}>
          {count(tokensIn)} in, {count(facts.outputTokens)} out
        </span>
      )}
      {facts?.costUsd != null && facts.costUsd > 0 && <span>{cost(facts.costUsd)}</span>}
      {facts?.durationMs != null && <span>{duration(facts.durationMs)}</span>}
      <time dateTime={message.createdAt} title={fullTime(message.createdAt)}>{clock(message.createdAt)}</time>
    </footer>
  );
}
