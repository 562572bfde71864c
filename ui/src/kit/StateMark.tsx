import { CircleAlert, CircleDashed, CircleHelp, LoaderCircle } from "lucide-react";

import type { ConversationState } from "../wire/types";

const MARKS = {
  running: { word: "Working", Icon: LoaderCircle },
  awaiting_input: { word: "Waits for you", Icon: CircleHelp },
  queued: { word: "Queued", Icon: CircleDashed },
  failed: { word: "Failed", Icon: CircleAlert },
} as const;

/** A conversation's state by word and icon; nothing where nothing happens. */
export function StateMark({ state }: { readonly state: ConversationState }) {
  if (state === "idle") return null;
  const { word, Icon } = MARKS[state];
  return (
    <span className="state-mark" data-state={state}>
      <Icon aria-hidden className={state === "running" ? "spin" : undefined} />
      {word}
    </span>
  );
}
