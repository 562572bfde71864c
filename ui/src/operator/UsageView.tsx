import { useCallback, useEffect, useMemo, useState } from "react";

import { cost, count, duration, plural, roundDuration } from "../app/format";
import { Switch } from "../kit/Switch";
import { useActions, useSelector } from "../state";
import type { LatencyAnswer, SeriesAnswer, StatsAnswer } from "../wire/types";
import { Bars, TimeChart } from "./charts";
import { linesOf, spanOf, stampsOf, sumOf, ticksUpTo, timeTicksUpTo, type Line, type Range } from "./series";
import { decisionWords, stateWord } from "./words";

export function UsageView() {
  return (
    <>
      <h1>Health and usage</h1>
      <Health />
      <OverTime />
      <Counts />
    </>
  );
}

function Health() {
  const health = useSelector((state) => state.health);
  const { health: ask } = useActions();
  useEffect(() => void ask(), [ask]);
  if (health === null) return <p className="quiet" role="status">Asking</p>;
  return (
    <section className="tiles" aria-label="Health">
      <Tile value={health.status === "ok" ? "All well" : health.status === "down" ? "Down" : "Not all well"} label={`Baton ${health.version}, up ${duration(health.uptimeS * 1000)}`} isBad={health.status !== "ok"} />
      {Object.entries(health.services).map(([name, state]) => <Tile key={name} value={String(state)} label={SERVICES[name] ?? name} isBad={state !== "ok"} />)}
      <Tile value={String(health.connections.sockets)} label="open pages" />
      <Tile value={String(health.runs.active)} label="runs at work" />
      <Tile value={String(health.prompts.pending)} label="open questions" />
    </section>
  );
}

const SERVICES: Readonly<Record<string, string>> = { store: "database", bridge: "bridge", jobs: "background jobs", frontend: "this page" };

function Tile({ value, label, isBad = false }: { readonly value: string; readonly label: string; readonly isBad?: boolean }) {
  return <div className="tile" data-bad={isBad}><strong>{value}</strong><span>{label}</span></div>;
}

const RANGES: readonly { readonly value: Range; readonly label: string }[] = [
  { value: "day", label: "24 hours" },
  { value: "week", label: "7 days" },
  { value: "month", label: "30 days" },
];
const AGAIN_MS = 60_000;

/** What ended, when; asked for again each minute while the page is looked at. */
function OverTime() {
  const { series } = useActions();
  const [range, setRange] = useState<Range>("day");
  const [found, setFound] = useState<SeriesAnswer | null>(null);
  const [problem, setProblem] = useState<string | null>(null);
  const [asked, setAsked] = useState(0);
  useEffect(() => {
    let isWanted = true;
    const ask = async () => {
      const answer = await series(spanOf(range, Date.now()));
      if (!isWanted) return;
      setProblem(answer.ok ? null : answer.error.code === "forbidden" ? "Only admins see what happened over time." : answer.error.message);
      if (answer.ok) setFound(answer);
    };
    void ask();
    const timer = setInterval(() => !document.hidden && void ask(), AGAIN_MS);
    return () => {
      isWanted = false;
      clearInterval(timer);
    };
  }, [series, range, asked]);
  return (
    <section aria-label="Over time" className="over-time">
      <header>
        <h2>Over time</h2>
        <Switch label="How far back" value={range} choices={RANGES} onChange={setRange} />
      </header>
      {problem !== null && (
        <p className="problem" role="alert">{problem} <button type="button" className="button small" onClick={() => setAsked(asked + 1)}>Try again</button></p>
      )}
      {found === null ? problem === null && <p className="quiet" role="status">Adding up</p> : <Charts found={found} />}
    </section>
  );
}

const whole = (most: number) => ticksUpTo(most, { isWhole: true });
const all = (lines: readonly Line[]) => lines.reduce((sum, line) => sum + sumOf(line), 0);

function Charts({ found }: { readonly found: SeriesAnswer }) {
  const lines = useMemo(() => linesOf(found.buckets), [found]);
  const stamps = useMemo(() => stampsOf(found), [found]);
  const answers = found.buckets.reduce((sum, bucket) => sum + bucket.answers, 0);
  return (
    <div className="charts">
      <TimeChart title="Runs" total={plural(all(lines.runs), "run")} stamps={stamps} lines={lines.runs} format={count} ticks={whole} empty="No run ended in this time." />
      <TimeChart title="Questions" total={plural(all(lines.prompts), "question")} stamps={stamps} lines={lines.prompts} format={count} ticks={whole} empty="No question was decided in this time." />
      <TimeChart title="Tokens" total={plural(all(lines.tokens), "token").replace(/^\d+/, (digits) => count(Number(digits)))} stamps={stamps} lines={lines.tokens} format={count} ticks={whole} empty="No tokens were used in this time." />
      <TimeChart title="Time until people answered" total={plural(answers, "answer")} stamps={stamps} lines={lines.latency} format={duration} formatTick={roundDuration} ticks={timeTicksUpTo} shape="marks" empty="Nobody was asked in this time." />
      <TimeChart title="Cost" total={cost(all(lines.cost))} stamps={stamps} lines={lines.cost} format={cost} ticks={(most) => ticksUpTo(most)} empty="Nothing was charged in this time. Agents that run on a subscription tell no cost." />
      <Latency />
    </div>
  );
}

function Latency() {
  const { latency } = useActions();
  const [times, setTimes] = useState<LatencyAnswer | null>(null);
  const [isAsking, setAsking] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  const measure = useCallback(async () => {
    setAsking(true);
    const answer = await latency();
    setAsking(false);
    setProblem(answer.ok ? null : answer.error.message);
    if (answer.ok) setTimes(answer);
  }, [latency]);
  useEffect(() => void measure(), [measure]);
  return (
    <section className="card">
      <header>
        <h2>How fast each part answers now</h2>
        <button type="button" className="button small" disabled={isAsking} onClick={() => void measure()}>Measure again</button>
      </header>
      {problem !== null && <p className="problem">{problem}</p>}
      {times !== null && <Bars unit=" ms" rows={[["Database, write", times.storeWriteMs], ["Database, read", times.storeReadMs], ["Bridge, there and back", times.bridgeRoundTripMs], ["Event loop, lag", times.loopLagMs]]} />}
    </section>
  );
}

const COUNTED = [
  { name: "runs", title: "Runs" },
  { name: "prompts", title: "Questions" },
  { name: "decisions", title: "Decisions, and by whom" },
  { name: "messages", title: "Messages" },
] as const;

/** Everything that is stored, by its status. */
function Counts() {
  const { stats } = useActions();
  const [counts, setCounts] = useState<StatsAnswer | null>(null);
  useEffect(() => void stats().then((answer) => answer.ok && setCounts(answer)), [stats]);
  if (counts === null) return null;
  return (
    <section aria-label="Since the beginning" className="over-time">
      <header><h2>Since the beginning</h2></header>
      <div className="columns">
        {COUNTED.map(({ name, title }) => {
          const word = name === "decisions" ? decisionWords : stateWord;
          const rows = Object.entries(counts[name]).filter(([, value]) => value > 0).map(([key, value]) => [word(key), value] as const);
          return (
            <section key={name} className="card">
              <h3>{title}</h3>
              {rows.length === 0 ? <p className="quiet">None yet.</p> : <Bars rows={rows} />}
            </section>
          );
        })}
      </div>
    </section>
  );
}
