"""What a person sends, as an ACP agent takes it: text, pictures, embedded files, and files it is only told of. Pure."""

import base64
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote

from acp import schema

from baton.core.models import Attachment

_TEXTS: Final = frozenset({"application/json", "application/xml", "application/x-yaml", "application/toml"})


def content_of(
    message: str, files: Sequence[tuple[Attachment, bytes]], takes: schema.PromptCapabilities
) -> list[dict[str, Any]]:
    """The content blocks of a prompt, as far as the agent says that it `takes` them; the message comes last."""
    return [*(_block(attachment, content, takes) for attachment, content in files), _text(message)]


def _block(attachment: Attachment, content: bytes, takes: schema.PromptCapabilities) -> dict[str, Any]:
    mime_type = attachment.mime_type.partition(";")[0].strip().lower()
    kind = mime_type.partition("/")[0]
    if (kind == "image" and takes.image) or (kind == "audio" and takes.audio):
        return {"type": kind, "mimeType": mime_type, "data": base64.b64encode(content).decode("ascii")}
    uri = f"attachment://{attachment.id}/{quote(attachment.filename)}"
    is_text = kind == "text" or mime_type in _TEXTS
    if is_text:
        text = content.decode("utf-8", "replace")
        if takes.embedded_context:
            return {"type": "resource", "resource": {"uri": uri, "mimeType": mime_type, "text": text}}
        return _text(f"[The file {attachment.filename}]\n{text}\n[End of {attachment.filename}]")
    if takes.embedded_context:
        blob = base64.b64encode(content).decode("ascii")
        return {"type": "resource", "resource": {"uri": uri, "mimeType": mime_type, "blob": blob}}
    return _text(
        f"[The file {attachment.filename} ({mime_type}, {len(content)} bytes) is of a kind that cannot be shown here]"
    )


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}
