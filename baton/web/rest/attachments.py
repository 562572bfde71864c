"""Routes for attachments. What comes back can do nothing in a browser, whatever was uploaded."""

from typing import Final

from aiohttp import hdrs, web

from baton.schemas import answers
from baton.schemas.codec import to_wire
from baton.schemas.rest import UploadSchema
from baton.services.attachments import UNKNOWN_TYPE
from baton.web.rest.answers import answer, content_headers
from baton.web.rest.body import read_upload
from baton.web.rest.route import EVERYBODY, Call, Route

_IMAGES: Final = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"})
"""Shown as what they are. Not SVG: that is a document with scripts."""

_TEXTS: Final = frozenset({"text/plain", "text/markdown", "text/csv", "application/json"})
"""Shown as plain text."""

_PLAIN: Final = "text/plain; charset=utf-8"
_KEEP: Final = "private, max-age=31536000, immutable"


async def add(call: Call) -> web.Response:
    """What it is called from now on."""
    call.desk.access.throttle.take_upload(call.who)
    upload = await read_upload(call.request, call.desk.limits.attachment_max_bytes)
    attachment = await call.services.attachments.add(
        call.who, filename=upload.filename, mime_type=upload.mime_type, content=upload.content
    )
    return answer({"attachment": to_wire(attachment)}, status=201)


async def get(call: Call) -> web.Response:
    """Its bytes."""
    attachment = await call.services.attachments.get(call.who, call.attachment_id)
    content = await call.services.attachments.content(call.who, call.attachment_id)
    content_type, inline = served_as(attachment.mime_type)
    headers = content_headers(content_type, attachment.filename, inline=inline)
    return web.Response(body=content, headers={**headers, hdrs.CACHE_CONTROL: _KEEP})


def served_as(mime_type: str) -> tuple[str, bool]:
    """The content type that a browser is told, and whether it may show it."""
    if mime_type in _IMAGES:
        return mime_type, True
    return (_PLAIN, True) if mime_type in _TEXTS else (UNKNOWN_TYPE, False)


ROUTES = (
    Route(
        method="POST",
        path="/api/attachments",
        handler=add,
        summary="Upload a file, as the field `file` of a form",
        tag="Attachments",
        answer=answers.AttachmentAnswer,
        status=201,
        body_description=UploadSchema,
        consumes="multipart/form-data",
    ),
    Route(
        method="GET",
        path="/api/attachments/{attachmentId}",
        handler=get,
        summary="The content of an attachment",
        tag="Attachments",
        produces=("*/*",),
        roles=EVERYBODY,
    ),
)
