"""Connections to MongoDB: how long is waited, how durable is written, and which cure an error of the server has.

Motor is imported here and nowhere else, so that its successor is one line away.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from bson.codec_options import CodecOptions
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import ReadPreference, WriteConcern
from pymongo.errors import OperationFailure, PyMongoError

from baton.core.errors import ConfigError

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


def host_of(uri: str) -> str:
    """The hosts that an address names, without user, password and options."""
    return uri.partition("://")[2].rpartition("@")[2].partition("/")[0].partition("?")[0]


def connect(uri: str) -> Any:
    """A client. Raises ConfigError for an address that is none."""
    waits: dict[str, Any] = {name: wait for name, wait in _WAITS_MS.items() if name.lower() not in uri.lower()}
    try:
        return AsyncIOMotorClient(uri, appname="baton", **waits)
    except (PyMongoError, ValueError) as exc:
        # Its text may quote the password.
        raise ConfigError(
            f"The MongoDB address with the host {host_of(uri)!r} cannot be used ({type(exc).__name__}): accepted is "
            "mongodb://user:password@host:port/database, with special characters of the password percent-encoded"
        ) from exc


def database_of(client: Any, name: str | None) -> Any:
    """The database of this name, or the one that the address names."""
    return client.get_default_database(DEFAULT_DATABASE) if name is None else client[name]


@asynccontextmanager
async def reachable(uri: str) -> AsyncIterator[None]:
    """Tells what to do about a server that cannot be worked with."""
    try:
        yield
    except OperationFailure as exc:
        raise ConfigError(
            f"MongoDB at {host_of(uri)} refuses ({type(exc).__name__}, code {exc.code}): check the user, the password "
            "and the rights on the database in BATON_STORE or MONGODB_URI"
        ) from exc
    except PyMongoError as exc:
        raise ConfigError(
            f"MongoDB at {host_of(uri)} does not answer ({type(exc).__name__}): start it, or correct BATON_STORE or "
            "MONGODB_URI"
        ) from exc


def durable(database: Any, name: str) -> Any:
    """A collection whose writes last, and whose reads see them."""
    return database.get_collection(
        name,
        codec_options=CodecOptions(tz_aware=True),
        write_concern=WriteConcern("majority", j=True, wtimeout=_MAJORITY_WAIT_MS),
        read_preference=ReadPreference.PRIMARY,
    )
