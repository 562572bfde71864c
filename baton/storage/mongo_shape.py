"""Which indexes a MongoDB database should have, and which it lacks.

What should be there is asked of the migrations themselves: they run on a recorder instead of a database, so that no
index is written down twice.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from baton.storage.migrate import discover


@dataclass(frozen=True, slots=True)
class Index:
    """One index, as a migration asks for it."""

    collection: str
    keys: tuple[tuple[str, int], ...]
    is_unique: bool

    def __str__(self) -> str:
        keys = ", ".join(f"{name}: {direction}" for name, direction in self.keys)
        return f"{self.collection} ({keys})" + (" unique" if self.is_unique else "")


class _Recorder:
    """A database that is empty, and remembers which indexes were asked for."""

    def __init__(self) -> None:
        self.indexes: list[Index] = []

    def __getitem__(self, name: str) -> "_RecordingCollection":
        return _RecordingCollection(name, self.indexes)


class _RecordingCollection:
    def __init__(self, name: str, indexes: list[Index]) -> None:
        self._name = name
        self._indexes = indexes

    async def create_index(self, keys: list[tuple[str, int]], *, unique: bool = False) -> None:
        self._indexes.append(Index(self._name, tuple(keys), unique))

    async def find(self, *_: object) -> AsyncIterator[dict[str, Any]]:
        nothing: tuple[dict[str, Any], ...] = ()
        for document in nothing:
            yield document


async def wanted_indexes() -> list[Index]:
    """All that the migrations make."""
    recorder = _Recorder()
    for migration in discover():
        await migration.module.mongo(recorder)
    return recorder.indexes


async def missing_indexes(database: Any) -> list[Index]:
    """Those that are not there, or are there without their uniqueness."""
    missing = []
    there: dict[str, set[tuple[tuple[tuple[str, int], ...], bool]]] = {}
    for index in await wanted_indexes():
        if index.collection not in there:
            found = await database[index.collection].index_information()
            there[index.collection] = {(_keys(one), bool(one.get("unique"))) for one in found.values()}
        if (index.keys, index.is_unique) not in there[index.collection]:
            missing.append(index)
    return missing


async def make_indexes(database: Any) -> list[str]:
    """Make those that are missing; what was done, in words."""
    done = []
    for index in await missing_indexes(database):
        await database[index.collection].create_index(list(index.keys), unique=index.is_unique)
        done.append(f"made the index {index}")
    return done


def _keys(found: dict[str, Any]) -> tuple[tuple[str, int], ...]:
    return tuple((name, int(direction)) for name, direction in found["key"])
