import { lazy, Suspense, type ReactNode } from "react";

import { useActions } from "../state";
import { CodeBlock } from "../text/CodeBlock";
import { languageOf } from "../text/languages";
import { Markdown } from "../text/Markdown";
import { Terminal } from "../text/Terminal";
import type { ToolUseBlock } from "../wire/types";
import { editsOf, field, resultText, todosOf } from "./rows";
import { TodoList } from "./TodoList";

const Diff = lazy(() => import("../text/Diff"));

interface ToolBodyProps {
  readonly block: ToolUseBlock;
  readonly isRunning: boolean;
  /** What happened between the two: a sub-agent's own messages. */
  readonly children?: ReactNode;
}

/** What a call was given and what it returned, in the shape of its kind. */
export function ToolBody({ block, isRunning, children }: ToolBodyProps) {
  const todos = todosOf(block.input);
  if (todos.length > 0) return <TodoList todos={todos} />;
  return (
    <>
      <ToolInput block={block} />
      {children}
      <ToolOutput block={block} isRunning={isRunning} />
      {block.attachment !== null && <WholeResult attachmentId={block.attachment} />}
    </>
  );
}

function ToolInput({ block }: { readonly block: ToolUseBlock }) {
  const edits = block.kind === "edit" ? editsOf(block.input) : [];
  if (edits.length > 0) {
    return (
      <Suspense fallback={<p className="quiet">Loading the changes</p>}>
        {edits.map((edit, at) => <Diff key={at} {...edit} />)}
      </Suspense>
    );
  }
  const command = field(block.input, "command");
  if (command !== null) return <CodeBlock code={command} language="bash" />;
  if (block.kind === "read" && field(block.input, "file_path", "path") !== null) return null;
  if (block.kind === "task") return <p className="tool-prompt">{field(block.input, "prompt", "description")}</p>;
  if (block.input === null || isEmpty(block.input)) return null;
  return <CodeBlock code={JSON.stringify(block.input, null, 2)} language="json" />;
}

function isEmpty(input: ToolUseBlock["input"]): boolean {
  return typeof input === "object" && input !== null && Object.keys(input).length === 0;
}

function ToolOutput({ block, isRunning }: ToolBodyProps) {
  if (isRunning) {
    return block.progress === "" ? null : <Terminal text={block.progress} label="Output so far" isLive />;
  }
  const text = resultText(block.result);
  if (text === "" || (block.kind === "edit" && !block.isError)) return null;
  // What a sub-agent reports is written to be read, as what the agent itself says is.
  if (block.kind === "task" && !block.isError) return <div className="tool-answer" role="group" aria-label="Output"><Markdown text={text} /></div>;
  const path = field(block.input, "file_path", "path");
  if (block.kind === "read" && path !== null && !block.isError && text.length < 20_000) {
    return <CodeBlock code={text} language={languageOf(path)} />;
  }
  return <Terminal text={text} label="Output" isError={block.isError} />;
}

function WholeResult({ attachmentId }: { readonly attachmentId: string }) {
  const { attachmentUrl } = useActions();
  return (
    <p className="quiet">
      The result was long and is cut here. <a href={attachmentUrl(attachmentId)} download>Download all of it</a>
    </p>
  );
}
