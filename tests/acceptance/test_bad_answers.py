"""Whatever people answer to an agent's question that does not fit gets its code, and the question stays as it was.

One real server, a bridge of the test's own that asks, and people on sockets and REST; what stays is read off the disk.
"""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.bad_values import NOBODY
from tests.support.bad_world import SAID, World, refused, world_of
from tests.support.raw_clients import Closed, Frame, RawBridge, hello, open_socket
from tests.support.shared_server import TOKEN, SharedServer, shared_server

WEEK_S = 7 * 24 * 3600

ASKED: dict[str, Frame] = {
    "tool": {
        "type": "tool_permission",
        "title": f"Run {SAID}?",
        "toolName": "Bash",
        "input": {"command": f"make {SAID}", "timeout": 5, "description": "x"},
    },
    "fixed": {
        "type": "tool_permission",
        "title": "?",
        "toolName": "Bash",
        "input": {"command": "x"},
        "editable": False,
    },
    "few": {
        "type": "tool_permission",
        "title": "?",
        "toolName": "Other",
        "input": {},
        "options": [{"id": "deny", "label": "No", "kind": "reject_once"}],
    },
    "plan": {"type": "plan_review", "title": "Plan?", "message": "1.", "input": {"plan": "1."}},
    "question": {
        "type": "question",
        "title": "Which?",
        "questions": [
            {"id": "q1", "question": "Which?", "options": [{"label": "A"}, {"label": "B"}]},
            {"id": "q2", "question": "And?", "multiSelect": True, "options": []},
        ],
    },
}
BASH = {"command": "make", "timeout": 5, "description": "x"}
BAD: list[tuple[str, dict[str, Any], str]] = [
    ("tool", {"selectedOption": "sudo"}, "selectedOption"),
    ("tool", {"selectedOption": ""}, "selectedOption"),
    ("tool", {"selectedOption": "answer"}, "selectedOption"),
    ("tool", {"selectedOption": "accept_edits"}, "selectedOption"),
    ("tool", {"selectedOption": "allow_once ", "message": SAID}, "selectedOption"),
    ("tool", {"selectedOption": ["allow_once"]}, "selectedOption"),
    ("tool", {"selectedOption": "allow_once", "input": SAID}, "input"),
    ("tool", {"selectedOption": "allow_once", "input": [BASH]}, "input"),
    ("tool", {"selectedOption": "allow_once", "input": {**BASH, "command": None}}, "input"),
    ("tool", {"selectedOption": "allow_once", "input": {**BASH, "command": ["ls"]}}, "input"),
    ("tool", {"selectedOption": "allow_always", "input": {"timeout": 5}}, "input"),
    ("tool", {"selectedOption": "allow_session", "input": {**BASH, "timeout": True}}, "input"),
    ("tool", {"selectedOption": "deny", "input": BASH}, "input"),
    ("tool", {"selectedOption": "allow_once", "answers": {"q1": "A"}}, "answers"),
    ("tool", {"selectedOption": "allow_once", "surprise": 1}, "surprise"),
    ("fixed", {"selectedOption": "allow_once", "input": {"command": "y"}}, "input"),
    ("few", {"selectedOption": "allow_once"}, "selectedOption"),
    ("few", {"selectedOption": "deny_stop"}, "selectedOption"),
    ("plan", {"selectedOption": "allow_once"}, "selectedOption"),
    ("plan", {"selectedOption": "edit"}, "input"),
    ("plan", {"selectedOption": "edit", "input": {"plan": 2}}, "input"),
    ("plan", {"selectedOption": "edit", "input": {"plan": "2.", "more": 1}}, "input"),
    ("plan", {"selectedOption": "reject", "input": {"plan": "2."}}, "input"),
    ("question", {"selectedOption": "answer"}, "answers"),
    ("question", {"selectedOption": "answer", "answers": {"q9": "A"}}, "answers"),
    ("question", {"selectedOption": "answer", "answers": {"q1": ["A", "B"]}}, "answers"),
    ("question", {"selectedOption": "answer", "answers": {"q1": 1}}, "answers"),
    ("question", {"selectedOption": "answer", "answers": {"q2": ["A", None]}}, "answers"),
    ("question", {"selectedOption": "answer", "answers": {"q1": "A"}, "input": {}}, "input"),
]
GOOD: dict[str, dict[str, Any]] = {
    "tool": {"selectedOption": "allow_once", "input": {"command": f"make {SAID} faster", "timeout": 6}},
    "fixed": {"selectedOption": "allow_once"},
    "few": {"selectedOption": "deny", "message": SAID},
    "plan": {"selectedOption": "edit", "input": {"plan": SAID}},
    "question": {"selectedOption": "answer", "answers": {"q1": "neither", "q2": ["x", "y"]}},
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedServer]:
    with shared_server(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
async def world(server: SharedServer) -> AsyncIterator[World]:
    async with world_of(server) as world:
        yield world


@dataclass
class Asking:
    """A run of which several questions wait."""

    world: World
    bridge: RawBridge
    request_id: str
    conversation_id: str
    prompts: dict[str, str]

    def stored(self, name: str) -> Any:
        """The prompt as it is on disk."""
        return self.world.server.document("interactive_prompts", "id", self.prompts[name])

    async def answer_everywhere(self, name: str, answer: dict[str, Any]) -> list[tuple[int | None, Any]]:
        """Say it on the socket, to the prompt and in the conversation: status (of REST) and answer."""
        prompt_id = self.prompts[name]
        said = await self.world.anna.ask("permission:respond", {"promptId": prompt_id, **answer})
        direct = await self.world.rest("POST", f"/api/chat/prompts/{prompt_id}/respond", json=answer)
        path = f"/api/chat/conversations/{self.conversation_id}/respond"
        return [(None, said), direct, await self.world.rest("POST", path, json={"promptId": prompt_id, **answer})]


@asynccontextmanager
async def asking(world: World, request_id: str, *names: str) -> AsyncIterator[Asking]:
    """An agent that asks these; in the end its run is over."""
    async with world.bridge(hello()) as bridge:
        await bridge.until("welcome")
        conversation_id = await world.sent(request_id, SAID, agent="ext", workingDirectory="/work")
        await bridge.until("claude:execute")
        await bridge.say({"type": "claude:started", "requestId": request_id, "seq": 1, "sessionId": "s"})
        for seq, name in enumerate(names, 2):
            prompt = {"promptId": name, "message": "", "options": [], **ASKED[name]}
            await bridge.say({"type": "permission:request", "requestId": request_id, "seq": seq, "prompt": prompt})
        await bridge.until_acknowledged(request_id, len(names) + 1)
        rows = world.server.query(
            "SELECT id, doc FROM interactive_prompts WHERE requestId = ? ORDER BY seq", request_id
        )
        prompts = dict(zip(names, [str(row[0]) for row in rows], strict=True))
        yield Asking(world, bridge, request_id, conversation_id, prompts)
        await world.anna.ask("chat:abort", {"requestId": request_id})


async def test_an_answer_that_does_not_fit_is_refused_by_its_field_and_the_prompt_stays(world: World) -> None:
    async with asking(world, "bad", *ASKED) as run:
        before = {name: run.stored(name) for name in ASKED}
        for name, answer, field in BAD:
            for status, told in await run.answer_everywhere(name, answer):
                assert status in (None, 400), (name, answer)
                refused(told, "invalid_payload", field)
        assert {name: run.stored(name) for name in ASKED} == before
        for name, answer in GOOD.items():
            (_, first), *late = await run.answer_everywhere(name, answer)
            assert first["ok"], first
            for status, told in late:
                assert status == 409
                refused_with(told, first["prompt"])
            frame = await run.bridge.until("permission:response")
            assert frame["promptId"] == name
            assert frame["selectedOption"] == answer["selectedOption"]
            assert (frame.get("input"), frame.get("answers")) == (answer.get("input"), answer.get("answers"))


def refused_with(told: Any, winner: Any) -> None:
    """The late one hears who won."""
    assert told["error"]["code"] == "already_resolved"
    assert told["prompt"] == winner


async def test_an_answer_after_the_end_of_the_run_is_told_how_the_prompt_ended(world: World) -> None:
    async with asking(world, "late", "tool", "plan") as run:
        complete = {"type": "claude:complete", "requestId": "late", "result": {"outcome": "completed"}}
        await run.bridge.say({**complete, "seq": 4})
        await run.bridge.until_acknowledged("late", 4)
        for name in run.prompts:
            for _, told in await run.answer_everywhere(name, GOOD[name]):
                assert (told["error"]["code"], told["prompt"]["status"]) == ("already_resolved", "cancelled")
                assert told["prompt"]["autoHandler"] == "run_ended"
        for event, more in (("prompt:seen", {}), ("prompt:extend", {"seconds": 60})):
            told = await world.anna.ask(event, {"promptId": run.prompts["tool"], **more})
            assert told["error"]["code"] == "already_resolved"


async def test_prompts_are_answered_in_their_own_conversation_only(world: World) -> None:
    async with asking(world, "own", "tool") as run:
        before = run.stored("tool")
        other = (await world.anna.ask("conversation:create", {}))["conversation"]["id"]
        body = {"promptId": run.prompts["tool"], **GOOD["tool"]}
        for conversation_id in (other, NOBODY):
            status, told = await world.rest("POST", f"/api/chat/conversations/{conversation_id}/respond", json=body)
            assert status == 404
            refused(told, "not_found")
        for _, told in await Asking(world, run.bridge, "own", other, {"tool": NOBODY}).answer_everywhere(
            "tool", GOOD["tool"]
        ):
            refused(told, "not_found")
        assert run.stored("tool") == before


ABSURD = ("0", "-1", "0.0", "1e999", str(WEEK_S + 1), "9" * 30, '"60"', "true")
NO_JSON = ("NaN", "Infinity")


@pytest.mark.parametrize("seconds", [*ABSURD, *NO_JSON])
async def test_an_absurd_extension_is_refused_and_the_deadline_stays(world: World, seconds: str) -> None:
    async with asking(world, f"extend-{seconds[:10]}", "tool") as run:
        before = run.stored("tool")
        packet = json.dumps(["prompt:extend", {"promptId": run.prompts["tool"], "seconds": "@"}])
        stranger = await open_socket(world.session, world.server.url, TOKEN)
        told = await stranger.say("421" + packet.replace('"@"', seconds))
        if seconds in NO_JSON:
            assert told == Closed(1002), "what is no JSON ends its connection"
        else:
            refused(told, "invalid_payload", "seconds")
            await stranger.close()
        assert run.stored("tool") == before


@pytest.mark.parametrize(
    ("grant", "field"),
    [
        ({"toolName": ""}, "toolName"),
        ({"toolName": "Bash; rm"}, "toolName"),
        ({"toolName": "*"}, "toolName"),
        ({"toolName": "Bash", "pattern": ""}, "pattern"),
        ({"toolName": "Bash", "pattern": ":*"}, "pattern"),
        ({"toolName": "Bash", "pattern": "npm $(x)"}, "pattern"),
        ({"toolName": "Bash", "pattern": "x" * 100_000}, "pattern"),
        ({"toolName": "Write", "pattern": "../x"}, "pattern"),
        ({"toolName": "Write", "pattern": "/etc/*"}, "pattern"),
        ({"toolName": "WebFetch", "pattern": "https://x/y"}, "pattern"),
        ({"toolName": "mcp__x__y", "pattern": "z"}, "pattern"),
        ({"toolName": "Bash", "scope": "project"}, "projectId"),
        ({"toolName": "Bash", "scope": "world"}, "scope"),
        ({"toolName": "Bash", "effect": "ask"}, "effect"),
        ({"toolName": "Bash", "expiresAt": "2020-01-01T00:00:00.000Z"}, "expiresAt"),
        ({"toolName": "Bash", "expiresAt": "9999-12-31T23:59:59.999Z"}, "expiresAt"),
        ({"toolName": "Bash", "expiresAt": "tomorrow"}, "expiresAt"),
        ({"toolName": "Bash", "expiresAt": 0}, "expiresAt"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_grant_that_cannot_be_is_refused_and_answers_nothing(
    world: World, grant: dict[str, Any], field: str
) -> None:
    name = f"grant-{abs(hash(str(grant)))}"
    async with asking(world, name, "tool") as run:
        path = f"/api/chat/conversations/{run.conversation_id}/permissions"
        status, told = await world.rest("POST", path, json={"scope": "conversation", **grant})
        assert status == 400
        refused(told, "invalid_payload", field)
        assert (await world.rest("GET", path))[1]["permissions"] == []
        assert run.stored("tool")["status"] == "pending"


async def test_a_grant_is_revoked_where_it_counts_and_once(world: World) -> None:
    one, other = [(await world.anna.ask("conversation:create", {}))["conversation"]["id"] for _ in range(2)]
    paths = {name: f"/api/chat/conversations/{name}/permissions" for name in (one, other, NOBODY)}
    given = await world.rest("POST", paths[one], json={"toolName": "Bash", "scope": "conversation"})
    assert given[0] == 201
    grant = given[1]["permission"]["id"]
    for path in (paths[other], paths[NOBODY]):
        status, told = await world.rest("DELETE", f"{path}/{grant}")
        assert status == 404
        refused(told, "not_found")
    for nothing in (NOBODY, "nope"):
        assert (await world.rest("DELETE", f"{paths[one]}/{nothing}"))[0] == 404
    assert (await world.rest("DELETE", f"{paths[one]}/{grant}"))[1]["permission"]["status"] == "revoked"
    status, told = await world.rest("DELETE", f"{paths[one]}/{grant}")
    assert (status, told["error"]["code"]) == (409, "already_resolved")
