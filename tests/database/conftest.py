"""Commands of the database in this process, on a folder of the test's own."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from mongomock_motor import AsyncMongoMockClient

from baton.cli import main
from baton.storage import mongo_connection
from tests.support.full_store import World, dump, fill, opened, sqlite_world


class Place:
    """A folder with a database that has a record of every kind, and commands on it."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str], client: Any) -> None:
        self.folder = folder
        self.path = folder / "data" / "baton.sqlite3"
        self.client = client
        self._capsys = capsys
        self.conversation_id = ""

    def db(self, *arguments: str) -> tuple[int, str]:
        """The exit code of `baton db ...`, and all that it said."""
        try:
            code = main(["db", *arguments])
        except SystemExit as left:
            code = int(left.code or 0)
        said = self._capsys.readouterr()
        return code, said.out + said.err

    def fill(self) -> None:
        """Make the database."""

        async def work() -> None:
            async with opened(await self.world()) as store:
                self.conversation_id = await fill(store)

        self.path.parent.mkdir(mode=0o700, exist_ok=True)
        asyncio.run(work())

    async def world(self) -> World:
        return await sqlite_world(self.path)

    def dump(self, path: Path | None = None) -> dict[str, list[dict[str, Any] | None]]:
        """Every record of the SQLite database."""

        async def work() -> dict[str, list[dict[str, Any] | None]]:
            return await dump(await sqlite_world(path or self.path))

        return asyncio.run(work())


@pytest.fixture
def empty_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Place:
    """Nothing there yet. A MongoDB address is answered by one mock."""
    client: Any = AsyncMongoMockClient()
    monkeypatch.setattr(mongo_connection, "AsyncIOMotorClient", lambda *_, **__: client)
    # The mock's own default database is not one that can be awaited.
    monkeypatch.setattr(type(client), "get_default_database", lambda self, name: self[name], raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BATON_DATA", str(tmp_path / "data"))
    return Place(tmp_path, capsys, client)


@pytest.fixture
def place(empty_place: Place) -> Place:
    """With a full database."""
    empty_place.fill()
    return empty_place
