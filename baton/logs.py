"""How Baton logs: one line per record on stderr, a constant message, values as fields, never content.

A marker before the message says which part speaks, so that `grep "🔌"` on a log shows connections and nothing else.
"""

import errno
import json
import logging
import os
import re
import sys
import traceback
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Final, Protocol

from baton.core.errors import BatonError, ConfigError

MARKERS: Final[Mapping[str, str]] = {
    "socket": "🔌",
    "access": "🔌",
    "cors": "🔌",
    "chat": "💬",
    "abort": "💬",
    "conversation": "💬",
    "project": "💬",
    "prompt": "💬",
    "permission": "💬",
    "run": "💬",
    "session": "💬",
    "run.completed": "✅",
    "run.failed": "❌",
    "stream": "📡",
    "lane": "📡",
    "journal": "📡",
    "bridge": "🌉",
    "agent": "🌉",
    "rpc": "🌉",
    "claude": "🌉",
    "store": "💾",
    "migrate": "💾",
    "lease": "💾",
    "server.started": "✅",
    "server.stopped": "✅",
}
"""By the beginning of a record's `action`, whole words; the longest that fits wins."""

FALLBACK_MARKERS: Final[Mapping[int, str]] = {logging.ERROR: "❌", logging.CRITICAL: "❌"}

_SIGNS: Final = tuple({*MARKERS.values(), *FALLBACK_MARKERS.values()})


class LogStream(Protocol):
    """What a log is written to."""

    def write(self, text: str, /) -> object: ...

    def flush(self) -> None: ...


FILE_BYTES: Final = 10 << 20
FILES_KEPT: Final = 3

HIDDEN_FIELDS: Final = frozenset(
    {"content", "text", "message_text", "token", "password", "secret", "authorization", "cookie", "env", "environment"}
)
"""Fields that never leave the process, even where somebody logs one by mistake."""

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def configure(level: str, style: str, stream: LogStream | None = None, file: Path | None = None) -> None:
    """Send all records of `level` and above to stderr (or `stream`), and to `file` if given, as `text` or `json`.

    Replaces what was set before. Libraries are heard from WARNING on, because their texts may hold content. A file is
    its owner's only, and kept below `FILE_BYTES`, with `FILES_KEPT` older ones. Raises ConfigError where it cannot be
    written.
    """
    handlers: list[logging.Handler] = [logging.StreamHandler(stream or sys.stderr)]
    if file is not None:
        handlers.append(_file_handler(file))
    for handler in handlers:
        handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=handlers, force=True)
    logging.getLogger("baton").setLevel(level)
    logging.captureWarnings(True)


class _OwnFileHandler(RotatingFileHandler):
    """Writes no file that somebody else has put in its place: the default lies where everybody may write."""

    def _open(self) -> TextIOWrapper:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self.baseFilename, flags, 0o600)
        if os.fstat(descriptor).st_uid != os.geteuid():
            os.close(descriptor)
            raise PermissionError(errno.EPERM, "it belongs to another user", self.baseFilename)
        return os.fdopen(descriptor, "a", encoding="utf-8")


def _file_handler(file: Path) -> logging.Handler:
    try:
        return _OwnFileHandler(file, maxBytes=FILE_BYTES, backupCount=FILES_KEPT, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"The log file {file} cannot be written ({error.strerror}): choose another with --log-file, or none"
        ) from error


def marker(action: str, level: int) -> str:
    """The sign of the part that speaks; empty where none is known."""
    rest = action
    while rest and rest not in MARKERS:
        rest = re.sub(r"[^._]*\Z", "", rest)[:-1]
    return MARKERS[rest] if rest else FALLBACK_MARKERS.get(level, "")


class TextFormatter(logging.Formatter):
    """`time LEVEL marker message key=value ...`, for people."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the record holds."""
        fields = dict(_fields(record))
        message = _one_line(record.getMessage())
        sign = "" if message.startswith(_SIGNS) else marker(str(fields.get("action", "")), record.levelno)
        head = [_time(record), f"{record.levelname:<7}", sign, message]
        return " ".join([*filter(None, head), *(f"{name}={_text_value(value)}" for name, value in fields.items())])


class JsonFormatter(logging.Formatter):
    """One JSON object, for machines; the same fields."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the record holds."""
        fields = dict(_fields(record))
        line = {
            "time": _time(record),
            "level": record.levelname,
            "logger": record.name,
            "marker": marker(str(fields.get("action", "")), record.levelno),
            "message": record.getMessage(),
        }
        return _json_line({**fields, **line})


def _json_line(line: Mapping[str, object]) -> str:
    """The object as one line that every JSON reader takes, whatever somebody has logged."""
    try:
        text = json.dumps(line, ensure_ascii=False, default=str, allow_nan=False)
    except (ValueError, TypeError, RecursionError):  # not a number, a key that is no text, a circle
        text = json.dumps({name: _text_unless_plain(value) for name, value in line.items()}, ensure_ascii=False)
    # Readers that split at Unicode's line ends must not cut here; a lone surrogate cannot be written as UTF-8. What
    # takes their place is the same character as JSON escapes it.
    for end in ("\u0085", "\u2028", "\u2029"):
        text = text.replace(end, f"\\u{ord(end):04x}")
    return text.encode("utf-8", "backslashreplace").decode()


def _text_unless_plain(value: object) -> object:
    return value if isinstance(value, (str, int)) else str(value)


def _fields(record: logging.LogRecord) -> Iterator[tuple[str, object]]:
    for name, value in vars(record).items():
        if name not in _STANDARD and value is not None:
            yield _camel(name), "[hidden]" if name in HIDDEN_FIELDS else value
    if record.exc_info and record.exc_info[1] is not None:
        yield "trace", describe_exception(record.exc_info[1])


def describe_exception(error: BaseException) -> str:
    """Types and places of an exception and its causes, innermost last, on one line.

    Texts stand here only where they are Baton's or the operating system's own: a driver's may quote a document.
    """
    parts = []
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        text = f": {current}" if isinstance(current, (BatonError, OSError)) else ""
        frames = traceback.extract_tb(current.__traceback__)[-8:]
        places = " > ".join(f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno} {frame.name}" for frame in frames)
        parts.append(f"{type(current).__name__}{text} [{places}]")
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return _one_line(" from ".join(parts))


def _time(record: logging.LogRecord) -> str:
    at = datetime.fromtimestamp(record.created, UTC)
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def _camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(part.title() for part in tail)


def _text_value(value: object) -> str:
    text = str(value)
    plain = text and not any(char.isspace() or char in '"=' or not char.isprintable() for char in text)
    return text if plain else json.dumps(text, ensure_ascii=not text.isprintable())


def _one_line(text: str) -> str:
    return " ".join(text.split())
