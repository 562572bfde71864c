/** Two small charts. Each says its numbers as text too: nobody has to read a length. */

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

interface ColumnsProps {
  readonly label: string;
  readonly days: readonly (readonly [string, number])[];
  readonly format: (value: number) => string;
}

export function Columns({ label, days, format }: ColumnsProps) {
  const most = Math.max(1, ...days.map(([, value]) => value));
  const width = 100 / days.length;
  const said = days.filter(([, value]) => value > 0).map(([day, value]) => `${day}: ${format(value)}`).join(", ");
  return (
    <figure className="columns-chart">
      <svg viewBox="0 0 100 40" preserveAspectRatio="none" role="img" aria-label={`${label}. ${said || "Nothing yet"}`}>
        {days.map(([day, value], at) => {
          const height = Math.max(value > 0 ? 1 : 0.4, (value / most) * 38);
          return <rect key={day} x={at * width + width * 0.15} width={width * 0.7} y={40 - height} height={height} data-empty={value === 0}><title>{`${day}: ${format(value)}`}</title></rect>;
        })}
      </svg>
      <figcaption>
        <span>{days[0]?.[0]}</span>
        <span>at most {format(Math.max(...days.map(([, value]) => value)))} a day</span>
        <span>today</span>
      </figcaption>
    </figure>
  );
}
