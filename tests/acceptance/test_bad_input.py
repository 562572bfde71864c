"""Whatever people's programs send, it gets its code, the server goes on, and nothing is half stored, told or logged.

One real server for all of it, from outside: sockets, long polling and REST. After each test it must still serve, and
its log must hold no error, no token and none of what people said (`bad_world`).
"""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import pytest

from tests.support import bad_values
from tests.support.bad_values import NOBODY
from tests.support.bad_world import SAID, World, nothing_stored, refused, world_of
from tests.support.raw_clients import Closed, RawPolling, RawSocket, knock, open_socket
from tests.support.shared_server import BRIDGE_TOKEN, TOKEN, SharedServer, shared_server

LIMIT = 10_000_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedServer]:
    with shared_server(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture
async def world(server: SharedServer) -> AsyncIterator[World]:
    async with world_of(server) as world:
        yield world


# --- events ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("event", bad_values.EVENTS)
async def test_each_wrong_field_of_each_event_is_refused_by_its_name(world: World, event: str) -> None:
    with nothing_stored(world.server):
        for payload, field in bad_values.wrong(event):
            refused(await world.anna.ask(event, payload), "invalid_payload", field)
        refused(await world.anna.ask(event, bad_values.right(event), {}), "invalid_payload", "payload")


@pytest.mark.parametrize(
    "event",
    [event for event, fields in bad_values.EVENTS.items() if "id" in {kind.rstrip("!") for kind in fields.values()}],
)
async def test_an_id_that_is_none_of_ours_names_nothing(world: World, event: str) -> None:
    fields = [name for name, kind in bad_values.EVENTS[event].items() if kind.rstrip("!") == "id"]
    with nothing_stored(world.server):
        for name in fields:
            for text in ("nope", "", f"{NOBODY}0", f"{NOBODY}\0", f"{NOBODY}\n", "\ud800" * 24, "g" * 24, f" {NOBODY}"):
                refused(await world.anna.ask(event, {**bad_values.right(event), name: text}), "not_found")


async def test_an_event_that_there_is_not_is_refused_whatever_it_is_called(world: World) -> None:
    with nothing_stored(world.server):
        for name in bad_values.NO_EVENTS:
            payloads: tuple[list[Any], ...] = ([], [{}], [{"token": BRIDGE_TOKEN}], [1, 2, 3])
            for payload in payloads:
                answer = await world.anna.ask(name, *payload)
                assert isinstance(answer, dict), f"{name[:30]!r} ended the connection"
                refused(answer, "invalid_payload")
    answer = await world.anna.ask("conversation:create", {"requestId": "after-connect"})
    assert answer["conversation"]["userId"] == "admin", "an event named connect has changed who asks"


@pytest.mark.parametrize(
    ("auth", "code"),
    [
        ("", "unauthenticated"),
        ('"token"', "unauthenticated"),
        ("[1]", "unauthenticated"),
        ('{"token":5}', "unauthenticated"),
        ('{"token":{"$ne":1}}', "unauthenticated"),
        ('{"token":"wrong\\ud800"}', "unauthenticated"),
        (f'{{"token":"{"x" * 100_000}"}}', "unauthenticated"),
        (f'{{"token":"{BRIDGE_TOKEN}"}}', "forbidden"),
    ],
    ids=lambda value: value[:24] or "nothing",
)
async def test_nobody_is_let_in_without_a_persons_credential(world: World, auth: str, code: str) -> None:
    async with aiohttp.ClientSession() as session:
        stranger = await knock(session, world.server.url)
        await stranger.tell(f"40{auth}")
        packet = await stranger.packet()
        assert packet.startswith("44{")
        refused(json.loads(packet[2:])["data"], code)
        assert await stranger.say('421["bridge:list",{}]') == Closed(1002)


# --- packets ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("packet", bad_values.NO_PACKETS, ids=lambda packet: packet[:20] or "nothing")
async def test_a_packet_that_does_not_parse_ends_its_connection_and_no_other(world: World, packet: str) -> None:
    stranger = await open_socket(world.session, world.server.url, TOKEN)
    assert await stranger.say(packet) == Closed(1002)
    polling = RawPolling(world.session, world.server.url)
    await polling.connect(TOKEN)
    assert await polling.post(packet or "\x1e") == 400
    assert (await polling.poll())[0] == 400
    assert (await world.anna.ask("bridge:list", {}))["ok"]


def of_size(size: int) -> str:
    """A packet of so many bytes, with which nothing else is wrong than that its content is too long."""
    head, tail = f'421["chat:send-message",{{"requestId":"big","content":"{SAID}', '"}]'
    return head + "x" * (size - len(head) - len(tail)) + tail


async def test_a_packet_of_ten_megabytes_is_answered_and_one_byte_more_ends_the_connection(world: World) -> None:
    with nothing_stored(world.server):
        refused(await world.anna.say(of_size(LIMIT)), "too_large")
        stranger = await open_socket(world.session, world.server.url, TOKEN)
        assert await stranger.say(of_size(LIMIT + 1)) == Closed(1009)
        stranger = await open_socket(world.session, world.server.url, TOKEN)
        assert await stranger.say(b"x" * (LIMIT + 1)) == Closed(1009)
        for body, status in ((of_size(LIMIT), 200), (of_size(LIMIT + 1), 413)):
            polling = RawPolling(world.session, world.server.url)
            await polling.connect(TOKEN)
            assert await polling.post(io.BytesIO(body.encode())) == status


# --- what people say -------------------------------------------------------------------------------------------


async def test_nul_and_lone_surrogates_are_taken_cleaned_and_kept(world: World) -> None:
    text = f"{SAID} a\0b \ud83d\ude00 \ud800 c rate=100000"
    packet = json.dumps(["chat:send-message", {"requestId": "odd\0\udfff", "content": text, "agent": "demo"}])
    answer = await world.anna.say("421" + packet)
    assert answer["ok"], answer
    assert answer["requestId"] == "odd\0\ufffd"
    await world.ended("odd\0\ufffd")
    cleaned = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert world.server.document("messages", "id", answer["messageId"])["content"] == cleaned
    path = f"/api/chat/conversations/{answer['conversationId']}"
    _, page = await world.rest("GET", f"{path}/messages")
    assert page["messages"][0]["content"] == cleaned
    assert cleaned[: len(SAID) + 5] in page["messages"][1]["content"], "the agent has heard it"
    assert (await world.rest("GET", f"{path}/export"))[0] == 200
    status, found = await world.rest("GET", "/api/chat/search", params={"q": f"{SAID}\0 \ufffd"})
    assert (status, found["ok"]) == (200, True)


async def test_numbers_beyond_64_bits_become_text_where_any_json_goes_and_are_refused_elsewhere(world: World) -> None:
    for digits in ("9" * 30, "-" + "9" * 30, "9" * 5000):
        shown = await world.anna.say(f'421["latency:ping",{{"sentAt":{digits}}}]')
        if len(digits) <= 100:
            assert shown["sentAt"] == digits
        else:
            refused(shown, "invalid_payload", "sentAt")
        for event, field in (("conversation:seen", "seq"), ("chat:queue-move", "position"), ("chat:extend", "seconds")):
            payload = {**bad_values.right(event), field: "@"}
            packet = json.dumps([event, payload]).replace('"@"', digits)
            refused(await world.anna.say(f"421{packet}"), "invalid_payload", field)
        status, answer = await world.rest("POST", "/api/projects", data=f'{{"name":{digits}}}')
        refused(answer, "invalid_payload", "name")
        assert status == 400
    await world.sent("numbers", "/demo ask rate=100000")
    async with asyncio.timeout(20):
        while not (asked := (await world.rest("GET", "/api/chat/prompts?status=pending"))[1]["prompts"]):
            await asyncio.sleep(0.02)  # REST does not tell when something changes
    body = f'{{"selectedOption":"allow_once","input":{{"command":"{SAID}","n":{"9" * 30},"a\\u0000b":1e999}}}}'
    _, answer = await world.rest("POST", f"/api/chat/prompts/{asked[0]['id']}/respond", data=body)
    assert answer["prompt"]["response"]["input"] == {"command": SAID, "n": "9" * 30, "ab": None}
    assert await world.ended("numbers") == "completed"


# --- the same request again ------------------------------------------------------------------------------------


async def test_a_request_id_is_one_message_for_ever(world: World) -> None:
    payload = {"requestId": "once", "content": f"{SAID} rate=100000"}
    first = await world.anna.ask("chat:send-message", payload)
    assert first["ok"]
    await world.ended("once")
    with nothing_stored(world.server):
        assert await world.anna.ask("chat:send-message", payload) == first
        for change in (
            {"content": f"{SAID} other"},
            {"conversationId": first["conversationId"]},
            {"agent": "demo"},
            {"model": "m"},
            {"permissionMode": "plan"},
            {"sessionId": "s"},
            {"allowedTools": ["Bash"]},
            {"workingDirectory": "/"},
        ):
            refused(await world.anna.ask("chat:send-message", {**payload, **change}), "conflict")
        path = f"/api/chat/conversations/{first['conversationId']}/messages"
        status, answer = await world.rest("POST", path, json=payload)
        assert status == 409
        refused(answer, "conflict")


async def test_sends_to_a_conversation_that_is_being_deleted_are_taken_whole_or_not_at_all(world: World) -> None:
    for round_number in range(5):
        conversation_id = await world.sent(f"del-{round_number}", "/demo silent seconds=60")
        ben = await open_socket(world.session, world.server.url, TOKEN)
        sends = [
            {"requestId": f"del-{round_number}-{n}", "content": SAID, "conversationId": conversation_id}
            for n in range(10)
        ]

        async def send_all(by: RawSocket, payloads: list[dict[str, str]]) -> list[Any]:
            return [await by.ask("chat:send-message", payload) for payload in payloads]

        deleting = world.rest("DELETE", f"/api/chat/conversations/{conversation_id}")
        answers, more, (status, _) = await asyncio.gather(
            send_all(world.anna, sends[:5]), send_all(ben, sends[5:]), deleting
        )
        assert status == 200
        await ben.close()
        for payload, answer in zip(sends, [*answers, *more], strict=True):
            runs = world.server.query("SELECT status FROM runs WHERE requestId = ?", payload["requestId"])
            if answer["ok"]:
                assert runs == [("aborted",)], "it was taken before the deletion, and ended with it"
            else:
                refused(answer, "not_found")
                assert runs == []
        open_messages = world.server.query(
            "SELECT count(*) FROM messages WHERE conversationId = ? AND status IN ('sending', 'streaming')",
            conversation_id,
        )
        assert open_messages == [(0,)]
        refused(await world.anna.ask("join-conversation", conversation_id), "not_found")


# --- REST ------------------------------------------------------------------------------------------------------


Operation = tuple[str, str, dict[str, Any]]


async def operations(world: World) -> list[Operation]:
    """Method, path and description of each route, as the server itself tells."""
    _, document = await world.rest("GET", "/api/openapi.json")
    told = document["paths"].items()
    assert len(told) > 20
    return [(method.upper(), path, described) for path, methods in told for method, described in methods.items()]


def filled(path: str, value: str = NOBODY) -> str:
    parts = [
        ("nobody" if part == "{requestId}" else value) if part.startswith("{") else part for part in path.split("/")
    ]
    return "/".join(parts)


def takes_json(method: str, described: dict[str, Any]) -> bool:
    """Whether its body is JSON that is judged field by field, or there must be none."""
    if method == "GET":
        return False
    body = described.get("requestBody")
    return body is None or "application/json" in body["content"]


async def test_no_body_that_is_no_json_object_gets_anywhere(world: World) -> None:
    with nothing_stored(world.server):
        for method, path, described in await operations(world):
            if not takes_json(method, described):
                continue
            for body in (*bad_values.NO_JSON, *bad_values.NO_OBJECTS):
                status, answer = await world.rest(method, filled(path), data=body)
                assert status == 400, (method, path, body[:20], answer)
                refused(answer, "invalid_payload", "payload")


async def test_no_route_does_what_a_body_with_an_unknown_field_asks(world: World) -> None:
    with nothing_stored(world.server):
        for method, path, described in await operations(world):
            if takes_json(method, described):
                status, answer = await world.rest(method, filled(path), json={"surprise": 1})
                assert status == 400, (method, path, answer)
                refused(answer, "invalid_payload", "surprise")


async def test_each_wrong_field_of_each_body_is_refused_by_its_name(world: World) -> None:
    _, document = await world.rest("GET", "/api/openapi.json")
    wrong: dict[str, list[Any]] = {
        "string": [5, 1.5, True, [], {}, {"$ne": None}],
        "integer": ["1", True, [], {}, 1.5],
        "array": ["x", 5, {}, [[]]],
        "object": ["x", 5, True, ["x"]],
    }
    tried = 0
    with nothing_stored(world.server):
        for method, path, described in await operations(world):
            body = described.get("requestBody", {}).get("content", {}).get("application/json")
            if body is None or path == "/api/chat/import":
                continue
            schema = resolved(document, body["schema"])
            for name, property_ in schema["properties"].items():
                kinds = property_.get("type", [])
                for kind in [kinds] if isinstance(kinds, str) else kinds:
                    for value in wrong.get(kind, []):
                        status, answer = await world.rest(method, filled(path), json={name: value})
                        assert status == 400, (method, path, name, value, answer)
                        refused(answer, "invalid_payload", name)
                        tried += 1
    assert tried > 100


def resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """The schema that a reference stands for."""
    reference = schema.get("$ref")
    if reference is None:
        return schema
    found: dict[str, Any] = document["components"]["schemas"][reference.rpartition("/")[2]]
    return found


async def test_an_id_in_a_path_that_is_none_of_ours_names_nothing(world: World) -> None:
    with nothing_stored(world.server):
        for method, path, _ in await operations(world):
            if "{" not in path.replace("{requestId}", ""):
                continue
            for text in ("nope", f"{NOBODY}0", "%00", "%ED%A0%80", "..%2f..%2fetc", "%27%20OR%201=1"):
                status, answer = await world.rest(method, filled(path, text))
                assert status == 404, (method, path, text, answer)
                refused(answer, "not_found")


async def test_no_query_with_an_unknown_or_doubled_parameter_is_answered(world: World) -> None:
    for method, path, described in await operations(world):
        if not path.startswith("/api/") or method != "GET":
            continue
        names = {parameter["name"] for parameter in described.get("parameters", []) if parameter["in"] == "query"}
        for query in ("surprise=1", *(f"{name}=1&{name}=2" for name in names)):
            status, answer = await world.rest(method, f"{filled(path)}?{query}")
            assert status == 400, (path, query, answer)
            refused(answer, "invalid_payload", query.split("=")[0])
        for name in names & {"limit", "before", "after"}:
            for value in ("-1", "x", "9" * 30, "1.5", "%D9%A1", ""):
                status, answer = await world.rest(method, f"{filled(path)}?{name}={value}")
                assert status == 400, (path, name, value, answer)


async def test_a_body_of_one_byte_too_many_is_refused_by_every_route(world: World) -> None:
    padded = b'{"name":"' + b"x" * (LIMIT - 10) + b'"}'
    assert len(padded) == LIMIT + 1

    with nothing_stored(world.server):
        for method, path, described in await operations(world):
            if takes_json(method, described) and path != "/api/chat/import":
                status, answer = await world.rest(method, filled(path), data=io.BytesIO(padded))
                assert status == 413, (method, path, answer)
                refused(answer, "too_large")
        status, answer = await world.rest("POST", "/api/projects", data=in_pieces(padded))
        assert status == 413, "also where its length is not declared"
        refused(answer, "too_large")


async def in_pieces(body: bytes) -> AsyncIterator[bytes]:
    """A body whose length nobody declares."""
    for start in range(0, len(body), 1 << 20):
        yield body[start : start + (1 << 20)]
