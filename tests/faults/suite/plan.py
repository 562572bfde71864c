"""What happens in a round: who sends what, and what breaks when. Pure: the seed and the number decide all of it.

Faults are dealt like cards, so that few rounds have seen each of them once, whatever the seed.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

BUSY_S: Final = 6.0
"""How long people go on sending, and things go on breaking; then everything is mended, and what is open must end."""
FAULTS_PER_ROUND: Final = 3
CRITICAL_S: Final = 5
"""How long the server waits for an answer about what destroys."""


class Shape(StrEnum):
    """Which processes there are."""

    REMOTE = "remote"
    """A server, and a bridge elsewhere."""
    PAIR = "pair"
    """The same, and a second server that waits for the first one's database."""
    INSIDE = "inside"
    """A server with the bridge inside."""


class Fault(StrEnum):
    """What breaks, for a while."""

    KILL_SERVER = "kill-server"
    STOP_SERVER = "stop-server"
    RESTART_SERVER = "restart-server"
    FULL_DISK = "full-disk"
    LOCKED_STORE = "locked-store"
    CLOCK_FORWARD = "clock-forward"
    CLOCK_BACK = "clock-back"
    KILL_BRIDGE = "kill-bridge"
    STOP_BRIDGE = "stop-bridge"
    RESTART_BRIDGE = "restart-bridge"
    KILL_AGENT = "kill-agent"
    STOP_AGENT = "stop-agent"
    CUT_BRIDGE = "cut-bridge"
    DOWN_BRIDGE = "down-bridge"
    HOLD_BRIDGE = "hold-bridge"
    DEAF_BRIDGE = "deaf-bridge"
    MUTE_BRIDGE = "mute-bridge"
    DELAY_BRIDGE = "delay-bridge"
    CUT_BROWSER = "cut-browser"
    HOLD_BROWSER = "hold-browser"
    DELAY_BROWSER = "delay-browser"
    SLOW_BROWSER = "slow-browser"
    VANISH_BROWSER = "vanish-browser"


_NEEDS_A_BRIDGE: Final = frozenset(fault for fault in Fault if fault.value.endswith("-bridge"))
_LONGEST_S: Final = {
    Fault.KILL_SERVER: 4.0,
    Fault.STOP_SERVER: 14.0,  # more than what one round of the deadlines' sweep may take: then it does not count
    Fault.FULL_DISK: 3.0,
    Fault.LOCKED_STORE: 8.0,  # beyond the time that SQLite waits for a lock
    Fault.HOLD_BRIDGE: 6.0,  # beyond two heartbeats
    Fault.STOP_BRIDGE: 6.0,
}
AT_ONCE_S: Final = 2.0
"""The longest of all others."""


class Script(StrEnum):
    """What an agent is asked to do."""

    SPEAK = "speak"
    BURST = "burst"
    TWO = "two"
    ASK = "ask"
    CRITICAL = "critical"
    FAIL = "fail"
    HUGE = "huge"


class AgentName(StrEnum):
    """Who does it: the demo agent, or one that is a process of its own and writes down what it says."""

    DEMO = "demo"
    SCRIBE = "acp:scribe"


_SCRIPTS: Final = {
    AgentName.SCRIBE: (Script.SPEAK, Script.SPEAK, Script.BURST, Script.ASK, Script.CRITICAL, Script.FAIL),
    AgentName.DEMO: (Script.SPEAK, Script.SPEAK, Script.BURST, Script.TWO, Script.ASK, Script.FAIL),
}


@dataclass(frozen=True, slots=True)
class Send:
    """Somebody says something. `twice`: another tab of his says the same at the same time."""

    at_s: float
    person: int
    conversation: int
    request_id: str
    agent: AgentName
    script: Script
    words: int
    rate: int
    twice: bool

    @property
    def content(self) -> str:
        """The message."""
        if self.agent is AgentName.SCRIBE:
            return f"{self.request_id} {self.script} words={self.words} rate={self.rate}"
        return {
            Script.SPEAK: f"/demo markdown words={self.words} rate={self.rate}",
            Script.BURST: f"/demo burst n={self.words * 20}",
            Script.TWO: f"/demo two rate={self.rate}",
            Script.ASK: f"/demo ask rate={self.rate}",
            Script.HUGE: "/demo huge size_kb=512",
            Script.FAIL: f"/demo fail after={self.words} rate={self.rate}",
        }[self.script]


@dataclass(frozen=True, slots=True)
class Abort:
    """Somebody stops a run, wherever it is by then."""

    at_s: float
    person: int
    request_id: str


@dataclass(frozen=True, slots=True)
class Break:
    """Something breaks, for so long. `target`: which browser, where it is one; `jump_s`: how far the clock jumps."""

    at_s: float
    fault: Fault
    for_s: float
    target: int
    jump_s: float


@dataclass(frozen=True, slots=True)
class Round:
    """One round. `seed` and `number` make it again."""

    seed: int
    number: int
    shape: Shape
    people: int
    conversations: tuple[AgentName, ...]
    sends: tuple[Send, ...]
    aborts: tuple[Abort, ...]
    breaks: tuple[Break, ...]

    @property
    def faults(self) -> frozenset[Fault]:
        """What breaks in it."""
        return frozenset(part.fault for part in self.breaks)

    def script(self) -> Iterator[str]:
        """The round in lines, for people, in the order of time."""
        yield f"round {self.number} of seed {self.seed}: {self.shape}, {self.people} tabs"
        parts = [*self.sends, *self.aborts, *self.breaks]
        for part in sorted(parts, key=lambda part: part.at_s):
            yield f"  {part.at_s:5.2f} s  {_line(part)}"


def plan(seed: int, number: int) -> Round:
    """The round of this number."""
    rng = random.Random(f"{seed}:{number}")
    faults = deal(seed, number)
    shape = _shape(rng, faults)
    people = rng.randint(2, 3)
    conversations = (AgentName.SCRIBE, AgentName.DEMO, rng.choice(list(AgentName)))
    prefix = f"s{seed}-n{number}"
    sends = tuple(_sends(rng, prefix, people, conversations))
    aborts = tuple(
        Abort(round(send.at_s + rng.uniform(0, 2), 2), rng.randrange(people), send.request_id)
        for send in sends
        if rng.random() < 0.12
    )
    breaks = tuple(_break(rng, fault, people) for fault in faults)
    for part in breaks:
        if part.fault is Fault.SLOW_BROWSER:
            sends += (_flood(part, prefix, people, len(conversations)),)
            conversations += (AgentName.DEMO,)
    return Round(seed, number, shape, people, conversations, sends, aborts, breaks)


def deal(seed: int, number: int) -> tuple[Fault, ...]:
    """The faults of a round: so many cards from shuffled decks of all of them."""
    faults = list(Fault)
    first = number * FAULTS_PER_ROUND
    return tuple(
        _deck(seed, place // len(faults))[place % len(faults)] for place in range(first, first + FAULTS_PER_ROUND)
    )


def _deck(seed: int, number: int) -> list[Fault]:
    deck = list(Fault)
    random.Random(f"{seed}:deck {number}").shuffle(deck)
    return deck


def _shape(rng: random.Random, faults: tuple[Fault, ...]) -> Shape:
    if any(fault in _NEEDS_A_BRIDGE for fault in faults):
        return rng.choice((Shape.REMOTE, Shape.REMOTE, Shape.PAIR))
    return rng.choice(list(Shape))


def _sends(rng: random.Random, prefix: str, people: int, conversations: tuple[AgentName, ...]) -> Iterator[Send]:
    for number in range(rng.randint(5, 9)):
        conversation = rng.randrange(len(conversations))
        agent = conversations[conversation]
        yield Send(
            at_s=round(rng.uniform(0, BUSY_S - 1), 2),
            person=rng.randrange(people),
            conversation=conversation,
            request_id=f"{prefix}-r{number}",
            agent=agent,
            script=rng.choice(_SCRIPTS[agent]),
            words=rng.randint(20, 200),
            rate=rng.choice((30, 60, 120, 400)),
            twice=rng.random() < 0.4,
        )


def _flood(part: Break, prefix: str, people: int, conversation: int) -> Send:
    """What is said while a browser reads nothing: more than the server keeps for it, in a conversation of its own."""
    return Send(
        at_s=part.at_s,
        person=(part.target + 1) % people,
        conversation=conversation,
        request_id=f"{prefix}-flood",
        agent=AgentName.DEMO,
        script=Script.HUGE,
        words=0,
        rate=0,
        twice=False,
    )


def _break(rng: random.Random, fault: Fault, people: int) -> Break:
    sign = -1 if fault is Fault.CLOCK_BACK else 1
    return Break(
        at_s=round(rng.uniform(0.5, BUSY_S - 1), 2),
        fault=fault,
        for_s=round(rng.uniform(0.1, _LONGEST_S.get(fault, AT_ONCE_S)), 2),
        target=rng.randrange(people),
        jump_s=sign * rng.choice((5, 90, 3600, 86_400)),
    )


def _line(part: Send | Abort | Break) -> str:
    if isinstance(part, Break):
        jump = f" {part.jump_s:+g} s" if part.fault.value.startswith("clock") else ""
        return f"{part.fault}{jump} for {part.for_s:g} s (tab {part.target})"
    if isinstance(part, Abort):
        return f"tab {part.person} aborts {part.request_id}"
    twice = ", twice" if part.twice else ""
    return f"tab {part.person} sends {part.request_id} to conversation {part.conversation}{twice}: {part.content}"
