"""The built page: its addresses, how long browsers keep what, and what its policy lets run."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.web.rest_stage import Stage, stage

INDEX = '<!doctype html><script type="module" src="/static/app/assets/page-1a2b.js"></script>'
CODE = "// a line that is long enough to be worth packing\n" * 100


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Stage]:
    """A server with a page that was built."""
    folder = tmp_path / "app"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text(INDEX)
    (folder / "assets" / "page-1a2b.js").write_text(CODE)
    (folder / "assets" / "page.js.map").write_text("{}")
    async with stage(tmp_path / "x.sqlite3", built_page=folder) as made:
        yield made


@pytest.mark.parametrize("path", ["/", "/c/0123456789abcdef01234567", "/s/a-session", "/o/bridges"])
async def test_every_address_of_the_page_is_answered_with_the_index(page: Stage, path: str) -> None:
    answered = await page.ask("GET", path, token=None)
    assert (answered.status, answered.content.decode()) == (200, INDEX)
    assert answered.headers["Cache-Control"] == "no-cache"


async def test_scripts_run_from_the_servers_own_files_only(page: Stage) -> None:
    policy = (await page.ask("GET", "/", token=None)).headers["Content-Security-Policy"]
    rules = dict(rule.strip().partition(" ")[::2] for rule in policy.split(";"))
    assert (rules["default-src"], rules["script-src"], rules["connect-src"]) == ("'none'", "'self'", "'self'")


async def test_what_has_a_hash_in_its_name_stays_and_comes_packed(page: Stage) -> None:
    answered = await page.ask("GET", "/static/app/assets/page-1a2b.js", token=None)
    assert answered.content.decode() == CODE
    assert "immutable" in answered.headers["Cache-Control"]
    assert answered.headers["Content-Encoding"] == "gzip"
    plain = await page.ask(
        "GET", "/static/app/assets/page-1a2b.js", token=None, headers={"Accept-Encoding": "identity"}
    )
    assert plain.content.decode() == CODE
    assert "Content-Encoding" not in plain.headers


async def test_only_files_of_known_types_below_the_folder_are_served(page: Stage) -> None:
    for name in ("assets/page.js.map", "assets/none.js", "..%2F..%2Faccess.py"):
        assert (await page.ask("GET", f"/static/app/{name}", token=None)).code == "not_found", name


async def test_a_deep_link_with_a_token_logs_in_and_stays_deep(page: Stage) -> None:
    answered = await page.ask("GET", "/c/0123456789abcdef01234567?token=user-token", token=None)
    assert (answered.status, answered.headers["Location"]) == (303, "/c/0123456789abcdef01234567")
    assert re.search("HttpOnly", answered.headers["Set-Cookie"])


async def test_the_icon_of_the_status_page_is_there_too(page: Stage) -> None:
    assert (await page.ask("GET", "/static/favicon.svg", token=None)).status == 200
