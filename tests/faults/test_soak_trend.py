"""The soak tells what grows from what only fills, swings or peaks."""

import random
import xml.etree.ElementTree as ET

from tests.faults.soak.chart import draw
from tests.faults.soak.samples import LIMITS
from tests.faults.soak.trend import FEWEST, Limit, trend

MEMORY = Limit(share=0.1, amount=8)


def grows(values: list[float], limit: Limit = MEMORY) -> bool:
    seen = trend(values, limit)
    assert seen is not None
    return seen.grows


def test_what_goes_up_all_the_time_grows() -> None:
    assert grows([60 + minute for minute in range(30)])


def test_what_goes_up_under_noise_grows() -> None:
    rng = random.Random(1)
    assert grows([60 + minute + rng.gauss(0, 5) for minute in range(60)])


def test_what_stays_where_it_is_under_noise_does_not_grow() -> None:
    rng = random.Random(2)
    assert not any(grows([60 + rng.gauss(0, 10) for _ in range(60)]) for _ in range(100))


def test_a_peak_is_no_growth() -> None:
    values = [60.0] * 30
    values[25:28] = [500.0] * 3
    assert not grows(values)


def test_what_fills_and_then_stays_does_not_grow_beyond_what_is_allowed() -> None:
    assert not grows([60 + min(minute, 10) for minute in range(60)])


def test_a_handful_of_files_that_nobody_closes_grow() -> None:
    assert grows([20 + minute // 2 for minute in range(40)], LIMITS["server files"])


def test_too_few_samples_are_not_judged() -> None:
    assert trend([1.0] * (FEWEST - 1), MEMORY) is None


def test_the_chart_is_a_picture_with_a_line_for_everything_that_is_sampled() -> None:
    samples = [{"minutes": float(n), **{name: float(n) for name in LIMITS}} for n in range(5)]
    picture = ET.fromstring(draw(samples, warm_up_min=1))
    assert len(picture.findall("{http://www.w3.org/2000/svg}polyline")) == len(LIMITS)
