import { modeName } from "../app/format";
import type { Choice } from "../kit/Menu";

const HINTS: Readonly<Record<string, string>> = {
  default: "Asks before it writes or runs anything",
  plan: "Reads and plans; asks for everything else",
  acceptEdits: "Edits files in the folder without asking",
  bypassPermissions: "Asks nothing, for an hour",
};
const CYCLE = ["default", "acceptEdits", "plan"];

/** The modes that a bridge allows. */
export function modeChoices(allowsBypass: boolean): readonly Choice[] {
  return ["default", "acceptEdits", "plan", "bypassPermissions"].map((value) => ({
    value,
    label: modeName(value),
    hint: value === "bypassPermissions" && !allowsBypass ? "Needs a bridge that was started with --allow-bypass on" : HINTS[value],
    isDisabled: value === "bypassPermissions" && !allowsBypass,
  }));
}

/** The mode after this one; never the one that asks nothing, which is chosen on purpose only. */
export function nextMode(mode: string): string {
  return CYCLE[(CYCLE.indexOf(mode) + 1) % CYCLE.length] ?? "default";
}
