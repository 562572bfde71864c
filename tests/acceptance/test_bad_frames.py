"""Whatever a bridge sends, it gets its code, no run but its own is touched, and nothing is half stored, told or logged.

One real server for all of it, over the raw WebSocket. After each test it must still serve, and its log must hold no
error, no token and none of what agents said (`bad_world`).
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import pytest

from tests.support import bad_values
from tests.support.bad_world import SAID, World, nothing_stored, world_of
from tests.support.raw_clients import Closed, RawBridge, hello, open_bridge
from tests.support.shared_server import BRIDGE_TOKEN, TOKEN, SharedServer, shared_server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedServer]:
    with shared_server(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
async def world(server: SharedServer) -> AsyncIterator[World]:
    async with world_of(server) as world:
        yield world


@pytest.mark.parametrize(("first", "code"), bad_values.NO_HELLOS)
async def test_a_first_frame_that_is_no_hello_ends_the_link(world: World, first: Any, code: int) -> None:
    async with world.bridge(first) as bridge:
        assert (await bridge.ending()).code == code


@pytest.mark.parametrize("token", [None, "wrong", TOKEN, "", BRIDGE_TOKEN[:-1]])
async def test_nobody_is_a_bridge_without_a_bridges_credential(world: World, token: str | None) -> None:
    async with aiohttp.ClientSession() as session, open_bridge(session, world.server.url, token, hello()) as bridge:
        assert (await bridge.ending()).code == 4401


@pytest.mark.parametrize(("frame", "code"), bad_values.NO_FRAMES)
async def test_a_frame_that_does_not_parse_ends_the_link(world: World, frame: Any, code: int) -> None:
    async with world.bridge(hello()) as bridge:
        await bridge.until("welcome")
        await bridge.say(frame)
        assert (await bridge.ending()).code == code


async def test_a_frame_that_is_too_large_is_told_so(world: World) -> None:
    async with world.bridge(hello()) as bridge:
        most = (await bridge.until("welcome"))["maxFrameBytes"]
        sending = asyncio.create_task(bridge.say(json.dumps({"type": "pong", "t": 1, "pad": "x" * most})))
        assert (await bridge.ending()).code == 1009
        await sending


async def test_a_credential_is_one_bridge_and_no_other(world: World) -> None:
    async with world.bridge(hello()) as bridge:
        await bridge.until("welcome")
        async with world.bridge(hello("another")) as other:
            assert (await other.ending()).code == 4401


async def at_work(world: World, bridge: RawBridge, request_id: str) -> None:
    """A run that this bridge was given."""
    await bridge.until("welcome")
    await world.sent(request_id, SAID, agent="ext")
    assert (await bridge.until("claude:execute"))["requestId"] == request_id


def said(request_id: str, seq: int, text: str = SAID, offset: int = 0) -> dict[str, Any]:
    delta = {"type": "text.delta", "messageId": "m", "block": 0, "offset": offset, "text": text}
    return {"type": "claude:stream", "requestId": request_id, "seq": seq, "events": [delta]}


def done(request_id: str, seq: int) -> dict[str, Any]:
    return {"type": "claude:complete", "requestId": request_id, "seq": seq, "result": {}}


async def test_a_gap_ends_the_link_and_nothing_behind_it_is_stored(world: World) -> None:
    async with world.bridge(hello()) as bridge:
        await at_work(world, bridge, "gap")
        await bridge.say(said("gap", 1), said("gap", 3, "never", len(SAID)))
        assert (await bridge.ending()).code == 4400
    again = hello(runs=[{"requestId": "gap", "lastSeq": 3, "prompts": []}])
    async with world.bridge(again) as bridge:
        assert (await bridge.until("welcome"))["acks"] == {"gap": 1}
        await bridge.say(said("gap", 1), said("gap", 2, " and more", len(SAID)), done("gap", 3))
        assert await world.ended("gap") == "completed"
    assert texts_of(world, "gap") == [f"{SAID} and more"]


def texts_of(world: World, request_id: str) -> list[str]:
    """What the agent has said in a run, as it is on disk."""
    rows = world.server.query("SELECT doc FROM messages WHERE requestId = ? AND role = 'assistant'", request_id)
    return [json.loads(document)["content"] for (document,) in rows]


async def test_frames_behind_the_final_one_and_of_unknown_runs_are_acknowledged_and_dropped(world: World) -> None:
    async with world.bridge(hello()) as bridge:
        await at_work(world, bridge, "final")
        await bridge.say(said("final", 1), done("final", 2), said("final", 3, "late", len(SAID)), done("final", 4))
        await bridge.until_acknowledged("final", 4)
        with nothing_stored(world.server):
            await bridge.say(said("final", 9), said("nobody", 1), done("nobody", 2))
            for request_id, seq in (("final", 9), ("nobody", 2)):
                await bridge.until_acknowledged(request_id, seq)
    assert await world.ended("final") == "completed"
    assert texts_of(world, "final") == [SAID]


@pytest.mark.parametrize("body", bad_values.NO_BODIES, ids=lambda body: json.dumps(body)[9:60])
async def test_a_numbered_frame_that_is_refused_fails_its_run_and_is_acknowledged(
    world: World, body: dict[str, Any]
) -> None:
    request_id = f"refused-{bad_values.NO_BODIES.index(body)}"
    async with world.bridge(hello()) as bridge:
        await at_work(world, bridge, request_id)
        await bridge.say(said(request_id, 1), {**body, "requestId": request_id, "seq": 2})
        assert (await bridge.until("claude:abort"))["requestId"] == request_id
        await bridge.until_acknowledged(request_id, 2)
        await bridge.say(said(request_id, 3, "late", len(SAID)))
        await bridge.until_acknowledged(request_id, 3)
    assert await world.ended(request_id) == "failed"
    error = world.server.document("runs", "requestId", request_id)["error"]
    assert error["code"] == "agent_failed"
    assert SAID not in error["message"]
    assert texts_of(world, request_id) == [SAID]


async def test_a_bridge_can_do_nothing_to_another_bridges_run(world: World) -> None:
    await world.sent("theirs", "/demo markdown words=200 rate=100")
    async with world.bridge(hello(runs=[{"requestId": "theirs", "lastSeq": 5, "prompts": ["p"]}])) as bridge:
        assert (await bridge.until("welcome"))["acks"] == {"theirs": 5}
        assert (await bridge.until("claude:abort"))["requestId"] == "theirs"
        for seq in range(1, 200):
            await bridge.say(said("theirs", seq, "INJECTED"))
        await bridge.say(done("theirs", 200))
        frame = await bridge.hear()
        assert isinstance(frame, Closed) or frame["type"] == "ack"
    assert await world.ended("theirs") == "completed"
    (text,) = texts_of(world, "theirs")
    assert "INJECTED" not in text
    assert len(text.split()) > 150, "and it has lost nothing"


async def test_nobody_outside_takes_the_place_of_the_servers_own_bridge(world: World) -> None:
    async with world.bridge(hello("local", "thief")) as bridge:
        assert (await bridge.ending()).code in (4401, 4409)
    answer = await world.anna.ask("bridge:list", {})
    assert [told["id"] for told in answer["bridges"] if told["inProcess"]] == ["local"]
