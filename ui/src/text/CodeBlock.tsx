import { Check, Copy, WrapText } from "lucide-react";
import { memo, useEffect, useState, type ReactNode } from "react";

import { useCopy } from "../kit/copy";
import { showHidden } from "./clean";

interface CodeBlockProps {
  readonly code: string;
  readonly language: string;
  readonly isLive?: boolean;
}

/** Colours come a moment later, from a part of the page that is loaded when the first code is shown. */
const MAX_HIGHLIGHTED = 50_000;

export const CodeBlock = memo(function CodeBlock({ code, language, isLive = false }: CodeBlockProps) {
  const [isWrapped, setWrapped] = useState(false);
  const { isCopied, copy } = useCopy();
  const name = language.split(/[\s{,:]/)[0] ?? "";
  const shown = showHidden(code);
  return (
    <figure className="code" dir="ltr">
      <figcaption>
        <span>{name === "" ? "text" : name}</span>
        <button type="button" className="icon-button small" aria-pressed={isWrapped} aria-label="Wrap lines" title="Wrap lines" onClick={() => setWrapped(!isWrapped)}>
          <WrapText aria-hidden />
        </button>
        <button type="button" className="icon-button small" aria-label="Copy code" title="Copy code" onClick={() => copy(code)}>
          {isCopied ? <Check aria-hidden /> : <Copy aria-hidden />}
        </button>
      </figcaption>
      <pre tabIndex={0} role="group" aria-label={`Code ${name}`} data-wrapped={isWrapped}>
        <code>{isLive || code.length > MAX_HIGHLIGHTED ? shown : <Highlighted code={shown} language={name} />}</code>
      </pre>
    </figure>
  );
});

export function Highlighted({ code, language }: { readonly code: string; readonly language: string }) {
  const [nodes, setNodes] = useState<{ readonly code: string; readonly nodes: ReactNode } | null>(null);
  useEffect(() => {
    if (language === "" || language === "text") return;
    let isWanted = true;
    void import("./highlight").then(({ highlight }) => {
      if (isWanted) setNodes({ code, nodes: highlight(code, language) });
    });
    return () => {
      isWanted = false;
    };
  }, [code, language]);
  return nodes?.code === code ? nodes.nodes : code;
}
