import { useState } from "react";

import { Markdown } from "../text/Markdown";
import type { FormProps } from "./PromptCard";
import { ReasonForm, styleOf } from "./PermissionForm";
import { useOptionKeys } from "./useOptionKeys";

/** A plan to read, to change, to accept or to send back. */
export function PlanReview({ prompt, isBusy, onAnswer }: FormProps) {
  const plan = (prompt.input as { readonly plan?: unknown } | null)?.plan;
  const text = typeof plan === "string" ? plan : "";
  const [asking, setAsking] = useState<"nothing" | "edit" | "reason">("nothing");
  const [draft, setDraft] = useState(text);
  const choose = (id: string) => {
    if (isBusy) return;
    if (id === "edit") setAsking("edit");
    else if (id === "reject") setAsking("reason");
    else onAnswer({ selectedOption: id });
  };
  useOptionKeys((key) => {
    const option = prompt.options[Number(key) - 1];
    if (/^[1-9]$/.test(key) && option !== undefined) choose(option.id);
    else if (key === "e") setAsking("edit");
    else if (key === "d") setAsking("reason");
    else return false;
    return true;
  });
  if (asking === "edit") {
    return (
      <form className="prompt-editor" onSubmit={(event) => { event.preventDefault(); onAnswer({ selectedOption: "edit", input: { plan: draft } }); }}>
        <textarea aria-label="Plan, as Markdown" className="mono" autoFocus rows={14} value={draft} onChange={(event) => setDraft(event.target.value)} onKeyDown={(event) => event.key === "Escape" && setAsking("nothing")} />
        <div className="prompt-options">
          <button type="submit" className="button" data-style="primary" disabled={isBusy || draft.trim() === ""}>Send the changed plan</button>
          <button type="button" className="button quiet" onClick={() => setAsking("nothing")}>Cancel</button>
        </div>
      </form>
    );
  }
  return (
    <>
      <div className="plan" tabIndex={0} role="region" aria-label="Plan"><Markdown text={text} /></div>
      {asking === "reason" ? (
        <ReasonForm label="Reject" isBusy={isBusy} onCancel={() => setAsking("nothing")} onDeny={(message) => onAnswer({ selectedOption: "reject", message })} />
      ) : (
        <div className="prompt-options">
          {prompt.options.map((option, at) => (
            <button key={option.id} type="button" className="button" data-style={styleOf(option)} disabled={isBusy} onClick={() => choose(option.id)}>
              <kbd>{at + 1}</kbd>
              {option.label}
            </button>
          ))}
        </div>
      )}
    </>
  );
}
