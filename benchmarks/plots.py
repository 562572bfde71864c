"""Line plots as SVG, without a plotting library: a page of code instead of fifty megabytes of packages."""

import math
from dataclasses import dataclass
from html import escape
from typing import Final

_WIDTH, _HEIGHT = 760, 380
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 190, 44, 48
_COLOURS: Final = ("#2563eb", "#dc2626", "#059669", "#d97706", "#7c3aed", "#0891b2")
_TICKS: Final = 6


@dataclass(frozen=True, slots=True)
class Line:
    """One series."""

    name: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """`key` is its file's name. `limit`: a value of y that is marked."""

    key: str
    title: str
    x: str
    y: str
    lines: tuple[Line, ...]
    limit: float | None = None
    is_log: bool = False
    """The values of y span powers of ten."""


def draw(chart: Chart) -> str:
    """The chart as an SVG document."""
    xs = [x for line in chart.lines for x, _ in line.points]
    ys = [y for line in chart.lines for _, y in line.points] + ([] if chart.limit is None else [chart.limit])
    frame = _Frame(chart, max(xs, default=1) or 1, min(ys, default=0), max(ys, default=1) or 1)
    return "\n".join([_head(chart), *frame.axes(), *frame.lines(), "</svg>"]) + "\n"


class _Frame:
    """Places values on the picture."""

    def __init__(self, chart: Chart, most_x: float, least_y: float, most_y: float) -> None:
        self._chart = chart
        self._step_x = _step(most_x)
        self._most_x = math.ceil(most_x / self._step_x - 1e-9) * self._step_x
        self._step_y = _step(most_y)
        self._most_y = math.ceil(most_y / self._step_y - 1e-9) * self._step_y
        self._decades = (math.floor(math.log10(max(least_y, 1e-3))), math.ceil(math.log10(max(most_y, 1e-3))))

    def _x(self, value: float) -> float:
        return _LEFT + value / self._most_x * (_WIDTH - _LEFT - _RIGHT)

    def _y(self, value: float) -> float:
        if self._chart.is_log:
            low, high = self._decades
            share = (math.log10(max(value, 1e-3)) - low) / max(high - low, 1)
        else:
            share = value / self._most_y
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)

    def axes(self) -> list[str]:
        """Grid, numbers and names."""
        right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM
        parts = []
        for tick in self._ticks_y():
            y = self._y(tick)
            parts.append(f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" stroke="#e5e7eb"/>')
            parts.append(_text(_LEFT - 8, y + 4, f"{tick:,g}", "end"))
        for number in range(round(self._most_x / self._step_x) + 1):
            value = number * self._step_x
            parts.append(_text(self._x(value), bottom + 18, f"{value:,g}", "middle"))
        parts.append(f'<line x1="{_LEFT}" y1="{bottom}" x2="{right}" y2="{bottom}" stroke="#6b7280"/>')
        parts.append(_text((_LEFT + right) / 2, _HEIGHT - 10, self._chart.x, "middle"))
        parts.append(_text(_LEFT - 8, _TOP - 12, self._chart.y, "start"))
        return parts

    def _ticks_y(self) -> list[float]:
        if self._chart.is_log:
            return [10.0**power for power in range(self._decades[0], self._decades[1] + 1)]
        return [number * self._step_y for number in range(round(self._most_y / self._step_y) + 1)]

    def lines(self) -> list[str]:
        """The series with their names at the right, and the limit."""
        parts = []
        for number, line in enumerate(self._chart.lines):
            colour = _COLOURS[number % len(_COLOURS)]
            points = " ".join(f"{self._x(x):.1f},{self._y(y):.1f}" for x, y in line.points)
            parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
            parts += [
                f'<circle cx="{self._x(x):.1f}" cy="{self._y(y):.1f}" r="3" fill="{colour}"/>' for x, y in line.points
            ]
            y = _TOP + 6 + number * 20
            parts.append(f'<rect x="{_WIDTH - _RIGHT + 16}" y="{y - 8}" width="12" height="4" fill="{colour}"/>')
            parts.append(_text(_WIDTH - _RIGHT + 34, y, line.name, "start"))
        if self._chart.limit is not None:
            y = self._y(self._chart.limit)
            parts.append(
                f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{_WIDTH - _RIGHT}" y2="{y:.1f}" '
                'stroke="#9ca3af" stroke-dasharray="6 4"/>'
            )
        return parts


def _step(most: float) -> float:
    """A round number of which some reach `most`."""
    rough = most / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 5, 10) if rough <= power * factor * 1.0001)


def _head(chart: Chart) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" '
        'font-family="system-ui, sans-serif" font-size="12" fill="#374151">\n'
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>\n'
        f'<text x="{_LEFT - 8}" y="18" font-size="14" font-weight="600">{escape(chart.title)}</text>'
    )


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
