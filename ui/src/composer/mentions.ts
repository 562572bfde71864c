/** What is being typed at the caret: the name of a file after `@`, or a command after `/` at the beginning. Pure. */

export interface Mention {
  readonly kind: "file" | "command";
  readonly query: string;
  /** Where `@` or `/` stands. */
  readonly from: number;
  readonly to: number;
}

export function mentionAt(text: string, caret: number): Mention | null {
  const before = text.slice(0, caret);
  const command = /^\/([\w:-]*)$/.exec(before);
  if (command !== null) return { kind: "command", query: command[1] ?? "", from: 0, to: caret };
  const file = /(?:^|\s)@([^\s@]*)$/.exec(before);
  if (file === null) return null;
  const query = file[1] ?? "";
  return { kind: "file", query, from: caret - query.length - 1, to: caret };
}

/** The text with the mention replaced, and where the caret goes. */
export function withMention(text: string, mention: Mention, value: string): { readonly text: string; readonly caret: number } {
  const sign = mention.kind === "file" ? "@" : "/";
  const put = `${sign}${value}${value.endsWith("/") ? "" : " "}`;
  return { text: text.slice(0, mention.from) + put + text.slice(mention.to), caret: mention.from + put.length };
}
