/** The server's own words for states and decisions, as people say them. */

const STATES: Readonly<Record<string, string>> = {
  awaiting_input: "waits for a person",
  dispatched: "sent to a bridge",
  aborted: "stopped",
  timeout: "nobody answered",
};

const OUTCOMES: Readonly<Record<string, string>> = {
  allow: "allowed",
  deny: "denied",
  timeout: "nobody answered",
};

const HANDLERS: Readonly<Record<string, string>> = {
  user_selection: "by a person",
  grant: "by a standing permission",
  mode: "by the mode",
  timeout: "",
  cleanup: "by a clean-up",
  run_ended: "because the run ended",
};

export function stateWord(name: string): string {
  return STATES[name] ?? name;
}

export function outcomeWord(name: string): string {
  return OUTCOMES[name] ?? name;
}

/** Of `<outcome>/<handler>`, by which decisions are counted. */
export function decisionWords(name: string): string {
  const [outcome = "", handler = ""] = name.split("/");
  return `${outcomeWord(outcome)} ${HANDLERS[handler] ?? handler}`.trim();
}
