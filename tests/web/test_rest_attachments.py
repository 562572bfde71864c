"""Attachments over REST: uploaded whole or refused, and harmless when they come back."""

import aiohttp

from baton.core.ids import new_object_id
from tests.web.rest_stage import Answered, Stage

LIMIT = 5_000


async def upload(rest: Stage, content: bytes, filename: str = "a.txt", mime_type: str = "text/plain") -> Answered:
    form = aiohttp.FormData(quote_fields=False)
    form.add_field("note", "a field beside the file")
    form.add_field("file", content, filename=filename, content_type=mime_type)
    return await rest.ask("POST", "/api/attachments", data=form)


async def read(rest: Stage, uploaded: Answered, token: str = "user-token") -> Answered:
    return await rest.ask("GET", uploaded.body["attachment"]["url"], token=token)


async def test_a_file_comes_back_byte_for_byte(rest: Stage) -> None:
    content = bytes(range(256)) * 10
    uploaded = await upload(rest, content, "Über sicht.bin", "application/x-thing")
    assert uploaded.status == 201
    assert uploaded.body["attachment"]["sizeBytes"] == 2560
    back = await read(rest, uploaded)
    assert back.content == content
    assert back.headers["Content-Disposition"] == "attachment; filename*=UTF-8''%C3%9Cber%20sicht.bin"


async def test_exactly_the_limit_fits_and_one_byte_more_does_not(rest: Stage) -> None:
    assert (await upload(rest, b"x" * LIMIT)).status == 201
    refused = await upload(rest, b"x" * (LIMIT + 1))
    assert (refused.status, refused.code) == (413, "too_large")
    assert "attachment_max_bytes" in refused.body["error"]["message"]


UNKNOWN = "application/octet-stream"
PLAIN = "text/plain; charset=utf-8"
SERVED = {
    "text/html": (UNKNOWN, "attachment"),
    "application/xhtml+xml": (UNKNOWN, "attachment"),
    "image/svg+xml": (UNKNOWN, "attachment"),
    "application/pdf": (UNKNOWN, "attachment"),
    "text/javascript": (UNKNOWN, "attachment"),
    "text/markdown": (PLAIN, "inline"),
    "text/plain; charset=utf-7": (PLAIN, "inline"),
    "image/png": ("image/png", "inline"),
}


async def test_nothing_that_was_uploaded_can_act_in_a_browser(rest: Stage) -> None:
    for mime_type, (served, disposition) in SERVED.items():
        back = await read(rest, await upload(rest, b"<script>1</script>", "x", mime_type))
        assert back.headers["Content-Type"] == served, mime_type
        assert back.headers["Content-Disposition"].startswith(f"{disposition};"), mime_type
        assert back.headers["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in back.headers["Content-Security-Policy"]


async def test_a_name_cannot_add_a_header(rest: Stage) -> None:
    body = (
        b"--x\r\nContent-Disposition: form-data; name=\"file\"; filename*=utf-8''a%0D%0AX-Evil%3A%201\r\n\r\n"
        b"data\r\n--x--\r\n"
    )
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    back = await read(rest, await rest.ask("POST", "/api/attachments", data=body, headers=headers))
    assert "X-Evil" not in back.headers
    assert "%0D" not in back.headers["Content-Disposition"]


FORM = "multipart/form-data; boundary=x"
NO_FORMS = [
    ("application/json", b"{}"),
    ("multipart/form-data", b"x"),
    (FORM, b"no boundary here"),
    (FORM, b"--x\r\n\r\n"),
    (FORM, b'--x\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\ncut short'),
    (FORM, b'--x\r\nContent-Disposition: form-data; name="note"\r\n\r\nx\r\n--x--\r\n'),
    ("multipart/form-data; boundary=" + "y" * 100, b"x"),
    (FORM, b"--x\r\n" + b"A: b\r\n" * 200 + b"\r\nx\r\n--x--\r\n"),
    ("", b""),
]


async def test_what_is_no_form_with_a_file_is_refused(rest: Stage) -> None:
    for content_type, body in NO_FORMS:
        refused = await rest.ask("POST", "/api/attachments", data=body, headers={"Content-Type": content_type})
        assert (refused.status, refused.code) == (400, "invalid_payload"), body


async def test_a_bridge_reads_what_its_run_was_sent_with_and_nothing_else(rest: Stage) -> None:
    sent, other = await upload(rest, b"1"), await upload(rest, b"2")
    await rest.send(await rest.conversation(), requestId="r1", attachments=[sent.body["attachment"]["id"]])
    assert (await read(rest, sent, token="bridge-token")).content == b"1"
    refused = await read(rest, other, token="bridge-token")
    assert (refused.status, refused.code) == (403, "forbidden")


async def test_an_attachment_that_is_not_there_is_not_found(rest: Stage) -> None:
    for name in (new_object_id(), "x", "..%2F..%2Fetc%2Fpasswd"):
        assert (await rest.ask("GET", f"/api/attachments/{name}")).code == "not_found", name
