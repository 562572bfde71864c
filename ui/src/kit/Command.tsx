import { Check, Copy } from "lucide-react";

import { useCopy } from "./copy";

/** A command to run in a shell, or another text to take along, with a button that copies it. */
export function Command({ text, what = "command" }: { readonly text: string; readonly what?: string }) {
  const { isCopied, copy } = useCopy();
  return (
    <span className="command">
      <code>{text}</code>
      <button type="button" className="icon-button small" aria-label={isCopied ? "Copied" : `Copy the ${what}`} onClick={() => copy(text)}>
        {isCopied ? <Check aria-hidden /> : <Copy aria-hidden />}
      </button>
    </span>
  );
}
