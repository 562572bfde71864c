"""Names for the strings that identify things, and how new ones are made.

Ids are 24 hex digits in the shape of a MongoDB ObjectId, made here so that both stores, and code that
knows no store, agree on them. A requestId is the client's own and may be any string up to 100 characters.
"""

import hashlib
import itertools
import os
import re
import threading
import time
from typing import NewType

ProjectId = NewType("ProjectId", str)
ConversationId = NewType("ConversationId", str)
MessageId = NewType("MessageId", str)
PromptId = NewType("PromptId", str)
AttachmentId = NewType("AttachmentId", str)
RequestId = NewType("RequestId", str)
BridgeId = NewType("BridgeId", str)
UserId = NewType("UserId", str)
TokenId = NewType("TokenId", str)

MAX_FOREIGN_ID_LENGTH = 100
"""Characters allowed in ids that others choose: requestId, and a bridge's promptId and messageId."""

_OBJECT_ID = re.compile(r"[0-9a-f]{24}\Z")
_process = os.urandom(5)
_counter = itertools.count(int.from_bytes(os.urandom(3), "big"))
_lock = threading.Lock()


def new_object_id() -> str:
    """A fresh id that sorts by its second of birth (layout: MongoDB's ObjectId specification)."""
    with _lock:
        count = next(_counter) & 0xFFFFFF
    return (int(time.time()).to_bytes(4, "big") + _process + count.to_bytes(3, "big")).hex()


def derived_object_id(*parts: str) -> str:
    """The same id for the same parts, always: makes a create idempotent through its primary key."""
    digest = hashlib.blake2b(digest_size=12)
    for part in parts:
        encoded = part.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return digest.hexdigest()


def is_object_id(text: object) -> bool:
    """Whether `text` is 24 lower-case hex digits."""
    return isinstance(text, str) and _OBJECT_ID.match(text) is not None
