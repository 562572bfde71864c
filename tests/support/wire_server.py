"""A server that speaks MongoDB's wire protocol, and does what a test says: answers late, half, wrongly, or not at all.

Documents are kept in mongomock, so that an adapter with the real driver in front works on it as on a server. What it
knows of the protocol is OP_MSG, the OP_QUERY of a first hello, and the commands that Baton uses; no sessions: a write
that the driver repeats is carried out twice, which is the worst that a compatible server does.
"""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

import bson
import mongomock
from bson import ObjectId
from pymongo.errors import DuplicateKeyError, WriteError

Document: TypeAlias = dict[str, Any]

_HEADER: Final = struct.Struct("<iiii")
_OP_REPLY, _OP_QUERY, _OP_MSG = 1, 2004, 2013
_MORE_TO_COME: Final = 2
WRITES: Final = ("insert", "update", "delete")


@dataclass(slots=True, kw_only=True)
class Fault:
    """What happens to commands of a kind, `times` times; None: until `heal`."""

    commands: tuple[str, ...] = WRITES
    collection: str | None = None
    """None: any."""
    after: int = 0
    """So many of the kind pass before it."""
    times: int | None = 1
    is_carried_out: bool = False
    """Whether the documents change all the same."""
    reply: Document | None = None
    """What is answered instead."""
    hold: asyncio.Event | None = None
    """The answer waits for it."""
    cut_after: int | None = None
    """So many bytes of the answer go out, and then the connection ends."""
    seen: int = 0
    hits: int = 0

    def applies(self, name: str, collection: object) -> bool:
        """Whether it is this command's turn; counts."""
        if name not in self.commands or self.collection not in (None, collection):
            return False
        self.seen += 1
        if self.seen <= self.after or (self.times is not None and self.hits >= self.times):
            return False
        self.hits += 1
        return True


@dataclass(slots=True)
class WireServer:
    """One server. `hello` is what it says of itself; `faults` are asked in their order."""

    client: Any = field(default_factory=mongomock.MongoClient)
    hello: Document = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    commands: list[Document] = field(default_factory=list)
    """Every command but hello, as it came."""
    port: int = 0
    _writers: dict[asyncio.StreamWriter, asyncio.Task[Any] | None] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def be_primary(self, set_name: str = "rs0") -> None:
        """Say that it is the primary of a replica set: the driver then repeats writes whose answer is lost."""
        self.hello |= {
            "setName": set_name,
            "setVersion": 1,
            "secondary": False,
            "hosts": [self.address],
            "me": self.address,
            "primary": self.address,
            "electionId": ObjectId("7fffffff0000000000000001"),
            "logicalSessionTimeoutMinutes": 30,
        }

    def heal(self) -> None:
        """From now on, all is well; what was held is let go."""
        for fault in self.faults:
            if fault.hold is not None:
                fault.hold.set()
        self.faults.clear()

    def cut(self) -> None:
        """End every connection."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def close(self) -> None:
        """Heal, cut, and see the last connection end."""
        self.heal()
        self.cut()
        await asyncio.gather(*(task for task in self._writers.values() if task is not None), return_exceptions=True)

    # --- the wire ----------------------------------------------------------------------------------------------

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end."""
        self._writers[writer] = asyncio.current_task()
        try:
            with suppress(asyncio.IncompleteReadError, OSError):
                while True:
                    size, request_id, _, opcode = _HEADER.unpack(await reader.readexactly(_HEADER.size))
                    body = await reader.readexactly(size - _HEADER.size)
                    if not await self._one(writer, opcode, request_id, body):
                        return
        finally:
            self._writers.pop(writer, None)
            writer.transport.abort()

    async def _one(self, writer: asyncio.StreamWriter, opcode: int, request_id: int, body: bytes) -> bool:
        """Answer one message; whether the connection goes on."""
        if opcode == _OP_QUERY:
            writer.write(_reply_to_query(request_id, self._hello()))
            return True
        flags, command = _read_message(body)
        fault, answer = self._answer(command)
        if flags & _MORE_TO_COME:
            return True
        if fault is not None and fault.hold is not None:
            await fault.hold.wait()
        packet = _message(request_id, answer)
        if fault is None or fault.cut_after is None:
            writer.write(packet)
            await writer.drain()
            return True
        writer.write(packet[: fault.cut_after])
        await writer.drain()
        return False

    def _answer(self, command: Document) -> tuple[Fault | None, Document]:
        name = next(iter(command))
        if name in ("hello", "isMaster", "ismaster"):
            return None, self._hello()
        self.commands.append(command)
        fault = next((one for one in self.faults if one.applies(name, command[name])), None)
        if fault is None:
            return None, self._carry_out(name, command)
        true = self._carry_out(name, command) if fault.is_carried_out else {"ok": 1}
        return fault, true if fault.reply is None else {**true, **fault.reply}

    def _hello(self) -> Document:
        return {
            "helloOk": True,
            "ismaster": True,
            "isWritablePrimary": True,
            "maxBsonObjectSize": 16 << 20,
            "maxMessageSizeBytes": 48_000_000,
            "maxWriteBatchSize": 100_000,
            "localTime": datetime.now(UTC),
            "minWireVersion": 0,
            "maxWireVersion": 21,
            "readOnly": False,
            "ok": 1.0,
            **self.hello,
        }

    # --- commands ----------------------------------------------------------------------------------------------

    def _carry_out(self, name: str, command: Document) -> Document:
        verbs: dict[str, Callable[[Any, Document], Document]] = {
            "insert": _insert,
            "update": _update,
            "delete": _delete,
            "find": _find,
            "aggregate": _aggregate,
            "createIndexes": _create_indexes,
            "listIndexes": _list_indexes,
        }
        database = self.client[command["$db"]]
        if name == "dropDatabase":
            self.client.drop_database(command["$db"])
        elif name in verbs:
            return {"ok": 1.0, **verbs[name](database[command[name]], command)}
        elif name not in ("ping", "endSessions", "killCursors"):
            return {"ok": 0.0, "code": 59, "codeName": "CommandNotFound", "errmsg": f"no such command: {name}"}
        return {"ok": 1.0}


def _insert(collection: Any, command: Document) -> Document:
    errors: list[Document] = []
    for index, document in enumerate(command["documents"]):
        try:
            collection.insert_one(document)
        except DuplicateKeyError as error:
            errors.append({"index": index, "code": 11000, "errmsg": str(error)})
            if command.get("ordered", True):
                break
    return {"n": len(command["documents"]) - len(errors), **({"writeErrors": errors} if errors else {})}


def _update(collection: Any, command: Document) -> Document:
    matched, upserted, errors = 0, [], []
    for index, update in enumerate(command["updates"]):
        is_change = any(key.startswith("$") for key in update["u"])
        verb = collection.replace_one
        if is_change:
            verb = collection.update_many if update.get("multi") else collection.update_one
        try:
            done = verb(update["q"], update["u"], upsert=update.get("upsert", False))
        except (DuplicateKeyError, WriteError) as error:
            errors.append({"index": index, "code": 11000, "errmsg": str(error)})
            continue
        matched += done.matched_count
        if done.upserted_id is not None:
            matched += 1
            upserted.append({"index": index, "_id": done.upserted_id})
    found: Document = {"n": matched, "nModified": matched - len(upserted)}
    return found | ({"upserted": upserted} if upserted else {}) | ({"writeErrors": errors} if errors else {})


def _delete(collection: Any, command: Document) -> Document:
    deleted = 0
    for one in command["deletes"]:
        verb = collection.delete_one if one["limit"] else collection.delete_many
        deleted += verb(one["q"]).deleted_count
    return {"n": deleted}


def _find(collection: Any, command: Document) -> Document:
    cursor = collection.find(command.get("filter", {}), command.get("projection"))
    if command.get("sort"):
        cursor = cursor.sort(list(command["sort"].items()))
    return _batch(collection, list(cursor.limit(command.get("limit", 0))))


def _aggregate(collection: Any, command: Document) -> Document:
    return _batch(collection, list(collection.aggregate(command["pipeline"])))


def _create_indexes(collection: Any, command: Document) -> Document:
    for index in command["indexes"]:
        collection.create_index(list(index["key"].items()), unique=index.get("unique", False), name=index["name"])
    return {}


def _list_indexes(collection: Any, command: Document) -> Document:
    found = collection.index_information()
    indexes = [
        {"v": 2, "name": name, "key": dict(index["key"]), **({"unique": True} if index.get("unique") else {})}
        for name, index in found.items()
    ]
    return _batch(collection, indexes)


def _batch(collection: Any, documents: list[Document]) -> Document:
    return {"cursor": {"id": 0, "ns": collection.full_name, "firstBatch": documents}}


# --- messages ----------------------------------------------------------------------------------------------------


def _read_message(body: bytes) -> tuple[int, Document]:
    """Flags and command of an OP_MSG; documents that stand beside the command are put into it."""
    (flags,) = struct.unpack_from("<I", body)
    command: Document = {}
    beside: Document = {}
    at = 4
    while at < len(body):
        kind, at = body[at], at + 1
        (size,) = struct.unpack_from("<i", body, at)
        if kind == 0:
            command = bson.decode(body[at : at + size])
        else:
            name_end = body.index(b"\0", at + 4)
            beside[body[at + 4 : name_end].decode()] = bson.decode_all(body[name_end + 1 : at + size])
        at += size
    return flags, command | beside


def _message(request_id: int, answer: Document) -> bytes:
    body = struct.pack("<IB", 0, 0) + bson.encode(answer)
    return _HEADER.pack(_HEADER.size + len(body), 0, request_id, _OP_MSG) + body


def _reply_to_query(request_id: int, answer: Document) -> bytes:
    body = struct.pack("<iqii", 8, 0, 0, 1) + bson.encode(answer)
    return _HEADER.pack(_HEADER.size + len(body), 0, request_id, _OP_REPLY) + body


@asynccontextmanager
async def wire_server() -> AsyncIterator[WireServer]:
    """A server on a port of its own."""
    server = WireServer()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    async with listening:
        try:
            yield server
        finally:
            await server.close()
