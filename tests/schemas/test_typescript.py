"""The page's wire types are what the schemas say now, and say something about every event."""

from pathlib import Path

import pytest

from baton.schemas import browser, told
from baton.schemas.typescript import generate, main

TYPES = Path(__file__).parents[2] / "ui" / "src" / "wire" / "types.ts"


def test_the_types_of_the_page_are_fresh() -> None:
    assert TYPES.read_text(encoding="utf-8") == generate(), "run `make ui-types`"


def test_every_event_that_a_client_may_send_has_its_acknowledgement() -> None:
    assert told.ANSWERS.keys() == browser.EVENTS.keys()


def test_an_optional_field_of_a_payload_may_also_be_null() -> None:
    assert "readonly after?: number | null;" in generate()


def test_an_absent_field_of_a_stream_event_is_left_out_and_not_null() -> None:
    assert "readonly ordinal?: number;" in generate()


def test_a_choice_of_words_is_a_union() -> None:
    assert 'export type ConversationStatus = "active" | "archived" | "deleted";' in generate()


def test_a_check_says_when_the_file_is_stale(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "wire" / "types.ts"
    assert main([str(file)]) == 0
    assert main([str(file), "--check"]) == 0
    file.write_text("export type Old = string;\n")
    assert main([str(file), "--check"]) == 1
    assert "make ui-types" in capsys.readouterr().err
