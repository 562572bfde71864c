"""Text is cleaned once, so that every store, codec and browser can hold it."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baton.core.text import clean_json, clean_text, utf16_length


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("plain", "plain"),
        ("a\ud800b", "a�b"),
        ("\udc00", "�"),
        ("\ud83d\ude00", "😀"),
        ("x\ud83d", "x�"),
        ("nul\0stays", "nul\0stays"),
    ],
)
def test_lone_surrogates_become_the_replacement_character(raw: str, clean: str) -> None:
    assert clean_text(raw) == clean


@given(st.text(alphabet=st.characters(codec=None, exclude_categories=())))
def test_cleaned_text_is_valid_utf8_and_stays_as_it_is(raw: str) -> None:
    once = clean_text(raw)
    once.encode()
    assert clean_text(once) == once


@given(st.text())
def test_length_counts_as_javascript_does(text: str) -> None:
    assert utf16_length(text) == len(text.encode("utf-16-le")) // 2


def test_numbers_beyond_64_bits_become_strings_and_nul_leaves_keys() -> None:
    assert clean_json({"a\0b": 2**63, "c": -(2**63), "d": [float("nan")]}) == {
        "ab": str(2**63),
        "c": -(2**63),
        "d": [None],
    }


def test_deep_nesting_ends_as_text_instead_of_recursion() -> None:
    deep: object = "bottom"
    for _ in range(500):
        deep = [deep]
    orjson.dumps(clean_json(deep))
