"""`make test-mongo`: what cannot be had is told, what was changed is not run, its lists name tests that there are."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mongo_servers import servers
from tests.mongo_servers.__main__ import BEGIN, END, FURTHER, NOT_ASKED, Row, write
from tests.mongo_servers.servers import CANDIDATES, Candidate, NotHereError
from tests.storage.mongo_deviations import DEVIATIONS, RACES

ROOT = Path(__file__).parent.parent


def test_a_server_without_its_toolchain_is_told_as_not_run(tmp_path: Path) -> None:
    candidate = Candidate("x", "X 1.0", ("no-such-program", "nor-this"), list, lambda folder: [])
    with pytest.raises(NotHereError, match="no no-such-program and no nor-this here"):
        with candidate.running(tmp_path):
            pytest.fail("it cannot run")
    assert Row("X 1.0", reason="no go here").cells()[1] == "**not run**: no go here"


def test_a_server_that_does_not_start_is_told_with_what_it_said(tmp_path: Path) -> None:
    broken = [sys.executable, "-c", "import sys; sys.exit('port taken')"]
    candidate = Candidate("x", "X 1.0", (), lambda: broken, lambda folder: [])
    with pytest.raises(NotHereError, match="port taken"):
        with candidate.running(tmp_path):
            pytest.fail("it does not start")


def test_a_server_ends_with_the_block_that_wanted_it(tmp_path: Path) -> None:
    waiting = [sys.executable, "-c", "import sys; print(4711, flush=True); sys.stdin.read()"]
    candidate = Candidate("x", "X 1.0", (), lambda: waiting, lambda folder: [])
    with candidate.running(tmp_path) as uri:
        assert uri == "mongodb://127.0.0.1:4711"


def test_files_that_are_not_what_the_checksums_say_are_not_run(tmp_path: Path) -> None:
    (tmp_path / "h2-2.3.232.jar").write_bytes(b"changed")
    assert not servers._have_checksums(tmp_path)


def test_lock_files_name_no_registry() -> None:
    folder = ROOT / "tests" / "mongo_servers"
    for path in (folder / "ferretdb" / "go.sum", folder / "ferretdb" / "go.mod", folder / "java" / "checksums.sha256"):
        assert not re.search(r"https?://", path.read_text()), path


def test_known_deviations_are_of_servers_and_tests_that_there_are() -> None:
    paths = {name.partition("::")[0] for name in FURTHER} | {"tests/storage/test_mongo.py"}
    sources = "".join((ROOT / path).read_text() for path in paths)
    sources += "".join(path.read_text() for path in (ROOT / "baton" / "testing").glob("store_*.py"))
    for known in (DEVIATIONS, RACES):
        assert set(known) <= {candidate.name for candidate in CANDIDATES}
        for name, reason in ((name, reason) for of_one in known.values() for name, reason in of_one.items()):
            assert f"def {name.partition('[')[0].rpartition('::')[2]}(" in sources, name
            assert reason


def test_the_page_has_the_place_of_the_table() -> None:
    page = (ROOT / "docs" / "mongodb.md").read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    table, _, after = rest.partition(END)
    assert before
    assert after
    for candidate in CANDIDATES:
        assert candidate.title in table, "run `make test-mongo` with --write docs/mongodb.md"


def test_a_store_that_was_not_asked_for_keeps_its_line_in_the_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\n| A | 5 passed |  | none |\n{END}\nafter\n")
    write(page, [Row("A", reason=NOT_ASKED), Row("B", "7 passed", "", "none")])
    text = page.read_text()
    assert "| A | 5 passed |  | none |" in text
    assert "| B | 7 passed |  | none |" in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")


def test_a_store_that_there_is_not_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.mongo_servers", "oracle"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "ferretdb" in done.stderr
