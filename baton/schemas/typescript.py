"""The page's wire types in TypeScript, made from the schemas, so that the two cannot differ unnoticed.

`python -m baton.schemas.typescript FILE` writes them; with `--check` it exits with 1 where FILE is stale. Resources
and payloads come from their marshmallow schemas, stream events from the dataclasses that the codec writes.
"""

import argparse
import dataclasses
import enum
import json
import sys
import types
import typing
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from marshmallow import Schema, fields, validate

from baton.core import stream
from baton.core.text import Json
from baton.schemas import answers, browser, rest, told
from baton.schemas.codec import OMITS_NONE, camel
from baton.schemas.fields import JsonObject, JsonValue, Moment
from baton.schemas.resources import BLOCKS, Variant

_HEAD: Final = """\
// Made from the server's schemas by `make ui-types`; a test fails when it is stale. Not to be edited by hand.

/** ISO 8601 UTC with milliseconds. */
export type Timestamp = string;
export type JsonValue = null | boolean | number | string | readonly JsonValue[] | JsonObject;
export type JsonObject = { readonly [key: string]: JsonValue };
"""
_RENAMED: Final = {"Error": "ApiError"}
"""Names that the browser itself gives a meaning."""
_BLOCK_UNION: Final = "Block"
_STREAM_UNION: Final = "StreamEvent"
_REST: Final[tuple[type[Schema], ...]] = (
    answers.ConversationsAnswer,
    answers.MessagesAnswer,
    answers.SentAnswer,
    answers.RunsAnswer,
    answers.PromptsAnswer,
    answers.GrantAnswer,
    answers.GrantsAnswer,
    answers.AuditAnswer,
    answers.ProjectAnswer,
    answers.ProjectsAnswer,
    answers.AttachmentAnswer,
    answers.SearchAnswer,
    answers.StatsAnswer,
    answers.SeriesAnswer,
    answers.LatencyAnswer,
    answers.IdentityAnswer,
    answers.TokensAnswer,
    answers.TokenAnswer,
    answers.NewTokenAnswer,
    answers.HealthAnswer,
    answers.ReadinessAnswer,
    answers.SessionsAnswer,
    answers.ImportedAnswer,
    answers.ErrorAnswer,
    rest.PatchConversationSchema,
    rest.ForkConversationSchema,
    rest.CreateGrantSchema,
    rest.CreateWideGrantSchema,
    rest.CreateTokenSchema,
    rest.CreateProjectSchema,
    rest.PatchProjectSchema,
    rest.ImportSessionSchema,
)
"""What the page reads and writes over REST, beside what the events have already."""


class Declarations:
    """Declarations by name, each written once, in the order in which something first needed them."""

    def __init__(self) -> None:
        self._written: dict[str, str] = {}

    def text(self) -> str:
        """The whole file but for its head."""
        return "\n".join(self._written.values())

    def schema(self, schema: type[Schema]) -> str:
        """The name of the interface of this schema."""
        name = _name_of(schema)
        if name not in self._written:
            self._written[name] = ""
            lines = [self._property(field) for field in schema().fields.values()]
            self._written[name] = _interface(name, schema.__doc__, lines)
        return name

    def stream_event(self, cls: type, wire_name: str) -> str:
        """The name of the interface of one kind of stream event."""
        lines = [f'readonly type: "{wire_name}";']
        for field in dataclasses.fields(cls):
            can_be_absent = cls in OMITS_NONE and field.default is None
            written = self._hint(_without_none(field.type) if can_be_absent else field.type)
            lines.append(f"readonly {camel(field.name)}{'?' if can_be_absent else ''}: {written};")
        name = f"{cls.__name__}Event"
        self._written[name] = _interface(name, cls.__doc__, lines)
        return name

    def union(self, name: str, doc: str, members: Iterable[str]) -> None:
        """A type that is one of `members`."""
        self._written[name] = f"/** {doc} */\nexport type {name} =\n  | " + "\n  | ".join(members) + ";\n"

    def table(self, name: str, doc: str, rows: Mapping[str, str]) -> None:
        """An interface with one property per event."""
        self._written[name] = _interface(name, doc, [f'"{event}": {written};' for event, written in rows.items()])

    def _property(self, field: fields.Field[Any]) -> str:
        optional = "" if field.required else "?"
        null = " | null" if field.allow_none else ""
        return f"readonly {field.data_key}{optional}: {self._field(field)}{null};"

    def _field(self, field: fields.Field[Any]) -> str:
        if isinstance(field, fields.Nested):
            return self.schema(type(field.schema))
        if isinstance(field, fields.List):
            return f"readonly {_in_brackets(self._field(field.inner))}[]"
        if isinstance(field, fields.Dict):
            values = self._field(field.value_field) if field.value_field else "JsonValue"
            return f"Readonly<Record<string, {values}>>"
        if isinstance(field, Variant):
            return _BLOCK_UNION
        if isinstance(field, told.StreamEventField):
            return _STREAM_UNION
        return self._enum(field.enum) if isinstance(field, fields.Enum) else _plain(field)

    def _hint(self, hint: Any) -> str:
        if hint is Json:
            return "JsonValue"
        if dataclasses.is_dataclass(hint):
            assert isinstance(hint, type), "a class, not a value"
            return self._dataclass(hint)
        if typing.get_origin(hint) is tuple:
            return f"readonly {_in_brackets(self._hint(typing.get_args(hint)[0]))}[]"
        if isinstance(hint, types.UnionType):
            return " | ".join(self._hint(each) for each in typing.get_args(hint))
        return _PLAIN_HINTS[hint]

    def _dataclass(self, cls: type) -> str:
        if cls.__name__ not in self._written:
            lines = [f"readonly {camel(field.name)}: {self._hint(field.type)};" for field in dataclasses.fields(cls)]
            self._written[cls.__name__] = _interface(cls.__name__, cls.__doc__, lines)
        return cls.__name__

    def _enum(self, cls: type[enum.Enum]) -> str:
        self._written.setdefault(
            cls.__name__,
            f"{_comment(cls.__doc__)}export type {cls.__name__} = {_literals(each.value for each in cls)};\n",
        )
        return cls.__name__


_PLAIN_HINTS: Final[Mapping[Any, str]] = {
    str: "string",
    int: "number",
    float: "number",
    bool: "boolean",
    datetime: "Timestamp",
    type(None): "null",
}
_PLAIN_FIELDS: Final[tuple[tuple[type[fields.Field[Any]], str], ...]] = (
    (Moment, "Timestamp"),
    (JsonObject, "JsonObject"),
    (JsonValue, "JsonValue"),
    (fields.Boolean, "boolean"),
    (fields.Number, "number"),
    (fields.String, "string"),
)


def _plain(field: fields.Field[Any]) -> str:
    """A field without parts of its own; a string that can only be a few is their union."""
    names = field.metadata.get("enum")
    for rule in field.validators:
        if isinstance(rule, validate.Equal):
            names = [rule.comparable]
        elif isinstance(rule, validate.OneOf):
            names = list(rule.choices)
    if names:
        return _literals(names)
    return next(written for cls, written in _PLAIN_FIELDS if isinstance(field, cls))


def _literals(values: Iterable[object]) -> str:
    return " | ".join(json.dumps(value) for value in values)


def _in_brackets(written: str) -> str:
    return f"({written})" if "|" in written else written


def _without_none(hint: Any) -> Any:
    kept = [each for each in typing.get_args(hint) if each is not type(None)]
    return kept[0] if len(kept) == 1 else hint


def _name_of(schema: type[Schema]) -> str:
    name = schema.__name__.removesuffix("Schema")
    return _RENAMED.get(name, name)


def _comment(doc: str | None) -> str:
    """The first sentence or two of a docstring: what follows an empty line is about Python."""
    said = " ".join((doc or "").split("\n\n")[0].split()).replace("*/", "* /")
    return f"/** {said} */\n" if said else ""


def _interface(name: str, doc: str | None, lines: Iterable[str]) -> str:
    body = "".join(f"  {line}\n" for line in lines)
    if not body:
        return f"{_comment(doc)}export type {name} = Readonly<Record<string, never>>;\n"
    return f"{_comment(doc)}export interface {name} {{\n{body}}}\n"


def generate() -> str:
    """The text of the file."""
    written = Declarations()
    written.union(_BLOCK_UNION, "A part of a message.", [written.schema(schema) for schema in BLOCKS.values()])
    kinds = [written.stream_event(cls, name) for cls, name in stream.STREAM_EVENT_TYPES.items()]
    written.union(_STREAM_UNION, "What an agent says while it works.", kinds)
    payloads = {name: written.schema(type(schema)) for name, schema in browser.EVENTS.items()}
    acks = {name: written.schema(schema) for name, schema in told.ANSWERS.items()}
    room = {name: written.schema(schema) for name, schema in told.ROOM_EVENTS.items()}
    others = {name: written.schema(schema) for name, schema in told.GLOBAL_EVENTS.items()}
    for schema in _REST:
        written.schema(schema)
    written.table("ClientPayloads", "What a client may send, by event.", payloads)
    written.table("ClientAnswers", "The acknowledgement of each, when it is not refused.", acks)
    written.table("RoomEvents", "Events with a place in the order of one conversation.", room)
    written.table("GlobalEvents", "Events outside of any order.", others)
    return f"{_HEAD}\n{written.text()}"


def main(arguments: list[str] | None = None) -> int:
    """Write the file, or say whether it is stale."""
    parser = argparse.ArgumentParser(prog="python -m baton.schemas.typescript", description=generate.__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where the file is stale")
    options = parser.parse_args(arguments)
    made = generate()
    if not options.check:
        options.file.parent.mkdir(parents=True, exist_ok=True)
        options.file.write_text(made, encoding="utf-8")
        return 0
    is_fresh = options.file.is_file() and options.file.read_text(encoding="utf-8") == made
    if not is_fresh:
        sys.stderr.write(f"{options.file} is stale: run `make ui-types`\n")
    return 0 if is_fresh else 1


if __name__ == "__main__":
    sys.exit(main())
