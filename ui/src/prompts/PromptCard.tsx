import { ClipboardList, MessageCircleQuestion, ShieldAlert } from "lucide-react";
import { useEffect, useRef, useState } from "react";

import { countdown } from "../app/format";
import { told } from "../kit/toasts";
import { useActions, useNow, useSeenPrompt, useSelector } from "../state";
import { showHidden } from "../text/clean";
import type { Prompt, RespondPrompt } from "../wire/types";
import { PermissionForm } from "./PermissionForm";
import { PlanReview } from "./PlanReview";
import { QuestionForm } from "./QuestionForm";

export interface FormProps {
  readonly prompt: Prompt;
  readonly isBusy: boolean;
  readonly onAnswer: (answer: Omit<RespondPrompt, "promptId">) => void;
}

/**
 * The keys of the card work at once, unless somebody is in the middle of a sentence or of something else. A list shows
 * what is new only once it was measured, and what is not shown takes no focus: it is tried for some frames.
 */
function focusWhenShown(card: HTMLElement | null): () => void {
  let tries = 0;
  let frame = 0;
  const attempt = () => {
    const active = document.activeElement;
    const isFree = active === null || active === document.body || (active.id === "composer" && (active as HTMLTextAreaElement).value === "");
    if (!isFree || tries > 30) return;
    tries += 1;
    card?.focus({ preventScroll: true });
    frame = requestAnimationFrame(attempt);
  };
  frame = requestAnimationFrame(attempt);
  return () => cancelAnimationFrame(frame);
}

const KINDS = {
  tool_permission: { Icon: ShieldAlert, Form: PermissionForm },
  plan_review: { Icon: ClipboardList, Form: PlanReview },
  question: { Icon: MessageCircleQuestion, Form: QuestionForm },
} as const;

/** A question that waits. Of several people who answer one wins; the others are told who. */
export function PromptCard({ prompt }: { readonly prompt: Prompt }) {
  useSeenPrompt(prompt.id);
  const { respond } = useActions();
  const isLive = useSelector((state) => state.connection.phase === "live");
  const [isBusy, setBusy] = useState(false);
  const card = useRef<HTMLElement>(null);
  useEffect(() => focusWhenShown(card.current), []);

  const answer = async (response: Omit<RespondPrompt, "promptId">) => {
    setBusy(true);
    told(await respond({ promptId: prompt.id, ...response }));
    setBusy(false);
  };
  const { Icon, Form } = KINDS[prompt.type];
  return (
    <section ref={card} className="prompt" tabIndex={-1} aria-labelledby={`title-${prompt.id}`} data-risk={prompt.riskLevel} data-stage={prompt.stage}>
      <header>
        <Icon aria-hidden />
        <h2 id={`title-${prompt.id}`}>{showHidden(prompt.title)}</h2>
        {prompt.type === "tool_permission" && <Risk level={prompt.riskLevel} />}
        <Deadline prompt={prompt} />
      </header>
      {prompt.type !== "plan_review" && prompt.message !== "" && prompt.message !== prompt.title && <p className="prompt-message">{showHidden(prompt.message)}</p>}
      {prompt.decision !== null && <p className="prompt-reason">{showHidden(prompt.decision.reason)}</p>}
      <Form prompt={prompt} isBusy={isBusy || !isLive} onAnswer={(response) => void answer(response)} />
    </section>
  );
}

const RISKS: Readonly<Record<string, string>> = { LOW: "Low risk", MEDIUM: "Medium risk", HIGH: "High risk", CRITICAL: "Critical" };

function Risk({ level }: { readonly level: string }) {
  return <span className="risk" data-risk={level}>{RISKS[level] ?? level}</span>;
}

function Deadline({ prompt }: { readonly prompt: Prompt }) {
  const now = useNow();
  const { extendPrompt } = useActions();
  if (prompt.timeoutAt === null) return null;
  const left = Date.parse(prompt.timeoutAt) - now;
  return (
    <span className="deadline" data-near={left < 60_000}>
      <span title="Then the agent is told that nobody answered, and the run ends">{countdown(left)} left</span>
      <button type="button" className="button small" onClick={() => void extendPrompt(prompt.id, 1800).then(told)}>+30 min</button>
    </span>
  );
}
