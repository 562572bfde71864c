"""Makes the golden files of tests/golden/page: what a page is told, and what it must hold in the end.

`python -m tests.support.page_golden` writes them all. Those under `SAID` are told by a real server (its services on
a real SQLite file, a bridge that is played); what is expected of them is what that server answers to a page that comes
last. Those under `MADE` are written here by hand, with what is expected, for what a good server does not do.
"""

import asyncio
import json
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson

from baton.core.commands import RespondPrompt
from baton.core.events import MessageChanged, Queue, RoomEvent, Streamed
from baton.core.frames import Failed, PermissionRequest, PromptAsked
from baton.core.ids import ConversationId, MessageId, PromptId, RequestId
from baton.core.limits import Limits
from baton.core.models import (
    Conversation,
    Failure,
    PlanEntry,
    PromptOption,
    PromptResponse,
    PromptType,
    Usage,
)
from baton.core.stream import (
    MessageDiscarded,
    MessageDone,
    MessageStarted,
    Notice,
    PlanUpdated,
    TextDelta,
    TextDone,
    ThinkingDelta,
    ToolDone,
    ToolInput,
    ToolProgress,
    ToolStarted,
    UsageUpdated,
)
from baton.schemas.codec import to_wire, to_wire_json
from baton.services.snapshots import Snapshot
from baton.testing import samples
from baton.testing.clock import FakeClock
from baton.web.wire import encode, snapshot_body, wire_event
from tests.services.harness import ANNA, Server, opened
from tests.support.page_view import PageView

FOLDER = Path(__file__).parents[1] / "golden" / "page"
Json = dict[str, Any]
Step = dict[str, Any]


# --- told by a real server -------------------------------------------------------------------------------------


class Recording:
    """A page beside the server: `steps` is what it was told since `join`."""

    def __init__(self, server: Server, conversation: Conversation) -> None:
        self.server = server
        self.conversation = conversation
        self.steps: list[Step] = []
        self._told = 0

    async def join(self, after: int | None = None, epoch: str | None = None) -> None:
        """What was told before is in the snapshot."""
        snapshot = await self.server.join(self.conversation, after, epoch)
        self._told = len(self.server.browser.events)
        self.steps.append({"snapshot": _plain(snapshot_body(snapshot)), "after": after})

    async def hear(self) -> list[Step]:
        """Flush, and take down what the room is told by it."""
        await self.server.intake.flush()
        told = self.server.browser.events[self._told :]
        self._told = len(self.server.browser.events)
        news = [_step(event) for event in told if isinstance(event, RoomEvent)]
        self.steps += news
        return news

    def miss(self, count: int) -> None:
        """The last `count` events never came."""
        del self.steps[-count:]

    @property
    def epoch(self) -> str:
        """That of the first snapshot."""
        return str(self.steps[0]["snapshot"]["epoch"])

    @property
    def seq(self) -> int:
        """That of the last event that came."""
        last = self.steps[-1]
        return int(last["payload"]["seq"] if "event" in last else last["snapshot"]["seq"])


def _step(event: RoomEvent) -> Step:
    name, payload = wire_event(event)
    return {"event": name, "payload": _plain(payload)}


def _plain(body: object) -> Any:
    return orjson.loads(encode(body))


async def a_stream(page: Recording) -> None:
    """Thinking, text with emoji over block borders, and a tool whose result comes after its message is done."""
    server = page.server
    await page.join()
    await server.send(page.conversation)
    server.start("r1")
    await page.hear()
    server.say("r1", MessageStarted(message_id="m1", model="sonnet"), ThinkingDelta("m1", 0, 0, "Hm "))
    server.say("r1", ThinkingDelta("m1", 0, 3, "\N{THINKING FACE} so"))
    await page.hear()
    server.say("r1", TextDelta("m1", 1, 0, "Look: \N{FAMILY} "), TextDelta("m1", 1, 9, "ünï\n"))
    await page.hear()
    server.say("r1", TextDelta("m1", 1, 13, "\N{ROCKET}\N{ROCKET}"), TextDelta("m1", 1, 17, " go"))
    await page.hear()
    server.say("r1", ToolStarted(message_id="m1", block=2, id="t1", name="Bash", kind="execute", title=""))
    server.say("r1", ToolInput(message_id="m1", block=2, id="t1", input={"command": "ls"}))
    server.say("r1", ToolStarted(message_id="m1", block=2, id="t1", name="Bash", kind="execute", title="ls"))
    await page.hear()
    server.say("r1", ToolProgress(message_id="m1", id="t1", text="one\n"))
    await page.hear()
    server.say("r1", MessageDone(message_id="m1", claude_data={"id": "msg_1"}))
    await page.hear()
    server.say("r1", ToolProgress(message_id="m1", id="t1", text="two\n"))
    await page.hear()
    server.say("r1", ToolDone(message_id="m1", id="t1", result="one\ntwo\n"))
    server.say("r1", MessageStarted(message_id="m2"), TextDelta("m2", 0, 0, "Done."))
    server.say("r1", MessageDone(message_id="m2"))
    server.complete("r1")
    await page.hear()


async def a_plan(page: Recording) -> None:
    """The agent tells its to-do list, notices and tokens; the connection goes, more is told, and the run ends."""
    server = page.server
    await page.join()
    await _begin(page)
    usage = Usage(input_tokens=3, output_tokens=5)
    server.say("r1", PlanUpdated(entries=_plan("in_progress", "pending")), UsageUpdated(usage=usage))
    await page.hear()
    server.say("r1", Notice(level="warning", text="The API is busy"), TextDelta("m1", 0, 3, " two"))
    await page.hear()
    seq, epoch = page.seq, page.epoch
    page.steps.append({"lost": True})
    server.say("r1", PlanUpdated(entries=_plan("completed", "in_progress")), Notice(level="info", text="Going on"))
    await server.intake.flush()
    await page.join(seq, epoch)
    server.say("r1", PlanUpdated(entries=_plan("completed", "completed")))
    server.say("r1", MessageDone(message_id="m1"))
    server.complete("r1")
    await page.hear()


def _plan(*states: str) -> tuple[PlanEntry, ...]:
    return tuple(PlanEntry(text=f"Step {number}", status=state) for number, state in enumerate(states, 1))


async def a_correction(page: Recording) -> None:
    """Deltas were missing on the way to the server: the whole text replaces the message. Another is taken back."""
    server = page.server
    await page.join()
    await server.send(page.conversation)
    server.start("r1")
    server.say("r1", TextDelta("m1", 0, 0, "Half of"))
    await page.hear()
    server.say("r1", TextDone(message_id="m1", block=0, text="Half of it, and the rest"))
    server.say("r1", TextDelta("m2", 0, 0, "Never mind"))
    server.say("r1", ToolStarted(message_id="m2", block=1, id="t2", name="Bash", kind="execute", title="ls"))
    await page.hear()
    server.say("r1", MessageDiscarded(message_id="m2"), TextDelta("m1", 0, 24, "."))
    await page.hear()


async def a_gap(page: Recording) -> None:
    """An event is lost; what comes after it changes nothing, and a join with `after` brings the rest."""
    server = page.server
    await page.join()
    await _begin(page)
    epoch = page.epoch
    server.say("r1", TextDelta("m1", 0, 3, " two"))
    page.miss(len(await page.hear()))
    seq = page.seq
    server.say("r1", TextDelta("m1", 0, 7, " three"))
    await page.hear()
    await page.join(seq, epoch)
    server.say("r1", TextDelta("m1", 0, 13, " four"))
    await page.hear()


async def a_loss(page: Recording) -> None:
    """The connection goes; the run ends meanwhile, and the snapshot tells it."""
    server = page.server
    await page.join()
    await _begin(page)
    seq, epoch = page.seq, page.epoch
    page.steps.append({"lost": True})
    server.say("r1", MessageDone(message_id="m1"))
    server.complete("r1")
    await server.intake.flush()
    await page.join(seq, epoch)


async def a_truncation(page: Recording) -> None:
    """More has changed than a snapshot holds: what the page had goes, and an older page is fetched."""
    server = page.server
    await page.join()
    for number in range(1, 5):
        await _whole_run(server, page.conversation, f"r{number}", "x" * 700)
        await page.hear()
    seq, epoch = page.seq, page.epoch
    page.steps.append({"lost": True})
    for number in range(5, 9):
        await _whole_run(server, page.conversation, f"r{number}", "y" * 700)
    await page.join(seq, epoch)
    floor = min(message["ordinal"] for message in page.steps[-1]["snapshot"]["messages"])
    older = await server.snapshots.history(ANNA, page.conversation.id, before=floor, after=None, limit=3)
    answer = {
        "messages": [json.loads(message) for message in older.messages],
        "runs": [json.loads(run) for run in older.runs],
        "next": older.next,
    }
    page.steps.append({"older": answer, "before": floor})


async def a_prompt(page: Recording) -> None:
    """A question is asked; another tab answers it, and both are told."""
    server = page.server
    await page.join()
    await _begin(page)
    options = (PromptOption(id="yes", label="Yes"), PromptOption(id="no", label="No"))
    asked = PromptAsked(prompt_id="p", type=PromptType.PLAN_REVIEW, title="This plan?", options=options)
    server.frame(PermissionRequest(request_id=RequestId("r1"), seq=server.next_seq("r1"), prompt=asked))
    told = await page.hear()
    [prompt] = [step["payload"]["prompt"] for step in told if step["event"] == "interactive_prompt"]
    option = prompt["options"][0]["id"]
    answer = RespondPrompt(prompt_id=PromptId(prompt["id"]), selected_option=option, response=PromptResponse())
    await server.prompts.respond(ANNA, answer)
    await page.hear()


async def a_queue(page: Recording) -> None:
    """Messages wait behind the active one; the first is taken out, the active one fails, and the queue is paused."""
    server = page.server
    await page.join()
    await _begin(page)
    await server.send(page.conversation, "r2", "Second")
    await server.send(page.conversation, "r3", "Third")
    await page.hear()
    await server.runs.queue_remove(ANNA, RequestId("r2"))
    failure = Failure("agent_failed", "It broke", retryable=True)
    server.frame(Failed(request_id=RequestId("r1"), seq=server.next_seq("r1"), error=failure))
    await page.hear()


async def _begin(page: Recording) -> None:
    """A run whose first word has been heard."""
    await page.server.send(page.conversation)
    page.server.start("r1")
    page.server.say("r1", MessageStarted(message_id="m1"), TextDelta("m1", 0, 0, "One"))
    await page.hear()


async def _whole_run(server: Server, conversation: Conversation, name: str, text: str) -> None:
    await server.send(conversation, name, f"Question {name}")
    await server.answer(name, text)
    server.say(name, MessageDone(message_id=f"m-{name}"))
    server.complete(name)
    await server.intake.flush()


SAID: dict[str, tuple[Callable[[Recording], Awaitable[None]], Limits]] = {
    "stream": (a_stream, Limits()),
    "plan": (a_plan, Limits()),
    "correction-and-discarded": (a_correction, Limits()),
    "gap": (a_gap, Limits()),
    "lost-and-back": (a_loss, Limits()),
    "truncated": (a_truncation, Limits(snapshot_max_bytes=5000)),
    "prompt-answered-elsewhere": (a_prompt, Limits()),
    "queue": (a_queue, Limits()),
}
"""By name of the file."""


async def _record(play: Callable[[Recording], Awaitable[None]], limits: Limits) -> Json:
    with tempfile.TemporaryDirectory() as folder:
        clock = FakeClock()
        async with opened(Path(folder) / "baton.sqlite3", clock) as store:
            server = Server(store, limits=limits, clock=clock, epoch="epoch-1")
            page = Recording(server, await server.conversation())
            await play(page)
            view = _viewed(page.steps)
            await _hold_against_the_server(server, page, view)
    return {"about": _about(play), "steps": page.steps, "expected": view.shown()}


async def _hold_against_the_server(server: Server, page: Recording, view: PageView) -> None:
    """A page that comes now is told the same messages; as many as a snapshot holds."""
    late = PageView()
    late.take({"snapshot": _plain(snapshot_body(await server.join(page.conversation))), "after": None})
    ours, theirs = view.shown(), late.shown()
    assert theirs["messages"], "something was said"
    assert ours["messages"][-len(theirs["messages"]) :] == theirs["messages"], page.steps[-1]
    assert all(ours[name] == theirs[name] for name in ("seq", "epoch", "queue", "isJoined", "needsJoin"))
    assert theirs["runs"].items() <= ours["runs"].items(), "of a run, too, both know the same"


def _about(play: Callable[..., object]) -> str:
    return " ".join((play.__doc__ or "").split())


def _viewed(steps: list[Step]) -> PageView:
    view = PageView()
    for step in steps:
        view.take(step)
    return view


# --- made by hand ----------------------------------------------------------------------------------------------

HERE = ConversationId("65f0c0ffee0123456789abcd")
FIRST, SECOND = MessageId("65f0c0ffee0123456789ab01"), MessageId("65f0c0ffee0123456789ab02")


def _joined(seq: int, *texts: tuple[MessageId, int, int, str], epoch: str = "epoch-1", **more: Any) -> Step:
    """A snapshot with messages `(id, ordinal, seq, text)`."""
    messages = [samples.message(HERE, id=i, ordinal=o, seq=s, content=text) for i, o, s, text in texts]
    conversation = samples.conversation(id=HERE, seq=seq)
    body = Snapshot(
        epoch=epoch,
        seq=seq,
        conversation=conversation,
        messages=tuple(to_wire_json(message) for message in messages),
        runs=(),
        prompts=(),
        queue=Queue(paused=False, reason=None, runs=()),
        truncated=more.get("truncated", False),
    )
    return {"snapshot": _plain(snapshot_body(body)), "after": more.get("after")}


def _told(seq: int, payload: Any, prev_seq: int | None = None) -> Step:
    return _step(RoomEvent(HERE, seq, seq - 1 if prev_seq is None else prev_seq, payload))


def _delta(seq: int, offset: int, text: str, prev_seq: int | None = None) -> Step:
    return _told(seq, Streamed(RequestId("r1"), None, (TextDelta(SECOND, 0, offset, text),)), prev_seq)


def _started(seq: int) -> Step:
    return _told(seq, Streamed(RequestId("r1"), None, (MessageStarted(message_id=SECOND, ordinal=2),)))


def _holds(seq: int, texts: list[tuple[MessageId, int, int, str, str]], **more: Any) -> Json:
    """What is expected: messages `(id, ordinal, seq, status, text)`."""
    messages = [
        {
            "id": i,
            "ordinal": o,
            "seq": s,
            "role": "assistant",
            "status": status,
            "blocks": [{"type": "text", "text": text}] if text else [],
        }
        for i, o, s, status, text in texts
    ]
    base = {"epoch": "epoch-1", "seq": seq, "isJoined": True, "needsJoin": False, "hasOlder": False}
    return base | {"messages": messages, "runs": {}, "prompts": {}, "queue": []} | more


_HELLO = (FIRST, 1, 1, "Hello.")
_HELLO_SHOWN = (FIRST, 1, 1, "completed", "Hello.")
_STREAM = [_joined(1, _HELLO), _started(2), _delta(3, 0, "a\N{ROCKET}")]

MADE: dict[str, tuple[str, list[Step], Json]] = {
    "doubled-event": (
        "The same event twice changes nothing the second time.",
        [*_STREAM, _STREAM[-1], _STREAM[1], _delta(4, 3, "b")],
        _holds(4, [_HELLO_SHOWN, (SECOND, 2, 4, "streaming", "a\N{ROCKET}b")]),
    ),
    "doubled-delta": (
        "A delta whose text is here already, under a new seq, adds nothing.",
        [*_STREAM, _delta(4, 1, "\N{ROCKET}")],
        _holds(4, [_HELLO_SHOWN, (SECOND, 2, 4, "streaming", "a\N{ROCKET}")]),
    ),
    "offset-beyond-the-text": (
        "A delta that begins behind the end of the text means that one is missing: join again.",
        [*_STREAM, _delta(4, 4, "b"), _delta(5, 5, "c")],
        _holds(3, [_HELLO_SHOWN, (SECOND, 2, 3, "streaming", "a\N{ROCKET}")], needsJoin=True),
    ),
    "offset-in-code-points": (
        "Offsets count UTF-16 code units: one that counts characters does not fit.",
        [*_STREAM, _delta(4, 2, "b")],
        _holds(3, [_HELLO_SHOWN, (SECOND, 2, 3, "streaming", "a\N{ROCKET}")], needsJoin=True),
    ),
    "gap": (
        "An event that does not follow on is not applied.",
        [*_STREAM, _delta(6, 3, "b", prev_seq=5)],
        _holds(3, [_HELLO_SHOWN, (SECOND, 2, 3, "streaming", "a\N{ROCKET}")], needsJoin=True),
    ),
    "resync": (
        "A client that fell behind has left the room: nothing counts until it has joined again.",
        [
            *_STREAM,
            {"event": "chat:resync", "payload": {"conversationId": HERE, "retryAfterMs": 250}},
            _delta(4, 3, "b"),
        ],
        _holds(3, [_HELLO_SHOWN, (SECOND, 2, 3, "streaming", "a\N{ROCKET}")], needsJoin=True, isJoined=False),
    ),
    "other-epoch": (
        "After a restore the history is another one: what was here goes.",
        [*_STREAM, {"lost": True}, _joined(9, (FIRST, 1, 4, "Restored."), epoch="epoch-2", after=3)],
        _holds(9, [(FIRST, 1, 4, "completed", "Restored.")], epoch="epoch-2"),
    ),
    "whole-by-a-lower-seq": (
        "The server is behind the client in the same history: its snapshot is the truth.",
        [_joined(7, (FIRST, 1, 7, "Later.")), {"lost": True}, _joined(2, _HELLO, after=7)],
        _holds(2, [_HELLO_SHOWN]),
    ),
    "older-version-of-a-message": (
        "An event changes a message only if its seq is above that message's own, which a page of history may have set.",
        [
            _joined(3, (SECOND, 2, 2, "Two.")),
            {
                "older": {
                    "messages": [_plain(to_wire(samples.message(HERE, id=FIRST, seq=5, content="New.")))],
                    "runs": [],
                    "next": None,
                },
                "before": 2,
            },
            _told(4, MessageChanged(samples.message(HERE, id=FIRST, seq=4, content="Old."))),
        ],
        _holds(4, [(FIRST, 1, 5, "completed", "New."), (SECOND, 2, 2, "completed", "Two.")]),
    ),
    "page-of-another-time": (
        "A page of history that does not end where the thread begins is dropped: it would leave a hole.",
        [
            _joined(3, (SECOND, 5, 2, "Five.")),
            {
                "older": {"messages": [_plain(to_wire(samples.message(HERE, id=FIRST)))], "runs": [], "next": None},
                "before": 3,
            },
        ],
        _holds(3, [(SECOND, 5, 2, "completed", "Five.")], hasOlder=True),
    ),
    "change-before-the-loaded-part": (
        "A message that is older than what is loaded comes with its page, not with its event.",
        [_joined(3, (SECOND, 5, 2, "Five.")), _told(4, MessageChanged(samples.message(HERE, id=FIRST, seq=4)))],
        _holds(4, [(SECOND, 5, 2, "completed", "Five.")], hasOlder=True),
    ),
}
"""By name of the file: what it is about, the steps, what is expected."""


def main() -> int:
    """Write all files."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, (play, limits) in SAID.items():
        _write(f"said-{name}", asyncio.run(_record(play, limits)))
    for name, (about, steps, expected) in MADE.items():
        _write(f"made-{name}", {"about": about, "steps": steps, "expected": expected})
    return 0


def _write(name: str, golden: Json) -> None:
    text = json.dumps(golden, indent=1, ensure_ascii=True) + "\n"
    (FOLDER / f"{name}.json").write_text(text, encoding="ascii")


if __name__ == "__main__":
    sys.exit(main())
