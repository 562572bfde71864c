"""Opaque cursors of paged lists: where the next page goes on, in text that a client only hands back."""

import base64
import binascii

import orjson

from baton.core.errors import InvalidRequest

_MAX_LENGTH = 500
_MAX_INT = 2**63 - 1


def encode_cursor(kind: str, *position: str | int) -> str:
    """A cursor of the list `kind` that stands after this position."""
    return base64.urlsafe_b64encode(orjson.dumps([kind, *position])).decode().rstrip("=")


def decode_cursor(cursor: str, kind: str, *types: type[str] | type[int]) -> list[str | int]:
    """The position that `encode_cursor` wrote for the same list. Raises InvalidRequest for anything else."""
    refused = InvalidRequest("The cursor is not one of this list", fields={"next": ["Not a cursor of this list."]})
    if not 0 < len(cursor) <= _MAX_LENGTH:
        raise refused
    try:
        decoded = orjson.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError):
        raise refused from None
    if not isinstance(decoded, list) or not decoded or decoded[0] != kind:
        raise refused
    position = decoded[1:]
    if [type(part) for part in position] != list(types) or any(
        isinstance(part, int) and abs(part) > _MAX_INT for part in position
    ):
        raise refused
    return position
