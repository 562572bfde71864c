"""Keeps messages small: what a tool returns beyond its share becomes an attachment, named in the block."""

import json
from dataclasses import replace

from baton.core.frames import RunFrame, Stream
from baton.core.ids import AttachmentId, ConversationId, new_object_id
from baton.core.models import Attachment
from baton.core.ports import Store
from baton.core.stream import MessageDone, StreamEvent, ToolDone, ToolInput
from baton.core.text import Json


async def spill_large_results(store: Store, frames: list[RunFrame], max_bytes: int, *, used_by: ConversationId) -> None:
    """Replace, in place, tool inputs and results over `max_bytes`; their whole is stored as text attachments.

    What an agent sent of a whole message (`claudeData`) is cut there and not kept: the blocks are the truth.
    Called before the frames are absorbed. If the process dies in between, the same frame makes another attachment:
    nothing is lost, and the first one lives as long as its conversation.
    """
    for index, frame in enumerate(frames):
        if isinstance(frame, Stream) and any(_is_large(event, max_bytes) for event in frame.events):
            events = [await _spilled(store, event, max_bytes, used_by) for event in frame.events]
            frames[index] = replace(frame, events=tuple(events))


def attachment_url(attachment_id: AttachmentId) -> str:
    """Where an attachment is read."""
    return f"/api/attachments/{attachment_id}"


def _is_large(event: StreamEvent, max_bytes: int) -> bool:
    if type(event) is ToolDone:
        return event.attachment is None and _size(event.result) > max_bytes
    if type(event) is MessageDone:
        return event.claude_data is not None and _size(event.claude_data) > max_bytes
    return type(event) is ToolInput and _size(event.input) > max_bytes


def _size(value: Json) -> int:
    # Characters, not bytes: within a factor of four, and without encoding what is nearly always small.
    return len(value) if isinstance(value, str) else len(json.dumps(value, ensure_ascii=False))


async def _spilled(store: Store, event: StreamEvent, max_bytes: int, used_by: ConversationId) -> StreamEvent:
    if not _is_large(event, max_bytes):
        return event
    if isinstance(event, MessageDone):
        return replace(event, claude_data={"cut": json.dumps(event.claude_data, ensure_ascii=False)[:max_bytes]})
    assert isinstance(event, (ToolDone, ToolInput)), "only tools spill"
    whole = event.result if isinstance(event, ToolDone) else event.input
    text = whole if isinstance(whole, str) else json.dumps(whole, ensure_ascii=False, indent=1)
    content = text.encode()
    attachment_id = AttachmentId(new_object_id())
    kind = "result" if isinstance(event, ToolDone) else "input"
    attachment = Attachment(
        id=attachment_id,
        filename=f"tool-{kind}-{attachment_id}.txt",
        mime_type="text/plain",
        size_bytes=len(content),
        url=attachment_url(attachment_id),
    )
    await store.put_attachment(attachment, content, used_by=used_by)
    cut = f"{text[:max_bytes]}\n[cut here: the whole is the attachment {attachment.filename}, {len(content)} bytes]"
    if isinstance(event, ToolDone):
        return replace(event, result=cut, attachment=attachment_id)
    return replace(event, input={"cut": cut, "attachment": attachment_id})


__all__ = ["attachment_url", "spill_large_results"]
