/** Two texts, line by line. Loaded when the first edit is shown. */
import { structuredPatch } from "diff";
import { useMemo, useState } from "react";

import { showHidden } from "./clean";

export interface DiffProps {
  readonly path: string;
  readonly before: string;
  readonly after: string;
}

interface Line {
  readonly sign: " " | "+" | "-";
  readonly text: string;
  readonly old: number | null;
  readonly new: number | null;
}

const FIRST_LINES = 60;
const MAX_COMPARED = 400_000;
const SAID: Readonly<Record<Line["sign"], string>> = { "+": "added", "-": "removed", " ": "" };

export default function Diff({ path, before, after }: DiffProps) {
  const [limit, setLimit] = useState(FIRST_LINES);
  const lines = useMemo(() => linesOf(before, after), [before, after]);
  const added = lines.filter((line) => line.sign === "+").length;
  const removed = lines.filter((line) => line.sign === "-").length;
  return (
    <figure className="diff" dir="ltr">
      <figcaption>
        <span className="path">{showHidden(path)}</span>
        <span className="diff-count">
          <span className="added">+{added}</span> <span className="removed">−{removed}</span>
        </span>
      </figcaption>
      <div className="diff-lines" role="region" tabIndex={0} aria-label={`Changes of ${path}`}>
        <table>
          <tbody>
            {lines.slice(0, limit).map((line, at) => (
              <tr key={at} data-sign={line.sign}>
                <td className="number" aria-hidden>{line.old}</td>
                <td className="number" aria-hidden>{line.new}</td>
                <td className="sign">
                  <span aria-hidden>{line.sign}</span>
                  <span className="away">{SAID[line.sign]}</span>
                </td>
                <td className="line">{showHidden(line.text.slice(0, 5000))}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {lines.length > limit && (
        <button type="button" className="button small quiet" onClick={() => setLimit(lines.length)}>
          Show all {lines.length} lines
        </button>
      )}
    </figure>
  );
}

function linesOf(before: string, after: string): readonly Line[] {
  if (before.length + after.length > MAX_COMPARED) return [...whole(before, "-"), ...whole(after, "+")];
  const lines: Line[] = [];
  for (const hunk of structuredPatch("", "", before, after, "", "", { context: 3 }).hunks) {
    let old = hunk.oldStart;
    let now = hunk.newStart;
    for (const text of hunk.lines) {
      const sign = text[0] as Line["sign"];
      if (sign !== "+" && sign !== "-" && sign !== " ") continue; // "no newline at the end"
      lines.push({ sign, text: text.slice(1), old: sign === "+" ? null : old, new: sign === "-" ? null : now });
      if (sign !== "+") old += 1;
      if (sign !== "-") now += 1;
    }
  }
  return lines;
}

/** Too large to be compared while somebody waits. */
function whole(text: string, sign: "+" | "-"): readonly Line[] {
  if (text === "") return [];
  return text.split("\n").map((line, at) => ({ sign, text: line, old: sign === "-" ? at + 1 : null, new: sign === "+" ? at + 1 : null }));
}
