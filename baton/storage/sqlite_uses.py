"""Once, in a database from before uses of attachments were kept: finds them in what is stored.

Every id of an attachment that stands in a message, or in the journal of a run, counts as a use of its conversation. It
is one pass over the messages, under a second for a million of them where few name attachments.
"""

import re
import sqlite3
from typing import Final

_IS_DONE: Final = "SELECT 1 FROM meta WHERE key = 'attachment_uses'"
_DONE: Final = "INSERT INTO meta (key, value) VALUES ('attachment_uses', ?)"
# A message without attachments says so; one whose tools' results are attachments names them so.
_NAMING: Final = (
    "SELECT conversationId, doc FROM messages "
    """WHERE doc NOT LIKE '%"attachments":[]%' OR doc LIKE '%"attachment":"%'""",
    """SELECT conversationId, events FROM run_journal WHERE events LIKE '%"attachment":"%'""",
)
_OBJECT_ID: Final = re.compile(r"\b[0-9a-f]{24}\b")


def fill_uses(connection: sqlite3.Connection, now: str) -> None:
    """To be called by the one process that serves, before it does: then nobody writes what this would miss."""
    if connection.execute(_IS_DONE).fetchone() is not None:
        return
    known = {row[0] for row in connection.execute("SELECT id FROM attachments")}
    for query in _NAMING if known else ():
        for conversation_id, text in connection.execute(query):
            uses = [(name, conversation_id) for name in set(_OBJECT_ID.findall(text)) & known]
            connection.executemany("INSERT OR IGNORE INTO attachment_uses VALUES (?, ?)", uses)
    connection.executemany(
        "INSERT OR IGNORE INTO attachments_in_doubt VALUES (?, ?)", [(attachment_id, now) for attachment_id in known]
    )
    connection.execute(_DONE, (now,))
