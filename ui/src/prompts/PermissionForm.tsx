import { Fragment, lazy, Suspense, useState } from "react";

import { editsOf, field } from "../thread/rows";
import { CodeBlock } from "../text/CodeBlock";
import type { JsonObject, Prompt, PromptOption } from "../wire/types";
import type { FormProps } from "./PromptCard";
import { useOptionKeys } from "./useOptionKeys";

const Diff = lazy(() => import("../text/Diff"));

const MOST_ON_A_LINE = 4;

type Asking = "nothing" | "reason" | "input";

/** A tool call, exactly as it would run, and every way to answer it. */
export function PermissionForm({ prompt, isBusy, onAnswer }: FormProps) {
  const [asking, setAsking] = useState<Asking>("nothing");
  const deny = prompt.options.find((option) => option.id === "deny");
  const firstDenial = prompt.options.findIndex((option) => styleOf(option) === "danger");
  const choose = (option: PromptOption | undefined) => {
    if (option !== undefined && !isBusy) onAnswer({ selectedOption: option.id });
  };
  useOptionKeys((key) => {
    const option = prompt.options[Number(key) - 1];
    if (/^[1-9]$/.test(key) && option !== undefined) choose(option);
    else if (key === "d" && deny !== undefined) setAsking("reason");
    else if (key === "e" && prompt.editable) setAsking("input");
    else return false;
    return true;
  });
  if (asking === "input") {
    return <InputEditor prompt={prompt} isBusy={isBusy} onCancel={() => setAsking("nothing")} onRun={(input) => onAnswer({ selectedOption: "allow_once", input })} />;
  }
  return (
    <>
      <ToolInput prompt={prompt} />
      {asking === "reason" ? (
        <ReasonForm isBusy={isBusy} onCancel={() => setAsking("nothing")} onDeny={(message) => onAnswer({ selectedOption: "deny", message })} />
      ) : (
        <div className="prompt-options">
          {prompt.options.map((option, at) => (
            <Fragment key={option.id}>
              {at === firstDenial && prompt.options.length > MOST_ON_A_LINE && <span className="prompt-break" />}
              <button type="button" className="button" data-style={styleOf(option)} disabled={isBusy} onClick={() => choose(option)}>
                <kbd>{at + 1}</kbd>
                {option.label}
              </button>
            </Fragment>
          ))}
          <span className="prompt-more">
            {deny !== undefined && <button type="button" className="button quiet" disabled={isBusy} onClick={() => setAsking("reason")}><kbd>D</kbd>Deny with a reason</button>}
            {prompt.editable && <button type="button" className="button quiet" disabled={isBusy} onClick={() => setAsking("input")}><kbd>E</kbd>Change it</button>}
          </span>
        </div>
      )}
    </>
  );
}

export function styleOf(option: PromptOption): string {
  if (option.id.startsWith("deny")) return "danger";
  return /once|accept_edits|answer/.test(option.id) ? "primary" : "plain";
}

function ToolInput({ prompt }: { readonly prompt: Prompt }) {
  const edits = editsOf(prompt.input);
  if (edits.length > 0) {
    return (
      <Suspense fallback={<p className="quiet">Loading the changes</p>}>
        {edits.map((edit, at) => <Diff key={at} {...edit} />)}
      </Suspense>
    );
  }
  const command = field(prompt.input, "command");
  if (command !== null) return <CodeBlock code={command} language="bash" />;
  return prompt.input === null ? null : <CodeBlock code={JSON.stringify(prompt.input, null, 2)} language="json" />;
}

interface ReasonFormProps {
  readonly isBusy: boolean;
  readonly onCancel: () => void;
  readonly onDeny: (message: string) => void;
}

export function ReasonForm({ isBusy, onCancel, onDeny, label = "Deny" }: ReasonFormProps & { readonly label?: string }) {
  const [reason, setReason] = useState("");
  return (
    <form className="prompt-reason-form" onSubmit={(event) => { event.preventDefault(); onDeny(reason); }}>
      <textarea
        aria-label="Why not, and what instead"
        placeholder="Why not, and what instead? The agent reads this."
        autoFocus
        rows={2}
        value={reason}
        onChange={(event) => setReason(event.target.value)}
        onKeyDown={(event) => {
          if (event.key === "Escape") onCancel();
          if (event.key === "Enter" && !event.shiftKey) {
            event.preventDefault();
            if (!isBusy) onDeny(reason);
          }
        }}
      />
      <button type="submit" className="button" data-style="danger" disabled={isBusy}>{label}</button>
      <button type="button" className="button quiet" onClick={onCancel}>Cancel</button>
    </form>
  );
}

interface InputEditorProps {
  readonly prompt: Prompt;
  readonly isBusy: boolean;
  readonly onCancel: () => void;
  readonly onRun: (input: JsonObject) => void;
}

function InputEditor({ prompt, isBusy, onCancel, onRun }: InputEditorProps) {
  const command = field(prompt.input, "command");
  const [text, setText] = useState(command ?? JSON.stringify(prompt.input, null, 2));
  const input = command === null ? parsed(text) : { ...(prompt.input as JsonObject), command: text };
  return (
    <form className="prompt-editor" onSubmit={(event) => { event.preventDefault(); if (input !== null) onRun(input); }}>
      <textarea
        aria-label={command === null ? "Input of the tool, as JSON" : "Command"}
        className="mono"
        autoFocus
        spellCheck={false}
        rows={Math.min(16, Math.max(2, text.split("\n").length))}
        value={text}
        onChange={(event) => setText(event.target.value)}
        onKeyDown={(event) => event.key === "Escape" && onCancel()}
      />
      {input === null && <p role="alert" className="problem">This is not a JSON object yet.</p>}
      <div className="prompt-options">
        <button type="submit" className="button" data-style="primary" disabled={isBusy || input === null}>Allow this once</button>
        <button type="button" className="button quiet" onClick={onCancel}>Cancel</button>
      </div>
    </form>
  );
}

function parsed(text: string): JsonObject | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as JsonObject) : null;
  } catch {
    return null;
  }
}
