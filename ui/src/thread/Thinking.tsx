import { Brain, ChevronRight } from "lucide-react";
import { useState } from "react";

import { plural, wordCount } from "../app/format";
import { Markdown } from "../text/Markdown";

/** Folded: it is for those who want to know, and the answer is for everybody. */
export function Thinking({ text, isLive }: { readonly text: string; readonly isLive: boolean }) {
  const [isOpen, setOpen] = useState(false);
  return (
    <div className="thinking" data-open={isOpen}>
      <button type="button" className="fold" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
        <Brain aria-hidden />
        <span>{isLive ? "Thinking" : "Thought"}</span>
        <span className="facts">{plural(wordCount(text), "word")}</span>
        <ChevronRight aria-hidden className="chevron" />
      </button>
      {isOpen && <Markdown text={text} isLive={isLive} />}
    </div>
  );
}
