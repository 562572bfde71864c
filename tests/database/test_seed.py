"""`baton db seed` and `sync`: healthy, marked conversations; and what is missing is made and told."""

import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from baton.services.seeding import MARK
from tests.database.conftest import Place
from tests.database.test_transfer import MONGO

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("options", [(), MONGO])
def test_seeded_conversations_are_marked_and_healthy(empty_place: Place, options: tuple[str, ...]) -> None:
    assert empty_place.db("migrate", *options)[0] == 0
    code, said = empty_place.db("seed", *options)
    assert code == 0, said
    assert empty_place.db("seed", "--messages", "1234", *options)[0] == 0
    code, said = empty_place.db("check", *options)
    assert code == 0, said
    assert "conversations  5" in said
    if not options:
        dump = empty_place.dump()
        assert all(one and one["title"].startswith(MARK) for one in dump["conversation"])
        assert len(dump["message"]) == 1234 + 12


def test_a_database_is_made_where_there_is_none(empty_place: Place) -> None:
    assert empty_place.db("seed")[0] == 0
    assert empty_place.db("seed", "--messages", "0")[0] == 2


@pytest.mark.parametrize("options", [(), MONGO])
def test_sync_makes_what_is_missing_and_says_so(empty_place: Place, options: tuple[str, ...]) -> None:
    code, said = empty_place.db("sync", *options)
    assert code == 0
    assert "ran 0001_initial" in said
    assert "in line already" in empty_place.db("sync", *options)[1]


def test_sync_makes_an_index_anew_and_counts(place: Place) -> None:
    connection = sqlite3.connect(place.path)
    connection.executescript("DROP INDEX messages_seq; DROP TRIGGER messages_fts_insert; UPDATE tallies SET count = 99")
    connection.close()
    code, said = place.db("sync")
    assert code == 0
    assert "made the index messages_seq" in said
    assert "made the trigger messages_fts_insert" in said
    assert "counted messages anew" in said
    assert place.db("check")[0] == 0


def test_make_has_a_target_for_each_of_them() -> None:
    told = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    names = set(re.findall(r"make (\S+)", told))
    assert names >= {"db-check", "db-migrate", "db-seed", "db-sync", "prisma-sync", "backup", "restore"}


def test_ten_times_the_messages_take_no_more_memory(tmp_path: Path) -> None:
    """Of seed, check, export and import together, each in a process of its own."""

    def peak_kib(messages: int) -> int:
        folder = tmp_path / str(messages)
        folder.mkdir()
        commands = [
            ["seed", "--messages", str(messages)],
            ["check"],
            ["export", str(folder / "all.jsonl")],
            ["import", str(folder / "all.jsonl"), "--store", f"sqlite:///{folder / 'other.sqlite3'}"],
        ]
        code = (
            "import os, resource, subprocess, sys\n"
            f"for command in {commands!r}:\n"
            "    command = [sys.executable, '-m', 'baton', 'db', *command]\n"
            "    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n"
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONPATH": str(ROOT), "BATON_DATA": str(folder / "data"), "PATH": ""},
        )
        return int(done.stdout)

    assert peak_kib(20_000) < peak_kib(2_000) + 40_000, "SQLite's cache may fill: 32 MB for each connection"
