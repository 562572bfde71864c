"""Malformed events and frames by the thousand, in memory and on the wire: `make fuzz` has the million.

The seed is fixed, so that what fails here fails again; `BATON_TEST_FUZZ_SEED` takes another one.
"""

import os
from pathlib import Path

import pytest

from tests.fuzz.in_memory import fuzz_in_memory, judged
from tests.fuzz.mutation import Mutator
from tests.fuzz.on_wire import fuzz_on_wire
from tests.fuzz.report import MEBI, Report

SEED = int(os.environ.get("BATON_TEST_FUZZ_SEED", "20261128"))
IN_MEMORY = 40_000
ON_WIRE = 3_000


async def test_nothing_malformed_is_more_than_refused_by_parsers_and_services(tmp_path: Path) -> None:
    report = Report("in memory", SEED, IN_MEMORY)
    await fuzz_in_memory(tmp_path, report)
    print(report)
    for kind, outcome in (("event", "ended"), ("event", "refused"), ("frame", "ended"), ("frame", "refused")):
        assert report.outcomes[kind, outcome] > 200, report
    assert report.after.rss_bytes - report.before.rss_bytes < 64 * MEBI, report
    assert report.after.files <= report.before.files, report


async def test_nothing_malformed_is_more_than_refused_over_real_sockets(tmp_path: Path) -> None:
    report = Report("on the wire", SEED, ON_WIRE)
    await fuzz_on_wire(tmp_path / "server", report)
    print(report)
    for kind, outcome in (("event", "ended"), ("event", "refused"), ("frame", "ended"), ("frame", "refused")):
        assert report.outcomes[kind, outcome] > 10, report


def test_the_same_seed_makes_the_same_mutants() -> None:
    def mutants(seed: int) -> list[object]:
        mutator = Mutator(seed)
        return [mutator.value({"a": [1, {"b": "c"}]}) for _ in range(50)] + [mutator.text("words") for _ in range(50)]

    assert mutants(1) == mutants(1)
    assert mutants(1) != mutants(2)


def test_an_answer_that_tells_of_a_fault_of_ours_is_seen() -> None:
    with pytest.raises(AssertionError):
        judged('431[{"ok":false,"error":{"code":"internal","message":"","retryable":false,"incident":"x"}}]')
    with pytest.raises(KeyError):
        judged('431[{"status":"fine"}]')
