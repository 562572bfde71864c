/** Charts. Each says its numbers as text too: nobody has to read a length or tell colours apart. */
import { useState, type PointerEvent } from "react";

import { heightOf, shownStamps, sumOf, type Line, type Stamp } from "./series";

export function Bars({ rows, unit = "" }: { readonly rows: readonly (readonly [string, number | null])[]; readonly unit?: string }) {
  const most = Math.max(1e-9, ...rows.map(([, value]) => value ?? 0));
  return (
    <dl className="bars">
      {rows.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>
            <svg viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden>
              <rect width={((value ?? 0) / most) * 100} height={6} rx={1} />
            </svg>
            <span>{value === null ? "none" : `${Number.isInteger(value) ? value : value.toFixed(1)}${unit}`}</span>
          </dd>
        </div>
      ))}
    </dl>
  );
}

interface TimeChartProps {
  readonly title: string;
  /** What the whole comes to, in words. */
  readonly total: string;
  readonly stamps: readonly Stamp[];
  readonly lines: readonly Line[];
  readonly format: (value: number) => string;
  /** Of the values beside the axis, which are round. */
  readonly formatTick?: (value: number) => string;
  readonly ticks: (most: number) => readonly number[];
  /** Columns of what adds up; marks and lines between them for what does not. */
  readonly shape?: "columns" | "marks";
  readonly empty: string;
}

/** Values over time with both axes, a legend with sums, what is under the pointer, and all of it as a table. */
export function TimeChart({ title, total, stamps, lines, format, formatTick = format, ticks, shape = "columns", empty }: TimeChartProps) {
  const [at, setAt] = useState<number | null>(null);
  const tops = stamps.map((_, index) => (shape === "columns" ? heightOf(lines, index) : Math.max(0, ...lines.map((line) => line.values[index] ?? 0))));
  const most = Math.max(0, ...tops);
  const steps = ticks(most);
  const ceiling = steps.at(-1) || 1;
  const point = (event: PointerEvent<HTMLDivElement>) => {
    const { left, width } = event.currentTarget.getBoundingClientRect();
    const index = Math.floor(((event.clientX - left) / width) * stamps.length);
    setAt(Math.min(stamps.length - 1, Math.max(0, index)));
  };
  return (
    <figure className="card chart" aria-label={title}>
      <figcaption>
        <h2>{title}</h2>
        <strong>{total}</strong>
      </figcaption>
      {most === 0 ? (
        <p className="quiet chart-empty">{empty}</p>
      ) : (
        <>
          <Legend lines={lines} at={at} format={format} isSummed={shape === "columns"} stamp={at === null ? null : (stamps[at] ?? null)} />
          <div className="plot" data-shape={shape}>
            <ol className="plot-ticks" aria-hidden>
              {steps.map((step) => <li key={step} style={{ bottom: `${(step / ceiling) * 100}%` }}>{formatTick(step)}</li>)}
            </ol>
            <div className="plot-area" onPointerMove={point} onPointerDown={point} onPointerLeave={() => setAt(null)}>
              <svg viewBox={`0 0 ${stamps.length} 100`} preserveAspectRatio="none" role="img" aria-label={`${title}: ${total}. The table below has each value.`}>
                {steps.map((step) => <path key={step} className="plot-grid" d={`M0 ${100 - (step / ceiling) * 100}H${stamps.length}`} />)}
                {at !== null && <rect className="plot-cursor" x={at} y={0} width={1} height={100} />}
                {shape === "columns" ? <Columns lines={lines} count={stamps.length} ceiling={ceiling} /> : lines.map((line) => <Marks key={line.name} line={line} ceiling={ceiling} />)}
              </svg>
            </div>
            <Stamps stamps={stamps} />
          </div>
          <Table title={title} stamps={stamps} lines={lines} format={format} />
        </>
      )}
    </figure>
  );
}

function Columns({ lines, count, ceiling }: { readonly lines: readonly Line[]; readonly count: number; readonly ceiling: number }) {
  return Array.from({ length: count }, (_, at) => {
    let below = 0;
    return lines.map((line) => {
      const height = ((line.values[at] ?? 0) / ceiling) * 100;
      below += height;
      return height === 0 ? null : <rect key={`${line.name}-${at}`} className="plot-value" data-tone={line.tone} x={at + 0.14} width={0.72} y={100 - below} height={height} />;
    });
  });
}

/** Dots, joined where values follow on each other. Lengths of strokes do not stretch with the drawing. */
function Marks({ line, ceiling }: { readonly line: Line; readonly ceiling: number }) {
  const places = line.values.map((value, at) => (value === null ? null : ([at + 0.5, 100 - (value / ceiling) * 100] as const)));
  const joined = places.map((place, at) => (place === null ? "" : `${places[at - 1] ? "L" : "M"}${place[0]} ${place[1]}`)).join("");
  const dots = places.map((place) => (place === null ? "" : `M${place[0]} ${place[1]}h0`)).join("");
  return (
    <g data-tone={line.tone}>
      <path className="plot-line" data-tone={line.tone} d={joined} />
      <path className="plot-dots" data-tone={line.tone} d={dots} />
    </g>
  );
}

const MOST_STAMPS = 6;

function Stamps({ stamps }: { readonly stamps: readonly Stamp[] }) {
  return (
    <ol className="plot-stamps" aria-hidden>
      {shownStamps(stamps.length, MOST_STAMPS).map((at) => (
        <li key={at} style={{ left: `${((at + 0.5) / stamps.length) * 100}%` }}>{stamps[at]?.short}</li>
      ))}
    </ol>
  );
}

interface LegendProps {
  readonly lines: readonly Line[];
  readonly at: number | null;
  readonly stamp: Stamp | null;
  readonly format: (value: number) => string;
  readonly isSummed: boolean;
}

/** What each colour is, with its sum, or with its value where somebody points. */
function Legend({ lines, at, stamp, format, isSummed }: LegendProps) {
  const shown = lines.filter((line) => !isSummed || sumOf(line) > 0);
  return (
    <div className="legend">
      <ul>
        {shown.map((line) => {
          // The sum of the only line stands above already.
          const sum = isSummed && lines.length > 1 ? sumOf(line) : null;
          const value = at === null ? sum : (line.values[at] ?? null);
          return (
            <li key={line.name}>
              <span className="swatch" data-tone={line.tone} aria-hidden />
              {line.name}
              {(value !== null || at !== null) && <b>{value === null ? "none" : format(value)}</b>}
            </li>
          );
        })}
      </ul>
      <span className="legend-when">{stamp?.long ?? ""}</span>
    </div>
  );
}

function Table({ title, stamps, lines, format }: { readonly title: string; readonly stamps: readonly Stamp[]; readonly lines: readonly Line[]; readonly format: (value: number) => string }) {
  const rows = stamps.map((stamp, at) => ({ stamp, values: lines.map((line) => line.values[at] ?? null) })).filter(({ values }) => values.some((value) => value !== null && value !== 0));
  return (
    <details className="chart-table">
      <summary>As a table</summary>
      <div className="table" role="region" aria-label={`${title}, as a table`} tabIndex={0}>
        <table>
          <thead><tr><th scope="col">When</th>{lines.map((line) => <th key={line.name} scope="col">{line.name}</th>)}</tr></thead>
          <tbody>
            {rows.map(({ stamp, values }) => (
              <tr key={stamp.long}>
                <th scope="row">{stamp.long}</th>
                {values.map((value, at) => <td key={lines[at]?.name}>{value === null ? "none" : format(value)}</td>)}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </details>
  );
}
