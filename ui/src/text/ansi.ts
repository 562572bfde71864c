/** Terminal output as spans of text with a few styles: colours are shown, every other control is left out. */

export interface Span {
  readonly text: string;
  /** Class names of `thread.css`; empty: plain. */
  readonly style: string;
}

// eslint-disable-next-line no-control-regex -- escape sequences are what it looks for
const CONTROL = /\u001b\[([0-9;:]*)([A-Za-z])|\u001b\][^\u0007\u001b]*(?:\u0007|\u001b\\)|\u001b[@-Z\\-_]|\u009b([0-9;:]*)([A-Za-z])/g;
const COLOURS = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];

interface Pen {
  colour: string;
  isBold: boolean;
  isFaint: boolean;
}

/** Takes the text apart; linear in its length. */
export function parseAnsi(text: string): readonly Span[] {
  const spans: Span[] = [];
  const pen: Pen = { colour: "", isBold: false, isFaint: false };
  let from = 0;
  for (const match of text.matchAll(CONTROL)) {
    add(spans, text.slice(from, match.index), pen);
    from = match.index + match[0].length;
    if ((match[2] ?? match[4]) === "m") turn(pen, match[1] ?? match[3] ?? "");
  }
  add(spans, text.slice(from), pen);
  return spans;
}

function add(spans: Span[], text: string, pen: Pen): void {
  if (text === "") return;
  const style = [pen.colour && `ansi-${pen.colour}`, pen.isBold && "ansi-bold", pen.isFaint && "ansi-faint"];
  spans.push({ text: overwritten(text), style: style.filter(Boolean).join(" ") });
}

/** A lone carriage return begins the line anew, as progress bars do: only the last writing stays. */
function overwritten(text: string): string {
  if (!text.includes("\r")) return text;
  return text
    .replace(/\r\n/g, "\n")
    .split("\n")
    .map((line) => line.slice(line.lastIndexOf("\r", line.length - 2) + 1).replace(/\r$/, ""))
    .join("\n");
}

function turn(pen: Pen, codes: string): void {
  for (const code of (codes || "0").split(/[;:]/).map(Number)) {
    if (code === 0) Object.assign(pen, { colour: "", isBold: false, isFaint: false });
    else if (code === 1) pen.isBold = true;
    else if (code === 2) pen.isFaint = true;
    else if (code === 22) Object.assign(pen, { isBold: false, isFaint: false });
    else if (code === 39) pen.colour = "";
    else if (code >= 30 && code <= 37) pen.colour = COLOURS[code - 30] ?? "";
    else if (code >= 90 && code <= 97) pen.colour = COLOURS[code - 90] ?? "";
    else if (code === 38 || code === 48) break; // 256 colours and the like: left as plain text
  }
}
