"""What a benchmark found, as values that become a table, a plot, and JSON to read back."""

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.plots import Chart, Line, draw

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Options:
    """How to measure. `store`: a MongoDB address; None: a SQLite file per server. `on`: what that is, in words."""

    rounds: int = 5
    seconds: float = 5.0
    warm_up_s: float = 2.0
    is_quick: bool = False
    store: str | None = None
    on: str = ""
    systems: tuple[str, ...] = ()
    messages: int = 1_000_000
    deltas: int = 1_000_000
    sockets: int = 5000
    folder: Path | None = None
    """Where the large database is kept for the next time."""
    tell: Callable[[str], None] = print


@dataclass(frozen=True, slots=True)
class Table:
    """`key` names it in docs/performance.md."""

    key: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure that is to be reached, and what was found."""

    what: str
    most: float
    found: float
    unit: str
    at_least: bool = False
    """It is to be as much as that and not at most."""

    @property
    def is_met(self) -> bool:
        """Whether it was."""
        return self.found >= self.most if self.at_least else self.found <= self.most


@dataclass(frozen=True, slots=True)
class Found:
    """All that one part measured."""

    tables: tuple[Table, ...] = ()
    goals: tuple[Goal, ...] = ()
    charts: tuple[Chart, ...] = ()


def keep(folder: Path, part: str, found: Found, options: Options) -> None:
    """Put it in `results.json` in the place of what this part found before, and write table and plots anew."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = load(folder)
    kept[part] = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "form": ("quick" if options.is_quick else f"{options.rounds} rounds of {options.seconds:g} s") + options.on,
        **json.loads(json.dumps(asdict(found))),
    }
    (folder / "results.json").write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for chart in found.charts:
        (folder / f"{chart.key}.svg").write_text(draw(chart), encoding="utf-8")
    (folder / "results.md").write_text(_page(kept), encoding="utf-8")


def load(folder: Path) -> dict[str, Any]:
    """What was kept, by part; empty where nothing was."""
    path = folder / "results.json"
    kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return kept


def machine() -> str:
    """What it was measured on, in words."""
    model = platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":")[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False)
    return (
        f"{os.cpu_count()} cores of {model}, {platform.system()} {platform.release().split('-')[0]}, "
        f"Python {sys.version.split()[0]}, Node {node.stdout.strip().removeprefix('v') or 'none'}"
    )


# --- Markdown ------------------------------------------------------------------------------------------------------


def markdown(table: dict[str, Any]) -> str:
    """A kept table."""
    columns = table["columns"]
    lines = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in table["rows"])])


def goals_markdown(kept: dict[str, Any]) -> str:
    """Every figure that is to be reached, of all parts."""
    lines = ["| figure | goal | found | reached |", "|---|---|---|---|"]
    for part in kept.values():
        for raw in part["goals"]:
            goal = Goal(**raw)
            sign = "at least" if goal.at_least else "at most"
            lines.append(
                f"| {goal.what} | {sign} {_number(goal.most)} {goal.unit} | {_number(goal.found)} {goal.unit} "
                f"| {'yes' if goal.is_met else '**no**'} |"
            )
    return "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _page(kept: dict[str, Any]) -> str:
    return "\n\n".join(["# What `make bench` found", goals_markdown(kept), *_sections(kept)]) + "\n"


def _sections(kept: dict[str, Any]) -> Iterable[str]:
    for name, part in kept.items():
        yield f"## {name}"
        yield f"{part['machine']}; {part['form']}; {part['at']}."
        for table in part["tables"]:
            yield f"**{table['title']}**"
            yield markdown(table)
        for chart in part["charts"]:
            yield f"![{chart['title']}]({chart['key']}.svg)"


__all__ = [
    "Chart",
    "Found",
    "Goal",
    "Line",
    "Options",
    "Table",
    "goals_markdown",
    "keep",
    "load",
    "machine",
    "markdown",
]
