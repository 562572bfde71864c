"""Each fault, as it is done to the real processes, and undone again.

One fault of a part (server, bridge, agent, a wire) at a time; those of different parts overlap as they fall.
"""

import asyncio
import os
import signal
import sqlite3
import time
from collections.abc import Awaitable, Callable
from contextlib import closing, suppress
from typing import Final

from tests.faults.suite.evidence import Crash, Texts, copy_database, read_texts
from tests.faults.suite.person import Person
from tests.faults.suite.plan import Break, Fault, Shape
from tests.faults.suite.world import World
from tests.support.bridge_process import BridgeProcess

OTHERS_S: Final = 60
"""How long other faults of the round, and a busy machine, may keep anybody from being told."""
HEARD_S: Final = 5
"""How long what a killed server had sent may take to a browser that still reads."""


async def inject(world: World, part: Break) -> None:
    """Do it, and undo it after its time."""
    async with world.busy(_part(part)):
        await _FAULTS[part.fault](world, part)


def _part(part: Break) -> str:
    kind = part.fault.value.split("-")[-1]
    if kind == "browser":
        return f"browser {part.target}"
    if part.fault in (Fault.FULL_DISK, Fault.LOCKED_STORE):
        return "server"  # one that is started meanwhile would not come up
    if part.fault in (Fault.KILL_BRIDGE, Fault.STOP_BRIDGE, Fault.RESTART_BRIDGE):
        return "bridge"
    return "bridge's wire" if kind == "bridge" else kind


# --- the server --------------------------------------------------------------------------------------------------


async def kill_server(world: World, part: Break) -> None:
    """SIGKILL. What was shown must be on the disk by then."""
    await world.until_streaming()
    with world.absent("server", "killed"):
        await world.serving.kill()
        if world.round.shape is not Shape.PAIR:
            world.crashes.append(await _look_at_the_disk(world))
        await world.replace_server(part.for_s)
    await world.let_one_wait()


async def _look_at_the_disk(world: World) -> Crash:
    # Who reads has the last bytes once the connection ends; who is on a held wire gets them later, and is judged then.
    with suppress(TimeoutError):
        async with asyncio.timeout(HEARD_S):
            for person in world.people:
                await person.until(lambda person=person: not person.is_connected())
    shown: Texts = {}
    for person in world.people:
        for key, text in person.witness.all_shown().items():
            shown[key] = max(shown.get(key, ""), text, key=len)
    copy = copy_database(world.data, world.folder / f"crash-{len(world.crashes)}")
    return Crash(shown, read_texts(copy))


async def stop_server(world: World, part: Break) -> None:
    """SIGSTOP: a machine that sleeps."""
    with world.absent("server", "stopped"):
        os.kill(world.serving.pid, signal.SIGSTOP)
        await asyncio.sleep(part.for_s)
        os.kill(world.serving.pid, signal.SIGCONT)


async def restart_server(world: World, part: Break) -> None:
    """SIGTERM under load."""
    await world.until_streaming()
    with world.absent("server", "restarted"):
        code = await world.serving.terminate()
        assert code == 0, f"a stop ended with {code}"
        await world.replace_server(part.for_s)
    await world.let_one_wait()


async def full_disk(world: World, part: Break) -> None:
    """Not a byte can be written."""
    if world.disk is None:
        world.left_out.add(part.fault)
        return
    with world.absent("store", "full"):
        await asyncio.to_thread(world.disk.fill)
        await asyncio.sleep(part.for_s)
        world.disk.make_room()


async def locked_store(world: World, part: Break) -> None:
    """Another program holds the database's lock: no write goes through."""
    with world.absent("store", "locked"), closing(sqlite3.connect(world.data / "baton.sqlite3")) as other:
        other.execute("PRAGMA busy_timeout = 10000")
        other.isolation_level = None
        other.execute("BEGIN IMMEDIATE")
        await asyncio.sleep(part.for_s)
        other.execute("ROLLBACK")


async def jump(world: World, part: Break) -> None:
    """The server's wall clock jumps, and stays so: while a deadline runs, where the round has one."""
    await world.until_deadline()
    world.set_clock(part.jump_s)


# --- the bridge and its agents -----------------------------------------------------------------------------------


def _bridge(world: World) -> BridgeProcess:
    assert world.bridge is not None, "the shape has one"
    return world.bridge


async def kill_bridge(world: World, part: Break) -> None:
    """SIGKILL, and a new process."""
    await world.until_streaming()
    with world.absent("bridge", "killed"):
        await _bridge(world).kill()
        await asyncio.sleep(part.for_s)
        await _bridge(world).start()


async def stop_bridge(world: World, part: Break) -> None:
    """SIGSTOP: a laptop that sleeps."""
    _bridge(world).pause()
    await asyncio.sleep(part.for_s)
    _bridge(world).resume()


async def restart_bridge(world: World, part: Break) -> None:
    """SIGTERM under load."""
    await world.until_streaming()
    with world.absent("bridge", "restarted"):
        code = await _bridge(world).terminate()
        assert code == 0, f"a stop of the bridge ended with {code}"
        await asyncio.sleep(part.for_s)
        await _bridge(world).start()


def _agents_at_work(world: World) -> list[int]:
    """Processes of scribes, the one that spoke last first."""
    pids = dict.fromkeys(line.pid for line in reversed(world.agent_log()))
    return [pid for pid in pids if os.path.exists(f"/proc/{pid}")]


async def kill_agent(world: World, part: Break) -> None:
    """SIGKILL of the agent that spoke last."""
    await world.until_streaming()
    pids = _agents_at_work(world)
    if pids:
        with suppress(ProcessLookupError), world.absent("agent", "killed"):
            os.kill(pids[0], signal.SIGKILL)


async def stop_agent(world: World, part: Break) -> None:
    """SIGSTOP of every agent."""
    for number in (signal.SIGSTOP, signal.SIGCONT):
        for pid in _agents_at_work(world):
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        if number is signal.SIGSTOP:
            await asyncio.sleep(part.for_s)


# --- wires -------------------------------------------------------------------------------------------------------


async def cut_bridge(world: World, part: Break) -> None:
    """The link ends, again and again."""
    until = time.monotonic() + part.for_s
    while time.monotonic() < until:
        world.wire.cut()
        await asyncio.sleep(0.3)


async def down_bridge(world: World, part: Break) -> None:
    """No way through."""
    world.wire.take_down()
    await asyncio.sleep(part.for_s)
    world.wire.bring_up()


async def hold_bridge(world: World, part: Break) -> None:
    """Half-open: nothing is carried, and nothing ends."""
    world.wire.hold()
    await asyncio.sleep(part.for_s)
    world.wire.let_go()


async def deaf_bridge(world: World, part: Break) -> None:
    """What the server says does not arrive; the link then ends, and nobody knows what had."""
    world.wire.hold_downstream()
    await asyncio.sleep(part.for_s)
    world.wire.cut()
    world.wire.let_go()


async def mute_bridge(world: World, part: Break) -> None:
    """What the bridge says stops in the middle of a frame; the link then ends."""
    world.wire.hold_upstream(after=700)
    await asyncio.sleep(part.for_s)
    world.wire.cut()
    world.wire.let_go()


async def delay_bridge(world: World, part: Break) -> None:
    """Everything takes longer."""
    world.wire.delay(0.2)
    await asyncio.sleep(part.for_s)
    world.wire.delay(0)


def _person(world: World, part: Break) -> Person:
    return world.people[part.target]


async def cut_browser(world: World, part: Break) -> None:
    """The connection ends, again and again."""
    until = time.monotonic() + part.for_s
    while time.monotonic() < until:
        _person(world, part).wire.cut()
        await asyncio.sleep(0.3)


async def hold_browser(world: World, part: Break) -> None:
    """Half-open, and then gone."""
    wire = _person(world, part).wire
    wire.hold()
    await asyncio.sleep(part.for_s)
    wire.cut()
    wire.let_go()


async def delay_browser(world: World, part: Break) -> None:
    """Everything takes longer."""
    wire = _person(world, part).wire
    wire.delay(0.2)
    await asyncio.sleep(part.for_s)
    wire.delay(0)


async def slow_browser(world: World, part: Break) -> None:
    """It reads nothing, while what it watches says more than the server keeps for it. Nobody else may wait for it."""
    wire = _person(world, part).wire
    other = world.people[(part.target + 1) % len(world.people)]
    (flood,) = [send.request_id for send in world.round.sends if send.request_id.endswith("flood")]
    wire.hold_downstream()
    try:
        async with asyncio.timeout(OTHERS_S):
            await other.until(lambda: other.knows_ended({flood}))
    except TimeoutError:
        raise AssertionError(f"promise 6: others were not told within {OTHERS_S} s while one read nothing") from None
    finally:
        wire.let_go()


async def vanish_browser(world: World, part: Break) -> None:
    """Gone without a word; back as a page that knows, or knows nothing."""
    await _person(world, part).vanish(part.for_s, reloads=part.jump_s > 60)


_FAULTS: Final[dict[Fault, Callable[[World, Break], Awaitable[None]]]] = {
    Fault.KILL_SERVER: kill_server,
    Fault.STOP_SERVER: stop_server,
    Fault.RESTART_SERVER: restart_server,
    Fault.FULL_DISK: full_disk,
    Fault.LOCKED_STORE: locked_store,
    Fault.CLOCK_FORWARD: jump,
    Fault.CLOCK_BACK: jump,
    Fault.KILL_BRIDGE: kill_bridge,
    Fault.STOP_BRIDGE: stop_bridge,
    Fault.RESTART_BRIDGE: restart_bridge,
    Fault.KILL_AGENT: kill_agent,
    Fault.STOP_AGENT: stop_agent,
    Fault.CUT_BRIDGE: cut_bridge,
    Fault.DOWN_BRIDGE: down_bridge,
    Fault.HOLD_BRIDGE: hold_bridge,
    Fault.DEAF_BRIDGE: deaf_bridge,
    Fault.MUTE_BRIDGE: mute_bridge,
    Fault.DELAY_BRIDGE: delay_bridge,
    Fault.CUT_BROWSER: cut_browser,
    Fault.HOLD_BROWSER: hold_browser,
    Fault.DELAY_BROWSER: delay_browser,
    Fault.SLOW_BROWSER: slow_browser,
    Fault.VANISH_BROWSER: vanish_browser,
}
