import { useEffect, useState } from "react";

import { useActions } from "../state";
import type { Command } from "../wire/types";
import type { Mention } from "./mentions";

export interface Suggestion {
  readonly value: string;
  readonly hint: string;
}

/** Where files and commands are asked for. */
export interface Place {
  readonly conversationId: string | null;
  readonly bridgeId: string | null;
}

const PAUSE_MS = 120;
const MOST = 8;
const NONE: readonly Suggestion[] = [];

/** What could be meant by what is being typed. */
export function useSuggestions(mention: Mention | null, { conversationId, bridgeId }: Place): readonly Suggestion[] {
  const { files, commands } = useActions();
  const [found, setFound] = useState<readonly Suggestion[]>(NONE);
  const kind = mention?.kind ?? null;
  const query = mention?.query ?? "";
  useEffect(() => {
    if (kind === null) return setFound(NONE);
    let isWanted = true;
    const ask = async (): Promise<readonly Suggestion[]> => {
      if (kind === "command") {
        if (conversationId === null) return NONE;
        const answer = await commands(conversationId);
        return answer.ok ? matching(answer.commands, query) : NONE;
      }
      const where = conversationId !== null ? { conversationId } : bridgeId !== null ? { bridgeId } : null;
      if (where === null) return NONE;
      const answer = await files({ ...where, ...(query === "" ? {} : { query }), limit: MOST });
      return answer.ok ? answer.files.map((file) => ({ value: file.type === "directory" ? `${file.path}/` : file.path, hint: file.type === "directory" ? "folder" : "" })) : NONE;
    };
    const timer = setTimeout(() => void ask().then((next) => isWanted && setFound(next)), PAUSE_MS);
    return () => {
      isWanted = false;
      clearTimeout(timer);
    };
  }, [kind, query, conversationId, bridgeId, files, commands]);
  return kind === null ? NONE : found;
}

function matching(commands: readonly Command[], query: string): readonly Suggestion[] {
  const wanted = query.toLowerCase();
  return commands
    .map((command) => ({ value: command.name.replace(/^\//, ""), hint: [command.argumentHint, command.description].filter(Boolean).join(" ") }))
    .filter((one) => one.value.toLowerCase().includes(wanted))
    .sort((a, b) => Number(b.value.toLowerCase().startsWith(wanted)) - Number(a.value.toLowerCase().startsWith(wanted)))
    .slice(0, MOST);
}
