"""What the codec writes is what the resource schemas describe, field by field."""

import dataclasses
from typing import Any

import pytest

from baton.core import models
from baton.core.errors import InvalidRequest
from baton.schemas.codec import camel, to_wire
from baton.schemas.fields import load
from baton.schemas.resources import MIRRORED, Resource
from tests.support.samples import full, sparse

CASES = sorted(MIRRORED, key=lambda cls: cls.__name__)


@pytest.mark.parametrize("cls", CASES)
def test_schema_names_exactly_the_fields_of_the_wire(cls: type) -> None:
    declared = {field.data_key for field in MIRRORED[cls]().fields.values()}
    hidden = models.INTERNAL_FIELDS.get(cls, frozenset())
    assert declared == {camel(field.name) for field in dataclasses.fields(cls) if field.name not in hidden}


@pytest.mark.parametrize("make", [full, sparse])
@pytest.mark.parametrize("cls", CASES)
def test_what_the_codec_writes_loads_and_comes_back(cls: type, make: Any) -> None:
    value = make(cls)
    schema = MIRRORED[cls]()
    loaded = load(schema, to_wire(value))
    if schema.command is None:
        assert set(schema.fields) - set(loaded) <= schema.omitted
        loaded = _rebuilt(cls, loaded)
    assert to_wire(loaded) == to_wire(value)


def _rebuilt(cls: type, loaded: dict[str, Any]) -> Any:
    """The value of the class whose schema makes none, with samples in the fields that are not shown."""
    nested = {
        name: tuple(_rebuilt(_item_class(cls, name), item) if isinstance(item, dict) else item for item in kept)
        if isinstance(kept, tuple)
        else kept
        for name, kept in loaded.items()
    }
    hidden = models.INTERNAL_FIELDS.get(cls, frozenset())
    return dataclasses.replace(sparse(cls), **{name: kept for name, kept in nested.items() if name not in hidden})


def _item_class(cls: type, name: str) -> type:
    [found] = [field for field in dataclasses.fields(cls) if field.name == name]
    item: type = found.type.__args__[0]  # type: ignore[union-attr]  # tuple[Item, ...]
    return item


@pytest.mark.parametrize("cls", CASES)
def test_a_missing_field_is_noticed(cls: type) -> None:
    schema = MIRRORED[cls]()
    wire = to_wire(full(cls))
    for field in schema.fields.values():
        if field.required:
            with pytest.raises(InvalidRequest):
                load(schema, {key: kept for key, kept in wire.items() if key != field.data_key})


@pytest.mark.parametrize("cls", CASES)
def test_every_resource_says_what_it_is(cls: type) -> None:
    assert issubclass(MIRRORED[cls], Resource)
    assert (MIRRORED[cls].__doc__ or "").endswith(".")
