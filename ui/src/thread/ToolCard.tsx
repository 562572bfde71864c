import { Bot, Check, ChevronRight, FileText, Globe, ListTodo, LoaderCircle, PencilLine, Search, SquareTerminal, TriangleAlert, Wrench } from "lucide-react";
import { memo, useState } from "react";

import { duration } from "../app/format";
import { childIds, promptForTool, useNow, useSelector } from "../state";
import { showHidden } from "../text/clean";
import type { Prompt, ToolUseBlock } from "../wire/types";
import { Outcome } from "../prompts/Outcome";
import { MessageRow } from "./MessageRow";
import { field, todosOf } from "./rows";
import { ToolBody } from "./ToolBody";

const ICONS: Readonly<Record<string, typeof Wrench>> = {
  read: FileText, edit: PencilLine, execute: SquareTerminal, search: Search, fetch: Globe, think: ListTodo, task: Bot,
};
const NO_IDS: readonly string[] = [];

interface ToolCardProps {
  readonly block: ToolUseBlock;
  readonly conversationId: string;
  readonly isLive: boolean;
}

/** One call of a tool: what it is in one line, and unfolded what it did. */
export const ToolCard = memo(function ToolCard({ block, conversationId, isLive }: ToolCardProps) {
  const isRunning = block.status === "running" && block.finishedAt === null;
  const isTodo = todosOf(block.input).length > 0;
  const [choice, setChoice] = useState<boolean | null>(null);
  const prompt = useSelector((state) => {
    const thread = state.open.get(conversationId);
    return thread === undefined ? undefined : promptForTool(thread, block.id);
  });
  const isAsking = prompt?.status === "pending";
  // Open by itself: what is an edit or a list is there to be seen; what runs, while it runs; what failed. While it is
  // asked about, the question shows it.
  const isOpen = choice ?? (!isAsking && (block.kind === "edit" || isTodo || block.isError || (isRunning && block.kind === "execute") || block.kind === "task"));
  const children = useSelector((state) => {
    const thread = state.open.get(conversationId);
    return thread === undefined ? NO_IDS : childIds(thread, block.id);
  });
  const Icon = isTodo ? ListTodo : (ICONS[block.kind] ?? Wrench);
  return (
    <section className="tool" data-status={block.isError ? "failed" : block.status} aria-label={`Tool ${block.name}`}>
      <button type="button" className="tool-head" aria-expanded={isOpen} onClick={() => setChoice(!isOpen)}>
        <Icon aria-hidden />
        <span className="tool-name">{showHidden(block.name)}</span>
        <span className="tool-title" dir="ltr">{showHidden(summary(block))}</span>
        <ToolState block={block} isRunning={isRunning} isLive={isLive} isAsking={isAsking} />
        <ChevronRight aria-hidden className="chevron" />
      </button>
      {isOpen && (
        <div className="tool-body">
          <ToolBody block={block} isRunning={isRunning}>
            {children.length > 0 && (
              <div className="nested" role="group" aria-label="Sub-agent">
                {children.map((id) => <MessageRow key={id} conversationId={conversationId} messageId={id} />)}
              </div>
            )}
          </ToolBody>
        </div>
      )}
      {prompt !== undefined && prompt.status !== "pending" && isWorthTelling(prompt) && <Outcome prompt={prompt} />}
    </section>
  );
});

/** What reads only is allowed hundreds of times a day; that is told by the audit, not here. */
function isWorthTelling(prompt: Prompt): boolean {
  return prompt.decision?.rule !== "read_only";
}

function summary(block: ToolUseBlock): string {
  if (block.kind === "execute") return field(block.input, "command") ?? block.title;
  const path = field(block.input, "file_path", "path", "notebook_path", "pattern", "url", "query", "description");
  return (path ?? block.title).split("\n")[0] ?? "";
}

interface ToolStateProps {
  readonly block: ToolUseBlock;
  readonly isRunning: boolean;
  readonly isLive: boolean;
  readonly isAsking: boolean;
}

function ToolState({ block, isRunning, isAsking }: ToolStateProps) {
  if (isAsking) return <span className="tool-state">waits for you</span>;
  if (isRunning) return <span className="tool-state"><LoaderCircle aria-hidden className="spin" /><span className="away">running</span><Running since={block.startedAt} /></span>;
  const took = block.startedAt !== null && block.finishedAt !== null ? duration(Date.parse(block.finishedAt) - Date.parse(block.startedAt)) : "";
  if (block.isError || block.status === "failed") return <span className="tool-state"><TriangleAlert aria-hidden />failed {took}</span>;
  return <span className="tool-state"><Check aria-hidden /><span className="away">done</span>{took}</span>;
}

function Running({ since }: { readonly since: string | null }) {
  const now = useNow();
  return since === null ? null : <span aria-hidden>{duration(Math.max(0, now - Date.parse(since)))}</span>;
}
