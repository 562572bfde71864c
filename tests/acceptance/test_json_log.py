"""The log of a running server for programs: each line is one JSON object with the documented fields."""

import ast
import json
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

import baton
from tests.support.shared_server import TOKEN, SharedServer

PAGE = Path(__file__).parents[2] / "docs" / "observability.md"
ALWAYS = {"time", "level", "logger", "marker", "message"}


def documented() -> set[str]:
    """Every field that the page names between the log's heading and its first example."""
    part = PAGE.read_text(encoding="utf-8").split("## The log")[1].split("```")[0]
    return {name for name in re.findall(r"`(\w+)`", part) if not name.isupper()}


def ask(server: SharedServer, method: str, path: str, token: str, body: Any = None) -> Any:
    """The answer, of whatever status."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(server.url + path, content, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return json.load(response)
    except urllib.error.HTTPError as refused:
        with refused:
            return json.load(refused)


@pytest.fixture
def lines(tmp_path: Path) -> list[dict[str, Any]]:
    """What a server has logged that took a message, was asked with wrong tokens, and met its limits."""
    server = SharedServer(tmp_path, LOG_FORMAT="json", BATON_WRONG_TOKENS="1", BATON_REST_PER_MINUTE="3")
    try:
        server.start()
        conversation = ask(server, "POST", "/api/chat/conversations", TOKEN, {"agent": "demo"})["conversation"]
        path = f"/api/chat/conversations/{conversation['id']}/messages"
        assert ask(server, "POST", path, TOKEN, {"content": "SECRET /demo\u2028markdown", "requestId": "r\u20281"})[
            "ok"
        ]
        assert ask(server, "GET", "/api/me", "SECRET-wrong-1")["error"]["code"] == "unauthenticated"
        codes = {ask(server, "GET", "/api/me", TOKEN).get("error", {}).get("code") for _ in range(3)}
        assert "rate_limited" in codes
    finally:
        server.stop()
    return [json.loads(line) for line in server.log.splitlines()]


def test_each_line_parses_and_has_the_documented_fields(lines: list[dict[str, Any]]) -> None:
    assert len(lines) >= 5
    for line in lines:
        assert line.keys() >= ALWAYS, line
        assert line.keys() <= documented(), line
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
        assert line["level"] in ("DEBUG", "INFO", "WARNING", "ERROR")
        assert "action" in line or not line["logger"].startswith("baton"), line


def test_what_happened_is_told_and_what_was_said_is_not(lines: list[dict[str, Any]]) -> None:
    by_action = {line.get("action"): line for line in lines}
    assert by_action["chat.sent"]["requestId"] == "r\u20281"
    slowed = [line for line in lines if line.get("action") == "access.slowed"]
    assert {line["reason"] for line in slowed} == {"wrong_token", "rest_per_minute"}
    assert "SECRET" not in json.dumps(lines)


def test_every_field_that_the_source_names_is_documented() -> None:
    named: set[str] = set()
    for path in Path(baton.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "extra":
                dicts = [each for each in ast.walk(node.value) if isinstance(each, ast.Dict)]
                named |= {key.value for each in dicts for key in each.keys if isinstance(key, ast.Constant)}
    assert {"action", "requestId"} <= named, "the search is broken"
    assert named <= documented()
