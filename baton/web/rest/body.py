"""Reading request bodies, never more of them than a limit allows."""

from dataclasses import dataclass
from typing import Final

from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from baton.core.errors import InvalidRequest, TooLarge

_CHUNK_BYTES: Final = 1 << 16
_FORM_OVERHEAD_BYTES: Final = 1 << 16
"""What boundaries, headers and small fields of a form may add to its file."""

_BROKEN_FORM: Final = (
    web.RequestPayloadError,
    ValueError,
    AssertionError,
    RuntimeError,
    LookupError,
    HttpProcessingError,
)
"""What aiohttp raises for a form that is broken or cut short."""


@dataclass(frozen=True, slots=True)
class Upload:
    """A file that came in a form."""

    filename: str
    mime_type: str
    content: bytes


async def read_body(request: web.Request, most_bytes: int, *, limit: str = "payload_max_bytes") -> bytes:
    """The whole body. Raises TooLarge, naming `limit`, as soon as it is known that it has more bytes."""
    _check_length(request, most_bytes, limit)
    body = bytearray()
    try:
        async for chunk in request.content.iter_chunked(_CHUNK_BYTES):
            body += chunk
            if len(body) > most_bytes:
                raise _too_large(most_bytes, limit)
    except web.RequestPayloadError:  # a Content-Encoding or chunks that are none
        raise InvalidRequest("The body cannot be read", fields={"payload": ["Cannot be unpacked."]}) from None
    return bytes(body)


async def read_upload(request: web.Request, most_bytes: int) -> Upload:
    """The first file of a multipart form.

    Raises InvalidRequest for a body that is no such form, TooLarge for a file with more than `most_bytes`.
    """
    if request.content_type != "multipart/form-data":
        raise _no_file("Send the file as multipart/form-data, for example with `curl -F file=@name`")
    _check_length(request, most_bytes + _FORM_OVERHEAD_BYTES, "attachment_max_bytes")
    upload: Upload | None = None
    try:
        # To the end also when the file was found: a form without its last boundary has been cut short.
        async for part in await request.multipart():
            if upload is None and isinstance(part, BodyPartReader) and part.filename is not None:
                content = await _read_part(part, most_bytes)
                upload = Upload(part.filename, part.headers.get("Content-Type", ""), content)
    except _BROKEN_FORM:
        raise _no_file("The form cannot be understood") from None
    if upload is None:
        raise _no_file("There is no file in the form")
    return upload


async def _read_part(part: BodyPartReader, most_bytes: int) -> bytes:
    content = bytearray()
    while chunk := await part.read_chunk(_CHUNK_BYTES):
        content += chunk
        if len(content) > most_bytes:
            raise _too_large(most_bytes, "attachment_max_bytes")
    return bytes(content)


def _check_length(request: web.Request, most_bytes: int, limit: str) -> None:
    if (request.content_length or 0) > most_bytes:
        raise _too_large(most_bytes, limit)


def _too_large(most_bytes: int, limit: str) -> TooLarge:
    return TooLarge(f"Too large: at most {most_bytes:,} bytes ({limit})")


def _no_file(message: str) -> InvalidRequest:
    return InvalidRequest(message, fields={"file": [message]})
