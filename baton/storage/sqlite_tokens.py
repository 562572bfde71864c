"""Tokens of the API in SQLite, and the logins that they were used for: rows that are few, and change rarely.

Each change reads the row and writes it again within one operation of the one writer: that is the compare-and-set.
"""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Final

import orjson

from baton.core.ids import BridgeId, TokenId
from baton.core.tokens import ApiToken, Login
from baton.schemas.codec import from_document
from baton.storage.sqlite_rows import Row, document

_STEP: Final = 500
"""Rows of one query where all are read."""


def add(connection: sqlite3.Connection, row: Row) -> bool:
    """Insert (id, digest, createdAt, doc); whether neither id nor digest was there."""
    added = connection.execute(
        "INSERT INTO api_tokens (id, digest, createdAt, doc) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", row
    )
    return added.rowcount == 1


def read(connection: sqlite3.Connection, token_id: TokenId) -> ApiToken | None:
    """See the port."""
    row = connection.execute("SELECT doc FROM api_tokens WHERE id = ?", (token_id,)).fetchone()
    return None if row is None else _load(row[0])


def read_newest(connection: sqlite3.Connection, limit: int) -> list[ApiToken]:
    """See the port."""
    rows = connection.execute("SELECT doc FROM api_tokens ORDER BY id DESC LIMIT ?", (max(limit, 0),))
    return [_load(doc) for (doc,) in rows]


def read_live(connection: sqlite3.Connection) -> list[ApiToken]:
    """See the port. Step by step along the primary key: a query for all at once would have no limit."""
    live: list[ApiToken] = []
    last = ""
    while True:
        rows = connection.execute(
            "SELECT doc FROM api_tokens WHERE id > ? ORDER BY id LIMIT ?", (last, _STEP)
        ).fetchall()
        step = [_load(doc) for (doc,) in rows]
        live += [token for token in step if token.revoked_at is None]
        if len(step) < _STEP:
            return live
        last = step[-1].id


def bind(connection: sqlite3.Connection, token_id: TokenId, bridge_id: BridgeId) -> ApiToken | None:
    """See the port."""

    def bound(token: ApiToken) -> ApiToken:
        is_free = token.bridge_id is None and token.revoked_at is None
        return replace(token, bridge_id=bridge_id) if is_free else token

    return _change(connection, token_id, bound)


def revoke(connection: sqlite3.Connection, token_id: TokenId, at: datetime) -> ApiToken | None:
    """See the port."""
    return _change(connection, token_id, lambda token: replace(token, revoked_at=token.revoked_at or at))


def note_use(connection: sqlite3.Connection, used_at: Mapping[TokenId, datetime]) -> None:
    """See the port."""
    for token_id, at in used_at.items():
        _change(connection, token_id, partial(_used, at))


# --- logins


def add_login(connection: sqlite3.Connection, row: Row) -> None:
    """Insert (id, createdAt, doc)."""
    connection.execute("INSERT INTO logins (id, createdAt, doc) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", row)


def read_logins(connection: sqlite3.Connection, limit: int) -> list[Login]:
    """See the port."""
    rows = connection.execute("SELECT doc FROM logins ORDER BY createdAt DESC, id DESC LIMIT ?", (max(limit, 0),))
    return [from_document(Login, orjson.loads(doc)) for (doc,) in rows]


def remove_logins(connection: sqlite3.Connection, ids: Sequence[str]) -> None:
    """See the port."""
    connection.executemany("DELETE FROM logins WHERE id = ?", [(login_id,) for login_id in ids])


# --- parts


def _used(at: datetime, token: ApiToken) -> ApiToken:
    return replace(token, last_used_at=max(at, token.last_used_at or at))


def _change(
    connection: sqlite3.Connection, token_id: TokenId, changed: Callable[[ApiToken], ApiToken]
) -> ApiToken | None:
    before = read(connection, token_id)
    if before is None:
        return None
    after = changed(before)
    if after != before:
        connection.execute("UPDATE api_tokens SET doc = ? WHERE id = ?", (document(after), token_id))
    return after


def _load(doc: bytes) -> ApiToken:
    return from_document(ApiToken, orjson.loads(doc))
