import { useCallback, useEffect, useState } from "react";

import { cost, count, duration } from "../app/format";
import { useActions, useSelector } from "../state";
import type { AuditEntry, Conversation, LatencyAnswer, StatsAnswer } from "../wire/types";
import { Bars, Columns } from "./charts";

export function UsageView() {
  const { stats, latency, audit, health } = useActions();
  const told = useSelector((state) => state.health);
  const conversations = useSelector((state) => state.conversations);
  const [counts, setCounts] = useState<StatsAnswer | null>(null);
  const [times, setTimes] = useState<LatencyAnswer | null>(null);
  const [decisions, setDecisions] = useState<readonly AuditEntry[] | null>(null);
  const load = useCallback(async () => {
    const [counted, measured, decided] = await Promise.all([stats(), latency(), audit({ limit: 500, action: "prompt.decided" }), health()]);
    if (counted.ok) setCounts(counted);
    if (measured.ok) setTimes(measured);
    if (decided.ok) setDecisions(decided.entries);
  }, [stats, latency, audit, health]);
  useEffect(() => void load(), [load]);
  const all = [...conversations.values()].map((entry) => entry.conversation);
  return (
    <>
      <h1>Health and usage</h1>
      {told !== null && (
        <section className="tiles" aria-label="Health">
          <Tile value={told.status === "ok" ? "All well" : told.status} label={`Baton ${told.version}, up ${duration(told.uptimeS * 1000)}`} />
          {Object.entries(told.services).map(([name, state]) => <Tile key={name} value={String(state)} label={name} />)}
          <Tile value={String(told.connections.sockets)} label="browsers" />
          <Tile value={String(told.runs.active)} label="runs at work" />
          <Tile value={String(told.prompts.pending)} label="open questions" />
        </section>
      )}
      {times !== null && (
        <section className="card">
          <h2>How fast each part answers</h2>
          <Bars unit=" ms" rows={[["Store, write", times.storeWriteMs], ["Store, read", times.storeReadMs], ["Bridge, there and back", times.bridgeRoundTripMs], ["Event loop, lag", times.loopLagMs]]} />
        </section>
      )}
      <section className="card">
        <h2>Tokens per day</h2>
        <p className="quiet">Of the conversations that are loaded, by the day of their last change; {cost(all.reduce((sum, one) => sum + one.costUsd, 0))} in all.</p>
        <Columns label="Tokens per day" days={perDay(all.map((one) => [one.updatedAt, tokensOf(one)]))} format={count} />
      </section>
      {decisions !== null && decisions.length > 0 && (
        <section className="card">
          <h2>Questions per day</h2>
          <p className="quiet">Half of those that people answered took less than {duration(median(decisions.filter((one) => one.handler === "user_selection").map((one) => one.latencyMs)))}.</p>
          <Columns label="Questions per day" days={perDay(decisions.map((one) => [one.createdAt, 1]))} format={String} />
        </section>
      )}
      {counts !== null && (
        <div className="columns">
          {(["runs", "prompts", "decisions", "messages"] as const).map((name) => (
            <section key={name} className="card">
              <h2>{name[0]?.toUpperCase()}{name.slice(1)}</h2>
              {Object.keys(counts[name]).length === 0 ? <p className="quiet">None yet.</p> : <Bars rows={Object.entries(counts[name])} />}
            </section>
          ))}
        </div>
      )}
      <button type="button" className="button" onClick={() => void load()}>Measure again</button>
    </>
  );
}

function Tile({ value, label }: { readonly value: string; readonly label: string }) {
  return <div className="tile"><strong>{value}</strong><span>{label}</span></div>;
}

function tokensOf({ usage }: Conversation): number {
  return usage.inputTokens + usage.outputTokens + usage.cacheReadTokens + usage.cacheWriteTokens;
}

const DAYS = 14;

/** The last fortnight, the oldest day first, also days on which nothing was. */
function perDay(values: readonly (readonly [string, number])[]): readonly (readonly [string, number])[] {
  const sums = new Map<string, number>();
  for (const [time, value] of values) sums.set(time.slice(0, 10), (sums.get(time.slice(0, 10)) ?? 0) + value);
  return Array.from({ length: DAYS }, (_, at) => {
    const day = new Date(Date.now() - (DAYS - 1 - at) * 86_400_000).toISOString().slice(0, 10);
    return [day, sums.get(day) ?? 0] as const;
  });
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}
