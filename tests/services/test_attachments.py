"""Attachments: kept whole, named safely, read by those who may."""

import pytest

from baton.core.commands import AccountRole, Identity, SendMessage
from baton.core.errors import Forbidden, NotFound, TooLarge
from baton.core.ids import AttachmentId, BridgeId, RequestId, UserId, new_object_id
from baton.core.limits import Limits
from baton.services.attachments import Attachments, safe_filename, safe_mime_type
from baton.storage.sqlite import SqliteStore
from baton.testing.clock import FakeClock
from tests.services.harness import ANNA, LOCAL, Server

ROBOT = Identity(UserId("robot"), AccountRole.BRIDGE, bridge_id=LOCAL)
OTHERS = (
    Identity(UserId("other"), AccountRole.BRIDGE, bridge_id=BridgeId("other")),
    Identity(UserId("unused"), AccountRole.BRIDGE),
)


@pytest.fixture
def attachments(store: SqliteStore) -> Attachments:
    return Attachments(store=store, clock=FakeClock(), limits=Limits(attachment_max_bytes=10))


async def test_what_was_kept_comes_back_byte_for_byte(attachments: Attachments) -> None:
    content = bytes(range(250, 256)) + b"\0\n\r\x1a"
    kept = await attachments.add(ANNA, filename="a.bin", mime_type="image/PNG; x=y", content=content)
    assert (kept.filename, kept.mime_type, kept.size_bytes) == ("a.bin", "image/png", 10)
    assert kept.url == f"/api/attachments/{kept.id}"
    assert await attachments.get(ANNA, kept.id) == kept
    assert await attachments.content(ANNA, kept.id) == content


async def test_one_byte_too_many_is_refused_and_nothing_is_kept(attachments: Attachments) -> None:
    with pytest.raises(TooLarge, match="attachment_max_bytes"):
        await attachments.add(ANNA, filename="a", mime_type="text/plain", content=b"x" * 11)


async def test_what_is_not_there_is_not_found(attachments: Attachments) -> None:
    unknown = AttachmentId(new_object_id())
    with pytest.raises(NotFound):
        await attachments.get(ANNA, unknown)
    with pytest.raises(NotFound):
        await attachments.content(ANNA, unknown)


async def test_a_bridge_reads_only_what_its_runs_were_sent_with(attachments: Attachments, server: Server) -> None:
    sent = await attachments.add(ANNA, filename="sent", mime_type="text/plain", content=b"1")
    other = await attachments.add(ANNA, filename="other", mime_type="text/plain", content=b"2")
    conversation = await server.conversation()
    command = SendMessage(
        request_id=RequestId("r1"), content="see", conversation_id=conversation.id, attachments=(sent.id,)
    )
    await server.runs.send(ANNA, command)
    assert await attachments.content(ROBOT, sent.id) == b"1"
    for read in (attachments.get, attachments.content):
        with pytest.raises(Forbidden):
            await read(ROBOT, other.id)
        for bridge in OTHERS:
            with pytest.raises(Forbidden):
                await read(bridge, sent.id)


async def test_a_bridge_reads_nothing_once_the_run_has_ended(attachments: Attachments, server: Server) -> None:
    sent = await attachments.add(ANNA, filename="sent", mime_type="text/plain", content=b"1")
    conversation = await server.conversation()
    command = SendMessage(
        request_id=RequestId("r1"), content="see", conversation_id=conversation.id, attachments=(sent.id,)
    )
    await server.runs.send(ANNA, command)
    await server.answer()
    server.complete("r1")
    await server.intake.flush()
    with pytest.raises(Forbidden):
        await attachments.content(ROBOT, sent.id)


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("report.pdf", "report.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\temp\\a.txt", "a.txt"),
        ("a\r\nSet-Cookie: x", "aSet-Cookie: x"),
        ("photo\u202egpj.exe", "photogpj.exe"),
        ("", "attachment"),
        ("..", "attachment"),
        ("\ud800", "\ufffd"),
        ("Übersicht 📎.md", "Übersicht 📎.md"),
    ],
)
def test_filenames_are_names_and_nothing_more(name: str, safe: str) -> None:
    assert safe_filename(name) == safe


def test_a_long_filename_keeps_its_ending() -> None:
    assert safe_filename("x" * 500 + ".txt").endswith("x.txt")
    assert len(safe_filename("x" * 500 + ".txt")) == 200


@pytest.mark.parametrize("wrong", ["", "html", "text/", "/plain", "text/pl ain", "te\nxt/plain", "text/plain/x", "ü/x"])
def test_what_is_no_media_type_is_unknown(wrong: str) -> None:
    assert safe_mime_type(wrong) == "application/octet-stream"
