"""A place in a list that is ordered by a time, then by `_id`, the newest first; and its cursor."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bson import ObjectId

from baton.core.errors import InvalidRequest
from baton.storage.cursors import decode_cursor, encode_cursor
from baton.storage.mongo_documents import Document, object_id

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Position:
    """Behind the document that has this time and this `_id`."""

    at: datetime
    key: ObjectId

    def after(self, field: str) -> Document:
        """The condition on documents that come later. Its first half says nothing new; it is there for the index."""
        older = [{field: {"$lt": self.at}}, {field: self.at, "_id": {"$lt": self.key}}]
        return {field: {"$lte": self.at}, "$or": older}

    def beyond(self, field: str) -> Document:
        """As `after`, for a list that begins with the oldest."""
        newer = [{field: {"$gt": self.at}}, {field: self.at, "_id": {"$gt": self.key}}]
        return {field: {"$gte": self.at}, "$or": newer}

    def cursor(self, kind: str) -> str:
        """The opaque cursor of the list `kind`."""
        return encode_cursor(kind, (self.at - _EPOCH) // timedelta(milliseconds=1), str(self.key))


def newest_first(field: str) -> list[tuple[str, int]]:
    """The order that positions stand in."""
    return [(field, -1), ("_id", -1)]


def read_cursor(cursor: str, kind: str) -> Position:
    """The position that `Position.cursor` wrote. Raises InvalidRequest."""
    milliseconds, text = decode_cursor(cursor, kind, int, str)
    key = object_id(text)
    try:
        if key is not None:
            return Position(_EPOCH + timedelta(milliseconds=int(milliseconds)), key)
    except OverflowError:
        pass  # no time is that far away
    raise InvalidRequest("The cursor is not one of this list", fields={"cursor": "not one of this list"})
