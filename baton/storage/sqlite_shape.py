"""Whether a database file has the shape that its migrations gave it, and what mends it.

What should be there is asked of the migrations themselves, in memory: so it is written down once.
"""

import sqlite3
from collections import Counter
from typing import Final

from baton.core.records import StoreFault
from baton.storage.migrate import discover, pending
from baton.storage.sqlite_migrate import read_ledger

_COUNTED: Final = {
    "messages": "status",
    "runs": "status",
    "interactive_prompts": "status",
    "conversations": "status",
    "audit_log": "outcome || '/' || handler",
}
"""What the triggers of each table count."""
_PARTS: Final = "SELECT type, name, sql FROM sqlite_master WHERE type IN ('index', 'trigger') AND sql IS NOT NULL"


def find_faults(connection: sqlite3.Connection) -> list[StoreFault]:
    """All of them; of a damaged file only that."""
    damage = _damage(connection)
    if damage:
        return [StoreFault("file_damaged", damage)]
    missing = pending(discover(), read_ledger(connection))
    if missing:
        # What they would make is missing too, and would be told twice.
        return [StoreFault("migration_missing", tuple(step.name for step in missing))]
    faults = []
    parts = tuple(name for _, name, _ in _missing_parts(connection))
    if parts:
        faults.append(StoreFault("index_missing", parts))
    wrong = tuple(sorted(_wrong_tallies(connection)))
    if wrong:
        faults.append(StoreFault("count_wrong", wrong))
    return faults


def mend_shape(connection: sqlite3.Connection) -> list[str]:
    """Make what is missing, inside the caller's transaction; what was done, in words."""
    done = []
    for kind, name, statement in _missing_parts(connection):
        connection.execute(statement)
        done.append(f"made the {kind} {name}")
    for table in sorted(_wrong_tallies(connection)):
        _count_anew(connection, table)
        done.append(f"counted {table} anew")
    return done


def _damage(connection: sqlite3.Connection) -> tuple[str, ...]:
    try:
        said = [_text(row[0]) for row in connection.execute("PRAGMA quick_check(5)")]
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            raise
        return ("the file cannot be read",)
    return () if said == ["ok"] else tuple(said)


def _missing_parts(connection: sqlite3.Connection) -> list[tuple[str, str, str]]:
    """Indexes and triggers: type, name, statement."""
    there = {_text(name) for _, name, _ in connection.execute(_PARTS)}
    fresh = sqlite3.connect(":memory:")
    try:
        for migration in discover():
            migration.module.sqlite(fresh)
        return [part for part in fresh.execute(_PARTS).fetchall() if part[1] not in there]
    finally:
        fresh.close()


def _wrong_tallies(connection: sqlite3.Connection) -> set[str]:
    told: dict[str, Counter[str]] = {table: Counter() for table in _COUNTED}
    for table, status, count in connection.execute("SELECT kind, status, count FROM tallies WHERE count <> 0"):
        told[_text(table)][_text(status)] = count
    return {table for table in _COUNTED if told[table] != _counted(connection, table)}


def _counted(connection: sqlite3.Connection, table: str) -> Counter[str]:
    of = "audit_log WHERE outcome <> 'done'" if table == "audit_log" else table
    query = f"SELECT {_COUNTED[table]}, count(*) FROM {of} GROUP BY 1"  # nosec B608  # noqa: S608 - of constants
    return Counter({_text(status): count for status, count in connection.execute(query)})


def _count_anew(connection: sqlite3.Connection, table: str) -> None:
    connection.execute("DELETE FROM tallies WHERE kind = ?", (table,))
    counted = [(table, status, count) for status, count in _counted(connection, table).items()]
    connection.executemany("INSERT INTO tallies VALUES (?, ?, ?)", counted)


def _text(value: bytes | str) -> str:
    """Connections that only read give bytes."""
    return value.decode() if isinstance(value, bytes) else value
