"""Connections to MongoDB: how long is waited, how durable is written, and which cure an error of the server has.

Motor is imported here and nowhere else, so that its successor is one line away.
"""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from bson.codec_options import CodecOptions
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import ReadPreference, WriteConcern
from pymongo.errors import ConfigurationError, NotPrimaryError, OperationFailure, PyMongoError

from baton.core.errors import ConfigError
from baton.core.tally import PoolTally
from baton.storage.mongo_errors import explain, is_for_want_of_rights, is_of_the_server
from baton.storage.mongo_pool import PoolListener

DEFAULT_DATABASE = "baton"
"""Where the address names none."""

_WAITS_MS = {
    "serverSelectionTimeoutMS": 5_000,
    "connectTimeoutMS": 5_000,
    "waitQueueTimeoutMS": 10_000,
    "socketTimeoutMS": 30_000,
}
"""How long the driver waits, unless the address says otherwise."""
_MAJORITY_WAIT_MS = 15_000
GOODBYE_S = 1.0
"""How long a client may take to close."""


def host_of(uri: str) -> str:
    """The hosts that an address names, without user, password and options."""
    return uri.partition("://")[2].rpartition("@")[2].partition("/")[0].partition("?")[0]


def connect(uri: str, pool: PoolTally | None = None) -> Any:
    """A client, whose connections are counted into `pool`. Raises ConfigError for an address that is none."""
    waits: dict[str, Any] = {name: wait for name, wait in _WAITS_MS.items() if name.lower() not in uri.lower()}
    try:
        return AsyncIOMotorClient(uri, appname="baton", event_listeners=[PoolListener(pool or PoolTally())], **waits)
    except (PyMongoError, ValueError) as exc:
        # Its text may quote the password.
        raise ConfigError(
            f"The MongoDB address with the host {host_of(uri)!r} cannot be used ({type(exc).__name__}): accepted is "
            "mongodb://user:password@host:port/database, with special characters of the password percent-encoded"
        ) from exc


async def disconnect(client: Any) -> None:
    """Close a client; at most GOODBYE_S.

    The driver tells a replica set inside `close` which sessions end, and blocks its caller until that is answered, for
    as long as a server that hangs likes: so it has a thread of its own, which nobody waits for any longer than that.
    """
    loop, ended = asyncio.get_running_loop(), asyncio.Event()

    def close() -> None:
        try:
            client.close()
        finally:
            with suppress(RuntimeError):  # the loop has gone meanwhile
                loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=close, name="mongo goodbye", daemon=True).start()
    with suppress(TimeoutError):
        async with asyncio.timeout(GOODBYE_S):
            await ended.wait()


def database_of(client: Any, name: str | None) -> Any:
    """The database of this name, or the one that the address names."""
    return client.get_default_database(DEFAULT_DATABASE) if name is None else client[name]


@asynccontextmanager
async def reachable(uri: str) -> AsyncIterator[None]:
    """Tells what to do about a server that cannot be worked with."""
    where = f"MongoDB at {host_of(uri)}"
    try:
        yield
    except ConfigurationError as exc:
        raise ConfigError(
            f"{where} speaks a protocol that is too old or too new, or the address asks for what it cannot do: Baton "
            "needs MongoDB 4.4 or newer"
        ) from exc
    except NotPrimaryError as exc:
        raise ConfigError(
            f"{where} takes no writes ({type(exc).__name__}): wait for its primary, or name the replica set in "
            "BATON_STORE or MONGODB_URI (?replicaSet=NAME)"
        ) from exc
    except OperationFailure as exc:
        if is_of_the_server(exc) and not is_for_want_of_rights(exc):
            raise ConfigError(f"{where} cannot be worked with (code {exc.code}): {explain(exc)}") from exc
        raise ConfigError(
            f"{where} refuses ({type(exc).__name__}, code {exc.code}): check the user, the password "
            "and the rights on the database in BATON_STORE or MONGODB_URI"
        ) from exc
    except PyMongoError as exc:
        raise ConfigError(
            f"{where} does not answer ({type(exc).__name__}): start it, or correct BATON_STORE or MONGODB_URI"
        ) from exc


def durable(database: Any, name: str) -> Any:
    """A collection whose writes last, and whose reads see them."""
    return database.get_collection(
        name,
        codec_options=CodecOptions(tz_aware=True),
        write_concern=WriteConcern("majority", j=True, wtimeout=_MAJORITY_WAIT_MS),
        read_preference=ReadPreference.PRIMARY,
    )
