"""Full-text search: all words, newest first.

Two indexes, of messages and of titles, whose rowids grow with the time of creation: each gives its matches newest
first without sorting, and the two are merged. Ranking (bm25) would have to look at every match: 186 ms for a
common word among 200,000 messages, instead of 0.06 ms. What limits a search is asked of the index too, as further
words: to look at each match for its project takes seconds where a word is common and the project small.
"""

import sqlite3
import unicodedata
from dataclasses import dataclass
from typing import Final, TypeAlias

from baton.core.ids import MessageId, ProjectId, UserId
from baton.core.stored import Page, SearchHit
from baton.schemas.codec import parse_iso
from baton.storage.cursors import decode_cursor, encode_cursor
from baton.storage.sqlite_rows import load_conversation

_MAX_WORDS = 32
_MAX_WORD_CHARS = 200
_SNIPPET_MAX_CHARS = 600
_MAX_MOVED: Final = 500
"""Conversations moved into a project that a search names one by one."""
_START, _END = "\ue000", "\ue001"

# The order of the tables is forced: from the matches to their documents, never from all documents to the matches.
_MESSAGES: Final = """
SELECT m.pk, c.doc, m.id, m.role, m.createdAt, snippet(messages_fts, 0, char(57344), char(57345), '…', 24)
FROM messages_fts CROSS JOIN messages AS m ON m.pk = messages_fts.rowid
CROSS JOIN conversations AS c ON c.id = m.conversationId
WHERE messages_fts MATCH ? AND messages_fts.rowid < ? AND c.status <> 'deleted' AND (? IS NULL OR c.projectId = ?)
ORDER BY messages_fts.rowid DESC LIMIT ?
"""
_TITLES: Final = """
SELECT c.pk, c.doc, NULL, NULL, c.createdAt, snippet(conversations_fts, 0, char(57344), char(57345), '…', 24)
FROM conversations_fts CROSS JOIN conversations AS c ON c.pk = conversations_fts.rowid
WHERE conversations_fts MATCH ? AND conversations_fts.rowid < ? AND c.status <> 'deleted'
    AND (? IS NULL OR c.projectId = ?)
ORDER BY conversations_fts.rowid DESC LIMIT ?
"""


@dataclass(frozen=True, slots=True)
class SearchPosition:
    """Where a page begins: titles and messages below these keys. A title stands before a message of its key."""

    titles_below: int = 2**63 - 1
    messages_below: int = 2**63 - 1


def decode_search_cursor(cursor: str) -> SearchPosition:
    """Where the next page goes on. Raises InvalidRequest."""
    titles_below, messages_below = decode_cursor(cursor, "search", int, int)
    return SearchPosition(int(titles_below), int(messages_below))


def owner_word(user_id: UserId) -> str:
    """The one word that stands for this owner in the index, as the migration of owners writes it."""
    return "u" + user_id.encode("utf-8", "surrogatepass").hex()


def match_expression(words: str) -> str:
    """What a person typed as an FTS5 expression that matches all of its words; empty where there are none.

    Each word is quoted, so that nothing typed can be an operator or an error; signs without a letter or digit
    are left out, because in a conjunction they would match nothing.
    """
    cleaned = "".join(" " if _is_private(char) else char for char in words[: _MAX_WORDS * _MAX_WORD_CHARS])
    typed = [word[:_MAX_WORD_CHARS] for word in cleaned.split() if any(char.isalnum() for char in word)]
    return " ".join('"' + word.replace('"', '""') + '"' for word in typed[:_MAX_WORDS])


def _is_private(char: str) -> bool:
    # NUL ends FTS5's expression, lone surrogates are no text, private characters are our own marks.
    return unicodedata.category(char) in ("Cc", "Cs", "Co")


def search(
    connection: sqlite3.Connection,
    expression: str,
    project_id: ProjectId | None,
    user_id: UserId | None,
    position: SearchPosition,
    limit: int,
) -> Page[SearchHit]:
    """One page of what matches the expression, of this user or (None) of everybody."""
    limit = max(limit, 1)
    owned = "" if user_id is None else f' AND owner : "{owner_word(user_id)}"'
    inside = "" if project_id is None else _inside(connection, project_id)
    found = [
        row
        for query, matched, below in (
            (_TITLES, f"title : ({expression}){owned}", position.titles_below),
            (_MESSAGES, f"content : ({expression}){owned}{inside}", position.messages_below),
        )
        for row in connection.execute(query, (matched, below, project_id, project_id, limit + 1))
    ]
    # Stable: at the same key the title, read first, stays first.
    found.sort(key=lambda row: -row[0])
    page = found[:limit]
    return Page(
        items=tuple(_hit(row) for row in page),
        next=_cursor(page[-1]) if len(found) > limit else None,
    )


def _inside(connection: sqlite3.Connection, project_id: ProjectId) -> str:
    """What limits messages to a project: made in it, or in a conversation that was moved into it.

    Empty where too many were: each match is then looked at.
    """
    moved = connection.execute(
        "SELECT c.id FROM conversations AS c CROSS JOIN conversation_moves AS m ON m.conversationId = c.id "
        "WHERE c.projectId = ? LIMIT ?",
        (project_id, _MAX_MOVED + 1),
    ).fetchall()
    if len(moved) > _MAX_MOVED:
        return ""
    quoted = project_id.replace('"', '""')
    places = [f'project : "{quoted}"', *(f'conversation : "{key.decode()}"' for (key,) in moved)]
    return f" AND ({' OR '.join(places)})"


_FoundRow: TypeAlias = tuple[int, bytes, bytes | None, bytes | None, bytes, bytes]
"""Key, conversation, message id, role, time, snippet."""


def _hit(row: _FoundRow) -> SearchHit:
    _, doc, message_id, role, created_at, snippet = row
    conversation = load_conversation(doc)
    return SearchHit(
        conversation_id=conversation.id,
        project_id=conversation.project_id,
        title=conversation.title,
        message_id=None if message_id is None else MessageId(message_id.decode()),
        role=None if role is None else role.decode(),
        snippet=_cut(snippet.decode()),
        created_at=parse_iso(created_at.decode()),
    )


def _cursor(last: _FoundRow) -> str:
    key, is_title = last[0], last[2] is None
    return encode_cursor("search", key, key + 1 if is_title else key)


def _cut(snippet: str) -> str:
    """At most so many characters around the first match: a snippet is 24 words, and a word may be a megabyte."""
    if len(snippet) <= _SNIPPET_MAX_CHARS:
        return snippet
    start = max(0, snippet.find(_START) - 100)
    cut = snippet[start : start + _SNIPPET_MAX_CHARS]
    return cut + _END if cut.rfind(_START) > cut.rfind(_END) else cut
