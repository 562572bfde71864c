"""The fault suite plays its rounds side by side, each once, and keeps its account where it is ended early."""

import asyncio
import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from tests.faults.suite import __main__ as suite
from tests.faults.suite.checks import Violation
from tests.faults.suite.evidence import Evidence
from tests.faults.suite.plan import Round


class Stage:
    """Rounds that end when they `may`, instead of being played on real processes."""

    def __init__(self) -> None:
        self.may = asyncio.Semaphore(0)
        self.played: list[int] = []
        self.at_once = self.most_at_once = 0
        self.violating: set[int] = set()

    async def play(self, round_: Round, _: Path | None) -> tuple[Evidence, list[Violation]]:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await self.may.acquire()
        self.at_once -= 1
        self.played.append(round_.number)
        found = [Violation("2 exactly once", "it was not")] if round_.number in self.violating else []
        return Evidence(round_), found


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    stage = Stage()
    monkeypatch.setattr(suite, "_one", stage.play)
    monkeypatch.setattr(suite, "end_on_sigterm", lambda: None)
    return stage


def let_end(stage: Stage, rounds: int) -> None:
    for _ in range(rounds):
        stage.may.release()


def given(record: Path, **options: Any) -> Namespace:
    usual = {"rounds": 8, "seed": 1, "first": 40, "jobs": 3, "minutes": None, "plan": False, "keep": None}
    return Namespace(**usual | options, record=record)


async def test_each_round_is_played_once_and_as_many_at_a_time_as_there_are_jobs(stage: Stage, tmp_path: Path) -> None:
    playing = asyncio.create_task(suite.main(given(tmp_path / "record")))
    while stage.at_once < 3:
        await asyncio.sleep(0)
    let_end(stage, 8)
    assert await playing == 0
    assert sorted(stage.played) == list(range(40, 48))
    assert stage.most_at_once == 3


async def test_a_violation_is_in_the_record_and_in_the_exit_code(stage: Stage, tmp_path: Path) -> None:
    let_end(stage, 8)
    stage.violating = {42}
    assert await suite.main(given(tmp_path / "record")) == 1
    (line,) = (tmp_path / "record").read_text().splitlines()
    assert json.loads(line)["violations"] == ["round 42: 2 exactly once: it was not"]


async def test_what_was_played_is_recorded_where_the_whole_is_ended_early(stage: Stage, tmp_path: Path) -> None:
    playing = asyncio.create_task(suite.main(given(tmp_path / "record", jobs=2)))
    let_end(stage, 3)
    while len(stage.played) < 3:
        await asyncio.sleep(0)
    playing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await playing
    (line,) = (tmp_path / "record").read_text().splitlines()
    assert json.loads(line)["rounds"] == 3
