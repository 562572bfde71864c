"""`baton db backup` and `restore`: whole or not there; what is restored is what was, and nothing that was is lost."""

import asyncio
import os
import random
import re
import sqlite3
import stat
from datetime import timedelta
from pathlib import Path

import pytest

from baton import db_backup
from baton.cli_settings import load_settings
from baton.storage import sqlite_backup
from baton.testing.clock import FakeClock
from tests.database.conftest import Place
from tests.database.test_transfer import MONGO, exported
from tests.support.full_store import opened, sqlite_world
from tests.support.shell import Shell


def backup(place: Place, *options: str) -> Path:
    code, said = place.db("backup", *options)
    assert code == 0, said
    found = re.search(r"✅ (\S+) \(", said)
    assert found, said
    return Path(found[1])


def epoch(path: Path) -> str:
    connection = sqlite3.connect(path)
    (value,) = connection.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()
    connection.close()
    return str(value)


def without_conversations(place: Place, path: Path | None = None) -> object:
    """What a restore leaves as it was: of conversations it may pause the queue."""
    return {kind: records for kind, records in place.dump(path).items() if kind != "conversation"}


def test_a_backup_is_one_file_named_by_its_time_for_its_owner_only(place: Place) -> None:
    path = backup(place)
    assert db_backup.NAME.match(path.name)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert sorted(os.listdir(path.parent)) == [path.name, path.name + ".sha256"]
    assert place.dump(path) == place.dump()


async def test_a_backup_is_consistent_while_a_server_writes(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o700)
    async with opened(await sqlite_world(tmp_path / "data" / "baton.sqlite3")):
        said = await Shell(tmp_path, {}).baton("db", "backup", "copies")
        assert said.code == 0, said.err
        refused = await Shell(tmp_path, {}).baton("db", "restore", said.out.split()[1], "--yes")
    assert refused.code == 1
    assert "stop it first" in refused.err


def test_restored_it_is_as_it_was_with_a_new_epoch_and_the_queue_waits(place: Place) -> None:
    before, old_epoch = without_conversations(place), epoch(place.path)
    path = backup(place)
    connection = sqlite3.connect(place.path)
    connection.execute("DELETE FROM messages")
    connection.commit()
    connection.close()
    code, said = place.db("restore", str(path), "--yes")
    assert code == 0, said
    assert without_conversations(place) == before
    assert epoch(place.path) != old_epoch
    assert "paused the queues of 1 conversations" in said
    assert [one["queuePaused"] for one in place.dump()["conversation"] if one and one["state"] == "queued"] == [True]
    (kept,) = place.path.parent.glob("*.before-restore-*")
    assert place.dump(kept)["message"] == []
    assert place.db("check")[0] == 0


def test_it_is_not_replaced_without_a_yes(place: Place) -> None:
    path = backup(place)
    before = place.path.read_bytes()
    code, said = place.db("restore", str(path))
    assert code == 2
    assert "--yes" in said
    assert place.path.read_bytes() == before
    assert not list(place.path.parent.glob("*restor*"))


def test_into_nothing_it_is_restored_without_asking(place: Place) -> None:
    path = backup(place)
    before = without_conversations(place)
    place.path.unlink()
    code, said = place.db("restore", str(path))
    assert code == 0, said
    assert without_conversations(place) == before


def test_a_damaged_database_is_replaced_and_kept(place: Place) -> None:
    path = backup(place)
    before = without_conversations(place)
    place.path.write_bytes(b"a diary" * 1000)
    code, said = place.db("restore", str(path), "--yes")
    assert code == 0, said
    assert without_conversations(place) == before
    (kept,) = place.path.parent.glob("*.before-restore-*")
    assert kept.read_bytes() == b"a diary" * 1000


def test_a_backup_that_was_changed_is_refused(place: Place) -> None:
    path = backup(place)
    before = place.dump()
    with path.open("r+b") as file:
        file.seek(5000)
        file.write(b"x")
    code, said = place.db("restore", str(path), "--yes")
    assert code == 1
    assert "is not as it was written" in said
    assert place.dump() == before


@pytest.mark.parametrize("has_digest", [True, False], ids=["with-digest", "without"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_backup_that_was_cut_short_is_refused(place: Place, share: float, has_digest: bool) -> None:
    path = backup(place)
    before = place.dump()
    os.truncate(path, int(path.stat().st_size * share))
    if not has_digest:
        path.with_name(path.name + ".sha256").unlink()
    code, said = place.db("restore", str(path), "--yes")
    assert code == 1, said
    assert place.dump() == before
    assert not list(place.path.parent.glob("*restor*")), "nothing half is left"


@pytest.mark.parametrize("seed", range(8))
def test_a_page_of_a_backup_that_was_overwritten_is_refused_or_harms_nothing(place: Place, seed: int) -> None:
    """Without its digest a change inside a text cannot be told; one of the structure is."""
    path = backup(place)
    before = place.dump()
    path.with_name(path.name + ".sha256").unlink()
    content = bytearray(path.read_bytes())
    chance = random.Random(seed)
    start = chance.randrange(len(content) // 4096) * 4096
    content[start : start + 64] = chance.randbytes(64)
    path.write_bytes(content)
    code, said = place.db("restore", str(path), "--yes")
    assert "Traceback" not in said
    if code == 0:
        assert place.db("check")[0] == 0
    else:
        assert place.dump() == before


def test_a_digest_that_was_changed_is_refused(place: Place) -> None:
    path = backup(place)
    before = place.dump()
    for digest in ("", "0" * 64, "no digest\n", "\udcff"):
        path.with_name(path.name + ".sha256").write_text(digest, errors="surrogateescape")
        code, said = place.db("restore", str(path), "--yes")
        assert (code, place.dump()) == (1, before), said


@pytest.mark.parametrize("content", [b"", b"text", sqlite_backup.MAGIC + b"x" * 5000])
def test_what_is_no_backup_is_refused(place: Place, content: bytes) -> None:
    path = place.folder / "strange"
    path.write_bytes(content)
    before = place.dump()
    assert place.db("restore", str(path), "--yes")[0] == 1
    assert place.dump() == before
    assert place.db("restore", "nothing", "--yes")[0] == 2


def test_an_export_is_restored_too(place: Place) -> None:
    before = without_conversations(place)
    path = exported(place)
    place.path.unlink()
    assert place.db("restore", str(path))[0] == 0
    assert without_conversations(place) == before


def test_from_sqlite_to_mongodb_and_back(place: Place) -> None:
    before = without_conversations(place)
    path = backup(place)
    place.db("migrate", *MONGO)
    assert place.db("restore", str(path), *MONGO)[0] == 0
    assert place.db("check", *MONGO)[0] == 0
    copied = backup(place, "mongo", *MONGO)
    assert copied.suffix == ".jsonl"
    place.path.unlink()
    assert place.db("restore", str(copied))[0] == 0
    assert without_conversations(place) == before


def test_mongodb_is_replaced_after_it_was_backed_up(place: Place) -> None:
    path = backup(place)
    place.db("migrate", *MONGO)
    place.db("restore", str(path), *MONGO)
    assert place.db("restore", str(path), *MONGO)[0] == 2
    code, said = place.db("restore", str(path), "--yes", *MONGO)
    assert code == 0, said
    assert re.search(r"what was there is \S+\.jsonl", said)
    assert place.db("check", *MONGO)[0] == 0


@pytest.mark.parametrize("kind", ["backup", "export"])
def test_a_conversation_that_is_gone_comes_back_under_its_id(place: Place, kind: str) -> None:
    path = backup(place) if kind == "backup" else exported(place)
    before = place.dump()

    async def purge() -> None:
        async with opened(await sqlite_world(place.path)) as store:
            await store.purge_conversation(place.conversation_id)  # type: ignore[arg-type]

    asyncio.run(purge())
    assert place.dump()["message"] != before["message"]
    code, said = place.db("restore", str(path), "--conversation", place.conversation_id)
    assert code == 0, said
    assert place.dump() == before
    assert place.db("check")[0] == 0


@pytest.mark.parametrize("kind", ["backup", "export"])
def test_beside_the_one_that_is_there_it_gets_new_ids(place: Place, kind: str) -> None:
    path = backup(place) if kind == "backup" else exported(place)
    before = place.dump()
    code, said = place.db("restore", str(path), "--conversation", place.conversation_id)
    assert code == 0, said
    after = place.dump()
    new = [one for one in after["conversation"] if one not in before["conversation"]]
    assert [(one["title"][-11:], one["forkSession"]) for one in new if one] == [(" (restored)", True)]
    assert len(after["message"]) == len(before["message"]) + 2
    assert len(after["run"]) == len(before["run"]) + 1
    assert after["audit"] == before["audit"]
    assert place.db("check")[0] == 0
    assert place.db("restore", str(path), "--conversation", "0" * 24)[0] == 1


def test_only_the_newest_are_kept_and_nothing_else_is_touched(place: Place) -> None:
    folder = place.folder / "copies"
    folder.mkdir()
    (folder / "baton-notes.sqlite3").write_text("mine")
    for day in range(1, 5):
        (folder / f"baton-2020-01-0{day}T000000Z.sqlite3").write_text("old")
    (folder / ".baton-2020-01-09T000000Z.sqlite3.partial").write_text("half")
    newest = backup(place, "copies", "--keep", "2")
    names = [name for name in sorted(os.listdir(folder)) if not name.endswith(".sha256")]
    assert names == ["baton-2020-01-04T000000Z.sqlite3", newest.name, "baton-notes.sqlite3"]


async def test_one_after_the_other_and_a_failure_does_not_end_it(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o700)
    await sqlite_world(tmp_path / "data" / "baton.sqlite3")
    settings = load_settings_of(tmp_path)
    clock, said = FakeClock(), asyncio.Queue[str]()
    work = asyncio.create_task(
        db_backup.backups(settings, said.put_nowait, clock, folder=tmp_path / "c", every=timedelta(hours=24), keep=2)
    )
    async with asyncio.timeout(20):
        assert (await said.get()).startswith("✅")
        (tmp_path / "data" / "baton.sqlite3").rename(tmp_path / "away")
        await clock.until_sleeping()
        clock.advance(86_400)
        assert (await said.get()).startswith("❌ no backup")
        (tmp_path / "away").rename(tmp_path / "data" / "baton.sqlite3")
        await clock.until_sleeping()
        clock.advance(86_400)
        assert (await said.get()).startswith("✅")
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)


def load_settings_of(folder: Path) -> db_backup.Settings:
    from argparse import Namespace

    return load_settings(Namespace(data=str(folder / "data")))


def test_wrong_use_is_told(place: Place) -> None:
    assert place.db("backup", "--keep", "0")[0] == 2
    assert place.db("backup", "--every", "often")[0] == 2


def test_where_nothing_can_be_written_no_half_backup_stays(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sqlite_backup, "sync", full)
    code, said = place.db("backup", "copies")
    assert code == 1
    assert "No space left" in said
    assert os.listdir(place.folder / "copies") == []
    (place.folder / "file").write_text("")
    assert place.db("backup", "file")[0] == 2
