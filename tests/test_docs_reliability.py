"""docs/reliability.md names what is there: modules, tests, every fault of the suite, every promise that is judged."""

import re
from pathlib import Path

from tests.faults.suite.checks import RULES
from tests.faults.suite.plan import Fault

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")


def test_every_file_that_the_page_names_is_there() -> None:
    names = set(re.findall(r"`([\w/]+\.py)`", PAGE))
    folders = [ROOT, ROOT / "baton", ROOT / "tests", ROOT / "tests" / "faults", ROOT / "tests" / "faults" / "suite"]
    assert len(names) > 30
    assert {name for name in names if not any((folder / name).is_file() for folder in folders)} == set()


def test_every_fault_is_explained() -> None:
    assert {fault for fault in Fault if f"`{fault}`" not in PAGE} == set()


def test_every_promise_that_the_suite_judges_has_its_section() -> None:
    for promise, _ in RULES:
        assert re.search(rf"^### {promise[0]}\. ", PAGE, re.MULTILINE), promise
