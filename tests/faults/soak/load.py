"""Mixed load with faults that lasts: people who talk, others who come and go, and what breaks meanwhile."""

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import aiohttp

from tests.faults.suite.injections import inject
from tests.faults.suite.person import Person
from tests.faults.suite.plan import AgentName, Break, Fault, Round, Script, Send, Shape
from tests.faults.suite.world import TOKEN, World, world
from tests.support.bridge_process import BridgeProcess, bridge_process
from tests.support.tcp_proxy import tcp_proxy

PEOPLE: Final = 4
MESSAGES: Final = 8
"""In one conversation; then another is begun."""
FAULTS: Final = (
    Fault.STOP_SERVER,
    Fault.LOCKED_STORE,
    Fault.KILL_AGENT,
    Fault.STOP_AGENT,
    Fault.CUT_BRIDGE,
    Fault.DOWN_BRIDGE,
    Fault.HOLD_BRIDGE,
    Fault.DEAF_BRIDGE,
    Fault.MUTE_BRIDGE,
    Fault.DELAY_BRIDGE,
    Fault.CUT_BROWSER,
    Fault.HOLD_BROWSER,
    Fault.DELAY_BROWSER,
    Fault.VANISH_BROWSER,
)
"""All that the two processes live through which are looked at; a second bridge is killed again and again."""
_SCRIPTS: Final = (Script.SPEAK, Script.SPEAK, Script.BURST, Script.ASK, Script.FAIL)
ENDED_S: Final = 300


@dataclass
class Load:
    """Everything that goes on. `ends` counts how runs have ended, `broken` what has broken."""

    world: World
    unlucky: BridgeProcess
    rng: random.Random
    ends: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    misfits: list[str] = field(default_factory=list)
    _numbers: "itertools.count[int]" = field(default_factory=itertools.count)

    async def go_on(self) -> None:
        """Until it is cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for number, person in enumerate(self.world.people):
                tasks.create_task(person.live(), name=person.witness.name)
                tasks.create_task(self._talk(person, number), name=f"{person.witness.name} talks")
                tasks.create_task(self._answer(person), name=f"{person.witness.name} answers")
            tasks.create_task(self._visit(), name="visitors")
            tasks.create_task(self._break(), name="faults")
            tasks.create_task(self._kill_again_and_again(), name="the unlucky bridge")

    async def _talk(self, person: Person, number: int) -> None:
        bridges = [None] if number else [None, self.unlucky]
        while True:
            agent = self.rng.choice(list(AgentName))
            asked: dict[str, object] = {"requestId": f"c{next(self._numbers)}", "agent": agent}
            if self.rng.choice(bridges) is not None:
                asked["bridgeId"] = (await self.unlucky.until(lambda health: True))["bridgeId"]
            made = await person.ask("conversation:create", asked)
            conversation_id = made["conversation"]["id"]
            person.watch(conversation_id)
            for _ in range(MESSAGES):
                await self._exchange(person, conversation_id, agent)
            self.misfits += person.witness.screens[conversation_id].misfits
            await person.leave(conversation_id)

    async def _exchange(self, person: Person, conversation_id: str, agent: AgentName) -> None:
        """One message, until its run has ended."""
        name = f"r{next(self._numbers)}"
        words, rate = self.rng.randint(20, 200), self.rng.choice((60, 120, 400))
        send = Send(0, 0, 0, name, agent, self.rng.choice(_SCRIPTS), words, rate, twice=False)
        payload = {"requestId": name, "content": send.content, "conversationId": conversation_id, "agent": agent}
        answer = await person.ask("chat:send-message", payload)
        assert answer["ok"], answer
        try:
            async with asyncio.timeout(ENDED_S):
                await person.until(lambda: person.knows_ended({name}))
        except TimeoutError:
            raise AssertionError(
                f"{send.content} has not ended: {await self._state(person, conversation_id)}"
            ) from None
        run = person.witness.screens[conversation_id].runs[name]
        self.ends[(run["error"] or {}).get("code", run["status"])] += 1

    async def _state(self, person: Person, conversation_id: str) -> str:
        """How far the browser is, and what the server has open."""
        screen = person.witness.screens[conversation_id]
        shown = {name: run["status"] for name, run in screen.runs.items()}
        headers = {"Authorization": f"Bearer {TOKEN}", "Host": self.world.host}
        async with aiohttp.ClientSession(headers=headers) as session:
            async with session.get(f"{self.world.serving.url}/api/chat/runs") as response:
                runs = (await response.json())["runs"]
        return f"shown are {shown} at {screen.seq}, joined: {screen.is_joined}; open are {runs}"

    async def _answer(self, person: Person) -> None:
        def pending() -> list[str]:
            prompts = [p for s in person.witness.screens.values() for p in s.prompts.values()]
            return [prompt["id"] for prompt in prompts if prompt["status"] == "pending"]

        while True:
            await person.until(lambda: bool(pending()))
            for prompt_id in pending():
                answer = {"promptId": prompt_id, "selectedOption": self.rng.choice(("allow_once", "deny"))}
                await person.ask("permission:respond", answer)
            await asyncio.sleep(0.2)

    async def _visit(self) -> None:
        """People look in for a moment, and are gone without a word."""
        async with tcp_proxy() as wire:
            for number in itertools.count():
                wire.target_port = self.world.serving.port
                visitor = Person(f"visitor {number}", wire, self.world.host, TOKEN)
                life = asyncio.create_task(visitor.live(), name=visitor.witness.name)
                for screen in self.rng.choice(self.world.people).witness.screens:
                    visitor.watch(screen)
                await asyncio.sleep(self.rng.uniform(0.5, 3))
                life.cancel()
                await asyncio.gather(life, return_exceptions=True)

    async def _break(self) -> None:
        while True:
            await asyncio.sleep(self.rng.uniform(2, 10))
            fault = self.rng.choice(FAULTS)
            part = Break(0, fault, self.rng.uniform(0.1, 3), self.rng.randrange(PEOPLE), jump_s=0)
            await inject(self.world, part)
            self.broken[fault] += 1

    async def _kill_again_and_again(self) -> None:
        while True:
            await asyncio.sleep(self.rng.uniform(15, 45))
            if self.rng.random() < 0.5:
                await self.unlucky.kill()
            else:
                await self.unlucky.terminate()
            await self.unlucky.start()
            self.broken["unlucky bridge"] += 1


@asynccontextmanager
async def load(folder: Path, seed: int) -> AsyncIterator[Load]:
    """The processes, and a load on them that has not begun."""
    round_ = Round(seed, 0, Shape.REMOTE, PEOPLE, (), (), (), ())
    async with AsyncExitStack() as stack:
        made = await stack.enter_async_context(world(folder, round_))
        token = await _bridge_token(made)
        unlucky = bridge_process(
            folder / "unlucky", made.serving.url, token, **made.agents(), BATON_BRIDGE_NAME="unlucky"
        )
        yield Load(made, await stack.enter_async_context(unlucky), random.Random(seed))


async def _bridge_token(made: World) -> str:
    """A second bridge needs a token of its own."""
    headers = {"Authorization": f"Bearer {TOKEN}", "Host": made.host}
    async with aiohttp.ClientSession(headers=headers) as session:
        asked = {"name": "unlucky", "role": "bridge"}
        async with session.post(f"{made.serving.url}/api/tokens", json=asked) as response:
            answer = await response.json()
    secret: str = answer["secret"]
    return secret
