"""Runs the store's contract on every store that can be had here, and prints one table: what passed, what was not run.

    python -m tests.mongo_servers                      every store
    python -m tests.mongo_servers sqlite ferretdb      these
    python -m tests.mongo_servers --write docs/mongodb.md    and put the table between the marks in this page

Servers get the further tests of the adapter too. A MongoDB of your own is tested where `BATON_TEST_MONGO_URI` names it;
several addresses, as of a standalone server and of a replica set, with spaces between them. Exit code 1: something
failed. What is not here is no failure, and is told.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from tests.mongo_servers.servers import CANDIDATES, Candidate, NotHereError
from tests.storage.mongo_deviations import RACES

ROOT: Final = Path(__file__).parents[2]
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"
OWN: Final = {False: "mongod, alone", True: "mongod, as a replica set"}
_TIMEOUT: Final = "--timeout=1800"
"""For one test: the state machine asks thousands of questions, and not every server is quick."""
NOT_ASKED: Final = "not asked for"
ON_A_SERVER: Final = "tests/storage/test_mongo.py::TestServer"
FURTHER: Final = (
    "tests/storage/test_mongo_store.py",
    "tests/storage/test_mongo_crash.py",
    "tests/storage/test_mongo_queries.py",
    "tests/storage/test_mongo_guide.py",
    "tests/storage/test_first_release.py",
)
"""Tests that run on the server that BATON_TEST_MONGO_URI names."""
OUTAGE: Final = (
    "tests/faults/test_store_outage.py::test_fifty_streams_outlive_a_store_that_is_away[mongo cut]",
    "tests/faults/test_store_outage.py::test_fifty_streams_outlive_a_store_that_is_away[mongo silent]",
)
"""Fifty streams at once: not for a server that is too slow for them."""


@dataclass(frozen=True, slots=True)
class Row:
    """One store of the table."""

    store: str
    contract: str = ""
    further: str = ""
    deviations: str = ""
    has_failed: bool = False
    reason: str | None = None
    """Why it was not run."""

    def cells(self) -> tuple[str, str, str, str]:
        """As it is printed."""
        if self.reason is not None:
            return self.store, f"**not run**: {self.reason}", "", ""
        return self.store, self.contract, self.further, self.deviations


@dataclass(frozen=True, slots=True)
class Count:
    """Of one run of pytest."""

    passed: int
    failed: int
    known: int
    """Failed as it is known of this server, with a reason."""
    seconds: float

    def __str__(self) -> str:
        return f"{self.passed} passed" + (f", **{self.failed} failed**" if self.failed else "")


def main() -> int:
    """Run and print; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stores", nargs="*", help="names of stores; none: all")
    parser.add_argument("--write", type=Path, help="a page whose table is written anew")
    args = parser.parse_args()
    rows = []
    for row in _rows(set(args.stores)):
        print(f"{row.store}: {' | '.join(cell for cell in row.cells()[1:] if cell)}", flush=True)
        rows.append(row)
    print(f"\n{_table(map(_line, rows))}")
    if args.write is not None:
        write(args.write, rows)
    return int(any(row.has_failed for row in rows))


def _rows(wanted: set[str]) -> Iterator[Row]:
    known = {"sqlite", "mongomock", "mongod", *(candidate.name for candidate in CANDIDATES)}
    if wanted - known:
        sys.exit(f"There is no store {', '.join(sorted(wanted - known))}; known are {', '.join(sorted(known))}")
    for name, titles, run in _stores():
        if not wanted or name in wanted:
            yield from run()
        else:
            yield from (Row(title, reason=NOT_ASKED) for title in titles)


def _stores() -> Iterator[tuple[str, Sequence[str], Callable[[], Iterable[Row]]]]:
    sqlite, mock = "SQLite (built in)", "mongomock-motor (a mock, in every `make test`)"
    yield "sqlite", [sqlite], lambda: [_plain(sqlite, "tests/storage/test_sqlite.py")]
    yield "mongomock", [mock], lambda: [_plain(mock, "tests/storage/test_mongo.py::TestMongomock")]
    for candidate in CANDIDATES:
        yield candidate.name, [candidate.title], lambda candidate=candidate: [_independent(candidate)]  # type: ignore[misc]
    yield "mongod", list(OWN.values()), _own


def _plain(title: str, tests: str) -> Row:
    count = _pytest([tests], {})
    return Row(title, str(count), "", _known(count), has_failed=bool(count.failed))


def _independent(candidate: Candidate) -> Row:
    with tempfile.TemporaryDirectory(prefix="baton-mongo-") as folder:
        try:
            with candidate.running(Path(folder)) as uri:
                return _on_server(candidate.title, uri, candidate.name)
        except NotHereError as error:
            return Row(candidate.title, reason=str(error))


def _own() -> Iterator[Row]:
    """MongoDB itself, as the environment names it; of its two kinds, the one that is not named is told too."""
    missing = dict(OWN)
    for uri in os.environ.get("BATON_TEST_MONGO_URI", "").split():
        try:
            with MongoClient[dict[str, Any]](uri, serverSelectionTimeoutMS=5000) as client:
                hello, version = client.admin.command("hello"), client.server_info()["version"]
        except PyMongoError as error:
            yield Row("mongod", reason=f"it does not answer ({type(error).__name__})", has_failed=True)
            continue
        is_set = "setName" in hello
        missing.pop(is_set, None)
        row = _on_server(OWN[is_set], uri, "mongod")
        yield replace(row, contract=f"{row.contract} ({version})")
    yield from (Row(title, reason="`BATON_TEST_MONGO_URI` does not name one") for title in missing.values())


def _on_server(title: str, uri: str, name: str) -> Row:
    variables = {"BATON_TEST_MONGO_URI": uri, "BATON_TEST_MONGO_SERVER": name}
    contract = _pytest([ON_A_SERVER], variables)
    further = _pytest(FURTHER if name == "ferretdb" else (*FURTHER, *OUTAGE), variables)
    failed = contract.failed + further.failed
    known = Count(0, 0, contract.known + further.known, 0)
    return Row(title, str(contract), str(further), _known(known, name), has_failed=bool(failed))


def _known(count: Count, server: str = "") -> str:
    """What is listed on the page: what failed as it is known to, or what fails now and then, whether it did or not."""
    if server in RACES:
        return f"{len(RACES[server])}, now and then, listed below"
    return f"{count.known}, listed below" if count.known else "none"


def _pytest(tests: Sequence[str], variables: dict[str, str]) -> Count:
    """One run in a process of its own. What failed is printed."""
    began = time.monotonic()
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("BATON_")}
    with _report() as report:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "--tb=short", _TIMEOUT, f"--junitxml={report}", *tests],
            cwd=ROOT,
            env=inherited | variables,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode not in (0, 1):
            sys.exit(f"pytest could not run:\n{done.stdout[-4000:]}{done.stderr[-4000:]}")
        if done.returncode == 1:
            print(done.stdout[-12_000:], flush=True)
        cases = [list(case) for case in ElementTree.parse(report).iter("testcase")]
    known = sum(any(part.get("type") == "pytest.xfail" for part in case) for case in cases)
    skipped = sum(any(part.tag == "skipped" for part in case) for case in cases) - known
    failed = sum(any(part.tag in ("failure", "error") for part in case) for case in cases)
    return Count(len(cases) - known - skipped - failed, failed, known, time.monotonic() - began)


@contextmanager
def _report() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="baton-report-") as folder:
        yield Path(folder) / "report.xml"


def _table(lines: Iterable[str]) -> str:
    head = ["| store | the contract | further tests of the adapter | known deviations |", "|---|---|---|---|"]
    return "\n".join([*head, *lines])


def _line(row: Row) -> str:
    return "| " + " | ".join(row.cells()) + " |"


def write(page: Path, rows: Sequence[Row]) -> None:
    """Put the table between the marks in the page. What was not asked for keeps the line that it has there."""
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    old, _, after = rest.partition(END)
    known = {line.split("|")[1].strip(): line for line in old.splitlines() if line.startswith("| ")}
    lines = [known.get(row.store, _line(row)) if row.reason == NOT_ASKED else _line(row) for row in rows]
    page.write_text(f"{before}{BEGIN}\n{_table(lines)}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
