import { useMemo, useState } from "react";

import { bytes } from "../app/format";
import { parseAnsi } from "./ansi";
import { showHidden } from "./clean";
import { broken } from "./LongText";

interface TerminalProps {
  readonly text: string;
  readonly label: string;
  /** More is coming: the end is shown and not the beginning. */
  readonly isLive?: boolean;
  readonly isError?: boolean;
}

const FIRST = 4_000;
const MORE = 100_000;

/** What a command printed: colours as in a terminal, everything else as text. */
export function Terminal({ text, label, isLive = false, isError = false }: TerminalProps) {
  const [limit, setLimit] = useState(FIRST);
  const shown = isLive ? text.slice(-limit) : text.slice(0, limit);
  const spans = useMemo(() => parseAnsi(shown), [shown]);
  const rest = text.length - shown.length;
  return (
    <div className="terminal" data-error={isError} dir="ltr">
      <pre tabIndex={0} role="group" aria-label={label}>
        {spans.map((span, at) => (
          <span key={at} className={span.style === "" ? undefined : span.style}>{broken(showHidden(span.text))}</span>
        ))}
      </pre>
      {rest > 0 && !isLive && (
        <button type="button" className="button small quiet" onClick={() => setLimit(limit + MORE)}>
          Show more ({bytes(rest)} left)
        </button>
      )}
    </div>
  );
}
