"""What a person sends, as Claude Code takes it: text, images, documents, and files it is only told of. Pure."""

import base64
from collections.abc import Sequence
from typing import Any, Final

from baton.core.models import Attachment

_IMAGES: Final = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
_TEXTS: Final = frozenset({"application/json", "application/xml", "application/x-yaml", "application/toml"})


def content_of(message: str, files: Sequence[tuple[Attachment, bytes]]) -> str | list[dict[str, Any]]:
    """The content of the user's message: plain text where there are no files, so that `/command` and `@file` work."""
    if not files:
        return message
    return [*(_block(attachment, content) for attachment, content in files), {"type": "text", "text": message}]


def _block(attachment: Attachment, content: bytes) -> dict[str, Any]:
    mime_type = attachment.mime_type.partition(";")[0].strip().lower()
    if mime_type in _IMAGES:
        return {"type": "image", "source": _base64(mime_type, content)}
    if mime_type == "application/pdf":
        return {"type": "document", "title": attachment.filename, "source": _base64(mime_type, content)}
    text = _text(mime_type, content)
    if text is not None:
        source = {"type": "text", "media_type": "text/plain", "data": text}
        return {"type": "document", "title": attachment.filename, "source": source}
    told = (
        f"[The file {attachment.filename} ({mime_type}, {len(content)} bytes) is of a kind that cannot be shown here]"
    )
    return {"type": "text", "text": told}


def _base64(mime_type: str, content: bytes) -> dict[str, str]:
    return {"type": "base64", "media_type": mime_type, "data": base64.b64encode(content).decode("ascii")}


def _text(mime_type: str, content: bytes) -> str | None:
    if not mime_type.startswith("text/") and mime_type not in _TEXTS:
        return None
    return content.decode("utf-8", "replace")
