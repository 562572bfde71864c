"""The order that a browser sees, whichever way its packets take, and what happens to one that does not keep up.

This holds what `baton.web.engine` leans on inside the pinned libraries.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import orjson
import pytest

from baton.core.commands import JoinConversation
from baton.core.errors import NotFound, StoreUnavailable
from baton.core.events import ConversationDeleted, ConversationSeen, ProjectDeleted
from baton.core.ids import ConversationId, ProjectId
from baton.core.limits import Limits
from baton.services.snapshots import Snapshot
from baton.testing import samples
from baton.web.wire import wire_event
from tests.web.socket_stage import (
    ANNA,
    CONVERSATION,
    OTHER_TOKEN,
    RawClient,
    RawPolling,
    RawSocket,
    Script,
    Stage,
    open_stage,
    read_ack,
    seqs,
    snapshot,
    streamed,
)

BURST = 1000
SMALL = Limits(backlog_max_bytes=100_000)
OTHER = ConversationId("65f0c0ffee0123456789abce")


async def joined(stage: Stage) -> RawSocket:
    raw = await stage.websocket()
    assert (await raw.ask("join-conversation", CONVERSATION))["ok"]
    return raw


async def received(raw: RawSocket, count: int) -> list[str]:
    return [await raw.packet() for _ in range(count)]


# --- both ways, both transports --------------------------------------------------------------------------------


async def test_a_burst_of_a_thousand_events_takes_effect_and_is_answered_in_order_over_websocket() -> None:
    async with open_stage() as stage:
        raw = await stage.websocket()
        for number in range(BURST):
            await raw.ws.send_str(raw.event("chat:abort", {"requestId": f"r{number}"}))
        answers = [read_ack(packet)[0] for packet in await received(raw, BURST)]
        assert answers == list(range(1, BURST + 1))
        assert stage.script.asked == [("abort", (f"r{number}",)) for number in range(BURST)]


async def test_a_burst_of_a_thousand_events_in_one_post_takes_effect_and_is_answered_in_order() -> None:
    async with open_stage() as stage:
        polling = await stage.polling()
        events = [polling.event("chat:abort", {"requestId": f"r{number}"}) for number in range(BURST)]
        assert await polling.post(*events) == 200
        answers = [read_ack(packet)[0] for packet in await polling.packets(BURST)]
        assert answers == list(range(1, BURST + 1))
        assert stage.script.asked == [("abort", (f"r{number}",)) for number in range(BURST)]


@pytest.mark.parametrize("at_once", [1, 7, BURST])
async def test_events_reach_a_websocket_in_the_order_of_their_publishing(at_once: int) -> None:
    async with open_stage() as stage:
        raw = await joined(stage)
        for start in range(1, BURST + 1, at_once):
            stage.fanout.publish([streamed(seq) for seq in range(start, min(start + at_once, BURST + 1))])
        assert seqs(await received(raw, BURST)) == list(range(1, BURST + 1))


async def test_events_reach_a_polling_client_in_the_order_of_their_publishing() -> None:
    async with open_stage() as stage:
        polling = await stage.polling()
        await polling.post(polling.event("join-conversation", CONVERSATION))
        await polling.packets(1)
        for seq in range(1, BURST + 1):
            stage.fanout.publish([streamed(seq)])
        assert seqs(await polling.packets(BURST)) == list(range(1, BURST + 1))


async def test_events_keep_their_order_across_an_upgrade() -> None:
    async with open_stage() as stage:
        polling = await stage.polling()
        await polling.post(polling.event("join-conversation", CONVERSATION))
        await polling.packets(1)
        counter = iter(range(1, 10_000))

        def publish(count: int) -> None:
            for _ in range(count):
                stage.fanout.publish([streamed(next(counter))])

        publish(3)
        upgraded = await RawSocket.open(stage, sid=polling.sid)
        publish(3)
        async with asyncio.TaskGroup() as tasks:
            last_poll = tasks.create_task(polling.poll())
            await upgraded.ws.send_str("2probe")
            assert await upgraded.packet() == "3probe"
        publish(3)
        await upgraded.ws.send_str("5")
        publish(3)
        await stage.until(lambda: stage.connection().upgraded)
        publish(3)
        by_polling = [packet for packet in last_poll.result() if packet != "6"]
        by_websocket: list[str] = []
        while len(by_polling) + len(by_websocket) < 15:
            packet = await upgraded.packet()
            by_websocket += [packet] if packet != "6" else []
        assert seqs(by_polling + by_websocket) == list(range(1, 16))


async def test_an_upgrade_that_is_given_up_leaves_polling_as_it_was() -> None:
    async with open_stage() as stage:
        polling = await stage.polling()
        half_way = await RawSocket.open(stage, sid=polling.sid)
        await half_way.ws.send_str("2probe")
        await half_way.packet()
        await half_way.ws.close()
        await stage.until(lambda: not stage.connection().upgrading)
        assert await polling.post(polling.event("bridge:list")) == 200
        assert (await polling.packets(1))[0].startswith("43")


async def test_order_holds_between_the_direct_way_and_the_queue() -> None:
    async with open_stage(limits=Limits(backlog_max_bytes=50_000_000)) as stage:
        raw = await joined(stage)
        text = "x" * 4000
        raw.stop_reading()
        for seq in range(1, 151):
            stage.fanout.publish([streamed(seq, text)])
        assert not stage.connection().queue.empty()
        await raw.ws.send_str(raw.event("bridge:list"))
        raw.go_on_reading()
        got = []
        for seq in range(151, 501):
            # Some find the queue not empty, some the writer in the middle of its work, some an idle socket.
            stage.fanout.publish([streamed(seq, text)])
            if seq % 3 == 0:
                got.append(await raw.packet())
        while len(got) < 501:
            got.append(await raw.packet())
        assert seqs(got) == list(range(1, 501))
        assert stage.connection().queue.empty()


async def test_what_one_publish_has_for_a_socket_leaves_in_one_write() -> None:
    async with open_stage() as stage:
        raw = await joined(stage)
        connection = stage.connection()
        transport, writes = connection._idle, []

        class Counting:
            def __getattr__(self, name: str) -> Any:
                return getattr(transport, name)

            def write(self, data: bytes) -> None:
                writes.append(data)
                assert transport is not None
                transport.write(data)

        connection._idle = Counting()  # type: ignore[assignment]  # all that is asked of a transport
        stage.fanout.publish([streamed(1), ConversationDeleted(OTHER, None, samples.ANNA), streamed(2)])
        assert len(writes) == 1
        names = [orjson.loads(packet[2:])[0] for packet in await received(raw, 3)]
        assert names == ["chat:stream-response", "conversation:deleted", "chat:stream-response"]
        connection._idle = transport


async def test_an_event_is_made_once_whatever_the_number_of_its_watchers(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def counting(event: Any) -> tuple[str, dict[str, Any]]:
        made.append(event)
        return wire_event(event)

    async with open_stage() as stage:
        watchers = [await joined(stage) for _ in range(20)]
        monkeypatch.setattr("baton.web.fanout.wire_event", counting)
        stage.fanout.publish([streamed(1)])
        stage.fanout.publish([streamed(1, conversation_id=OTHER)])
        assert len(made) == 1, "and never for nobody"
        packets = {await watcher.packet() for watcher in watchers}
        assert len(packets) == 1


# --- joining ---------------------------------------------------------------------------------------------------


def joining(stage: Stage, *, before: Sequence[int], after: Sequence[int], fail: bool = False) -> None:
    """A snapshot during which events are published: before and after the instant to which it is true."""

    async def take(command: JoinConversation, subscribe: Callable[[], None]) -> Snapshot:
        stage.fanout.publish([streamed(seq) for seq in before])
        await asyncio.sleep(0)
        subscribe()
        stage.fanout.publish([streamed(seq) for seq in after])
        await asyncio.sleep(0)
        if fail:
            raise StoreUnavailable("The database is away")
        return snapshot(max(before, default=0), [b'{"stored":"as it is"}'])

    stage.script.join = take


async def test_no_event_comes_before_the_answer_to_a_join_and_none_after_the_snapshot_is_lost() -> None:
    async with open_stage(Script()) as stage:
        joining(stage, before=[1, 2], after=[3, 4])
        raw = await stage.websocket()
        await raw.ws.send_str(raw.event("join-conversation", {"conversationId": CONVERSATION}))
        answer = await raw.ack()
        assert answer["seq"] == 2
        assert answer["messages"] == [{"stored": "as it is"}]
        stage.fanout.publish([streamed(5)])
        assert seqs(await received(raw, 3)) == [3, 4, 5]


async def test_the_same_holds_for_polling() -> None:
    async with open_stage(Script()) as stage:
        joining(stage, before=[1, 2], after=[3, 4])
        polling = await stage.polling()
        await polling.post(polling.event("join-conversation", {"conversationId": CONVERSATION}))
        packets = await polling.packets(3)
        assert read_ack(packets[0])[1]["seq"] == 2
        assert seqs(packets) == [3, 4]


async def test_a_member_that_joins_again_gets_no_event_before_the_answer_either() -> None:
    async with open_stage(Script()) as stage:
        raw = await joined(stage)
        joining(stage, before=[1, 2], after=[3])
        await raw.ws.send_str(raw.event("join-conversation", {"conversationId": CONVERSATION, "after": 0}))
        assert (await raw.ack())["seq"] == 2
        assert seqs(await received(raw, 1)) == [3]


async def test_a_refused_join_changes_nothing_for_a_member() -> None:
    async with open_stage(Script()) as stage:
        raw = await joined(stage)
        joining(stage, before=[1, 2], after=[3], fail=True)
        await raw.ws.send_str(raw.event("join-conversation", CONVERSATION))
        assert (await raw.ack())["error"]["code"] == "store_unavailable"
        assert seqs(await received(raw, 3)) == [1, 2, 3]


async def test_a_refused_join_makes_nobody_a_member() -> None:
    async with open_stage(Script()) as stage:
        joining(stage, before=[], after=[1], fail=True)
        raw = await stage.websocket()
        assert (await raw.ask("join-conversation", CONVERSATION))["ok"] is False
        assert stage.fanout.conversation_count == 0
        stage.fanout.publish([streamed(2)])
        assert (await raw.ask("bridge:list"))["ok"]


async def test_a_join_of_nothing_is_not_found() -> None:
    async with open_stage() as stage:
        raw = await stage.websocket()
        assert (await raw.ask("join-conversation", OTHER))["error"]["code"] == NotFound.code
        assert (await raw.ask("join-conversation", "nope"))["error"]["code"] == NotFound.code


async def test_after_leaving_no_event_comes() -> None:
    async with open_stage() as stage:
        raw = await joined(stage)
        assert (await raw.ask("leave-conversation", CONVERSATION))["ok"]
        stage.fanout.publish([streamed(1)])
        assert (await raw.ask("bridge:list"))["ok"]
        assert stage.fanout.conversation_count == 0


async def test_a_client_that_goes_during_its_join_leaves_nothing_behind() -> None:
    async with open_stage(Script()) as stage:
        go_on = asyncio.Event()

        async def take(command: JoinConversation, subscribe: Callable[[], None]) -> Snapshot:
            await go_on.wait()
            subscribe()
            return snapshot()

        stage.script.join = take
        polling = await stage.polling()
        posting = asyncio.ensure_future(polling.post(polling.event("join-conversation", CONVERSATION)))
        await stage.until(lambda: len(stage.script.asked) == 1)
        await stage.connection().close(abort=True)
        go_on.set()
        await posting
        assert (stage.fanout.socket_count, stage.fanout.conversation_count) == (0, 0)
        stage.fanout.publish([streamed(1)])


# --- falling behind --------------------------------------------------------------------------------------------


async def publish_until_resync(stage: Stage) -> int:
    """How many events were published before the only member was taken out of the room."""
    for seq in range(1, 10_000):
        stage.fanout.publish([streamed(seq, "x" * 1000)])
        if stage.fanout.conversation_count == 0:
            return seq
        assert stage.connection().excess_bytes() < SMALL.backlog_max_bytes + 2000, "what waits is bounded"
    raise AssertionError("never")


async def drain_until_resync(raw: RawSocket) -> tuple[list[str], Any]:
    packets: list[str] = []
    while '"chat:resync"' not in (packet := await raw.packet()):
        packets.append(packet)
    return packets, orjson.loads(packet[2:])[1]


async def test_a_reader_that_does_not_keep_up_must_join_again_and_loses_nothing_before_that() -> None:
    async with open_stage(limits=SMALL) as stage:
        raw = await joined(stage)
        raw.stop_reading()
        count = await publish_until_resync(stage)
        stage.fanout.publish([streamed(seq, "x" * 1000) for seq in range(count + 1, count + 100)])
        raw.go_on_reading()
        packets, told = await drain_until_resync(raw)
        assert seqs(packets) == list(range(1, count))
        assert told["conversationId"] == CONVERSATION
        assert 250 <= told["retryAfterMs"] <= 2000
        assert (await raw.ask("join-conversation", {"conversationId": CONVERSATION, "after": count - 1}))["ok"]
        stage.fanout.publish([streamed(count)])
        assert seqs(await received(raw, 1)) == [count]


async def test_a_slow_reader_costs_the_others_nothing() -> None:
    async with open_stage(limits=SMALL) as stage:
        slow, quick = await joined(stage), await joined(stage)
        slow.stop_reading()
        for seq in range(1, 1001):
            stage.fanout.publish([streamed(seq, "x" * 1000)])
            assert seqs([await quick.packet()]) == [seq]
        slow.go_on_reading()
        await drain_until_resync(slow)


async def test_a_polling_client_that_does_not_come_must_join_again() -> None:
    async with open_stage(limits=SMALL) as stage:
        polling = await stage.polling()
        await polling.post(polling.event("join-conversation", CONVERSATION))
        await polling.packets(1)
        count = await publish_until_resync(stage)
        packets = await polling.poll()
        assert seqs(packets) == list(range(1, count))
        assert packets[-1].startswith('42["chat:resync"')


async def test_a_large_snapshot_does_not_make_its_reader_fall_behind() -> None:
    async with open_stage(limits=SMALL) as stage:

        async def take(command: JoinConversation, subscribe: Callable[[], None]) -> Snapshot:
            subscribe()
            return snapshot(0, [orjson.dumps("x" * 2_000_000)])

        stage.script.join = take
        raw = await stage.websocket()
        raw.stop_reading()
        await raw.ws.send_str(raw.event("join-conversation", CONVERSATION))
        await stage.until(lambda: stage.connection().backlog_bytes > 1_000_000)
        stage.fanout.publish([streamed(seq) for seq in range(1, 10)])
        raw.go_on_reading()
        assert (await raw.ack())["ok"]
        assert seqs(await received(raw, 9)) == list(range(1, 10))


async def test_what_is_held_during_a_join_is_bounded_too() -> None:
    async with open_stage(limits=SMALL) as stage:

        async def take(command: JoinConversation, subscribe: Callable[[], None]) -> Snapshot:
            subscribe()
            for seq in range(1, 300):
                stage.fanout.publish([streamed(seq, "x" * 1000)])
            return snapshot()

        stage.script.join = take
        raw = await stage.websocket()
        assert (await raw.ask("join-conversation", CONVERSATION))["ok"]
        packets, _ = await drain_until_resync(raw)
        assert packets == []
        assert stage.fanout.conversation_count == 0


@pytest.mark.parametrize("fail", [False, True])
async def test_what_overflowed_before_the_snapshot_matters_only_if_the_join_is_refused(fail: bool) -> None:
    async with open_stage(limits=SMALL) as stage:
        raw = await joined(stage)

        async def take(command: JoinConversation, subscribe: Callable[[], None]) -> Snapshot:
            for seq in range(1, 300):
                stage.fanout.publish([streamed(seq, "x" * 1000)])
            subscribe()
            stage.fanout.publish([streamed(300)])
            if fail:
                raise StoreUnavailable("The database is away")
            return snapshot(299)

        stage.script.join = take
        assert (await raw.ask("join-conversation", CONVERSATION))["ok"] is not fail
        name, payload = await raw.next_event()
        assert name == "chat:resync" if fail else payload["seq"] == 300


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_a_client_that_does_not_read_its_answers_is_not_listened_to(transport: str) -> None:
    async with open_stage(limits=SMALL) as stage:

        async def take(command: JoinConversation, subscribe: Callable[[], None]) -> Snapshot:
            return snapshot(0, [orjson.dumps("x" * 60_000)])

        stage.script.join = take
        client: RawClient = await (stage.websocket() if transport == "websocket" else stage.polling())
        events = [client.event("join-conversation", CONVERSATION) for _ in range(15)]
        async with asyncio.TaskGroup() as tasks:
            if isinstance(client, RawSocket):
                client.stop_reading()
                for event in events:
                    await client.ws.send_str(event)
            else:
                assert isinstance(client, RawPolling)
                tasks.create_task(client.post(*events))
            await stage.until(lambda: stage.connection().backlog_bytes > SMALL.backlog_max_bytes)
            for _ in range(200):
                await asyncio.sleep(0)
            assert len(stage.script.asked) < 14, "the rest waits unread"
            if isinstance(client, RawSocket):
                client.go_on_reading()
                answers = await received(client, 15)
            else:
                assert isinstance(client, RawPolling)
                answers = await client.packets(15)
        assert [read_ack(packet)[0] for packet in answers] == list(range(1, 16))


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_a_socket_that_cannot_even_take_what_all_get_is_cut(transport: str) -> None:
    async with open_stage(limits=SMALL) as stage:
        client: RawClient = await (stage.websocket() if transport == "websocket" else stage.polling())
        if isinstance(client, RawSocket):
            client.stop_reading()
        connection = stage.connection()
        for _ in range(20_000):
            stage.fanout.publish([ConversationDeleted(OTHER, None, samples.ANNA)])
            assert connection.backlog_bytes < 2 * SMALL.backlog_max_bytes + 1000
            if connection.is_lost:
                break
        await stage.clock.run_for(2)
        await stage.until_gone()


async def test_what_one_user_has_seen_is_told_to_that_users_sockets_alone() -> None:
    async with open_stage() as stage:
        one, two = await stage.websocket(), await stage.websocket()
        other = await stage.websocket(token=OTHER_TOKEN)
        stage.fanout.publish([ConversationSeen(ANNA.user_id, CONVERSATION, 7), ProjectDeleted(ProjectId(OTHER))])
        seen = ("conversation:seen", {"conversationId": CONVERSATION, "seq": 7})
        assert [await one.next_event(), await two.next_event()] == [seen, seen]
        assert [(await raw.next_event())[0] for raw in (one, two, other)] == ["project:deleted"] * 3
