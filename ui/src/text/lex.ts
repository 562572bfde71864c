/** Markdown taken apart, a growing text without beginning anew each time. The renderer makes React nodes of it. */
import { Lexer, type Token } from "marked";

/** How many of the last blocks may still change when more text comes: a paragraph can become a heading or a list. */
const OPEN_BLOCKS = 2;

/** Deeper than this nobody writes, and the lexer, which calls itself for each level, has no room on the stack. */
const TOO_DEEP = /^(?:[ \t]*(?:>|(?:[-*+]|\d{1,9}[.)])[ \t])){100}/m;

/** The blocks of `text`; what is nested beyond reason is one block that is shown as it is. */
function blocksOf(text: string): readonly Token[] {
  const plain: Token = { type: "plain", raw: text };
  if (TOO_DEEP.test(text)) return [plain];
  try {
    return Lexer.lex(text, { gfm: true });
  } catch {
    return [plain]; // no text may take the page along: RangeError, and whatever else a lexer can run into
  }
}

/**
 * A lexer that remembers. Given a text that begins with the one before, it keeps the tokens that have ended, by
 * identity, and reads only the rest: streaming costs what is new, not what is there.
 */
export function createLexer(): (text: string) => readonly Token[] {
  let text = "";
  let tokens: readonly Token[] = [];
  return (next) => {
    if (next === text) return tokens;
    const kept = next.startsWith(text) ? tokens.slice(0, Math.max(0, tokens.length - OPEN_BLOCKS)) : [];
    const from = kept.reduce((sum, token) => sum + token.raw.length, 0);
    text = next;
    tokens = [...kept, ...blocksOf(next.slice(from))];
    return tokens;
  };
}

/** Whether a link of an agent may be followed: to the web or to mail, never to a script or into this page. */
export function isSafeUrl(url: string): boolean {
  return /^(https?:\/\/|mailto:)/i.test(url.trim());
}

const ENTITIES: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: "\u00a0", copy: "©", hellip: "…", mdash: "—", ndash: "–" };

/** Character references as what they stand for; React escapes anew. */
export function decodeEntities(text: string): string {
  return text.replace(/&(?:#x([0-9a-f]{1,6})|#(\d{1,7})|([a-z]{2,8}));/gi, (whole, hex?: string, decimal?: string, name?: string) => {
    if (name !== undefined) return ENTITIES[name.toLowerCase()] ?? whole;
    const code = hex === undefined ? Number(decimal) : parseInt(hex, 16);
    return code > 0 && code <= 0x10ffff && !(code >= 0xd800 && code <= 0xdfff) ? String.fromCodePoint(code) : "\ufffd";
  });
}
