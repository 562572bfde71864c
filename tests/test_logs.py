"""What a line of the log looks like, and what never stands in one."""

import io
import json
import logging
import math
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from baton import logs
from baton.core.errors import ConfigError, StoreUnavailable

logger = logging.getLogger("baton.tests.logs")


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    root, own = logging.getLogger(), logging.getLogger("baton")
    handlers, level, own_level = list(root.handlers), root.level, own.level
    yield
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    own.setLevel(own_level)
    logging.captureWarnings(False)


def start(style: str, level: str = "INFO") -> io.StringIO:
    stream = io.StringIO()
    logs.configure(level, style, stream)
    return stream


def test_a_text_line_has_time_level_marker_message_and_fields() -> None:
    stream = start("text")
    logger.info("client connected", extra={"action": "socket.connected", "sid": "abc", "request_id": "r 1"})
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO    🔌 client connected"
        r' action=socket\.connected sid=abc requestId="r 1"\n',
        stream.getvalue(),
    )


def test_a_json_line_holds_the_same() -> None:
    stream = start("json")
    logger.warning("run failed", extra={"action": "run.failed", "request_id": "r1", "count": 3})
    line = json.loads(stream.getvalue())
    assert line.pop("time").endswith("Z")
    assert line == {
        "level": "WARNING",
        "logger": "baton.tests.logs",
        "marker": "❌",
        "message": "run failed",
        "action": "run.failed",
        "requestId": "r1",
        "count": 3,
    }


@pytest.mark.parametrize("style", ["text", "json"])
def test_whatever_is_logged_is_one_line(style: str) -> None:
    stream = start(style)
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logger.exception("broken\nmessage", extra={"action": "x", "path": "a\nb\u2028c"})
    assert len(stream.getvalue().splitlines()) == 1 if style == "text" else stream.getvalue().count("\n") == 1


def circle() -> list[object]:
    made: list[object] = []
    made.append(made)
    return made


@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, "\udc80", "a\u2028b\x85c\r\n\x00", b"\xff", {("a", 1): 2}, {1, 2}, object(), circle(), 2**70],
    ids=lambda value: type(value).__name__,
)
def test_each_json_line_parses_whatever_was_logged(value: object) -> None:
    stream = start("json")
    logger.info("odd %s", "\udc80\u2028", extra={"action": "x", "value": value})
    (text,) = stream.getvalue().encode().decode().splitlines()
    line = json.loads(text, parse_constant=pytest.fail)
    assert (line["action"], line["message"]) == ("x", "odd \udc80\u2028")
    assert "value" in line


def test_a_field_cannot_pretend_to_be_one_of_the_line() -> None:
    stream = start("json")
    logger.info("true", extra={"action": "x", "level": "FORGED", "marker": "FORGED", "time": "FORGED"})
    assert "FORGED" not in stream.getvalue()


@pytest.mark.parametrize("style", ["text", "json"])
def test_content_tokens_and_environment_are_hidden_even_if_somebody_logs_them(style: str) -> None:
    stream = start(style)
    for name in logs.HIDDEN_FIELDS:
        logger.info("sent", extra={name: "TOPSECRET"})
    assert "TOPSECRET" not in stream.getvalue()


def test_an_exception_is_told_by_types_and_places_and_not_by_a_drivers_text() -> None:
    stream = start("text")
    try:
        try:
            raise RuntimeError("duplicate key: {content: 'TOPSECRET'}")
        except RuntimeError as error:
            raise StoreUnavailable("The database did not answer") from error
    except StoreUnavailable:
        logger.exception("commit failed", extra={"action": "store.commit_failed"})
    line = stream.getvalue()
    assert "TOPSECRET" not in line
    assert "StoreUnavailable: The database did not answer [test_logs.py:" in line
    assert "from RuntimeError [test_logs.py:" in line


def test_the_level_is_for_baton_and_libraries_are_heard_from_warning_on() -> None:
    stream = start("text", "DEBUG")
    logger.debug("frame received", extra={"action": "bridge.frame"})
    logging.getLogger("aiohttp.server").info("chatter")
    logging.getLogger("aiohttp.server").warning("trouble")
    assert "frame received" in stream.getvalue()
    assert "chatter" not in stream.getvalue()
    assert "trouble" in stream.getvalue()


@pytest.mark.parametrize(
    ("action", "sign"),
    [
        ("socket.connected", "🔌"),
        ("chat.sent", "💬"),
        ("stream.chunk", "📡"),
        ("bridge.connected", "🌉"),
        ("store.committed", "💾"),
        ("run.completed", "✅"),
        ("run.failed", "❌"),
        ("run.started", "💬"),
        ("store_rollback", "💾"),
        ("sockets", ""),
        ("", ""),
    ],
)
def test_markers_are_found_by_whole_words_the_longest_first(action: str, sign: str) -> None:
    assert logs.marker(action, logging.INFO) == sign


def test_an_error_of_an_unknown_part_is_marked_as_failed() -> None:
    assert logs.marker("", logging.ERROR) == "❌"


def test_a_file_gets_the_same_lines_and_is_its_owners_only(tmp_path: Path) -> None:
    stream, file = io.StringIO(), tmp_path / "bridge.log"
    logs.configure("INFO", "text", stream, file)
    logger.info("🌉 connected", extra={"action": "bridge.connected"})
    assert file.read_text() == stream.getvalue() != ""
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_file_that_grows_is_put_aside_and_only_some_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "FILE_BYTES", 1000)
    logs.configure("INFO", "text", io.StringIO(), tmp_path / "bridge.log")
    for number in range(100):
        logger.info("a record of some length, to fill the file", extra={"count": number})
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["bridge.log", "bridge.log.1", "bridge.log.2", "bridge.log.3"]
    assert all(path.stat().st_size <= 1000 for path in tmp_path.iterdir())
    assert "count=99" in (tmp_path / "bridge.log").read_text()


def test_a_link_in_the_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    (tmp_path / "bridge.log").symlink_to(precious)
    with pytest.raises(ConfigError, match="cannot be written"):
        logs.configure("INFO", "text", io.StringIO(), tmp_path / "bridge.log")
    assert precious.read_text() == "mine"
