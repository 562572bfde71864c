"""A token that ends takes its sockets along, on both transports, and no other."""

import asyncio

import aiohttp

from tests.web.socket_stage import ANNA, OTHER_TOKEN, RawSocket, open_stage


async def ending(raw: RawSocket) -> tuple[list[str], int | None]:
    """What a client hears at the end: the packets, and the close code."""
    packets = [await raw.packet(), await raw.packet()]
    return packets, await raw.closed()


async def test_the_sockets_of_a_token_are_told_and_closed_and_no_other() -> None:
    async with open_stage() as stage:
        first, second = await stage.websocket(), await stage.websocket()
        other = await stage.websocket(token=OTHER_TOKEN)
        assert ANNA.token_id is not None
        # At once: who reads late may find the connection gone, close code and all.
        *heard, _ = await asyncio.gather(ending(first), ending(second), stage.sockets.end_token(ANNA.token_id))
        assert heard == [(["41", "1"], aiohttp.WSCloseCode.POLICY_VIOLATION)] * 2, "41: the library's disconnect"
        assert stage.fanout.socket_count == 1
        assert (await other.ask("bridge:list", {}))["ok"]


async def test_the_poll_of_a_client_is_answered_with_the_end() -> None:
    async with open_stage() as stage, asyncio.TaskGroup() as tasks:
        raw = await stage.polling()
        poll = tasks.create_task(raw.poll())
        await stage.until(lambda: stage.connection()._is_polling)
        assert ANNA.token_id is not None
        await stage.sockets.end_token(ANNA.token_id)
        assert await poll == ["41", "1"]
        assert await raw.post(raw.event("bridge:list", {})) == 400
        assert stage.fanout.socket_count == 0


async def test_a_token_without_sockets_ends_in_silence() -> None:
    async with open_stage() as stage:
        assert ANNA.token_id is not None
        await stage.sockets.end_token(ANNA.token_id)
        assert stage.fanout.socket_count == 0
