"""What a Socket.IO client may count on: who is let in, every event answered, nothing malformed forgiven."""

import asyncio
import io
import json
from datetime import timedelta
from typing import Any

import aiohttp
import orjson
import pytest
import socketio

from baton.core.commands import SendMessage
from baton.core.errors import AlreadyResolved, StoreUnavailable
from baton.core.events import ServerDraining
from baton.core.ids import PromptId
from baton.core.limits import Limits
from baton.schemas.browser import EVENTS
from baton.testing import samples
from baton.web.sockets import ACTIONS
from tests.web.socket_stage import ANNA, BRIDGE_TOKEN, CONVERSATION, TOKEN, RawSocket, Script, open_stage

ID = "65f0c0ffee0123456789abcd"
PAYLOADS: dict[str, Any] = {
    "join-conversation": {"conversationId": ID},
    "leave-conversation": ID,
    "join-project": ID,
    "leave-project": ID,
    "chat:send-message": {"requestId": "r", "content": "hi"},
    "chat:abort": {"requestId": "r"},
    "chat:retry": {"requestId": "r", "newRequestId": "s"},
    "chat:extend": {"requestId": "r", "seconds": 60},
    "chat:queue-update": {"requestId": "r", "content": "x"},
    "chat:queue-remove": {"requestId": "r"},
    "chat:queue-move": {"requestId": "r", "position": 1},
    "chat:queue-resume": {"conversationId": ID},
    "conversation:create": {},
    "conversation:check": {"conversationId": ID},
    "conversation:seen": {"conversationId": ID, "seq": 1},
    "permission:respond": {"promptId": ID, "selectedOption": "deny"},
    "prompt:seen": {"promptId": ID},
    "prompt:extend": {"promptId": ID, "seconds": 60},
    "permission:get-mode": {"conversationId": ID},
    "permission:set-mode": {"conversationId": ID, "mode": "plan"},
    "bridge:list": {},
    "bridge:files": {"conversationId": ID},
    "bridge:commands": {"conversationId": ID},
    "latency:ping": {"sentAt": 5},
}
ANSWERS = {
    "join-conversation": {"epoch", "seq", "conversation", "messages", "runs", "prompts", "queue", "truncated"},
    "chat:send-message": {"requestId", "conversationId", "messageId", "status"},
    "chat:retry": {"requestId", "conversationId", "messageId", "status"},
    "chat:abort": {"run"},
    "chat:extend": {"run"},
    "chat:queue-update": {"queue"},
    "chat:queue-remove": {"queue"},
    "chat:queue-move": {"queue"},
    "chat:queue-resume": {"queue"},
    "conversation:create": {"conversation"},
    "conversation:check": {"exists"},
    "permission:respond": {"prompt"},
    "prompt:seen": {"prompt"},
    "prompt:extend": {"prompt"},
    "permission:get-mode": {"mode"},
    "permission:set-mode": {"mode"},
    "bridge:list": {"bridges"},
    "bridge:files": {"files"},
    "bridge:commands": {"commands", "models"},
    "latency:ping": {"sentAt", "receivedAt", "storedMs"},
}


# --- who is let in ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("auth", "code"),
    [("", "unauthenticated"), ('{"token":"wrong"}', "unauthenticated"), ('{"token":5}', "unauthenticated"),
     (json.dumps({"token": BRIDGE_TOKEN}), "forbidden")],
)  # fmt: skip
async def test_who_has_no_credential_of_a_person_gets_a_connect_error_that_says_so(auth: str, code: str) -> None:
    async with open_stage() as stage:
        raw = await RawSocket.open(stage)
        await raw.ws.send_str("40" + auth)
        packet = await raw.packet()
        assert packet.startswith("44")
        refused = orjson.loads(packet[2:])
        assert refused["message"].startswith(code)
        assert refused["data"]["error"]["code"] == code
        assert stage.fanout.socket_count == 0


async def test_the_login_cookie_is_a_credential_and_auth_off_needs_none() -> None:
    async with open_stage() as stage:
        cookie = await stage.logins.open(ANNA, TOKEN)
        headers = {"Cookie": f"baton_token_{stage.port}={cookie}; baton_token_1=other"}
        async with stage.session.ws_connect(f"{stage.endpoint}?EIO=4&transport=websocket", headers=headers) as ws:
            raw = RawSocket(stage, ws)
            assert (await raw.packet())[0] == "0"
            await raw.connect(token=None)
    async with open_stage(auth=False) as stage:
        await stage.websocket(token=None)


async def test_an_event_before_connect_ends_the_connection() -> None:
    async with open_stage() as stage:
        raw = await RawSocket.open(stage)
        await raw.ws.send_str('421["bridge:list",{}]')
        assert await raw.closed() == aiohttp.WSCloseCode.PROTOCOL_ERROR


async def test_a_foreign_origin_or_host_gets_no_socket() -> None:
    async with open_stage() as stage:
        for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}, {"Origin": "null"}):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await stage.session.ws_connect(f"{stage.endpoint}?EIO=4&transport=websocket", headers=headers)
            assert refused.value.status == 403
            async with stage.session.get(f"{stage.endpoint}?EIO=4&transport=polling", headers=headers) as response:
                assert response.status == 403


async def test_a_configured_client_may_poll_across_origins() -> None:
    async with open_stage() as stage:
        origin = {"Origin": "http://localhost:5173"}
        async with stage.session.get(f"{stage.endpoint}?EIO=4&transport=polling", headers=origin) as response:
            assert response.status == 200
            assert response.headers["Access-Control-Allow-Origin"] == origin["Origin"]


async def test_another_namespace_is_refused_and_harms_nothing() -> None:
    async with open_stage() as stage:
        raw = await stage.websocket()
        await raw.ws.send_str("40/admin,")
        assert (await raw.packet()).startswith("44/admin,")
        assert (await raw.ask("bridge:list", {}))["ok"]


async def test_a_client_can_leave_and_come_back_on_the_same_connection() -> None:
    async with open_stage() as stage:
        raw = await stage.websocket()
        await raw.ws.send_str("41")
        await stage.until_gone()
        await raw.connect()
        assert (await raw.ask("bridge:list", {}))["ok"]
        assert stage.fanout.socket_count == 1


async def test_who_has_gone_looks_at_no_prompt_any_more() -> None:
    async with open_stage() as stage:
        raw = await stage.websocket()
        prompt_id = PromptId(CONVERSATION)
        assert (await raw.ask("prompt:seen", {"promptId": prompt_id}))["ok"]
        (holder,) = [asked[1] for name, asked in stage.script.asked if name == "prompt_seen"]
        stage.script.watchers.look(prompt_id, holder, stage.clock.now() + timedelta(minutes=1))
        await raw.ws.close()
        await stage.until(lambda: stage.script.watchers.held_until(prompt_id) is None)


# --- answers ---------------------------------------------------------------------------------------------------


def test_every_event_of_the_contract_has_its_action() -> None:
    assert ACTIONS.keys() == EVENTS.keys() == PAYLOADS.keys()


@pytest.mark.parametrize("event", sorted(EVENTS))
async def test_a_valid_event_is_answered_with_what_the_contract_says(event: str) -> None:
    async with open_stage() as stage:
        raw = await stage.websocket()
        answer = await raw.ask(event, PAYLOADS[event])
        assert answer.pop("ok") is True
        assert answer.keys() == ANSWERS.get(event, set())


@pytest.mark.parametrize("event", sorted(EVENTS))
async def test_an_invalid_event_is_answered_with_the_error_shape(event: str) -> None:
    async with open_stage() as stage:
        raw = await stage.websocket()
        answer = await raw.ask(event, {"surprise": 1})
        assert answer["ok"] is False
        assert answer["error"]["code"] == "invalid_payload"
        assert answer["error"]["retryable"] is False
        assert "surprise" in answer["error"]["fields"]
        assert stage.script.asked == []


@pytest.mark.parametrize("name", ["connect", "disconnect", "message", "*", "nope", ""])
async def test_an_unknown_event_is_refused_whatever_it_is_called(name: str) -> None:
    async with open_stage() as stage:
        raw = await stage.websocket()
        answer = await raw.ask(name, {"token": "wrong"}, {"x": 1})
        assert answer["error"]["code"] == "invalid_payload"
        answer = await raw.ask(name, {"token": "wrong"})
        assert answer["error"]["code"] == "invalid_payload"
        assert stage.fanout.socket_count == 1


async def test_an_event_without_a_payload_has_an_empty_one() -> None:
    async with open_stage() as stage:
        raw = await stage.websocket()
        assert (await raw.ask("bridge:list"))["ok"]
        assert (await raw.ask("chat:abort"))["error"]["fields"] == {"requestId": ["Missing data for required field."]}


async def test_an_event_that_asks_for_no_answer_takes_effect_without_one() -> None:
    async with open_stage() as stage:
        raw = await stage.websocket()
        await raw.ws.send_str(raw.event("chat:abort", {"requestId": "quiet"}, ack=False))
        assert (await raw.ask("bridge:list"))["ok"]
        assert stage.script.asked == [("abort", ("quiet",))]


async def test_the_loser_of_a_race_gets_the_winner() -> None:
    winner = samples.prompt(CONVERSATION, samples.new_request_id())

    async def lose(*_: object) -> None:
        raise AlreadyResolved("Too late", winner=winner)

    async with open_stage(Script(actions={"respond": lose})) as stage:
        raw = await stage.websocket()
        answer = await raw.ask("permission:respond", PAYLOADS["permission:respond"])
        assert answer["error"]["code"] == "already_resolved"
        assert answer["prompt"]["id"] == winner.id
        assert "bridgePromptId" not in answer["prompt"]


async def test_what_nobody_expected_is_answered_with_an_incident_and_nothing_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def break_down(*_: object) -> None:
        raise RuntimeError("secret detail")

    async with open_stage(Script(actions={"abort": break_down})) as stage:
        raw = await stage.websocket()
        answer = await raw.ask("chat:abort", {"requestId": "r"})
        assert answer["error"]["code"] == "internal"
        assert "secret" not in json.dumps(answer)
        (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
        assert record.__dict__["incident"] == answer["error"]["incident"]
        assert (await raw.ask("bridge:list"))["ok"]


async def test_a_store_that_is_away_is_retryable() -> None:
    async def fail(*_: object) -> None:
        raise StoreUnavailable("The database is away")

    async with open_stage(Script(actions={"send": fail})) as stage:
        raw = await stage.websocket()
        answer = await raw.ask("chat:send-message", PAYLOADS["chat:send-message"])
        assert (answer["error"]["code"], answer["error"]["retryable"]) == ("store_unavailable", True)


async def test_a_slow_event_delays_its_own_client_only() -> None:
    go_on = asyncio.Event()

    async def wait(*_: object) -> object:
        await go_on.wait()
        return samples.run(CONVERSATION)

    async with open_stage(Script(actions={"abort": wait})) as stage:
        slow, other = await stage.websocket(), await stage.websocket()
        await slow.ws.send_str(slow.event("chat:abort", {"requestId": "r"}))
        await slow.ws.send_str(slow.event("bridge:list"))
        assert (await other.ask("bridge:list"))["ok"]
        go_on.set()
        assert "run" in await slow.ack()
        assert "bridges" in await slow.ack()


# --- bad input -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "packet",
    ["", "9", "x", "42", "42{", "42[]", "42[5]", "42{}", '42["a"', "47", "44{}", "42NaN", '42["bridge:list",NaN]',
     '4"x"', "42" + "[" * 5000, "4", "4²", '451-["x"]x', "bAAAA", "4" + "9" * 101, '421-["a"]'],
)  # fmt: skip
async def test_what_does_not_parse_ends_the_connection_on_either_transport(packet: str) -> None:
    async with open_stage() as stage:
        raw = await stage.websocket()
        await raw.ws.send_str(packet)
        assert await raw.closed() == aiohttp.WSCloseCode.PROTOCOL_ERROR
        polling = await stage.polling()
        assert await polling.post(packet) == 400
        await stage.until_gone()
        assert await polling.post(polling.event("bridge:list")) == 400


async def test_text_with_nul_and_lone_surrogates_arrives_cleaned() -> None:
    async with open_stage() as stage:
        raw = await stage.websocket()
        await raw.ws.send_str('421["chat:send-message",{"requestId":"r","content":"a\\u0000b\\ud800c"}]')
        assert (await raw.ack())["ok"]
        ((_, (command,)),) = stage.script.asked
        assert isinstance(command, SendMessage)
        assert command.content == "a\0b\ufffdc"


async def test_an_error_that_names_a_field_with_a_lone_surrogate_can_be_sent() -> None:
    async with open_stage() as stage:
        raw = await stage.websocket()
        await raw.ws.send_str('421["chat:abort",{"requestId":"r","\\udfff":1}]')
        assert (await raw.ack())["error"]["fields"].keys() == {"\ufffd"}


async def test_invalid_utf8_ends_the_connection() -> None:
    async with open_stage() as stage:
        raw = await stage.websocket()
        await raw.ws.send_frame(b'42["\xff"]', aiohttp.WSMsgType.TEXT)
        assert await raw.closed() == aiohttp.WSCloseCode.INVALID_TEXT


async def test_an_event_with_binary_attachments_is_refused_and_the_connection_lives() -> None:
    async with open_stage() as stage:
        raw = await stage.websocket()
        await raw.ws.send_str('452-7["chat:abort",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]')
        assert (await raw.ack())["error"]["code"] == "invalid_payload"
        await raw.ws.send_bytes(b"one")
        await raw.ws.send_bytes(b"two")
        assert (await raw.ask("bridge:list"))["ok"]
        await raw.ws.send_bytes(b"three")
        assert await raw.closed() == aiohttp.WSCloseCode.PROTOCOL_ERROR


def packet_of(size: int) -> str:
    """A valid send of exactly `size` bytes."""
    start, end = '421["chat:send-message",{"requestId":"r","content":"', '"}]'
    return start + "x" * (size - len(start) - len(end)) + end


async def test_a_packet_of_ten_megabytes_is_taken_and_one_byte_more_is_1009() -> None:
    async with open_stage(limits=Limits(content_max_chars=20_000_000)) as stage:
        raw = await stage.websocket()
        await raw.ws.send_str(packet_of(10_000_000))
        assert (await raw.ack())["ok"]
        await raw.ws.send_str(packet_of(10_000_001))
        assert await raw.closed() == aiohttp.WSCloseCode.MESSAGE_TOO_BIG
        await stage.until_gone()


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_post_of_ten_megabytes_is_taken_and_one_byte_more_is_413(chunked: bool) -> None:
    async def body(size: int) -> Any:
        yield packet_of(size).encode()

    async with open_stage(limits=Limits(content_max_chars=20_000_000)) as stage:
        polling = await stage.polling()
        for size, status in ((10_000_000, 200), (10_000_001, 413)):
            sent = body(size) if chunked else io.BytesIO(packet_of(size).encode())
            async with stage.session.post(polling._url(), data=sent) as response:
                assert response.status == status
        await stage.until_gone()


async def test_content_over_its_own_limit_is_only_refused() -> None:
    async with open_stage() as stage:
        raw = await stage.websocket()
        answer = await raw.ask("chat:send-message", {"requestId": "r", "content": "x" * 1_000_001})
        assert answer["error"]["code"] == "too_large"
        assert (await raw.ask("bridge:list"))["ok"]


async def test_two_polls_at_once_end_the_connection() -> None:
    async with open_stage() as stage:
        polling = await stage.polling()
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(polling.poll())
            await stage.until(lambda: any(c._is_polling for c in stage.sockets._library.engine.connections()))
            async with stage.session.get(polling._url()) as response:
                assert response.status == 400
        assert waiting.result() == [""]
        await stage.until_gone()


# --- life ------------------------------------------------------------------------------------------------------


async def test_a_websocket_handshake_never_agrees_to_deflate() -> None:
    async with open_stage() as stage:
        raw = await stage.websocket(deflate=15)
        assert not raw.ws.compress


async def test_a_transport_that_is_not_offered_is_refused() -> None:
    async with open_stage(transports=("websocket",)) as stage:
        async with stage.session.get(f"{stage.endpoint}?EIO=4&transport=polling") as response:
            assert response.status == 400
        await stage.websocket()


async def test_a_silent_client_is_pinged_and_then_gone_but_not_for_a_jump_of_the_wall_clock() -> None:
    async with open_stage() as stage:
        raw, polling = await stage.websocket(), await stage.polling()
        stage.clock.jump(3600)
        await stage.clock.run_for(26)
        assert (await raw.ws.receive()).data == "2"
        assert await polling.poll() == ["2"]
        await raw.ws.send_str("3")
        assert (await raw.ask("bridge:list"))["ok"]
        await stage.clock.run_for(40)
        assert stage.fanout.socket_count == 2
        await stage.clock.run_for(22)
        await stage.until_gone(1)
        await stage.clock.run_for(60)
        await stage.until_gone()


async def test_who_never_shows_a_credential_does_not_stay() -> None:
    async with open_stage() as stage:
        raw = await RawSocket.open(stage)
        await stage.clock.run_for(22)
        assert (await raw.ws.receive()).type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)


async def test_leaving_tells_every_browser_and_ends_its_connection() -> None:
    async with open_stage() as stage:
        raw, polling = await stage.websocket(), await stage.polling()
        closing = asyncio.ensure_future(stage.sockets.close())
        assert await raw.next_event() == ("server:draining", {"reconnectAfterMs": 1000})
        assert await raw.closed() == aiohttp.WSCloseCode.SERVICE_RESTART
        packets = await polling.poll() if stage.fanout.socket_count else []
        assert packets == [] or packets[0].startswith('42["server:draining"')
        await closing
        await stage.until_gone()


async def test_a_browser_that_does_not_read_cannot_hold_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("baton.web.sockets.CLOSE_GRACE_S", 0.05)
    async with open_stage() as stage:
        raw = await stage.websocket()
        raw.stop_reading()
        while stage.connection().queue.empty():
            stage.fanout.publish([ServerDraining(5)] * 1000)
        connection = stage.connection()
        await stage.sockets.close()
        assert connection.closed
        assert not stage.sockets._library.engine.upgraded


async def test_a_poll_that_waits_gets_the_news_of_the_leaving() -> None:
    async with open_stage() as stage:
        polling = await stage.polling()
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(polling.poll())
            await stage.until(lambda: any(c._is_polling for c in stage.sockets._library.engine.connections()))
            await stage.sockets.close()
        assert waiting.result() == ['42["server:draining",{"reconnectAfterMs":1000}]', "1"]


async def test_nobody_is_let_in_while_the_server_leaves() -> None:
    async with open_stage() as stage:
        raw = await RawSocket.open(stage)
        stage.sockets._is_draining = True
        await raw.ws.send_str("40" + json.dumps({"token": TOKEN}))
        assert orjson.loads((await raw.packet())[2:])["data"]["error"]["code"] == "draining"
        stage.sockets._is_draining = False


@pytest.mark.parametrize("transports", [["websocket"], ["polling"], ["polling", "websocket"]])
async def test_the_library_client_connects_asks_and_hears(transports: list[str]) -> None:
    async with open_stage() as stage:
        client = socketio.AsyncClient(reconnection=False)
        heard: asyncio.Queue[Any] = asyncio.Queue()
        client.on("bridge:status", heard.put)
        client.on("server:draining", heard.put)
        await client.connect(stage.url, auth={"token": TOKEN}, transports=transports)
        assert (await asyncio.wait_for(heard.get(), 10))["bridges"][0]["id"] == "local"
        answer = await client.call("chat:send-message", {"requestId": "r", "content": "hi"}, timeout=10)
        assert answer["ok"]
        stage.fanout.publish([ServerDraining(5)])
        assert await asyncio.wait_for(heard.get(), 10) == {"reconnectAfterMs": 5}
        await client.disconnect()
        await stage.until_gone()
