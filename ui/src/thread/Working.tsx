import { LoaderCircle, Square } from "lucide-react";

import { count, countdown, duration } from "../app/format";
import { told } from "../kit/toasts";
import { activeRun, useActions, useNow, type Thread } from "../state";
import type { Run } from "../wire/types";
import { TodoList } from "./TodoList";

/** What the active run does now, in words and with a clock: it never just spins. */
export function Working({ thread }: { readonly thread: Thread }) {
  const run = activeRun(thread);
  if (run === undefined) return null;
  return (
    <div className="working">
      {run.plan.length > 0 && (
        <section className="card plan-list" aria-label="To-do list of the agent">
          <TodoList todos={run.plan} />
        </section>
      )}
      {run.notices.slice(-3).map((notice, at) => (
        <p key={at} className="agent-notice" data-level={notice.level}>{notice.text}</p>
      ))}
      <WorkingLine run={run} />
    </div>
  );
}

function WorkingLine({ run }: { readonly run: Run }) {
  const now = useNow();
  const { abort, extendRun } = useActions();
  const { outputTokens } = run.usage;
  const since = Date.parse(run.startedAt ?? run.dispatchedAt ?? run.queuedAt);
  return (
    <p className="working-line">
      <LoaderCircle aria-hidden className={run.status === "awaiting_input" || run.away ? undefined : "spin"} />
      <span role="status">{words(run)}</span>
      <span className="facts" aria-hidden>
        {now - since >= 1000 && duration(now - since)}
        {outputTokens > 0 && ` · ${count(outputTokens)} tokens`}
      </span>
      {run.deadlineAt !== null && (
        <span className="deadline">
          {run.deadlineReason ?? "Ends"} in {countdown(Date.parse(run.deadlineAt) - now)}
          <button type="button" className="button small" onClick={() => void extendRun(run.requestId, 600).then(told)}>Give it 10 min</button>
        </span>
      )}
      <button type="button" className="button small" disabled={run.abortRequestedAt !== null} onClick={() => void abort(run.requestId).then(told)}>
        <Square aria-hidden />
        {run.abortRequestedAt === null ? "Stop" : "Stopping"}
      </button>
    </p>
  );
}

function words(run: Run): string {
  if (run.abortRequestedAt !== null) return "Stopping";
  if (run.away) return "Its bridge is not connected; the run goes on when it is back";
  if (run.status === "dispatched") return "Sent to the bridge";
  if (run.status === "awaiting_input") return "Waits for your answer";
  return "Working";
}
