"""Plays a round on real processes: people act by its plan, things break, everything is mended, and all must end."""

import asyncio
import random
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Final

import aiohttp

from baton.agents.demo import DemoAgent
from baton.agents.options import AgentOptions
from tests.faults.suite.evidence import Evidence, Sent, copy_database, read_stored
from tests.faults.suite.injections import inject
from tests.faults.suite.person import Person
from tests.faults.suite.plan import Abort, AgentName, Break, Round, Script, Send
from tests.faults.suite.witness import Json
from tests.faults.suite.world import BRIDGE_TOKEN, TOKEN, World, world
from tests.support.recording_turn import RecordingTurn, choosing
from tests.support.scripted_agents import execute
from tests.support.shell import Shell
from tests.support.tcp_proxy import tcp_proxy

SETTLE_S: Final = 180
"""How long everything that is open may take to end once nothing breaks any more: for a machine that is busy."""
START_S: Final = 180
OPTIONS: Final = ("allow_once", "deny")
"""What is answered to prompts; two tabs answer the same one, and differ."""


async def play(round_: Round, folder: Path) -> Evidence:
    """What the round leaves. Whatever the driver cannot do is a failure in it, and never raised."""
    evidence = Evidence(round_)
    try:
        async with world(folder, round_) as made:
            try:
                await _Play(made, evidence).run()
            finally:
                evidence.lines, evidence.starts = made.agent_log(), made.starts()
                evidence.absences, evidence.crashes = made.absences, made.crashes
                evidence.left_out = made.left_out
    # Whatever it is, it is told with the round's seed; the other rounds are played.
    except Exception as error:
        evidence.failures.append(_told(error))
    return evidence


class _Play:
    def __init__(self, world: World, evidence: Evidence) -> None:
        self._world = world
        self._round = world.round
        self._evidence = evidence
        self._conversations: list[str] = []
        self._answered: set[tuple[str, str]] = set()
        self._began = 0.0

    async def run(self) -> None:
        async with asyncio.TaskGroup() as living:
            lives = [living.create_task(person.live(), name=person.witness.name) for person in self._world.people]
            try:
                await self._meet()
                await self._act()
                await self._settle()
                await self._compare()
            finally:
                self._evidence.witnesses = [person.witness for person in self._world.people]
                for life in lives:
                    life.cancel()
        await self._close()

    # --- before ---

    async def _meet(self) -> None:
        """Everybody watches the same new conversations, of an agent that is there."""
        first = self._world.people[0]
        async with asyncio.timeout(START_S):
            while {agent["id"] for agent in await self._agents(first)} < set(AgentName):
                await asyncio.sleep(0.1)  # agents are asked once the bridge has its link
            for number, agent in enumerate(self._round.conversations):
                asked = {"requestId": f"conversation-{number}", "agent": agent}
                answer = await first.ask("conversation:create", asked)
                self._conversations.append(answer["conversation"]["id"])
            for person in self._world.people:
                for conversation_id in self._conversations:
                    person.watch(conversation_id)
                await person.until(lambda person=person: person.is_connected() and person.is_joined())
        self._evidence.conversations = self._conversations

    async def _agents(self, person: Person) -> list[Json]:
        bridges = (await person.ask("bridge:list", {}))["bridges"]
        return [agent for bridge in bridges for agent in bridge["agents"] if agent["available"]]

    # --- during ---

    async def _act(self) -> None:
        """All parts of the plan, each at its time; faults are undone when this returns."""
        self._began = time.monotonic()
        async with asyncio.TaskGroup() as acts:
            self._answering = [
                asyncio.create_task(self._answer(person, number), name=f"{person.witness.name} answers")
                for number, person in enumerate(self._world.people)
            ]
            for part in (*self._round.sends, *self._round.aborts, *self._round.breaks):
                acts.create_task(self._do(part), name=str(part))
            acts.create_task(self._knock(), name="a stranger")

    async def _do(self, part: Send | Abort | Break) -> None:
        await asyncio.sleep(self._began + part.at_s - time.monotonic())
        if isinstance(part, Break):
            await inject(self._world, part)
        elif isinstance(part, Abort):
            self._evidence.aborted.add(part.request_id)
            await self._world.people[part.person].ask("chat:abort", {"requestId": part.request_id})
        else:
            await self._send(part)

    async def _send(self, part: Send) -> None:
        sent = self._evidence.sent[part.request_id] = Sent(time.monotonic())
        payload = {
            "requestId": part.request_id,
            "content": part.content,
            "conversationId": self._conversations[part.conversation],
            "agent": part.agent,
        }
        people = self._world.people
        tabs = [people[part.person]]
        if part.twice:
            tabs.append(people[(part.person + 1) % len(people)])
        sent.answers += await asyncio.gather(*(tab.ask("chat:send-message", payload) for tab in tabs))

    async def _answer(self, person: Person, number: int) -> None:
        """Answer each prompt that is shown, but those about what destroys: nobody answers these in time."""
        rng = random.Random(f"{self._round.seed}:{self._round.number}:{number}")
        while True:
            await person.until(lambda: bool(self._open_prompts(person)))
            for prompt in self._open_prompts(person):
                option = OPTIONS[number % len(OPTIONS)]
                self._answered.add((person.witness.name, prompt["id"]))
                await asyncio.sleep(rng.uniform(0, 0.3))
                answer = await person.ask("permission:respond", {"promptId": prompt["id"], "selectedOption": option})
                self._evidence.responses.append((prompt["id"], option, answer))

    def _open_prompts(self, person: Person) -> list[Json]:
        return [
            prompt
            for screen in person.witness.screens.values()
            for prompt in screen.prompts.values()
            if prompt["status"] == "pending"
            and prompt["riskLevel"] != "CRITICAL"
            and (person.witness.name, prompt["id"]) not in self._answered
        ]

    async def _knock(self) -> None:
        """Somebody without a credential tries the doors, again and again, also right after a restart."""
        until = self._began + max(part.at_s + part.for_s for part in self._round.breaks) + 1
        url = self._world.wire.url
        headers = {"Authorization": f"Bearer {BRIDGE_TOKEN}"}
        async with aiohttp.ClientSession() as session:
            while time.monotonic() < until:
                for path, given in (("/api/chat/runs", {}), ("/bridge", {}), ("/api/chat/runs", headers)):
                    with suppress(aiohttp.ClientError, TimeoutError):
                        async with session.get(url + path, headers=given, timeout=aiohttp.ClientTimeout(5)) as response:
                            if response.status == 200:
                                self._evidence.let_in.append(f"{path} with {sorted(given)}")
                await asyncio.sleep(0.5)

    # --- after ---

    async def _settle(self) -> None:
        """Nothing breaks any more: every run ends, and every tab knows it."""
        runs = set(self._evidence.sent)
        try:
            async with asyncio.timeout(SETTLE_S):
                while not self._is_settled(runs):
                    await self._let_queues_go()
                    await asyncio.sleep(0.2)
        except TimeoutError:
            self._evidence.failures.append(f"{SETTLE_S} s after everything was mended: {self._open(runs)}")
        for answering in self._answering:
            answering.cancel()
        await asyncio.gather(*self._answering, return_exceptions=True)

    def _is_settled(self, runs: set[str]) -> bool:
        people = self._world.people
        if not all(person.is_joined() for person in people):
            return False
        all_know = all(person.knows_ended(runs) for person in people if not person.has_reloaded)
        return all_know and all(person.seqs() == people[0].seqs() for person in people)

    def _open(self, runs: set[str]) -> str:
        states = []
        for person in self._world.people:
            known = {name: run["status"] for s in person.witness.screens.values() for name, run in s.runs.items()}
            states.append({name: known.get(name) for name in sorted(runs)} | {"tab": person.witness.name})
        return f"runs are {states}"

    async def _let_queues_go(self) -> None:
        """What waits behind a run that failed waits for somebody to say so."""
        first = self._world.people[0]
        for conversation_id, screen in list(first.witness.screens.items()):
            if screen.queue["paused"]:
                await first.ask("chat:queue-resume", {"conversationId": conversation_id})

    async def _compare(self) -> None:
        """What REST says, and what a browser shows that comes now."""
        async with asyncio.timeout(SETTLE_S), tcp_proxy() as wire:
            wire.target_port = self._world.serving.port
            newcomer = Person("newcomer", wire, self._world.host, TOKEN)
            for conversation_id in self._conversations:
                newcomer.watch(conversation_id)
            life = asyncio.create_task(newcomer.live(), name="newcomer")
            try:
                await newcomer.until(lambda: newcomer.is_connected() and newcomer.is_joined())
                self._evidence.newcomer = newcomer.witness
                self._evidence.history = {name: await self._history(name) for name in self._conversations}
            finally:
                life.cancel()
                await asyncio.gather(life, return_exceptions=True)

    async def _history(self, conversation_id: str) -> list[Json]:
        url = f"{self._world.serving.url}/api/chat/conversations/{conversation_id}/messages?limit=200"
        headers = {"Authorization": f"Bearer {TOKEN}", "Host": self._world.host}
        async with aiohttp.ClientSession(headers=headers) as session, session.get(url) as response:
            page = await response.json()
        messages: list[Json] = page["messages"]
        assert page["next"] is None, "a round has no more than a page"
        return messages

    async def _close(self) -> None:
        """End the servers, and look at what they leave on the disk."""
        self._evidence.peak_bytes = peak_bytes(self._world.serving.pid)
        for server in (self._world.waiting, self._world.serving):
            if server is not None:
                assert await server.terminate() == 0, "a stop is clean"
        copy = copy_database(self._world.data, self._world.folder / "end")
        self._evidence.stored = read_stored(copy)
        self._evidence.checked = await check(copy)
        for part in self._round.sends:
            if part.agent is AgentName.DEMO:
                options = OPTIONS if part.script is Script.ASK else (None,)
                for option in options:
                    self._evidence.expected[(part.content, option)] = await foretold(part.content, option)


def peak_bytes(pid: int) -> int:
    """The most memory that a process has had."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


async def check(database: Path) -> str:
    """What `baton db check` finds; empty: nothing."""
    said = await Shell(database.parent, {}).baton("db", "check", "--store", f"sqlite:///{database}")
    return "" if said.code == 0 else f"{said.out}{said.err}"


async def foretold(content: str, option: str | None) -> str:
    """What the demo agent answers, said without a pause."""

    async def at_once(seconds: float) -> None: ...

    agent = DemoAgent(AgentOptions(environment={}, default_working_directory="/", sleep=at_once))
    turn = RecordingTurn(choosing(option) if option else None)
    with suppress(Exception):  # a script that fails says what it says before
        await agent.run(execute(message=content), turn)
    return turn.text()


def _told(error: BaseException) -> str:
    """The error, and where in the suite it came from."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_told(one) for one in error.exceptions)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "/tests/" in frame.filename]
    places = " < ".join(f"{Path(frame.filename).stem}.{frame.name}:{frame.lineno}" for frame in reversed(frames[-3:]))
    return f"{type(error).__name__}: {error} in {places}"
