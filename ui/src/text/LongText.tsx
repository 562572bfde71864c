import { useState } from "react";

import { bytes } from "../app/format";
import { showHidden } from "./clean";

const PORTION = 50_000;
/** A browser lays out one line of a megabyte for seconds; it is broken where nothing else breaks it. */
const MAX_LINE = 5_000;

/** A text of any size, a portion at a time. */
export function LongText({ text }: { readonly text: string }) {
  const [shown, setShown] = useState(PORTION);
  const rest = text.length - shown;
  return (
    <div className="long-text">
      <pre tabIndex={0} role="group" aria-label="Long text">{broken(showHidden(text.slice(0, shown)))}</pre>
      {rest > 0 && (
        <button type="button" className="button small" onClick={() => setShown(shown + PORTION * 4)}>
          Show more ({bytes(rest)} left)
        </button>
      )}
    </div>
  );
}

export function broken(text: string): string {
  return text.replace(new RegExp(`[^\\n]{${MAX_LINE}}`, "g"), (line) => `${line}\n`);
}
