import { Check, Copy, WrapText } from "lucide-react";
import { memo, startTransition, useEffect, useMemo, useState, type ReactNode } from "react";

import { useCopy } from "../kit/copy";
import { showHidden } from "./clean";
import { inPieces } from "./pieces";

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
        <code>{isLive ? <Growing code={shown} /> : code.length > MAX_HIGHLIGHTED ? shown : <Highlighted code={shown} language={name} />}</code>
      </pre>
    </figure>
  );
});

/** Code that still comes. In pieces, because a browser lays out all lines of a block when its text changes. */
function Growing({ code }: { readonly code: string }) {
  const pieces = useMemo(() => inPieces(code), [code]);
  return pieces.map((piece, at) => <Piece key={at} text={piece} />);
}

const Piece = memo(function Piece({ text }: { readonly text: string }) {
  return <span className="code-piece">{text}</span>;
});

export function Highlighted({ code, language }: { readonly code: string; readonly language: string }) {
  const [nodes, setNodes] = useState<{ readonly code: string; readonly nodes: ReactNode } | null>(null);
  useEffect(() => {
    if (language === "" || language === "text") return;
    let isWanted = true;
    void import("./highlight").then(({ highlight }) => {
      // Thousands of nodes: they are made beside what a person does meanwhile.
      if (isWanted) startTransition(() => setNodes({ code, nodes: highlight(code, language) }));
    });
    return () => {
      isWanted = false;
    };
  }, [code, language]);
  return nodes?.code === code ? nodes.nodes : code;
}
