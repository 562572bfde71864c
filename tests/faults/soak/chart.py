"""What was sampled as one picture: a small line for each, over the same minutes. SVG, and no library for it."""

from collections.abc import Sequence
from html import escape
from typing import Final

from tests.faults.soak.samples import LIMITS, Sample

_WIDTH: Final = 300
_HEIGHT: Final = 90
_COLUMNS: Final = 3
_GAP: Final = 40


def draw(samples: Sequence[Sample], *, warm_up_min: float) -> str:
    """The picture; what lies before the end of the warm-up is grey."""
    rows = -(-len(LIMITS) // _COLUMNS)
    width, height = _COLUMNS * (_WIDTH + _GAP), rows * (_HEIGHT + _GAP)
    parts = [_panel(samples, name, place, warm_up_min) for place, name in enumerate(LIMITS)]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="11">'
        f'<rect width="{width}" height="{height}" fill="white"/>'
    )
    return "\n".join([head, *parts, "</svg>"]) + "\n"


def _panel(samples: Sequence[Sample], name: str, place: int, warm_up_min: float) -> str:
    left, top = place % _COLUMNS * (_WIDTH + _GAP) + _GAP / 2, place // _COLUMNS * (_HEIGHT + _GAP) + _GAP / 2
    highest = max(sample[name] for sample in samples) or 1
    until = samples[-1]["minutes"] or 1
    grey = min(1.0, warm_up_min / until) * _WIDTH
    points = " ".join(
        f"{left + sample['minutes'] / until * _WIDTH:.1f},{top + (1 - sample[name] / highest) * _HEIGHT:.1f}"
        for sample in samples
    )
    return (
        f'<rect x="{left}" y="{top}" width="{grey:.1f}" height="{_HEIGHT}" fill="#eee"/>'
        f'<text x="{left}" y="{top - 5}">{escape(name)}: 0 to {highest:.6g}, {until:.0f} min</text>'
        f'<path d="M{left},{top}v{_HEIGHT}h{_WIDTH}" fill="none" stroke="#999"/>'
        f'<polyline points="{points}" fill="none" stroke="#06c" stroke-width="1.2"/>'
    )
