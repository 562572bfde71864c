"""What ended is found by when it ended, so that it can be counted over time without reading every document."""

from typing import Any, Final

_USAGE: Final = ("inputTokens", "outputTokens", "cacheReadTokens", "cacheWriteTokens")
_PLACES: Final = {
    "finishedAt": "$.finishedAt",
    "costUsd": "$.costUsd",
    **{name: f"$.usage.{name}" for name in _USAGE},
}
_TYPES: Final = {"finishedAt": "TEXT", "costUsd": "REAL"}

_VALUES: Final = ", ".join(f"{name} = json_extract(doc, '{at}')" for name, at in _PLACES.items())
_FILL: Final = f"UPDATE runs SET {_VALUES}"  # nosec B608  # noqa: S608 - of constants
_TRIGGER: Final = """
    CREATE TRIGGER runs_series_{event} AFTER {when} ON runs WHEN json_extract(new.doc, '$.finishedAt') IS NOT NULL
    BEGIN {fill} WHERE requestId = new.requestId; END
"""

# Columns that a trigger fills, so that runs that a version before this one writes have them too. Not generated ones:
# SQLite reads each document for those, also where an index holds all that is asked.
_SQLITE: Final = (
    *(f"ALTER TABLE runs ADD COLUMN {name} {_TYPES.get(name, 'INTEGER')}" for name in _PLACES),
    f"{_FILL} WHERE json_extract(doc, '$.finishedAt') IS NOT NULL",
    _TRIGGER.format(event="insert", when="INSERT", fill=_FILL),
    _TRIGGER.format(event="update", when="UPDATE OF doc", fill=_FILL),
    f"CREATE INDEX runs_finishedAt ON runs (finishedAt, status, costUsd, {', '.join(_USAGE)}) "
    "WHERE finishedAt IS NOT NULL",
    "CREATE INDEX audit_log_outcomes ON audit_log (createdAt, outcome)",
    "CREATE INDEX audit_log_answers ON audit_log (handler, createdAt, outcome) WHERE handler = 'user_selection'",
)


def sqlite(connection: Any) -> None:
    """Columns, triggers and indexes. Runs inside the transaction of the migration runner."""
    for statement in _SQLITE:
        connection.execute(statement)


async def mongo(database: Any) -> None:
    """The index of runs; entries of the audit have theirs. Runs again after a crash in it."""
    await database["runs"].create_index([("finishedAt", 1)])
