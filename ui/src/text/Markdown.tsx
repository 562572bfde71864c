/**
 * What an agent writes. Tokens become React nodes one by one: HTML in it is shown as the text that it is, links lead to
 * the web only, and pictures from elsewhere are links, so that reading an answer tells nobody that it was read.
 */
import type { Token, Tokens } from "marked";
import { Fragment, memo, useState, type ReactNode } from "react";

import { showHidden } from "./clean";
import { CodeBlock } from "./CodeBlock";
import { createLexer, decodeEntities, isSafeUrl } from "./lex";
import { LongText } from "./LongText";

/** Beyond this a text is no prose; it is shown as it is, in portions. */
const MAX_LENGTH = 200_000;
/** Emphasis within emphasis and lists within lists, at most: a hostile text must not exhaust the stack. */
const MAX_DEPTH = 40;

interface MarkdownProps {
  readonly text: string;
  /** More is coming: the last block may be half. */
  readonly isLive?: boolean;
}

export const Markdown = memo(function Markdown({ text, isLive = false }: MarkdownProps) {
  const [lex] = useState(createLexer);
  if (text.length > MAX_LENGTH) return <LongText text={text} />;
  const tokens = lex(text);
  return (
    <div className="prose" dir="auto">
      {tokens.map((token, at) => (
        <Block key={at} token={token} isLive={isLive && at >= tokens.length - 1} />
      ))}
    </div>
  );
});

const Block = memo(function Block({ token, isLive }: { readonly token: Token; readonly isLive: boolean }) {
  return block(token, isLive, 0);
});

function block(token: Token, isLive: boolean, depth: number): ReactNode {
  if (depth > MAX_DEPTH) return showHidden(token.raw);
  switch (token.type) {
    case "space":
    case "def":
      return null;
    case "heading":
      return heading(token as Tokens.Heading, depth);
    case "paragraph":
      return <p>{inlines((token as Tokens.Paragraph).tokens, depth)}</p>;
    case "code": {
      const { text, lang } = token as Tokens.Code;
      return <CodeBlock code={text} language={lang ?? ""} isLive={isLive} />;
    }
    case "blockquote":
      return <blockquote>{blocks((token as Tokens.Blockquote).tokens, isLive, depth + 1)}</blockquote>;
    case "list":
      return list(token as Tokens.List, isLive, depth);
    case "hr":
      return <hr />;
    case "table":
      return table(token as Tokens.Table, depth);
    case "text": {
      const { tokens, text } = token as Tokens.Text;
      return tokens === undefined ? plain(text) : inlines(tokens, depth);
    }
    default:
      return <p>{showHidden(token.raw)}</p>; // HTML, and whatever else: its own text
  }
}

function blocks(tokens: readonly Token[], isLive: boolean, depth: number): ReactNode {
  return tokens.map((token, at) => <Fragment key={at}>{block(token, isLive, depth)}</Fragment>);
}

/** An answer begins below the page's own headings: its first level is the page's third. */
function heading(token: Tokens.Heading, depth: number): ReactNode {
  const content = inlines(token.tokens, depth);
  if (token.depth === 1) return <h3 className="prose-h1">{content}</h3>;
  if (token.depth === 2) return <h4 className="prose-h2">{content}</h4>;
  return <h5 className="prose-h3">{content}</h5>;
}

function list(token: Tokens.List, isLive: boolean, depth: number): ReactNode {
  const items = token.items.map((item, at) => (
    <li key={at} className={item.task ? "task" : undefined}>
      {item.task && <span className="task-box" role="img" aria-label={item.checked ? "done" : "open"} data-checked={item.checked} />}
      {blocks(item.tokens.filter((inner) => inner.type !== "checkbox"), isLive, depth + 1)}
    </li>
  ));
  return token.ordered ? <ol start={token.start === "" ? 1 : token.start}>{items}</ol> : <ul>{items}</ul>;
}

function table(token: Tokens.Table, depth: number): ReactNode {
  return (
    <div className="prose-table" role="region" aria-label="Table" tabIndex={0}>
      <table>
        <thead>
          <tr>
            {token.header.map((cell, at) => (
              <th key={at} data-align={cell.align ?? undefined}>{inlines(cell.tokens, depth)}</th>
            ))}
          </tr>
        </thead>
        <tbody>
          {token.rows.map((row, at) => (
            <tr key={at}>
              {row.map((cell, column) => (
                <td key={column} data-align={cell.align ?? undefined}>{inlines(cell.tokens, depth)}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function inlines(tokens: readonly Token[] | undefined, depth: number): ReactNode {
  if (depth > MAX_DEPTH) return (tokens ?? []).map((token) => showHidden(token.raw)).join("");
  return (tokens ?? []).map((token, at) => <Fragment key={at}>{inline(token, depth + 1)}</Fragment>);
}

function inline(token: Token, depth: number): ReactNode {
  switch (token.type) {
    case "strong":
      return <strong>{inlines((token as Tokens.Strong).tokens, depth)}</strong>;
    case "em":
      return <em>{inlines((token as Tokens.Em).tokens, depth)}</em>;
    case "del":
      return <del>{inlines((token as Tokens.Del).tokens, depth)}</del>;
    case "codespan":
      return <code dir="ltr">{showHidden((token as Tokens.Codespan).text)}</code>;
    case "br":
      return <br />;
    case "link": {
      const { href, tokens } = token as Tokens.Link;
      return link(href, inlines(tokens, depth), token.raw);
    }
    case "image": {
      const { href, text } = token as Tokens.Image;
      return link(href, `Image: ${text === "" ? href : plain(text)}`, token.raw);
    }
    case "escape":
      return showHidden((token as Tokens.Escape).text);
    case "text": {
      const { tokens, text } = token as Tokens.Text;
      return tokens === undefined ? plain(text) : inlines(tokens, depth);
    }
    default:
      return showHidden(token.raw);
  }
}

function link(href: string, content: ReactNode, raw: string): ReactNode {
  if (!isSafeUrl(href)) return showHidden(raw);
  return (
    <a href={href} target="_blank" rel="noreferrer noopener" title={showHidden(href)}>
      {content}
    </a>
  );
}

function plain(text: string): string {
  return showHidden(decodeEntities(text));
}
