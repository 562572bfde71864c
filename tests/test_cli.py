"""The command as a person meets it: what it prints, how it refuses, what it leaves behind."""

import gc
import os
import re
import stat
from pathlib import Path

import pytest

from baton import __version__, logs, serving
from baton.cli import main
from baton.core.commands import AccountRole
from baton.credentials import ensure_token
from baton.settings import limits_table, settings_table


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder, and a data folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BATON_DATA", str(tmp_path / "data"))
    return tmp_path


def test_the_collector_need_not_walk_through_what_a_server_has_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    frozen: list[tuple[int, bool]] = []
    usual = gc.get_threshold()

    async def serve(*_: object) -> None:
        frozen.append((gc.get_freeze_count(), gc.isenabled()))

    monkeypatch.setattr(serving, "serve", serve)
    monkeypatch.setattr(logs, "configure", lambda *_: None)
    try:
        assert main(["serve"]) == 0
        assert gc.get_threshold() > usual, "and seldom looks at what is young"
    finally:
        gc.set_threshold(*usual)
        gc.unfreeze()
    ((objects, is_enabled),) = frozen
    assert objects > 10_000
    assert is_enabled, "it was off only while things were imported"


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--version"])
    assert left.value.code == 0
    assert capsys.readouterr().out == f"baton {__version__}\n"


def test_the_help_of_serve_names_every_variable_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    for setting in (*settings_table(), *limits_table()):
        assert setting.variable in said, setting.variable
        assert " ".join(setting.default.split()) in said, setting.variable


def test_wrong_settings_are_one_text_and_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--port", "many", "--log-format", "xml"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        "baton: --port=many: accepted is a whole number from 0 to 65535\n--log-format=xml: accepted is text or json\n"
    )


def test_a_database_is_made_and_then_is_up_to_date(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    assert main(["db", "migrate", "--dry-run"]) == 0
    assert "would run 0001_" in capsys.readouterr().out
    assert not (folder / "data" / "baton.sqlite3").exists()
    assert main(["db", "migrate"]) == 0
    assert re.search(r"^ran 0001_\w+$", capsys.readouterr().out, re.M)
    assert stat.S_IMODE((folder / "data").stat().st_mode) == 0o700
    assert main(["db", "migrate"]) == 0
    assert "up to date" in capsys.readouterr().out


def test_the_status_of_migrations_is_told_and_makes_no_database(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    assert main(["db", "migrate", "--status"]) == 0
    assert "LACKS   0001_initial" in capsys.readouterr().out
    assert not (folder / "data" / "baton.sqlite3").exists()
    assert main(["db", "migrate"]) == 0
    capsys.readouterr()
    assert main(["db", "migrate", "--status"]) == 0
    told = capsys.readouterr().out
    assert "has had 0001_initial" in told
    assert "LACKS" not in told


def test_a_checked_database_is_counted_and_timed(capsys: pytest.CaptureFixture[str]) -> None:
    main(["db", "migrate"])
    assert main(["db", "check"]) == 0
    assert re.search(
        r"messages +0\n.*durable write +[\d.]+ ms\nread +[\d.]+ ms\n✅ healthy", capsys.readouterr().out, re.S
    )


def test_a_database_that_is_not_there_is_refused_with_the_cure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["db", "check"]) == 2
    assert "baton db migrate" in capsys.readouterr().err


def test_a_token_is_printed_alone(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    tokens = {role: ensure_token(folder / "data", role) for role in (AccountRole.ADMIN, AccountRole.BRIDGE)}
    assert main(["token", "show"]) == 0
    assert capsys.readouterr().out == tokens[AccountRole.ADMIN] + "\n"
    assert main(["token", "show", "bridge"]) == 0
    assert capsys.readouterr().out == tokens[AccountRole.BRIDGE] + "\n"


def test_before_the_first_start_there_is_no_token_and_none_is_made(
    capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    assert main(["token", "show"]) == 2
    assert "the first `baton serve` makes it" in capsys.readouterr().err
    assert not (folder / "data").exists()


def test_a_token_of_the_environment_is_the_one_that_is_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATON_ADMIN_TOKEN", "t" * 32)
    assert main(["token", "show"]) == 0
    assert capsys.readouterr().out == "t" * 32 + "\n"


def test_without_a_command_it_says_how_it_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([])
    assert left.value.code == 2
    assert "usage: baton" in capsys.readouterr().err


def test_nothing_of_the_current_folder_is_touched(folder: Path) -> None:
    main(["db", "migrate"])
    assert os.listdir(folder) == ["data"]
