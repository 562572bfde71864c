import type { ComponentProps, MouseEvent } from "react";

import { navigate } from "../app/router";

/** A link within the page: a real one, so that it can be opened in a new tab and copied. */
export function Link({ to, onClick, ...rest }: { readonly to: string } & Omit<ComponentProps<"a">, "href">) {
  const follow = (event: MouseEvent<HTMLAnchorElement>) => {
    onClick?.(event);
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    navigate(to);
  };
  return <a {...rest} href={to} onClick={follow} />;
}
