import { useState } from "react";

import { showHidden } from "../text/clean";
import type { Question } from "../wire/types";
import type { FormProps } from "./PromptCard";
import { ReasonForm } from "./PermissionForm";

type Answers = Readonly<Record<string, string | readonly string[]>>;

/** Questions as a form: one choice, several, or words of one's own. */
export function QuestionForm({ prompt, isBusy, onAnswer }: FormProps) {
  const [answers, setAnswers] = useState<Answers>({});
  const [isDenying, setDenying] = useState(false);
  const isWhole = prompt.questions.every((question) => isAnswered(answers[question.id]));
  if (isDenying) {
    return <ReasonForm label="Decline" isBusy={isBusy} onCancel={() => setDenying(false)} onDeny={(message) => onAnswer({ selectedOption: "deny", message })} />;
  }
  return (
    <form className="questions" onSubmit={(event) => { event.preventDefault(); if (isWhole) onAnswer({ selectedOption: "answer", answers }); }}>
      {prompt.questions.map((question) => (
        <QuestionField key={question.id} promptId={prompt.id} question={question} value={answers[question.id]} onChange={(value) => setAnswers({ ...answers, [question.id]: value })} />
      ))}
      <div className="prompt-options">
        <button type="submit" className="button" data-style="primary" disabled={isBusy || !isWhole}>Answer</button>
        {prompt.options.some((option) => option.id === "deny") && <button type="button" className="button quiet" disabled={isBusy} onClick={() => setDenying(true)}>Decline</button>}
      </div>
    </form>
  );
}

function isAnswered(value: Answers[string] | undefined): boolean {
  return value !== undefined && (typeof value === "string" ? value.trim() !== "" : value.length > 0);
}

interface QuestionFieldProps {
  readonly promptId: string;
  readonly question: Question;
  readonly value: Answers[string] | undefined;
  readonly onChange: (value: Answers[string]) => void;
}

function QuestionField({ promptId, question, value, onChange }: QuestionFieldProps) {
  const { id, multiSelect, options } = question;
  const labels = new Set(options.map((option) => option.label));
  const chosen = Array.isArray(value) ? (value as readonly string[]) : [];
  const own = typeof value === "string" && !labels.has(value) ? value : "";
  const toggle = (label: string) => onChange(chosen.includes(label) ? chosen.filter((one) => one !== label) : [...chosen, label]);
  return (
    <fieldset>
      <legend>
        {question.header !== undefined && <span className="question-header">{showHidden(question.header)}</span>}
        {showHidden(question.question)}
      </legend>
      {options.map((option) => (
        <label key={option.label} className="choice">
          <input
            type={multiSelect ? "checkbox" : "radio"}
            name={`${promptId}-${id}`}
            checked={multiSelect ? chosen.includes(option.label) : value === option.label}
            onChange={() => (multiSelect ? toggle(option.label) : onChange(option.label))}
          />
          <span>
            {showHidden(option.label)}
            {option.description !== undefined && <small>{showHidden(option.description)}</small>}
            {option.preview !== undefined && <pre>{showHidden(option.preview)}</pre>}
          </span>
        </label>
      ))}
      {!multiSelect && (
        <input
          type="text"
          className="own-answer"
          aria-label={options.length === 0 ? question.question : `Something else: ${question.question}`}
          placeholder={options.length === 0 ? "Your answer" : "Something else"}
          value={own}
          onChange={(event) => onChange(event.target.value)}
        />
      )}
    </fieldset>
  );
}
