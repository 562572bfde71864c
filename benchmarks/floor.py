"""The floor of the flush: what each millisecond that a delta waits for company saves of CPU."""

import statistics

from benchmarks.relay import ONE_WATCHER, Round, one_round
from benchmarks.results import Chart, Found, Line, Options, Table

FLOORS_MS = (0, 1, 2, 3, 4, 5, 6, 8, 10)
_QUICK_MS = (0, 4, 8)


async def measure(options: Options) -> Found:
    """Case 1 with each floor in turn, round by round."""
    floors = _QUICK_MS if options.is_quick else FLOORS_MS
    found: dict[int, list[Round]] = {floor: [] for floor in floors}
    for number in range(options.rounds):
        for floor in floors:
            measured = await one_round("baton", ONE_WATCHER, options, BATON_FLUSH_FLOOR_S=str(floor / 1000))
            found[floor].append(measured)
            options.tell(
                f"  floor {floor:2} ms, round {number + 1}: {measured.median_ms:.2f} ms median, "
                f"{measured.p99_ms:.2f} ms p99, {measured.cpu_us:.1f} us CPU"
            )
    rows = []
    for floor, rounds in found.items():
        cpus = [one.cpu_us for one in rounds]
        rows.append(
            (
                f"{floor} ms",
                f"{statistics.median(one.median_ms for one in rounds):.2f} ms",
                f"{statistics.median(one.p99_ms for one in rounds):.1f} ms",
                f"{statistics.median(cpus):.1f} us ({min(cpus):.0f} to {max(cpus):.0f})",
            )
        )
    title = "Latency against CPU by the floor of the flush, 20 conversations x 50 deltas/s"
    table = Table("floor", title, ("floor", "median", "p99", "CPU per delta"), tuple(rows))
    return Found(tables=(table,), charts=_charts(found))


def _charts(found: dict[int, list[Round]]) -> tuple[Chart, ...]:
    def line(name: str, field: str) -> Line:
        return Line(
            name, tuple((floor, statistics.median(getattr(r, field) for r in rs)) for floor, rs in found.items())
        )

    return (
        Chart(
            "floor-latency",
            "Latency by the floor of the flush",
            "floor, ms",
            "ms",
            (line("median", "median_ms"), line("p99", "p99_ms")),
        ),
        Chart(
            "floor-cpu",
            "CPU by the floor of the flush",
            "floor, ms",
            "us per delta",
            (line("CPU per delta", "cpu_us"),),
        ),
    )
