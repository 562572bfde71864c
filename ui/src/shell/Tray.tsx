import { BellRing } from "lucide-react";

import { countdown, plural } from "../app/format";
import { conversationPath } from "../app/router";
import { Link } from "../kit/Link";
import { promptTray, useNow, useSelector } from "../state";
import type { TrayItem } from "../state";

/** The questions that wait, of all conversations, most urgent first. */
export function Tray() {
  const items = useSelector(promptTray);
  const now = useNow();
  return (
    <section className="tray" aria-label="Questions that wait" hidden={items.length === 0}>
      <p className="away" role="status" aria-live="polite">{items.length === 0 ? "" : `${plural(items.length, "question")} for you`}</p>
      <h2>
        <BellRing aria-hidden />
        {plural(items.length, "question")} for you
      </h2>
      <ul>
        {items.map((item, at) => (
          <li key={item.prompt.id}>
            <Link id={at === 0 ? "tray" : undefined} to={conversationPath(item.prompt.conversationId)}>
              <span className="tray-title">{item.prompt.title}</span>
              <span className="tray-facts">
                {item.title || "Untitled"}
                <span>{waits(item, now)}</span>
              </span>
            </Link>
          </li>
        ))}
      </ul>
    </section>
  );
}

function waits({ prompt }: TrayItem, now: number): string {
  return prompt.timeoutAt === null ? "" : countdown(Date.parse(prompt.timeoutAt) - now);
}
