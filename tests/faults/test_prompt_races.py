"""A thousand questions, each answered five times at once while its time runs out: one winner each, and all agree.

A real server, two tabs and REST that answer, a bridge of the test's own, and the file on disk. Some are also raced by
an abort, by the end of their run, by their agent taking the question back, by another mode, and by a clean-up of all.
"""

import asyncio
import json
import random
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.raw_clients import Frame, RawBridge, hello, open_bridge
from tests.support.server_process import ServerProcess, server_process
from tests.support.tab import Tab, Told, open_tab

LANES = 100
"""Conversations in which questions are asked at the same time."""
ROUNDS = 10
TIMEOUT_S = 1.0
SEED = 20261128
FINAL = ("claude:complete", "claude:aborted")


class AskingBridge:
    """Asks one question in each run. `heard`: the answers that its agent got, by run."""

    def __init__(self, bridge: RawBridge) -> None:
        self._bridge = bridge
        self._seqs: Counter[str] = Counter()
        self._ended: set[str] = set()
        self.heard: defaultdict[str, list[Frame]] = defaultdict(list)

    async def serve(self) -> None:
        """Do what the server says; for the task that owns it."""
        while isinstance(frame := await self._bridge.hear(), dict):
            match frame["type"]:
                case "claude:execute":
                    await self._ask(frame["requestId"], frame["message"])
                case "permission:response":
                    await self._go_on(frame["requestId"], frame)
                case "claude:abort":
                    await self.say(frame["requestId"], "claude:aborted")
                case "ping":
                    await self._bridge.say({"type": "pong", "t": frame["t"]})

    async def say(self, request_id: str, kind: str, **fields: object) -> None:
        """The run's next frame; none after its end."""
        if request_id in self._ended:
            return
        if kind in FINAL:
            self._ended.add(request_id)
        self._seqs[request_id] += 1
        await self._bridge.say({"type": kind, "requestId": request_id, "seq": self._seqs[request_id], **fields})

    async def _ask(self, request_id: str, message: str) -> None:
        tool, _, about = message.partition(" ")
        name = "file_path" if tool == "Edit" else "command"
        question = {"promptId": "p", "type": "tool_permission", "title": message, "toolName": tool}
        await self.say(request_id, "claude:started", sessionId="s")
        await self.say(request_id, "permission:request", prompt={**question, "input": {name: about}})

    async def _go_on(self, request_id: str, answer: Frame) -> None:
        self.heard[request_id].append(answer)
        await self.say(request_id, "permission:applied", promptId="p")
        await self.say(request_id, "claude:complete", result={"outcome": "completed"})


@dataclass
class Race:
    """One question, and what became of those who answered it: by whom and with what, and what they were told."""

    request_id: str
    prompt_id: str
    answers: dict[str, tuple[str, Told]] = field(default_factory=dict)


@dataclass
class Field:
    """Where the races are run."""

    server: ServerProcess
    session: aiohttp.ClientSession
    anna: Tab
    ben: Tab
    bridge: AskingBridge
    rng: random.Random
    last_asked: asyncio.Barrier = field(default_factory=lambda: asyncio.Barrier(LANES))
    races: list[Race] = field(default_factory=list)

    async def post(self, path: str, body: Told) -> Told:
        """What REST answers."""
        async with self.session.post(f"{self.server.url}/api/chat{path}", json=body) as response:
            answer: Told = await response.json()
            assert (response.status == 200) == answer["ok"]
            assert response.status in (200, 409)
            return answer

    async def lane(self, number: int) -> None:
        """One conversation, and a question in it after the other."""
        made = await self.anna.ask("conversation:create", {"workingDirectory": "/work", "agent": "ext"})
        conversation_id = made["conversation"]["id"]
        for tab in (self.anna, self.ben):
            assert (await tab.ask("join-conversation", {"conversationId": conversation_id}))["ok"]
        for round_number in range(ROUNDS):
            rival = _RIVALS[(number + round_number) % len(_RIVALS)]
            request_id = f"r-{number}-{round_number}"
            if round_number < ROUNDS - 1:
                await self.race(conversation_id, request_id, rival)
            else:
                # Only when everybody has asked: a clean-up before that leaves a run without a question.
                await self.race(conversation_id, request_id, clean_up if number == 0 else no_rival, self.last_asked)

    async def race(
        self, conversation_id: str, request_id: str, rival: "Rival", others: asyncio.Barrier | None = None
    ) -> None:
        """Ask, and let everybody answer at about the moment when the time is over."""
        tool = "Edit src/a.py" if rival is mode else f"Bash make {request_id}"
        sent = {"requestId": request_id, "content": tool, "conversationId": conversation_id}
        assert (await self.anna.ask("chat:send-message", sent))["ok"]
        prompt = await self.anna.asked_in(request_id)
        race = Race(request_id, prompt["id"])
        self.races.append(race)
        if others is not None:
            await others.wait()
        # The sweep comes once a second: each of these moments is before it for some, and after it for others.
        await asyncio.sleep(self.rng.uniform(0.0, TIMEOUT_S + 0.9))
        by = {"anna": "allow_once", "anna again": "deny", "ben": "deny", "rest": "allow_once", "room": "deny_stop"}
        going = [rival(self, conversation_id, race)]
        going += [self.answer(race, conversation_id, who, option) for who, option in by.items()]
        self.rng.shuffle(going)
        await asyncio.gather(*going)
        async with asyncio.timeout(30):
            while self.anna.runs[request_id]["status"] not in ("completed", "failed", "aborted"):
                await asyncio.sleep(0.01)  # the lane's next run can begin when this one has ended

    async def answer(self, race: Race, conversation_id: str, who: str, option: str) -> None:
        """One of the five."""
        body = {"promptId": race.prompt_id, "selectedOption": option, "message": who}
        if who.startswith("anna"):
            told = await self.anna.ask("permission:respond", body)
        elif who == "ben":
            told = await self.ben.ask("permission:respond", body)
        elif who == "rest":
            told = await self.post(f"/prompts/{body.pop('promptId')}/respond", body)
        else:
            told = await self.post(f"/conversations/{conversation_id}/respond", body)
        race.answers[who] = (option, told)


# --- who else wants to end it ------------------------------------------------------------------------------------

Rival = Callable[[Field, str, Race], Awaitable[object]]


async def no_rival(races: Field, conversation_id: str, race: Race) -> None:
    """Only those who answer, and the time."""


async def abort(races: Field, conversation_id: str, race: Race) -> None:
    """The run is aborted."""
    await races.ben.ask("chat:abort", {"requestId": race.request_id})


async def run_end(races: Field, conversation_id: str, race: Race) -> None:
    """The agent ends its run without waiting."""
    await races.bridge.say(race.request_id, "claude:complete", result={"outcome": "completed"})


async def take_back(races: Field, conversation_id: str, race: Race) -> None:
    """The agent asks no longer, and ends."""
    await races.bridge.say(race.request_id, "permission:cancel", promptId="p")
    await races.bridge.say(race.request_id, "claude:complete", result={"outcome": "completed"})


async def mode(races: Field, conversation_id: str, race: Race) -> None:
    """Edits are allowed from now on, and then no longer."""
    for name in ("acceptEdits", "default"):
        told = await races.ben.ask("permission:set-mode", {"conversationId": conversation_id, "mode": name})
        assert told["ok"]


async def clean_up(races: Field, conversation_id: str, race: Race) -> None:
    """Everything that is under way anywhere is ended."""
    told = await races.post("/conversations/reset-active", {})
    assert told["ok"]


_RIVALS: list[Rival] = [no_rival] * 14 + [abort, abort, run_end, take_back, mode, mode]


# --- the races ---------------------------------------------------------------------------------------------------


async def test_of_all_who_end_a_prompt_one_wins_and_everybody_is_told_who(tmp_path: Path) -> None:
    settings = {
        "BATON_BRIDGE": "none",
        "BATON_PROMPT_TIMEOUT_S": str(TIMEOUT_S),
        "BATON_PROMPT_STAGES_S": "0.5",
        # Five racers a prompt are more than any person: they would meet the limits.
        "BATON_COMMANDS_PER_MINUTE": "0",
        "BATON_REST_PER_MINUTE": "0",
        "BATON_REST_PER_MINUTE_OF_ADDRESS": "0",
    }
    async with server_process(tmp_path, **settings) as server:
        headers = {"Authorization": f"Bearer {server.token()}"}
        connector = aiohttp.TCPConnector(limit=0)
        first = {**hello(), "maxConcurrentRequests": 2 * LANES, "workspaces": [{"path": "/work", "name": "work"}]}
        async with (
            aiohttp.ClientSession(headers=headers, connector=connector) as session,
            open_bridge(session, server.url, server.token("bridge"), first) as raw,
            open_tab(session, server.url, server.token()) as anna,
            open_tab(session, server.url, server.token()) as ben,
        ):
            races = Field(server, session, anna, ben, AskingBridge(raw), random.Random(SEED))
            serving = asyncio.create_task(races.bridge.serve(), name="bridge")
            async with asyncio.TaskGroup() as lanes:
                for number in range(LANES):
                    lanes.create_task(races.lane(number), name=f"lane {number}")
            winners = await assert_all_agree(races)
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
    assert sum(winners.values()) == LANES * ROUNDS
    # That each way of ending it wins at times shows that there were races, and not a rule of who comes first.
    for kind in (("anna", "anna again", "ben"), ("rest", "room"), ("timeout",), ("mode",), ("run_ended", "cleanup")):
        assert any(winners[name] for name in kind), winners


async def assert_all_agree(races: Field) -> Counter[str]:
    """Compare what everybody knows of each prompt; how often each kind of winner won."""
    async with races.session.get(f"{races.server.url}/api/chat/prompts") as response:
        shown = {prompt["id"]: prompt for prompt in (await response.json())["prompts"]}
    stored, audited, ended = on_disk(races.server.database)
    assert len(stored) == len(races.races) == LANES * ROUNDS
    winners: Counter[str] = Counter()
    for race in races.races:
        prompt = shown[race.prompt_id]
        assert verdict(stored[race.prompt_id]) == verdict(prompt)
        assert audited[race.prompt_id] == 1
        for tab in (races.anna, races.ben):
            assert_told_once(tab.prompts[race.prompt_id], prompt)
            assert tab.runs[race.request_id]["status"] == ended[race.request_id]
        winners[winner_of(race, prompt)] += 1
        assert_agent_heard(races.bridge.heard[race.request_id], prompt)
    return winners


def verdict(prompt: Told) -> Told:
    """How a prompt ended: what nobody may see differently."""
    names = ("id", "status", "selectedOption", "response", "autoHandler", "answeredBy", "respondedAt")
    return {name: prompt[name] for name in names}


def winner_of(race: Race, prompt: Told) -> str:
    """Who ended it. All the others were told so, and nobody who was told that it was them was wrong."""
    won = [who for who, (_, told) in race.answers.items() if told["ok"]]
    for _, told in race.answers.values():
        assert told["ok"] or told["error"]["code"] == "already_resolved", told
        assert verdict(told["prompt"]) == verdict(prompt)
    if prompt["autoHandler"] != "user_selection":
        assert won == []
        return str(prompt["autoHandler"])
    (who,) = won
    assert prompt["status"] == "answered"
    assert (prompt["selectedOption"], prompt["response"]["message"]) == (race.answers[who][0], who)
    return who


def assert_told_once(told: list[Told], prompt: Told) -> None:
    """A tab saw it wait, then end once; what came after that was its delivery alone."""
    statuses = [seen["status"] for seen in told]
    ends = [seen for seen in told if seen["status"] != "pending"]
    assert statuses[0] == "pending"
    assert "pending" not in statuses[statuses.index(prompt["status"]) :]
    assert all(verdict(seen) == verdict(prompt) for seen in ends)
    assert [bool(seen["deliveredAt"]) for seen in ends] in ([False], [False, True])


def assert_agent_heard(heard: list[Frame], prompt: Told) -> None:
    """The agent got the answer that won, once; or why there was none; or nothing."""
    if prompt["status"] == "answered":
        (answer,) = heard
        response = prompt["response"]
        assert (answer["selectedOption"], answer.get("message")) == (prompt["selectedOption"], response["message"])
    elif prompt["status"] == "timeout":
        (answer,) = heard
        assert answer["selectedOption"] == "deny_stop"
        assert answer["message"].startswith("Nobody answered in time")
    else:
        assert heard == []


def on_disk(database: Path) -> tuple[dict[str, Told], Counter[str], dict[str, str]]:
    """The prompts, how many entries the audit has of each, and how each run ended."""

    def rows(sql: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            return connection.execute(sql).fetchall()

    prompts = {name: json.loads(doc) for name, doc in rows("SELECT id, doc FROM interactive_prompts")}
    audited = Counter(json.loads(doc)["promptId"] for (doc,) in rows("SELECT doc FROM audit_log"))
    return prompts, audited, dict(rows("SELECT requestId, status FROM runs"))
