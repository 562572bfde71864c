import { CircleAlert } from "lucide-react";
import type { ReactNode } from "react";

import { Command } from "./Command";

interface NoticeProps {
  readonly tone: "busy" | "bad";
  readonly text: string;
  readonly command?: string | null;
  readonly children?: ReactNode;
}

/** Something is not as it should be, and what to do about it. */
export function Notice({ tone, text, command = null, children }: NoticeProps) {
  return (
    <div className="notice" data-tone={tone} role="status">
      <CircleAlert aria-hidden />
      <div>
        <p>{text}</p>
        {command !== null && <Command text={command} />}
        {children}
      </div>
    </div>
  );
}
