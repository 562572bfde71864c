"""A Hypothesis machine that asks, answers, looks, extends, waits, kills and reconnects in any order.

Whatever comes before: a prompt ends once and stays as it ended, a run waits for people exactly as long as one of its
prompts does, no deadline passes without effect, each end is on record once, and an agent with a link never waits for
an answer that was given, nor hears one that was not.
"""

import asyncio
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from baton.core.commands import CreateConversation, CreateGrant, RespondPrompt, RetryRun, SendMessage
from baton.core.errors import AlreadyResolved, Conflict
from baton.core.frames import (
    Abort,
    Aborted,
    Complete,
    Execute,
    Failed,
    PermissionApplied,
    PermissionCancel,
    PermissionRequest,
    PermissionResponse,
    PromptAsked,
    RunFrame,
    RunResult,
    ServerFrame,
    Started,
)
from baton.core.ids import RequestId
from baton.core.lifecycle import FINAL_RUN
from baton.core.limits import Limits
from baton.core.models import Failure, PermissionMode, Prompt, PromptResponse, PromptStatus, PromptType, Run, RunStatus
from baton.core.permissions import DECIDED, GrantEffect, GrantScope
from baton.core.stored import Change, PromptMove
from baton.storage.sqlite import SqliteStore
from baton.storage.sqlite_migrate import migrate_sqlite
from baton.testing.clock import FakeClock
from tests.services.harness import ANNA, LOCAL, ROOT, Server

LIMITS = Limits(prompt_timeout_s=100.0, prompt_timeouts_s={"CRITICAL": 20.0, "question": 0.0})
ONCE = {"allow_session": "allow_once", "allow_always": "allow_once", "accept_edits": "accept_default"}
QUESTIONS: dict[str, dict[str, Any]] = {
    "test": {"tool_name": "Bash", "input": {"command": "npm test"}},
    "destroy": {"tool_name": "Bash", "input": {"command": "rm -rf ~"}},
    "edit": {"tool_name": "Edit", "input": {"file_path": "src/a.py"}},
    "read": {"tool_name": "Read", "input": {"file_path": "src/a.py"}},
    "question": {"type": PromptType.QUESTION},
    "plan": {"type": PromptType.PLAN_REVIEW, "input": {"plan": "1. Do it"}},
}
_END = ("status", "selected_option", "response", "auto_handler", "answered_by", "responded_at")


def end_of(prompt: Prompt) -> dict[str, Any]:
    """How it ended: what nothing may change any more."""
    return {name: getattr(prompt, name) for name in _END}


class Agent:
    """What the bridge knows: its runs, how much it has said of each, and what it waits for in them."""

    def __init__(self) -> None:
        self.waits: dict[RequestId, dict[str, PromptAsked]] = {}
        self.seqs: Counter[RequestId] = Counter()

    def hello(self) -> dict[RequestId, tuple[int, tuple[str, ...]]]:
        return {name: (self.seqs[name], tuple(waits)) for name, waits in self.waits.items()}


class PromptMachine(RuleBasedStateMachine):
    """Subclasses say how a store is made."""

    make_store: Callable[[FakeClock], Any]

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clock = FakeClock()
        self.store: SqliteStore = self.do(type(self).make_store(self.clock))
        self.agent = Agent()
        self.ends: dict[str, dict[str, Any]] = {}
        self.pending: set[str] = set()
        self.sends = 0
        self.server = Server(self.store, limits=LIMITS, clock=self.clock, epoch="e")
        self.do(self.server.recover())
        create = CreateConversation(working_directory="/work")
        self.conversation = self.do(self.server.conversations.create(ANNA, create))

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    def teardown(self) -> None:
        self.do(self.store.close())
        self.runner.close()

    # --- the bridge --------------------------------------------------------------------------------------------

    async def _say(self, kind: type[RunFrame], request_id: RequestId, **fields: Any) -> None:
        self.agent.seqs[request_id] += 1
        self.server.frame(kind(request_id=request_id, seq=self.agent.seqs[request_id], **fields))
        await self.server.intake.flush()

    async def _listen(self) -> None:
        """The bridge hears what was sent to it; what was sent without a link is lost."""
        while self.server.bridge.sent:
            frame = self.server.bridge.sent.pop(0)
            if self.server.bridge.connected:
                await self._hear(frame)

    async def _hear(self, frame: ServerFrame) -> None:
        match frame:
            case Execute() if frame.request_id not in self.agent.waits:
                self.agent.waits[frame.request_id] = {}
                await self._say(Started, frame.request_id, session_id="s")
            case Abort() if frame.request_id in self.agent.waits:
                del self.agent.waits[frame.request_id]
                await self._say(Aborted, frame.request_id)
            case PermissionResponse():
                asked = self.agent.waits.get(frame.request_id, {}).pop(frame.prompt_id, None)
                if asked is not None:
                    await self._check_answer(frame, asked)
                    await self._say(PermissionApplied, frame.request_id, prompt_id=frame.prompt_id)

    async def _check_answer(self, frame: PermissionResponse, asked: PromptAsked) -> None:
        """It is the answer to what the agent asked, and the one that won."""
        meant = [p for p in await self._prompts() if p.bridge_prompt_id == frame.prompt_id]
        prompt = max((p for p in meant if p.request_id == frame.request_id), key=lambda prompt: prompt.seq)
        assert (prompt.title, prompt.input) == (asked.title, asked.input), "an answer to another question"
        if prompt.status is PromptStatus.ANSWERED:
            chosen = prompt.selected_option or ""
            assert frame.selected_option in (chosen, ONCE.get(chosen))
        else:
            assert prompt.status is PromptStatus.TIMEOUT
            assert frame.selected_option.startswith(("deny", "reject"))

    async def _prompts(self, status: PromptStatus | None = None) -> list[Prompt]:
        """Newest first."""
        return list(await self.store.prompts(status))

    async def _run(self) -> Run | None:
        """The newest one."""
        return await self.store.run(RequestId(f"r{self.sends}")) if self.sends else None

    # --- what may happen ---------------------------------------------------------------------------------------

    async def _send(self) -> None:
        """The next message, or the last one again, where no run is under way."""
        run = await self._run()
        if run is not None and run.status not in FINAL_RUN:
            return
        self.sends += 1
        name = RequestId(f"r{self.sends}")
        if self.sends % 2 and run is not None and run.status in (RunStatus.FAILED, RunStatus.ABORTED):
            await self.server.runs.retry(ANNA, RetryRun(request_id=run.request_id, new_request_id=name))
        else:
            send = SendMessage(request_id=name, content="Do it", conversation_id=self.conversation.id)
            await self.server.runs.send(ANNA, send)
        await self._listen()

    @precondition(lambda self: self.server.bridge.connected)
    @rule(about=st.sampled_from(sorted(QUESTIONS)), prompt_id=st.sampled_from(["p1", "p2", "p3"]))
    def ask(self, about: str, prompt_id: str) -> None:
        async def asking() -> None:
            await self._send()
            for request_id, waits in list(self.agent.waits.items()):
                fields = {"type": PromptType.TOOL_PERMISSION, "title": about, **QUESTIONS[about]}
                waits[prompt_id] = PromptAsked(prompt_id=prompt_id, **fields)
                await self._say(PermissionRequest, request_id, prompt=waits[prompt_id])
                self.clock.advance(0.01)

        self.do(asking())

    @precondition(lambda self: self.ends or self.pending)
    @rule(back=st.integers(0, 3), choice=st.integers(0, 4), by=st.sampled_from([ANNA, ROOT]))
    def answer(self, back: int, choice: int, by: Any) -> None:
        async def answering() -> None:
            prompts = await self._prompts()
            prompt = prompts[min(back, len(prompts) - 1)]
            option = prompt.options[min(choice, len(prompt.options) - 1)].id
            said = PromptResponse(answers={} if prompt.type is PromptType.QUESTION else None, message="so")
            command = RespondPrompt(prompt_id=prompt.id, selected_option=option, response=said)
            if prompt.status is PromptStatus.PENDING:
                answered = await self.server.prompts.respond(by, command)
                assert (answered.selected_option, answered.answered_by) == (option, by.user_id)
                return
            with pytest.raises(AlreadyResolved) as late:
                await self.server.prompts.respond(by, command)
            assert isinstance(late.value.winner, Prompt)
            assert end_of(late.value.winner) == end_of(prompt)

        self.do(answering())

    @precondition(lambda self: self.pending)
    @rule(tab=st.sampled_from(["one", "two"]), leaves=st.booleans())
    def look(self, tab: str, leaves: bool) -> None:
        async def looking() -> None:
            for prompt in (await self._prompts(PromptStatus.PENDING))[:1]:
                seen = await self.server.prompts.seen(ANNA, prompt.id, tab)
                assert prompt.timeout_at is None or (seen.timeout_at or prompt.timeout_at) >= prompt.timeout_at
            if leaves:
                self.server.prompts.watchers.let_go(tab)

        self.do(looking())

    @precondition(lambda self: self.pending)
    @rule(seconds=st.sampled_from([5, 300]))
    def extend(self, seconds: int) -> None:
        async def extending() -> None:
            for prompt in (await self._prompts(PromptStatus.PENDING))[:1]:
                with suppress(Conflict):
                    extended = await self.server.prompts.extend(ANNA, prompt.id, seconds)
                    assert prompt.timeout_at is not None
                    assert extended.timeout_at is not None
                    assert extended.timeout_at > prompt.timeout_at

        self.do(extending())

    @precondition(lambda self: self.agent.waits and self.server.bridge.connected)
    @rule(end=st.sampled_from([Complete, Failed, PermissionCancel]))
    def go_on(self, end: Any) -> None:
        """The agent does not wait any longer: it ends, fails, or takes a question back."""

        async def going() -> None:
            for request_id, waits in list(self.agent.waits.items()):
                if end is PermissionCancel:
                    for prompt_id in list(waits)[:1]:
                        del waits[prompt_id]
                        await self._say(PermissionCancel, request_id, prompt_id=prompt_id)
                    return
                del self.agent.waits[request_id]
                ended = {"result": RunResult()} if end is Complete else {"error": Failure("agent_failed", "It broke")}
                await self._say(end, request_id, **ended)

        self.do(going())

    @precondition(lambda self: self.agent.waits)
    @rule()
    def abort(self) -> None:
        async def aborting() -> None:
            run = await self._run()
            if run is not None:
                with suppress(AlreadyResolved):
                    await self.server.runs.abort(ANNA, run.request_id)

        self.do(aborting())

    @rule(mode=st.sampled_from([PermissionMode.DEFAULT, PermissionMode.PLAN, PermissionMode.ACCEPT_EDITS]))
    def set_mode(self, mode: PermissionMode) -> None:
        self.do(self.server.conversations.set_mode(ANNA, self.conversation.id, mode))

    @rule(effect=st.sampled_from(list(GrantEffect)), revoked=st.booleans())
    def grant(self, effect: GrantEffect, revoked: bool) -> None:
        async def granting() -> None:
            permissions = self.server.permissions
            command = CreateGrant(scope=GrantScope.CONVERSATION, tool_name="Bash", pattern="npm test", effect=effect)
            given = await permissions.give(ANNA, self.conversation.id, command)
            if revoked:
                await permissions.revoke(ANNA, self.conversation.id, given.id)

        self.do(granting())

    @rule(seconds=st.sampled_from([1, 11, 25, 40, 110]))
    def wait(self, seconds: int) -> None:
        self.do(self.server.leap(seconds))

    @rule(seconds=st.sampled_from([-7200, 40, 7200]))
    def clock_jumps(self, seconds: int) -> None:
        """The machine sleeps, or its clock is set: nothing may end by that."""

        async def jumping() -> None:
            await self.server.deadlines.sweep()
            pending = {prompt.id for prompt in await self._prompts(PromptStatus.PENDING)}
            self.clock.jump(seconds)
            await self.server.deadlines.sweep()
            assert {prompt.id for prompt in await self._prompts(PromptStatus.PENDING)} == pending

        self.do(jumping())

    @precondition(lambda self: self.pending)
    @rule(status=st.sampled_from([PromptStatus.TIMEOUT, PromptStatus.ANSWERED]), restarts=st.booleans())
    def ended_by_hand(self, status: PromptStatus, restarts: bool) -> None:
        async def ending() -> None:
            for prompt in (await self._prompts(PromptStatus.PENDING))[:1]:
                option = "deny" if status is PromptStatus.ANSWERED else None
                ended = replace(prompt, status=status, selected_option=option, auto_handler="cleanup")
                move = PromptMove(prompt=ended, expect=PromptStatus.PENDING)
                known = await self.store.conversation(prompt.conversation_id)
                await self.store.commit([Change(conversation_id=known.id, conversation=known, prompts=(move,))])  # type: ignore[union-attr]
                if restarts:
                    await self._restart()
                await self.server.tick(12)

        self.do(ending())

    @rule()
    def restart(self) -> None:
        self.do(self._restart())

    async def _restart(self) -> None:
        """The server was killed; what it had sent and nobody had heard is lost, and so is the link."""
        self.server = Server(self.store, limits=LIMITS, clock=self.clock, epoch="e")
        self.server.bridge.connected = False
        await self.server.recover()

    @precondition(lambda self: self.server.bridge.connected and self.agent.waits)
    @rule()
    def link_is_lost(self) -> None:
        self.server.bridge.connected = False
        self.do(self.server.intake.departed(LOCAL))

    @precondition(lambda self: not self.server.bridge.connected)
    @rule(has_died=st.booleans())
    def link_is_back(self, has_died: bool) -> None:
        async def greeting() -> None:
            self.server.bridge.sent.clear()
            if has_died:
                self.agent.waits.clear()
            self.server.bridge.connected = True
            expected = await self.server.intake.greet(LOCAL, known=self.agent.hello())
            for name, seq in expected.acks.items():
                self.agent.seqs[name] = max(self.agent.seqs[name], seq)
            for frame in expected.frames:
                await self._hear(frame)
            await self.server.intake.arrived(LOCAL)

        self.do(greeting())

    # --- what must be true -------------------------------------------------------------------------------------

    @invariant()
    def everybody_knows_the_same(self) -> None:
        self.do(self._look())

    async def _look(self) -> None:
        await self._listen()
        prompts = await self._prompts()
        for prompt in prompts:
            if prompt.status is not PromptStatus.PENDING:
                assert self.ends.setdefault(prompt.id, end_of(prompt)) == end_of(prompt), "it ended twice"
        self.pending = {prompt.id for prompt in prompts if prompt.status is PromptStatus.PENDING}
        decided = await self.store.audit(action=DECIDED, limit=1000)
        audited = Counter(entry.prompt_id for entry in decided.items)
        assert audited == Counter(self.ends.keys()), "each end is on record once"
        await self._look_at_runs(prompts)
        await self._look_at_agent(prompts)

    async def _look_at_runs(self, prompts: list[Prompt]) -> None:
        pending = {prompt.request_id for prompt in prompts if prompt.status is PromptStatus.PENDING}
        for number in range(1, self.sends + 1):
            run = await self.store.run(RequestId(f"r{number}"))
            assert run is not None
            assert (run.status is RunStatus.AWAITING_INPUT) == (run.request_id in pending), run.status

    async def _look_at_agent(self, prompts: list[Prompt]) -> None:
        """With a link, each question of an agent that still waits is one that still waits for people."""
        if not self.server.bridge.connected:
            return
        pending = {(p.request_id, p.bridge_prompt_id) for p in prompts if p.status is PromptStatus.PENDING}
        waiting = {(name, prompt_id) for name, waits in self.agent.waits.items() for prompt_id in waits}
        assert waiting == pending

    @rule()
    def no_deadline_passes_without_effect(self) -> None:
        async def sweeping() -> None:
            await self.server.tick(2)
            for prompt in await self._prompts(PromptStatus.PENDING):
                assert prompt.timeout_at is None or prompt.timeout_at > self.clock.now()

        self.do(sweeping())


def test_whatever_happens_prompts_end_once_and_nobody_waits_in_vain(tmp_path: Path) -> None:
    empty = tmp_path / "empty.sqlite3"
    asyncio.run(migrate_sqlite(empty, clock=FakeClock()))

    async def make(clock: FakeClock) -> SqliteStore:
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        store = SqliteStore(Path(shutil.copy(empty, folder / "baton.sqlite3")), clock=clock)
        await store.open()
        return store

    class Machine(PromptMachine):
        make_store = staticmethod(make)

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=40,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )
