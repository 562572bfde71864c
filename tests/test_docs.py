"""Everything a user can meet stands in docs/: settings, error codes, events, routes, frames, commands."""

import argparse
import ast
import configparser
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import baton
from baton.cli import build_parser
from baton.core import errors
from baton.core.frames import FRAME_TYPES, SUBPROTOCOL
from baton.core.models import PermissionMode
from baton.core.stream import STREAM_EVENT_TYPES
from baton.schemas.browser import EVENTS
from baton.services.integrity import MEANINGS
from baton.settings import AGENT_SETTINGS
from baton.web.rest.table import ROUTES
from baton.web.wire import HTTP_STATUS, SERVER_EVENTS
from tests.support import settings_reference

DOCS = Path(__file__).parent.parent / "docs"
PROTOCOL = (DOCS / "protocol.md").read_text(encoding="utf-8")


def section(number: int) -> str:
    """The text of one numbered section of the protocol."""
    parts = re.split(r"^## (\d)\. ", PROTOCOL, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))[str(number)]


def missing(names: set[str], text: str) -> set[str]:
    return {name for name in names if f"`{name}`" not in text}


def subclasses(cls: type[errors.BatonError]) -> Iterator[type[errors.BatonError]]:
    for child in cls.__subclasses__():
        yield child
        yield from subclasses(child)


def test_the_tables_of_settings_are_those_of_the_code() -> None:
    page = settings_reference.PAGE.read_text(encoding="utf-8")
    assert page == settings_reference.page_with(settings_reference.render()), "run `make docs`"


def test_the_settings_of_the_agents_are_explained() -> None:
    told = set(re.findall(r"^\| `(BATON_CLAUDE_\w+)`", (DOCS / "agents.md").read_text(encoding="utf-8"), flags=re.M))
    assert told == {f"BATON_CLAUDE_{name.upper()}" for name in AGENT_SETTINGS["claude"]}


def test_every_error_code_is_explained() -> None:
    families: list[type[errors.BatonError]] = [errors.BatonError, *subclasses(errors.BatonError)]
    assert missing({family.code for family in families} | set(HTTP_STATUS), section(1)) == set()


def test_every_error_code_stands_with_its_status() -> None:
    told = dict(re.findall(r"^\| `(\w+)` \| (\d{3}) \|", section(1), flags=re.M))
    assert {code: int(status) for code, status in told.items()} == dict(HTTP_STATUS)


def test_every_code_that_the_source_names_is_explained() -> None:
    named: set[str] = set()
    for path in Path(baton.__file__).parent.rglob("*.py"):
        named |= {*_codes(ast.parse(path.read_text(encoding="utf-8")))}
    assert named, "no code was found: the search is broken"
    assert missing(named, section(1)) == set()


def _codes(tree: ast.AST) -> Iterator[str]:
    """Every constant that is given as `code=`, or first to a `Failure`."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        given = [keyword.value for keyword in node.keywords if keyword.arg == "code"]
        if isinstance(node.func, ast.Name) and node.func.id == "Failure":
            given += node.args[:1]
        yield from (value.value for value in given if isinstance(value, ast.Constant) and isinstance(value.value, str))


def test_every_event_of_clients_is_explained() -> None:
    assert missing(set(EVENTS), section(2).split("### 2.2")[0]) == set()


def test_every_event_of_the_server_is_explained() -> None:
    assert missing(set(SERVER_EVENTS), section(2).split("### 2.2")[1]) == set()


def test_the_routes_that_are_explained_are_those_that_there_are() -> None:
    assert documented_routes() == {f"{route.method} {route.path}" for route in ROUTES} | {"GET /"}


def documented_routes() -> set[str]:
    """`GET`, `PATCH /path` in a row's first cell are two routes of one path."""
    found: set[str] = set()
    for cell in re.findall(r"^\| (`.*?) \|", section(3), flags=re.M):
        methods: list[str] = []
        for method, path in re.findall(r"`([A-Z]+)(?: (\S+))?`", cell):
            methods.append(method)
            if path:
                found |= {f"{each} {path}" for each in methods}
                methods.clear()
    return found


def test_every_frame_of_the_bridge_wire_is_explained() -> None:
    assert missing({*FRAME_TYPES.values(), SUBPROTOCOL}, section(5)) == set()


def test_every_event_of_a_stream_is_explained() -> None:
    assert missing(set(STREAM_EVENT_TYPES.values()), section(5).split("### 5.3")[1]) == set()


def test_every_permission_mode_is_explained() -> None:
    assert missing({mode.value for mode in PermissionMode}, section(2)) == set()


def test_every_command_is_explained() -> None:
    text = (DOCS / "cli.md").read_text(encoding="utf-8")
    paths = list(commands(build_parser(), "baton"))
    assert len(paths) >= 4
    for path in paths:
        assert f"`{path}" in text, path


def commands(parser: argparse.ArgumentParser, path: str) -> Iterator[str]:
    """Every command that can be run, with the names of its groups before it."""
    groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not groups:
        yield path
    for group in groups:
        choices: dict[str, argparse.ArgumentParser] = group.choices
        for name, child in choices.items():
            yield from commands(child, f"{path} {name}")


def test_every_finding_of_a_check_is_explained() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.+) \| (yes|no) \|$", (DOCS / "cli.md").read_text(encoding="utf-8"), flags=re.M)
    told = {code: (text.lower(), repair == "yes") for code, text, repair in rows}
    assert told == {code: (meaning.text.lower(), meaning.is_mended) for code, meaning in MEANINGS.items()}


def test_every_dependency_has_its_reason() -> None:
    config = configparser.ConfigParser()
    config.read(DOCS.parent / "setup.cfg")
    lines = [config["options"]["install_requires"], *config["options.extras_require"].values()]
    names = {re.split(r"[<>=]", line)[0] for line in "\n".join(lines).split()}
    rows = re.findall(r"^\| ([^|]+) \|", (DOCS / "dependencies.md").read_text(encoding="utf-8"), flags=re.M)
    explained = {name.strip() for row in rows for name in row.split(",")}
    assert names - explained == set()


def test_every_test_that_the_page_on_security_names_is_there() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)`", (DOCS / "security.md").read_text(encoding="utf-8"))
    assert len(named) > 15
    assert [path for path in named if not (DOCS.parent / path).exists()] == []


def test_every_page_is_reached_from_the_readme() -> None:
    readme = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    for page in DOCS.glob("*.md"):
        assert f"docs/{page.name}" in readme, page.name
    index = (DOCS / "decisions" / "README.md").read_text(encoding="utf-8")
    for page in (DOCS / "decisions").glob("0*.md"):
        assert page.name in index, page.name


@pytest.mark.parametrize("page", [DOCS.parent / "README.md", *DOCS.rglob("*.md")], ids=lambda page: page.name)
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target
