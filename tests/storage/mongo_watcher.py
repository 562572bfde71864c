"""A client that tells of each call before it is made: to write calls down, to fail them, to write in between."""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

WRITES = frozenset(
    {"insert_one", "insert_many", "replace_one", "update_one", "update_many", "delete_one", "delete_many"}
)
READS = frozenset({"find", "find_one", "count_documents"})
_PLAIN = frozenset({"create_index", "index_information", "list_indexes"})


@dataclass(slots=True)
class Call:
    """One call of a collection's method."""

    collection: str
    method: str
    args: tuple[Any, ...]
    sort: list[tuple[str, int]] = field(default_factory=list)
    limit: int = 0

    @property
    def filter(self) -> dict[str, Any] | None:
        """What is looked for; None where nothing is."""
        return None if self.method.startswith("insert") else self.args[0]


Watcher: TypeAlias = Callable[[Call], Awaitable[None]]
"""May raise, to make the call fail."""


class WatchedClient:
    """A client whose databases are watched."""

    def __init__(self, client: Any, watcher: Watcher) -> None:
        self._client = client
        self._watcher = watcher

    def __getitem__(self, name: str) -> "WatchedDatabase":
        return WatchedDatabase(self._client[name], self._watcher)


class WatchedDatabase:
    """A database whose collections are watched, except where migrations look at them."""

    def __init__(self, database: Any, watcher: Watcher) -> None:
        self._database = database
        self._watcher = watcher

    def __getitem__(self, name: str) -> Any:
        return self._database[name]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)

    def get_collection(self, name: str, **options: Any) -> "WatchedCollection":
        return WatchedCollection(name, self._database.get_collection(name, **options), self._watcher)


class WatchedCollection:
    """A collection of which every read and write is told first. What it does not know, it refuses."""

    def __init__(self, name: str, collection: Any, watcher: Watcher) -> None:
        self._name = name
        self._collection = collection
        self._watcher = watcher

    def __getattr__(self, method: str) -> Any:
        real = getattr(self._collection, method)
        if method in _PLAIN:
            return real
        assert method in READS | WRITES, f"nobody judges {method}"

        async def call(*args: Any, **options: Any) -> Any:
            await self._watcher(Call(self._name, method, args, sort=options.get("sort", []), limit=1))
            result = real(*args, **options)
            return await result if inspect.isawaitable(result) else result

        return call

    def find(self, *args: Any) -> "WatchedCursor":
        return WatchedCursor(self._collection.find(*args), Call(self._name, "find", args), self._watcher)


class WatchedCursor:
    """Tells of its read when it is begun, with the sort and the limit that it was given."""

    def __init__(self, cursor: Any, call: Call, watcher: Watcher) -> None:
        self._cursor = cursor
        self._call = call
        self._watcher = watcher

    def sort(self, keys: list[tuple[str, int]]) -> "WatchedCursor":
        self._call.sort = keys
        self._cursor = self._cursor.sort(keys)
        return self

    def limit(self, limit: int) -> "WatchedCursor":
        self._call.limit = limit
        self._cursor = self._cursor.limit(limit)
        return self

    def batch_size(self, size: int) -> "WatchedCursor":
        self._cursor = self._cursor.batch_size(size)
        return self

    async def __aiter__(self) -> AsyncIterator[Any]:
        await self._watcher(self._call)
        async for document in self._cursor:
            yield document
