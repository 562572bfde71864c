"""One run as its agent sees it (`core.ports.Turn`), and as its runner ends it.

What an agent says in one turn of the event loop leaves as one frame; what waits for the link beyond that grows
together in the outbox. Text is cleaned and offsets are counted here, whatever the agent counted.
It must not know which agent speaks or what kind of link listens.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from baton.bridge.cleaning import cleaned, fitted
from baton.core import stream
from baton.core.errors import AgentFailed, BatonError
from baton.core.frames import (
    PermissionApplied,
    PermissionCancel,
    PermissionRequest,
    PermissionResponse,
    PromptAsked,
    RunFrame,
    RunResult,
    Stream,
)
from baton.core.ids import RequestId
from baton.core.limits import MEBI
from baton.core.models import Attachment
from baton.core.ports import Clock, PromptAnswer, Turn
from baton.core.stream import StreamEvent
from baton.core.text import clean_text, utf16_length

logger = logging.getLogger(__name__)

ReadAttachment = Callable[[Attachment], Awaitable[bytes]]
Play = Callable[[Turn], Awaitable[RunResult]]
"""What an agent does in a run; of a background run, see `core.ports.Turn`."""

PIECE_CHARS: Final = 16 << 10
"""The most text of one delta: small against a frame, so that a long text does not hold up other runs."""
_UNNUMBERED: Final = 0
"""The seq of a frame that the outbox has not numbered yet."""


class RunOutbox(Protocol):
    """Where a run's frames go."""

    def say(self, frame: RunFrame) -> bool:
        """Number the run's next frame (its own seq is ignored), keep it until it is on disk, send it. Never waits.

        False: the run is over, nothing of it counts any more. Raises `AgentFailed` `spool_full` when the server has
        not taken what was said for too long, and TooLarge; a final frame is always kept.
        """
        ...


class TurnPort:
    """One run's side of the bridge.

    `event_max_bytes`: the most one event may have on the wire; a larger one is cut. `on_refused` is told, once, why
    the outbox takes no more of it: the run has to end then. `on_session` is told the agent's session, `on_background`
    that the agent goes on by itself.
    """

    def __init__(
        self,
        request_id: RequestId,
        outbox: RunOutbox,
        *,
        read_attachment: ReadAttachment,
        clock: Clock,
        on_refused: Callable[[BatonError], None],
        on_session: Callable[[str], None],
        on_background: Callable[[Play], None] = lambda play: None,
        event_max_bytes: int = 15 * MEBI,
    ) -> None:
        self._request_id = request_id
        self._outbox = outbox
        self._read_attachment = read_attachment
        self._clock = clock
        self._on_refused = on_refused
        self._on_session = on_session
        self._on_background = on_background
        self._event_max_bytes = event_max_bytes
        self._pending: list[StreamEvent] = []
        self._is_flush_due = False
        self._is_refused = False
        self._is_ended = False
        self._offsets: dict[str, dict[int, int]] = {}
        self._halves: dict[tuple[str, int], str] = {}
        self._asked: set[str] = set()
        self._open: dict[str, asyncio.Future[PromptAnswer]] = {}
        self._tools: dict[str, str] = {}
        self._last_event_at = clock.monotonic()

    # --- what the agent may do -----------------------------------------------------------------------------------

    def emit(self, *events: StreamEvent) -> None:
        """Say these, in this order. Never waits. After the run has ended it is ignored."""
        if self._is_ended or self._is_refused:
            logger.debug("an agent spoke after its run", extra={"action": "run.late", "requestId": self._request_id})
            return
        self._last_event_at = self._clock.monotonic()
        for event in events:
            self._gather(event)
        if self._pending and not self._is_flush_due:
            self._is_flush_due = True
            asyncio.get_running_loop().call_soon(self._flush)

    async def ask(self, prompt: PromptAsked) -> PromptAnswer:
        """Ask a person; the answer, once. Cancelling takes the question back.

        Raises AgentFailed when the run has ended or this promptId was asked before, TooLarge when no frame holds it.
        """
        if self._is_ended:
            raise AgentFailed("The run has ended; nobody can be asked")
        if prompt.prompt_id in self._asked:
            raise AgentFailed(f"The prompt {prompt.prompt_id!r} was asked before")
        prompt_id = prompt.prompt_id
        self._send(PermissionRequest(request_id=self._request_id, seq=_UNNUMBERED, prompt=cleaned(prompt)))
        self._asked.add(prompt_id)
        answer: asyncio.Future[PromptAnswer] = asyncio.get_running_loop().create_future()
        self._open[prompt_id] = answer
        try:
            given = await answer
        except asyncio.CancelledError:
            self._send(PermissionCancel(request_id=self._request_id, seq=_UNNUMBERED, prompt_id=prompt_id))
            raise
        finally:
            self._open.pop(prompt_id, None)
            self._last_event_at = self._clock.monotonic()
        self._send(PermissionApplied(request_id=self._request_id, seq=_UNNUMBERED, prompt_id=prompt_id))
        return given

    async def read_attachment(self, attachment: Attachment) -> bytes:
        """The whole file. Raises BatonError where it cannot be had."""
        return await self._read_attachment(attachment)

    def begin_background(self, play: Play) -> None:
        """Go on in a run of its own, which begins as soon as the conversation's runs before it have ended."""
        self._on_background(play)

    # --- what the runner does ------------------------------------------------------------------------------------

    def answer(self, frame: PermissionResponse) -> None:
        """Hand the answer to whoever asked; an answer that nobody waits for (any more) is dropped."""
        waiting = self._open.get(frame.prompt_id)
        if waiting is None or waiting.done():
            logger.debug(
                "nobody waits for this answer",
                extra={"action": "prompt.stale", "requestId": self._request_id, "promptId": frame.prompt_id},
            )
            return
        waiting.set_result(
            PromptAnswer(
                selected_option=frame.selected_option,
                message=frame.message,
                input=frame.input,
                answers=frame.answers,
            )
        )

    def end(self, final: RunFrame) -> None:
        """Send everything that was said, and then the final frame. Only the first call does anything."""
        if self._is_ended:
            return
        self._send(final)
        self._is_ended = True
        for waiting in list(self._open.values()):
            waiting.cancel()

    @property
    def is_ended(self) -> bool:
        """Whether the final frame has been sent."""
        return self._is_ended

    def waits_for(self) -> str:
        """person, tool or model."""
        if self._open:
            return "person"
        return "tool" if self._tools else "model"

    def running_tools(self) -> tuple[str, ...]:
        """Names of the tools that have no result yet."""
        return tuple(self._tools.values())

    def idle_s(self) -> float:
        """Seconds since the agent last said something."""
        return self._clock.monotonic() - self._last_event_at

    # --- gathering -----------------------------------------------------------------------------------------------

    def _gather(self, event: StreamEvent) -> None:
        if isinstance(event, (stream.TextDelta, stream.ThinkingDelta)):
            self._gather_delta(event)
            return
        event = fitted(cleaned(event), self._event_max_bytes)
        self._watch(event)
        self._pending.append(event)

    def _gather_delta(self, event: stream.TextDelta | stream.ThinkingDelta) -> None:
        text = self._whole_characters(event)
        offsets = self._offsets.setdefault(event.message_id, {})
        for start in range(0, len(text), PIECE_CHARS):
            piece = text[start : start + PIECE_CHARS]
            offset = offsets.get(event.block, 0)
            offsets[event.block] = offset + utf16_length(piece)
            self._pending.append(type(event)(event.message_id, event.block, offset, piece))

    def _whole_characters(self, event: stream.TextDelta | stream.ThinkingDelta) -> str:
        """The delta's clean text; half a surrogate pair at its end waits for the other half."""
        if event.text.isascii() and not self._halves:
            return event.text
        key = (event.message_id, event.block)
        text = self._halves.pop(key, "") + event.text
        if text and "\ud800" <= text[-1] <= "\udbff":
            self._halves[key], text = text[-1], text[:-1]
        return clean_text(text)

    def _watch(self, event: StreamEvent) -> None:
        """Keep what later events and `run.status` need to know."""
        match event:
            case stream.TextDone() | stream.ThinkingDone():
                self._offsets.setdefault(event.message_id, {})[event.block] = utf16_length(event.text)
                self._halves.pop((event.message_id, event.block), None)
            case stream.MessageDone() | stream.MessageDiscarded():
                self._offsets.pop(event.message_id, None)
            case stream.ToolStarted():
                self._tools[event.id] = event.name
            case stream.ToolDone():
                self._tools.pop(event.id, None)
            case stream.SessionUpdated():
                self._on_session(event.session_id)
            case _:
                pass

    def _send(self, frame: RunFrame) -> None:
        """Send a frame after everything that was said before it. After the final one nothing is sent."""
        if not self._is_ended:
            self._flush()
            self._outbox.say(frame)

    def _flush(self) -> None:
        self._is_flush_due = False
        if not self._pending or self._is_ended:
            return
        events, self._pending = tuple(self._pending), []
        try:
            self._outbox.say(Stream(request_id=self._request_id, seq=_UNNUMBERED, events=events))
        except BatonError as error:
            # What was said is kept up to here; the rest cannot follow a gap.
            self._is_refused = True
            self._on_refused(error)
