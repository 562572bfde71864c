import { Check, Copy } from "lucide-react";

import { useCopy } from "./copy";

/** A command to run in a shell, with a button that copies it. */
export function Command({ text }: { readonly text: string }) {
  const { isCopied, copy } = useCopy();
  return (
    <span className="command">
      <code>{text}</code>
      <button type="button" className="icon-button small" aria-label={isCopied ? "Copied" : "Copy the command"} onClick={() => copy(text)}>
        {isCopied ? <Check aria-hidden /> : <Copy aria-hidden />}
      </button>
    </span>
  );
}
