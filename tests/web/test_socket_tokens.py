"""A token that ends takes its sockets along, on both transports, and no other."""

import asyncio

import aiohttp

from tests.web.socket_stage import ANNA, OTHER_TOKEN, open_stage


async def test_the_sockets_of_a_token_are_disconnected_and_no_other() -> None:
    async with open_stage() as stage:
        first, second = await stage.websocket(), await stage.websocket()
        other = await stage.websocket(token=OTHER_TOKEN)
        assert ANNA.token_id is not None
        await stage.sockets.end_token(ANNA.token_id)
        for raw in (first, second):
            assert await raw.packet() == "41", "the library's disconnect"
        assert stage.fanout.socket_count == 1
        assert (await other.ask("bridge:list", {}))["ok"]


async def test_a_client_that_does_not_go_is_heard_no_more_and_cut() -> None:
    async with open_stage() as stage:
        asking, silent = await stage.websocket(), await stage.websocket()
        assert ANNA.token_id is not None
        await stage.sockets.end_token(ANNA.token_id)
        assert await asking.packet() == "41"
        await asking.ws.send_str(asking.event("bridge:list", {}))
        assert await asking.closed() == aiohttp.WSCloseCode.PROTOCOL_ERROR
        await stage.clock.run_for(22)
        assert await silent.closed() is not None


async def test_the_poll_of_a_client_is_answered_with_the_disconnect_alone() -> None:
    async with open_stage() as stage, asyncio.TaskGroup() as tasks:
        raw = await stage.polling()
        poll = tasks.create_task(raw.poll())
        await stage.until(lambda: stage.connection()._is_polling)
        assert ANNA.token_id is not None
        await stage.sockets.end_token(ANNA.token_id)
        assert await poll == ["41"]
        assert await raw.post(raw.event("bridge:list", {})) == 400
        assert stage.fanout.socket_count == 0


async def test_a_token_without_sockets_ends_in_silence() -> None:
    async with open_stage() as stage:
        assert ANNA.token_id is not None
        await stage.sockets.end_token(ANNA.token_id)
        assert stage.fanout.socket_count == 0
