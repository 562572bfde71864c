/**
 * Characters that make text look like what it is not: controls that reverse the reading order, and others that cannot
 * be seen. They are written out, so that a command reads as what it runs.
 */
// eslint-disable-next-line no-control-regex -- control characters are what it looks for
const HIDDEN = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g;

/** `text` with what cannot be seen written as `[U+202E]`. Tabs and new lines stay. */
export function showHidden(text: string): string {
  return text.replace(HIDDEN, (sign) => `[U+${sign.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}]`);
}
