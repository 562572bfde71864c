/** A text that grows, in pieces of whole lines: all but the last stay as they are when more comes. Pure. */

const PIECE_LINES = 40;

/** `text` in order; only the last piece may have fewer lines. */
export function inPieces(text: string): readonly string[] {
  const pieces: string[] = [];
  let from = 0;
  let lines = 0;
  for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n", end + 1)) {
    lines += 1;
    if (lines < PIECE_LINES) continue;
    pieces.push(text.slice(from, end + 1));
    from = end + 1;
    lines = 0;
  }
  if (from < text.length) pieces.push(text.slice(from));
  return pieces;
}
