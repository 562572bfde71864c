"""What each frame of a bridge does to its run: drafts the documents, journal events and tellings. No I/O.

Deltas become journal events and one `Streamed` per batch; a finished message is stored whole and told whole.
The caller (`intake`) holds the lane, commits and acknowledges.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from baton.core import activity, lifecycle, stream
from baton.core.events import MessageChanged, PromptOpened, PromptResolved, Streamed
from baton.core.frames import (
    Aborted,
    Complete,
    Failed,
    PermissionApplied,
    PermissionCancel,
    PermissionRequest,
    RunFrame,
    Started,
    Stream,
)
from baton.core.ids import MessageId
from baton.core.models import PermissionMode, Prompt, PromptStatus, RunStatus
from baton.core.stored import JournalRow
from baton.core.stream import StreamEvent
from baton.core.transcript import LiveMessage, Taken
from baton.services.answering import go_on
from baton.services.asking import Asking, is_same_question
from baton.services.drafts import Draft
from baton.services.endings import change_session, end_run, store_live_message
from baton.services.judging import agent_mode, mode_of
from baton.services.memory import LiveRun
from baton.services.modes import change_mode


class Absorber:
    """Feeds the waiting frames of one run into one draft."""

    def __init__(self, draft: Draft, live: LiveRun, asking: Asking) -> None:
        self._draft = draft
        self._live = live
        self._asking = asking
        self._shown: list[StreamEvent] = []
        self._touched: list[LiveMessage] = []
        self._journalled: list[StreamEvent] = []
        self._needs_run = False
        self._of_run = False
        """What was shown since the last envelope says something of the run itself."""
        self.ended: RunStatus | None = None

    def absorb(self, frames: Sequence[RunFrame]) -> None:
        """Draft everything that these frames say; what comes after a final one is dropped."""
        if self._live.deadline_at is not None:
            self._end_silence()
        for frame in frames:
            self._live.bridge_seq = frame.seq
            _ABSORB[type(frame)](self, frame)
            if self.ended is not None:
                return
        self._live.last_event_at = self._draft.now
        self._close_envelope()
        self._write_journal()

    # --- frames ------------------------------------------------------------------------------------------------

    def started(self, frame: Started) -> None:
        """The agent took the run up."""
        self._run_on()
        change_session(self._draft, self._live, frame.session_id)

    def stream(self, frame: Stream) -> None:
        """Events, in order."""
        self._run_on()
        now = self._draft.now
        for event in frame.events:
            self._take(self._live.transcript.take(event, now))

    def asked(self, frame: PermissionRequest) -> None:
        """A question: stored and told. The same one again (after a crash in between) is the same prompt.

        Another question under an id that was used before is a prompt of its own: who waits for its answer must never
        get the answer to the question before it.
        """
        known = self._find_prompt(frame.prompt.prompt_id)
        if known is not None and is_same_question(known, frame.prompt):
            self._asking.ask_again(self._draft, self._live, known)
            return
        if known is not None and known.status is PromptStatus.PENDING:
            self._take_back(known)
        self._close_envelope()
        self._needs_run = True
        self._asking.open(self._draft, self._live, frame.prompt)

    def applied(self, frame: PermissionApplied) -> None:
        """The agent has the answer."""
        prompt = self._find_prompt(frame.prompt_id)
        if prompt is None or prompt.delivered_at is not None:
            return
        self._close_envelope()
        seq = self._draft.next_seq()
        delivered = replace(lifecycle.deliver_prompt(prompt, self._draft.now), seq=seq)
        self._draft.store_prompt(delivered, prompt.status)
        self._needs_run = True
        told = PromptOpened(delivered) if prompt.status is PromptStatus.PENDING else PromptResolved(delivered)
        self._draft.tell(told, seq)

    def cancelled(self, frame: PermissionCancel) -> None:
        """The agent asks no longer."""
        prompt = self._find_prompt(frame.prompt_id)
        if prompt is None or prompt.status is not PromptStatus.PENDING:
            return
        self._take_back(prompt)
        go_on(self._draft, self._live)

    def _take_back(self, prompt: Prompt) -> None:
        self._close_envelope()
        seq = self._draft.next_seq()
        ended = lifecycle.end_prompt(prompt, PromptStatus.CANCELLED, handler="cleanup", at=self._draft.now)
        self._draft.store_prompt(replace(ended, seq=seq), prompt.status)
        self._draft.tell(PromptResolved(self._draft.memory.prompts[prompt.id]), seq)
        self._needs_run = True

    def completed(self, frame: Complete) -> None:
        """Final: done."""
        self._end(RunStatus.COMPLETED, frame)

    def failed(self, frame: Failed) -> None:
        """Final: failed; if an abort was asked, that is what ended it."""
        aborted = self._live.run.abort_requested_at is not None and frame.error.code == "agent_failed"
        self._end(RunStatus.ABORTED if aborted else RunStatus.FAILED, frame)

    def aborted(self, frame: Aborted) -> None:
        """Final: ended on request."""
        self._end(RunStatus.ABORTED, frame)

    # --- stream events -----------------------------------------------------------------------------------------

    def _take(self, taken: Taken) -> None:
        if taken.message is None:
            for shown in taken.shown:
                self._take_run_event(shown)
            return
        message = taken.message
        if message.id not in self._live.message_ids:
            self._live.run = replace(self._live.run, message_ids=(*self._live.run.message_ids, MessageId(message.id)))
        self._shown.extend(taken.shown)
        self._journalled.extend(taken.journalled)
        self._touched.append(message)
        if taken.replaces or taken.finishes:
            self._close_envelope()
            self._show_whole(message, taken)

    def _take_run_event(self, event: StreamEvent) -> None:
        if isinstance(event, stream.SessionUpdated):
            self._close_envelope()
            change_session(self._draft, self._live, event.session_id)
            self._needs_run = True
            return
        if isinstance(event, stream.ModeUpdated):
            self._change_mode(event.mode)
            return
        said = activity.clipped(event)
        self._live.run = activity.told(self._live.run, said)
        self._of_run = True
        self._shown.append(said)
        self._journalled.append(said)

    def _change_mode(self, name: str) -> None:
        """The agent changed its mode (it began to plan, or ended that): the conversation keeps it.

        Only people give an agent the right to ask less: a plan's answer does that itself (`prompts`).
        """
        mode = mode_of(self._draft.memory, self._live.run)
        if name not in (PermissionMode.PLAN, PermissionMode.DEFAULT) or agent_mode(mode) == name:
            return
        self._close_envelope()
        change_mode(self._draft, PermissionMode(name), by="agent")
        self._needs_run = True

    def _show_whole(self, message: LiveMessage, taken: Taken) -> None:
        if taken.replaces:
            message.seq = self._draft.next_seq()
        if taken.finishes:
            stored = store_live_message(self._draft, self._live, message)
            self._needs_run = True
            if not message.has_running_tools():
                self._live.transcript.close(message)
        else:
            stored = self._live.transcript.message(message, session_id=self._live.session_id, at=self._draft.now)
        if taken.replaces:
            self._draft.tell(MessageChanged(stored), message.seq)

    def _close_envelope(self) -> None:
        """Give what was said so far its place in the order."""
        if not self._shown:
            return
        seq = self._draft.next_seq()
        message_id: str | None = None
        for message in self._touched:
            message.seq = seq
        if self._of_run:
            self._live.run = replace(self._live.run, seq=seq)
            self._of_run = False
        if self._touched:
            message_id = self._touched[0].id
        payload = Streamed(self._live.request_id, MessageId(message_id) if message_id else None, tuple(self._shown))
        self._draft.tell(payload, seq)
        self._shown.clear()
        self._touched.clear()

    def _write_journal(self) -> None:
        """Journal what no document of this draft contains; drop the rows that documents contain."""
        draft, live = self._draft, self._live
        events = tuple(self._journalled)
        if not draft.is_bare:
            events = tuple(event for event in events if not draft.stores_message(getattr(event, "message_id", "")))
        if events:
            draft.journal = JournalRow(
                conversation_id=draft.memory.conversation_id,
                request_id=live.request_id,
                seq=draft.memory.seq,
                bridge_seq=live.bridge_seq,
                events=events,
                at=draft.now,
            )
            self._note_rows(events)
        if self._needs_run or not events or not draft.is_bare:
            draft.store_run(live.run, {live.status})
        if not draft.is_bare:
            open_rows = [m.first_row for m in live.transcript.live() if m.first_row is not None]
            draft.trim_journal(live.request_id, min([*open_rows, live.bridge_seq]) - 1)

    def _note_rows(self, events: Sequence[StreamEvent]) -> None:
        """The messages of these events have a row from here on."""
        named = {getattr(event, "message_id", None) for event in events}
        for message in self._live.transcript.live():
            if message.first_row is None and message.id in named:
                message.first_row = self._live.bridge_seq

    # --- run and prompts ---------------------------------------------------------------------------------------

    def _end_silence(self) -> None:
        """Something is heard of it again: the deadline of a silent run (`silence`) counts no longer."""
        self._needs_run = True
        run = self._live.run
        self._draft.move_run(self._live, replace(run, deadline_at=None, deadline_reason=None))

    def _run_on(self) -> None:
        """The first sign of life makes a dispatched run a running one."""
        if self._live.status is RunStatus.DISPATCHED:
            self._close_envelope()
            self._needs_run = True
            self._move(RunStatus.RUNNING)

    def _move(self, to: RunStatus) -> None:
        if self._live.status is not to:
            self._draft.move_run(self._live, lifecycle.move_run(self._live.run, to, self._draft.now))

    def _end(self, to: RunStatus, frame: Complete | Failed | Aborted) -> None:
        self._close_envelope()
        self.ended = to
        end_run(
            self._draft,
            self._live,
            to,
            error=frame.error if isinstance(frame, Failed) and to is RunStatus.FAILED else None,
            result=frame.result if isinstance(frame, Complete) else None,
        )

    def _find_prompt(self, bridge_prompt_id: str) -> Prompt | None:
        return self._draft.memory.asked(self._live.request_id, bridge_prompt_id)


_ABSORB: Final[dict[type, Callable[..., None]]] = {
    Started: Absorber.started,
    Stream: Absorber.stream,
    PermissionRequest: Absorber.asked,
    PermissionApplied: Absorber.applied,
    PermissionCancel: Absorber.cancelled,
    Complete: Absorber.completed,
    Failed: Absorber.failed,
    Aborted: Absorber.aborted,
}
