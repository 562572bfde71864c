"""What an error of the driver or the server means: whose fault it is, and what a person can do about it.

Codes are those of the server's list of errors (`error_codes.yml`). No text of the driver's is ever passed on: it may
quote documents, addresses and passwords.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pymongo.errors import (
    BulkWriteError,
    ConfigurationError,
    NetworkTimeout,
    NotPrimaryError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
    WriteConcernError,
)

DUPLICATE_KEY: Final = 11000
_NO_RIGHTS: Final = frozenset({13, 18, 8000})
_DISK_FULL: Final = frozenset({14031})
_TAKES_NO_WRITES: Final = frozenset({20, 91, 189, 10058, 10107, 11600, 11602, 13435, 13436})
_UNCONFIRMED: Final = frozenset({64, 79, 100})
_INTERRUPTED: Final = frozenset({6, 7, 24, 46, 50, 89, 112, 134, 202, 262, 9001, 11601})
OF_THE_SERVER: Final = _NO_RIGHTS | _DISK_FULL | _TAKES_NO_WRITES | _UNCONFIRMED | _INTERRUPTED
"""Reasons that lie in the server and pass with it. Any other is taken to lie in the document: a document that is
refused for ever must not hold up all others."""

_DISK_FULL_TEXT: Final = "The disk of the MongoDB server is full: make room, nothing else is needed"
_NO_RIGHTS_TEXT: Final = "MongoDB refuses what Baton asks: check the user's rights on the database"
_NO_WRITES_TEXT: Final = "The MongoDB server takes no writes now: it is no primary, read-only, or about to stop"
_UNCONFIRMED_TEXT: Final = "MongoDB did not confirm a write in time: check the members of the replica set"


def refused_documents(error: BulkWriteError) -> Sequence[Mapping[str, Any]]:
    """The errors of single documents, with their `index` and `code`.

    Raises the error itself where the server is the reason: then nothing is known of any document.
    """
    details = error.details or {}
    errors: Sequence[Mapping[str, Any]] = details.get("writeErrors", ())
    if details.get("writeConcernErrors") or any(one.get("code") in OF_THE_SERVER for one in errors):
        raise error
    return errors


def is_of_the_server(error: OperationFailure) -> bool:
    """Whether the reason lies in the server, and not in what was to be written."""
    return isinstance(error, WriteConcernError) or error.code in OF_THE_SERVER


def is_for_want_of_rights(error: OperationFailure) -> bool:
    """Whether the user, the password or the rights are the reason."""
    return error.code in _NO_RIGHTS


def explain(error: PyMongoError) -> str:
    """What is wrong, for the person who runs the server."""
    for kind, text in _BY_KIND:
        if isinstance(error, kind):
            return text
    codes = _codes(error)
    for known, text in _BY_CODE:
        if not known.isdisjoint(codes):
            return text
    return "The database did not answer as it should"


def _codes(error: PyMongoError) -> set[int]:
    details = error.details if isinstance(error, BulkWriteError) else None
    if details:
        nested = (*details.get("writeErrors", ()), *details.get("writeConcernErrors", ()))
        return {int(one.get("code", 0)) for one in nested}
    return {int(error.code or 0)} if isinstance(error, OperationFailure) else set()


_BY_KIND: Final[tuple[tuple[type[PyMongoError], str], ...]] = (
    (ConfigurationError, "The MongoDB server speaks a protocol that is too old or too new: 4.4 or newer is needed"),
    (WaitQueueTimeoutError, "All connections to MongoDB were in use for too long: it is slow, or maxPoolSize is small"),
    (NetworkTimeout, "MongoDB did not answer in time: it is overloaded, or the network holds it up"),
    (ServerSelectionTimeoutError, "MongoDB cannot be reached: start it, or look at the network"),
    (NotPrimaryError, _NO_WRITES_TEXT),
    (WriteConcernError, _UNCONFIRMED_TEXT),
)
_BY_CODE: Final[tuple[tuple[frozenset[int], str], ...]] = (
    (_DISK_FULL, _DISK_FULL_TEXT),
    (_NO_RIGHTS, _NO_RIGHTS_TEXT),
    (_TAKES_NO_WRITES, _NO_WRITES_TEXT),
    (_UNCONFIRMED, _UNCONFIRMED_TEXT),
)
