import { Check, Clock, Ban, X } from "lucide-react";

import { Markdown } from "../text/Markdown";
import { showHidden } from "../text/clean";
import type { JsonValue, Prompt } from "../wire/types";

/** How a question ended, and by whom. */
export function Outcome({ prompt, withTitle = false }: { readonly prompt: Prompt; readonly withTitle?: boolean }) {
  const { word, Icon, isGood } = endOf(prompt);
  const message = prompt.response?.message ?? null;
  return (
    <div className="outcome" data-good={isGood}>
      <p>
        <Icon aria-hidden />
        {withTitle && <span className="outcome-title">{showHidden(prompt.title.replace(/[:?.]$/, ""))}: </span>}
        <span>{word}{who(prompt)}</span>
      </p>
      {message !== null && message !== "" && <p className="reason">{showHidden(message)}</p>}
      {prompt.type === "question" && <Answers answers={prompt.response?.answers ?? null} prompt={prompt} />}
      {prompt.type === "plan_review" && <PlanText prompt={prompt} />}
    </div>
  );
}

function PlanText({ prompt }: { readonly prompt: Prompt }) {
  const plan = (prompt.response?.input as { readonly plan?: unknown } | null)?.plan ?? (prompt.input as { readonly plan?: unknown } | null)?.plan;
  if (typeof plan !== "string") return null;
  return (
    <details>
      <summary>The plan</summary>
      <Markdown text={plan} />
    </details>
  );
}

function Answers({ answers, prompt }: { readonly answers: JsonValue | null; readonly prompt: Prompt }) {
  if (answers === null || typeof answers !== "object" || Array.isArray(answers)) return null;
  return (
    <dl className="answers">
      {Object.entries(answers).map(([id, value]) => (
        <div key={id}>
          <dt>{showHidden(prompt.questions.find((question) => question.id === id)?.question ?? id)}</dt>
          <dd>{showHidden(typeof value === "string" ? value : Array.isArray(value) ? value.join(", ") : JSON.stringify(value))}</dd>
        </div>
      ))}
    </dl>
  );
}

const HANDLERS: Readonly<Record<string, string>> = {
  grant: " by a standing permission",
  mode: " by the mode",
  cleanup: " by the clean-up",
  run_ended: " because the run ended",
};

function who(prompt: Prompt): string {
  if (prompt.answeredBy !== null && prompt.autoHandler === "user_selection") return ` by ${prompt.answeredBy}`;
  return HANDLERS[prompt.autoHandler ?? ""] ?? "";
}

function endOf(prompt: Prompt): { readonly word: string; readonly Icon: typeof Check; readonly isGood: boolean } {
  if (prompt.status === "timeout") return { word: "Nobody answered in time", Icon: Clock, isGood: false };
  if (prompt.status === "cancelled") return { word: "Withdrawn", Icon: Ban, isGood: false };
  const option = prompt.selectedOption ?? "";
  if (prompt.decision?.outcome === "deny" || /^(deny|reject)/.test(option)) return { word: prompt.type === "plan_review" ? "Rejected" : "Denied", Icon: X, isGood: false };
  const words: Readonly<Record<string, string>> = {
    allow_once: "Allowed once",
    allow_session: "Allowed in this conversation",
    allow_always: "Always allowed",
    accept_edits: "Accepted, edits without asking",
    accept_default: "Accepted",
    edit: "Changed",
    answer: "Answered",
  };
  return { word: words[option] ?? "Allowed", Icon: Check, isGood: true };
}
