"""What every judged input has in common: cleaned text, ids, modes, and one way to load a payload.

Used by `schemas.browser` (Socket.IO events), `schemas.rest` (bodies and queries) and `services.transfer`
(imported documents). Knows nothing of transports. A schema written with these names its fields in snake_case,
as the commands do; the wire's camelCase comes by itself.
"""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, NoReturn

from marshmallow import RAISE, Schema, ValidationError, fields, post_load, validate

from baton.core.errors import InvalidRequest, NotFound
from baton.core.ids import MAX_FOREIGN_ID_LENGTH, is_object_id
from baton.core.models import PermissionMode
from baton.core.text import Json, clean_json, clean_text, whole_number
from baton.schemas.codec import camel

MAX_SAFE_INTEGER = 2**53 - 1
"""The greatest whole number that a JavaScript client can send without losing digits."""

MAX_NAME_LENGTH = 200
"""Characters of a title, a name, an agent, a model, a bridgeId."""

MAX_PATH_LENGTH = 4096
"""Characters of a path, as Linux limits them."""

_MAX_REPORTED_FIELDS = 50
_WHOLE_PAYLOAD = "payload"
_MODE_SYNONYMS = {"interactive": PermissionMode.DEFAULT}


class _NoSuchThing(str):
    """The text of an error that makes the whole payload `not_found`, unless something else is wrong too."""

    __slots__ = ()


class Payload(Schema):
    """A JSON object from outside: unknown fields are refused, names on the wire are camelCase.

    `command` is what `load` returns, made from the loaded fields by name; without one it is their dict.
    """

    class Meta:
        unknown = RAISE

    command: ClassVar[type | None] = None

    def on_bind_field(self, field_name: str, field_obj: fields.Field[Any]) -> None:
        """Give the field its wire name, unless it has one already."""
        if field_obj.data_key is None:
            field_obj.data_key = camel(field_name)

    @post_load
    def make_command(self, loaded: dict[str, Any], **_: object) -> Any:
        """The command of these fields. Those that are absent keep the command's own defaults."""
        return loaded if self.command is None else self.command(**loaded)


class Text(fields.String):
    """A string with each lone surrogate replaced by U+FFFD, of `least` to `most` characters (None: any number)."""

    def __init__(self, *, least: int = 0, most: int | None = MAX_NAME_LENGTH, **kwargs: Any) -> None:
        super().__init__(validate=validate.Length(min=least or None, max=most), **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        return clean_text(super()._deserialize(value, attr, data, **kwargs))


class Name(Text):
    """A string of 1 to 200 characters that is not blank: an agent, a model, a bridgeId, a project's name."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(least=1, **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        return super()._deserialize(value, attr, data, **kwargs).strip()


class Path(Text):
    """A path on the machine of a bridge; judged there, here only for its length and for NUL."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(least=1, most=MAX_PATH_LENGTH, **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        path = super()._deserialize(value, attr, data, **kwargs)
        if "\0" in path:
            raise ValidationError("A path cannot contain NUL.")
        return path


class ObjectId(fields.String):
    """An id of ours, in lower case. A string that cannot be one names nothing: `load` raises NotFound for it.

    `what` is the noun in that error's message.
    """

    def __init__(self, what: str, **kwargs: Any) -> None:
        kwargs.setdefault("metadata", {"pattern": "^[0-9a-fA-F]{24}$", "example": "65f0c0ffee0123456789abcd"})
        super().__init__(**kwargs)
        self.what = what

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs).lower()
        if not is_object_id(text):
            raise ValidationError(_NoSuchThing(f"There is no such {self.what}"))
        return text


class RequestName(Text):
    """A requestId: the client's own, any string of 1 to 100 characters."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(least=1, most=MAX_FOREIGN_ID_LENGTH, **kwargs)


class Mode(fields.String):
    """A permission mode; `interactive` is accepted for `default`."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("metadata", {"enum": [*(mode.value for mode in PermissionMode), *_MODE_SYNONYMS]})
        super().__init__(**kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> PermissionMode:
        text = super()._deserialize(value, attr, data, **kwargs)
        try:
            return _MODE_SYNONYMS.get(text) or PermissionMode(text)
        except ValueError:
            accepted = ", ".join([*(mode.value for mode in PermissionMode), *_MODE_SYNONYMS])
            raise ValidationError(f"Must be one of: {accepted}.") from None


class WholeNumber(fields.Integer):
    """A JSON number without a fraction, from `least` to `most`; text and booleans are refused."""

    def __init__(self, *, least: int = 0, most: int = MAX_SAFE_INTEGER, **kwargs: Any) -> None:
        super().__init__(strict=True, validate=validate.Range(min=least, max=most), **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int | None:  # type: ignore[override]  # marshmallow's own is generic
        if isinstance(value, str):
            raise self.make_error("invalid", input=value)
        return super()._deserialize(value, attr, data, **kwargs)


class Amount(fields.Float):
    """A finite JSON number, not below zero; text is refused."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(validate=validate.Range(min=0), **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> float | None:  # type: ignore[override]  # marshmallow's own is generic
        if isinstance(value, str):
            raise self.make_error("invalid", input=value)
        return super()._deserialize(value, attr, data, **kwargs)


class Flag(fields.Boolean):
    """A JSON boolean and nothing that merely looks like one."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class Moment(fields.AwareDateTime):
    """A time in ISO 8601 with its zone, as UTC cut to milliseconds."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(format="iso", **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> datetime:
        try:
            at = super()._deserialize(value, attr, data, **kwargs).astimezone(UTC)
        except OverflowError:  # the zone moves the first or last day out of the calendar
            raise self.make_error("invalid", input=value, obj_type=self.OBJ_TYPE) from None
        return at.replace(microsecond=at.microsecond // 1000 * 1000)


class JsonValue(fields.Raw):
    """Any JSON, cleaned so that every store can hold it."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Json:
        return clean_json(value)


class JsonObject(JsonValue):
    """Any JSON object, cleaned."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("metadata", {"type": "object"})
        super().__init__(**kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> dict[str, Json]:
        cleaned = super()._deserialize(value, attr, data, **kwargs)
        if not isinstance(cleaned, dict):
            raise ValidationError("Must be an object.")
        return cleaned


class Items(fields.List[Any]):
    """A JSON array of at most `most` items (None: any number), as a tuple."""

    def __init__(self, item: fields.Field[Any], *, most: int | None, **kwargs: Any) -> None:
        super().__init__(item, validate=validate.Length(max=most), **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> tuple[Any, ...]:  # type: ignore[override]  # commands are frozen
        return tuple(super()._deserialize(value, attr, data, **kwargs))


def load(schema: Schema, raw: object) -> Any:
    """What `schema` makes of `raw`, usually a command.

    Raises InvalidRequest, whose `fields` has for each wrong field (`attachments.0`; `payload` for the whole) the
    list of what is wrong; NotFound where all that is wrong is ids that cannot be ours.
    """
    try:
        return schema.load(raw)  # type: ignore[arg-type]  # what is no object is refused with a ValidationError
    except ValidationError as invalid:
        _refuse(invalid)


def parse_json(body: bytes | str) -> object:
    """The JSON value of `body`, with integers of any size and lone surrogates as they came.

    The standard library's parser and not orjson: that one refuses lone surrogates and makes floats of large
    integers. Raises InvalidRequest for anything that is no JSON, NaN included.
    """
    try:
        return json.loads(body, parse_int=whole_number, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise InvalidRequest("The body is not valid JSON", fields={_WHOLE_PAYLOAD: ["Not valid JSON."]}) from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _refuse(invalid: ValidationError) -> NoReturn:
    """Raise the error of the core that says what marshmallow found."""
    wrong = dict(_flatten(invalid.messages, ()))
    texts = [text for messages in wrong.values() for text in messages]
    if texts and all(isinstance(text, _NoSuchThing) for text in texts):
        raise NotFound(str(texts[0])) from None
    named = dict(list(wrong.items())[:_MAX_REPORTED_FIELDS])
    raise InvalidRequest(f"Invalid: {', '.join(named)}", fields=named) from None


def _flatten(messages: object, path: tuple[str, ...]) -> Iterator[tuple[str, list[str]]]:
    """Marshmallow's nested messages as `dotted.path` and texts. Names come from outside: cleaned and cut."""
    if isinstance(messages, Mapping):
        for key, inner in messages.items():
            step = () if key == "_schema" else (clean_text(str(key))[:MAX_FOREIGN_ID_LENGTH],)
            yield from _flatten(inner, path + step)
    else:
        texts: list[str] = messages if isinstance(messages, list) else [str(messages)]
        yield ".".join(path) or _WHOLE_PAYLOAD, texts
