"""`baton db export` and `import`: equal stores after any way round, and nothing of a file that is not as written."""

import asyncio
import json
import os
import sqlite3
import stat
import sys
from pathlib import Path

import pytest

from tests.database.conftest import Place
from tests.support.shell import Shell

MONGO = ("--store", "mongodb://mock/baton")


def exported(place: Place, *options: str, name: str = "all.jsonl") -> Path:
    path = place.folder / name
    code, said = place.db("export", str(path), *options)
    assert code == 0, said
    return path


def other(place: Place) -> tuple[str, str]:
    return "--store", f"sqlite:///{place.folder / 'other.sqlite3'}"


def body(path: Path) -> list[object]:
    """What the lines hold, without the head and digests."""
    return [json.loads(line)["document"] for line in path.read_text().splitlines()[1:]]


def test_an_export_is_lines_of_json_with_a_head_and_counts(place: Place) -> None:
    path = exported(place)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[0]["kind"] == "head"
    assert lines[0]["document"]["format"] == "baton-records"
    assert lines[0]["document"]["counts"]["message"] == 3
    assert lines[-1]["document"]["counts"]["attachment"] == 1
    assert {line["kind"] for line in lines} >= {"project", "conversation", "run", "prompt", "grant", "journal", "audit"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_imported_into_an_empty_store_it_is_equal(place: Place) -> None:
    path = exported(place)
    code, said = place.db("import", str(path), *other(place))
    assert code == 0, said
    assert place.dump(place.folder / "other.sqlite3") == place.dump()
    assert place.db("check", *other(place))[0] == 0


def test_over_mongodb_and_back_it_is_equal(place: Place) -> None:
    path = exported(place)
    assert place.db("migrate", *MONGO)[0] == 0
    code, said = place.db("import", str(path), *MONGO)
    assert code == 0, said
    back = exported(place, *MONGO, name="back.jsonl")
    assert body(back) == body(path)
    assert place.db("import", str(back), *other(place))[0] == 0
    assert place.dump(place.folder / "other.sqlite3") == place.dump()
    assert place.db("check", *MONGO)[0] == 0


@pytest.mark.parametrize("store", ["sqlite", "mongo"])
def test_what_is_there_already_is_skipped_and_counted(place: Place, store: str) -> None:
    options = other(place) if store == "sqlite" else MONGO
    path = exported(place)
    place.db("migrate", *options)
    place.db("import", str(path), *options)
    code, said = place.db("import", str(path), *options)
    assert code == 0
    assert "added 0 records" in said
    assert f"skipped {len(body(path)) - 1 - 3} that were there already" in said


def test_one_conversation_comes_with_what_it_uses_and_nothing_else(place: Place) -> None:
    path = exported(place, "--conversation", place.conversation_id)
    kinds = [json.loads(line)["kind"] for line in path.read_text().splitlines()]
    assert kinds.count("conversation") == 1
    assert kinds.count("message") == 2
    assert kinds.count("grant") == 1
    assert "token" not in kinds
    assert "attachment" in kinds
    code, said = place.db("export", "x", "--conversation", "0" * 24)
    assert code == 1
    assert "no conversation" in said


@pytest.mark.parametrize("store", ["sqlite", "mongo"])
@pytest.mark.parametrize("options", [(), ("--conversation",)])
def test_cut_anywhere_an_export_goes_on_and_is_the_same(place: Place, store: str, options: tuple[str, ...]) -> None:
    where = MONGO if store == "mongo" else ()
    if where:
        place.db("migrate", *where)
        place.db("import", str(exported(place, name="first.jsonl")), *where)
    chosen = (*options, place.conversation_id) if options else ()
    whole = exported(place, *chosen, *where).read_bytes()
    ends = [index + 1 for index, byte in enumerate(whole) if byte == 10]
    cut = place.folder / "cut.jsonl"
    for end in [*ends, *(end + 30 for end in ends[:-1])]:
        cut.write_bytes(whole[:end])
        code, said = place.db("export", str(cut), "--resume", *chosen, *where)
        assert code == 0, said
        assert cut.read_bytes() == whole


def test_an_export_of_another_database_is_not_gone_on_with(place: Place) -> None:
    path = exported(place)
    path.write_bytes(path.read_bytes()[:-10])
    place.db("migrate", *other(place))
    code, said = place.db("export", str(path), "--resume", *other(place))
    assert code == 1
    assert "another database" in said


def test_a_file_that_is_there_is_not_written_over(place: Place) -> None:
    path = exported(place)
    before = path.read_bytes()
    code, said = place.db("export", str(path))
    assert code == 1
    assert "--resume" in said
    assert path.read_bytes() == before


def edited(content: bytes) -> dict[str, tuple[bytes, str]]:
    """Damaged files, and what is said of each."""
    lines = content.splitlines(keepends=True)
    third = lines[2].replace(b"Untitled", b"Vntitled").replace(b"Second", b"Zecond")
    return {
        "cut in a line": (content[: len(content) - 5], f"line {len(lines)} has no end"),
        "cut at a line": (b"".join(lines[:-1]), f"line {len(lines)} is missing"),
        "changed": (b"".join([*lines[:2], third.replace(b'"', b"'", 0).replace(b"a", b"b", 1), *lines[3:]]), "line 3 "),
        "a line left out": (b"".join(lines[:4] + lines[5:]), "line 5 "),
        "two lines turned": (b"".join([*lines[:3], lines[4], lines[3], *lines[5:]]), "line 4 "),
        "more behind the end": (content + lines[1], f"line {len(lines) + 1} stands behind"),
        "another version": (b"".join([lines[0].replace(b'"version":1', b'"version":9'), *lines[1:]]), "line 1 "),
        "not ours": (b'{"hello": 1}\n', "line 1 "),
        "empty": (b"", "line 1 "),
        "binary": (os.urandom(100_000), "line 1 "),
    }


@pytest.mark.parametrize("damage", list(edited(b"a\nb\nc\nd\ne\nf\n")))
def test_of_a_damaged_file_nothing_is_taken_and_the_line_is_told(place: Place, damage: str) -> None:
    content, told = edited(exported(place).read_bytes())[damage]
    path = place.folder / "damaged.jsonl"
    path.write_bytes(content)
    place.db("migrate", *other(place))
    code, said = place.db("import", str(path), *other(place))
    assert code == 1
    assert told in said
    assert "nothing was changed" in said
    assert not any(place.dump(place.folder / "other.sqlite3").values())


def test_what_cannot_be_read_is_left_out_and_told(place: Place) -> None:
    connection = sqlite3.connect(place.path)
    connection.execute("UPDATE projects SET doc = '{'")
    connection.commit()
    connection.close()
    code, said = place.db("export", "all.jsonl")
    assert code == 1
    assert "1 records cannot be read" in said


def test_an_orphan_is_not_taken_and_told(place: Place) -> None:
    connection = sqlite3.connect(place.path)
    connection.execute("DELETE FROM conversations WHERE id = ?", (place.conversation_id,))
    connection.commit()
    connection.close()
    for options in (other(place), MONGO):
        place.db("migrate", *options)
        path = exported(place, name=f"{options[1][:5]}.jsonl")
        code, said = place.db("import", str(path), *options)
        assert code == 1
        assert " were not taken, as their conversation is missing: message " in said


def test_missing_files_and_wrong_ids_are_wrong_use(place: Place) -> None:
    assert place.db("import", "nothing.jsonl")[0] == 2
    assert place.db("export", "x", "--conversation", "mine")[0] == 2
    assert place.db("export", "-", "--resume")[0] == 2


async def test_a_process_writes_to_a_pipe_and_a_full_disk_is_told(tmp_path: Path) -> None:
    shell = Shell(tmp_path, {})
    assert (await shell.baton("db", "migrate")).code == 0
    said = await shell.baton("db", "export", "-")
    assert said.code == 0
    assert [json.loads(line)["kind"] for line in said.out.splitlines()] == ["head", "tail"]
    assert "exported 0 records" in said.err
    full = await shell.baton("db", "export", "/dev/full")
    assert full.code != 0


async def test_where_the_disk_is_full_it_is_told_and_no_backup_is_left(tmp_path: Path) -> None:
    """A limit of the shell on the size of files is what a full disk is to a program: a write that fails."""
    shell = Shell(tmp_path, {})
    assert (await shell.baton("db", "seed", "--messages", "2000")).code == 0
    for command in ("export all.jsonl", "backup copies"):
        process = await asyncio.create_subprocess_exec(
            *("bash", "-c", f"ulimit -f 64; exec {sys.executable} -m baton db {command}"),
            cwd=tmp_path,
            env={**os.environ, "BATON_DATA": str(tmp_path / "data")},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        _, err = await process.communicate()
        assert process.returncode == 1, err.decode()
        assert b"could not be written" in err or b"disk" in err.lower()
        assert b"Traceback" not in err
    assert os.listdir(tmp_path / "copies") == []
    resumed = await shell.baton("db", "export", "all.jsonl", "--resume")
    assert resumed.code == 0, resumed.err


@pytest.mark.parametrize("store", ["sqlite", "mongo"])
def test_what_was_exported_while_it_changed_fits_together_again(place: Place, store: str) -> None:
    connection = sqlite3.connect(place.path)
    connection.execute("UPDATE conversations SET doc = json_set(doc, '$.seq', 1, '$.ordinal', 0, '$.state', 'running')")
    connection.commit()
    connection.close()
    options = other(place) if store == "sqlite" else MONGO
    place.db("migrate", *options)
    assert place.db("import", str(exported(place)), *options)[0] == 0
    code, said = place.db("check", *options)
    assert code == 0, said
