import { useId, type ReactNode } from "react";

/** What a control needs to belong to its label, its hint and what is wrong with it. */
export interface FieldControl {
  readonly id: string;
  readonly "aria-describedby": string | undefined;
  readonly "aria-invalid": boolean;
}

interface FieldProps {
  readonly label: string;
  readonly hint?: ReactNode;
  readonly problems?: readonly string[] | undefined;
  readonly children: (control: FieldControl) => ReactNode;
}

/** What is wrong, as people read it: the server marks code as Markdown does. */
export function inWords(problems: readonly string[]): string {
  return problems.join(" ").replaceAll("`", "");
}

/** A control below its label, with a hint, and with what the server has against its value. */
export function Field({ label, hint, problems = [], children }: FieldProps) {
  const id = useId();
  const isWrong = problems.length > 0;
  const described = [hint !== undefined && `${id}-hint`, isWrong && `${id}-problem`].filter(Boolean).join(" ");
  return (
    <div className="field" data-wrong={isWrong}>
      <label htmlFor={id}>{label}</label>
      {children({ id, "aria-describedby": described === "" ? undefined : described, "aria-invalid": isWrong })}
      {hint !== undefined && <p className="field-hint" id={`${id}-hint`}>{hint}</p>}
      {isWrong && <p className="problem" id={`${id}-problem`} role="alert">{inWords(problems)}</p>}
    </div>
  );
}
