"""The golden files of the page, judged by the rules as Python has them; Vitest judges the page's own by the same."""

import json
from pathlib import Path

import pytest

from tests.support.page_golden import FOLDER, MADE, SAID
from tests.support.page_view import PageView

FILES = sorted(FOLDER.glob("*.json"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_page_holds_what_is_expected(file: Path) -> None:
    golden = json.loads(file.read_text(encoding="ascii"))
    view = PageView()
    for step in golden["steps"]:
        view.take(step)
    assert view.shown() == golden["expected"], golden["about"]


def test_every_case_has_its_file() -> None:
    assert {file.stem for file in FILES} == {f"said-{name}" for name in SAID} | {f"made-{name}" for name in MADE}


@pytest.mark.parametrize("name", MADE)
def test_what_is_made_by_hand_is_written_as_it_stands(name: str) -> None:
    about, _, expected = MADE[name]
    golden = json.loads((FOLDER / f"made-{name}.json").read_text(encoding="ascii"))
    assert (golden["about"], golden["expected"]) == (about, expected)
