"""What every judged payload has in common: names, cleaning, ids, and errors that say which field."""

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baton.core.errors import InvalidRequest, NotFound
from baton.core.models import PermissionMode
from baton.core.text import clean_json
from baton.schemas.fields import (
    Amount,
    Flag,
    Items,
    JsonValue,
    Mode,
    Moment,
    Name,
    ObjectId,
    Path,
    Payload,
    RequestName,
    Text,
    WholeNumber,
    load,
    parse_json,
)

OWN_ID = "65f0c0ffee0123456789abcd"


class Everything(Payload):
    """One field of each kind."""

    some_text = Text(most=5)
    some_name = Name()
    some_path = Path()
    some_id = ObjectId("thing")
    request_id = RequestName()
    mode = Mode()
    number = WholeNumber(least=1, most=9)
    amount = Amount()
    flag = Flag()
    at = Moment()
    value = JsonValue()
    ids = Items(ObjectId("thing"), most=2)


def loaded(**raw: Any) -> Any:
    return load(Everything(), raw)


def refused(**raw: Any) -> dict[str, Any]:
    with pytest.raises(InvalidRequest) as error:
        loaded(**raw)
    assert not isinstance(error.value, NotFound)
    return dict(error.value.fields or {})


def test_names_on_the_wire_are_camel_case_and_inside_snake_case() -> None:
    assert loaded(someText="x", requestId="r") == {"some_text": "x", "request_id": "r"}
    assert refused(some_text="x") == {"some_text": ["Unknown field."]}


def test_text_is_cleaned_before_its_length_counts() -> None:
    assert loaded(someText="ab\ud800\ud83d\udcac") == {"some_text": "ab\ufffd💬"}
    assert "someText" in refused(someText="abcdef")


@pytest.mark.parametrize("wrong", ["", "  ", "x" * 201, 7, None, ["x"]])
def test_a_name_says_something(wrong: Any) -> None:
    assert "someName" in refused(someName=wrong)
    assert loaded(someName="  x ") == {"some_name": "x"}


def test_a_path_has_no_nul() -> None:
    assert "somePath" in refused(somePath="/srv\0/x")


@pytest.mark.parametrize("wrong", ["", "x", "65f0c0ffee", OWN_ID + "0", "g" * 24, OWN_ID + "\n", "６" * 24])
def test_an_id_that_cannot_be_ours_names_nothing(wrong: str) -> None:
    with pytest.raises(NotFound, match="no such thing"):
        loaded(someId=wrong)


def test_an_id_may_come_in_upper_case() -> None:
    assert loaded(someId=OWN_ID.upper()) == {"some_id": OWN_ID}


def test_what_is_wrong_otherwise_is_told_before_an_unknown_id() -> None:
    assert set(refused(someId="x", number=0)) == {"someId", "number"}
    assert set(refused(someId=7)) == {"someId"}


def test_interactive_is_the_default_mode() -> None:
    assert loaded(mode="interactive") == {"mode": PermissionMode.DEFAULT}
    assert "acceptEdits" in refused(mode="yolo")["mode"][0]


@pytest.mark.parametrize("wrong", [0, 10, 1.5, "5", True, 2**70, float("inf"), float("nan"), None])
def test_a_number_is_a_number_in_its_bounds(wrong: Any) -> None:
    assert "number" in refused(number=wrong)


@pytest.mark.parametrize("wrong", ["1.5", -0.1, float("nan"), float("inf"), True, None])
def test_an_amount_is_finite_and_not_below_zero(wrong: Any) -> None:
    assert "amount" in refused(amount=wrong)


@pytest.mark.parametrize("wrong", ["true", 1, 0, None])
def test_a_flag_is_a_boolean(wrong: Any) -> None:
    assert "flag" in refused(flag=wrong)


@pytest.mark.parametrize("wrong", ["", "now", "2026-01-01", "2026-01-01T00:00:00", 0, "0001-01-01T00:00:00+23:00"])
def test_a_time_has_its_zone(wrong: Any) -> None:
    assert "at" in refused(at=wrong)


def test_a_time_is_cut_to_milliseconds_in_utc() -> None:
    at = loaded(at="2026-01-01T01:00:00.123999+01:00")["at"]
    assert at.isoformat() == "2026-01-01T00:00:00.123000+00:00"


def test_a_list_is_a_tuple_and_bounded_and_names_the_item() -> None:
    assert loaded(ids=[OWN_ID]) == {"ids": (OWN_ID,)}
    assert set(refused(ids=[OWN_ID, 7])) == {"ids.1"}
    assert set(refused(ids=[OWN_ID] * 3)) == {"ids"}


def test_a_flood_of_wrong_fields_is_cut() -> None:
    wrong = load_error({f"field {n} \ud800" + "x" * 1000: n for n in range(1000)})
    assert len(wrong) == 50
    assert max(map(len, wrong)) == 100
    assert all(name.isprintable() for name in wrong)


def load_error(raw: Any) -> dict[str, Any]:
    with pytest.raises(InvalidRequest) as error:
        load(Everything(), raw)
    return dict(error.value.fields or {})


@pytest.mark.parametrize("raw", [None, 1, "x", [], True])
def test_what_is_no_object_is_wrong_as_a_whole(raw: Any) -> None:
    assert set(load_error(raw)) == {"payload"}


@settings(max_examples=60, deadline=None)
@given(
    raw=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["someText", "someId", "ids", "value", "at", "mode", "x"]), inner)
        ),
        max_leaves=8,
    )
)
def test_no_payload_raises_anything_but_our_own_errors(raw: Any) -> None:
    with contextlib.suppress(InvalidRequest):  # NotFound is one too
        load(Everything(), raw)


def test_json_keeps_what_other_parsers_lose() -> None:
    assert parse_json(b'{"n": 99999999999999999999, "s": "\\ud800"}') == {"n": 99999999999999999999, "s": "\ud800"}


def test_a_number_of_any_length_is_json() -> None:
    assert clean_json(parse_json(b"[-" + b"1" * 5000 + b"]")) == ["-" + "1" * 5000]


@pytest.mark.parametrize("digits", [25, 5000])
def test_a_number_is_no_text_however_long_it_is(digits: int) -> None:
    with pytest.raises(InvalidRequest):
        load(Everything(), parse_json(b'{"someName": ' + b"1" * digits + b"}"))


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"NaN", b"[1,]", b"[" * 50_000, b"Infinity"])
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        parse_json(body)
