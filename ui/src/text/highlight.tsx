/** Code in colours, as React nodes. Loaded when it is first needed: its grammars weigh more than the rest of a thread. */
import type { Root, RootContent } from "hast";
import { common, createLowlight } from "lowlight";
import { Fragment, type ReactNode } from "react";

const lowlight = createLowlight(common);

/** Nodes for `code`, or the code itself where the language is not known. */
export function highlight(code: string, language: string): ReactNode {
  return lowlight.registered(language) ? nodes(lowlight.highlight(language, code).children) : code;
}

function nodes(children: Root["children"]): ReactNode {
  return children.map((child, at) => <Fragment key={at}>{node(child)}</Fragment>);
}

function node(child: RootContent): ReactNode {
  if (child.type === "text") return child.value;
  if (child.type !== "element") return null;
  const names = child.properties.className;
  return <span className={Array.isArray(names) ? names.join(" ") : undefined}>{nodes(child.children)}</span>;
}
