"""What of a change that is on disk stands in the log: one line per run that goes out or begins, prompt, new session.

The words are those that people grep for (docs/troubleshooting.md); content is never among them.
"""

import logging

from baton.core.events import PromptOpened, RoomEvent, RunChanged, SessionChanged
from baton.core.frames import Execute
from baton.core.models import RunStatus
from baton.services.drafts import Draft

logger = logging.getLogger(__name__)


def log_news(draft: Draft) -> None:
    """Called for every change that stores a document; deltas alone are no news."""
    for bridge_id, frame in draft.frames:
        if isinstance(frame, Execute):
            about = {"requestId": frame.request_id, "bridgeId": bridge_id, "agent": frame.agent}
            logger.info("📡 claude:execute: the run goes to its bridge", extra={"action": "run.dispatched", **about})
    for event in draft.events:
        if isinstance(event, RoomEvent):
            _log_event(draft, event)


def _log_event(draft: Draft, event: RoomEvent) -> None:
    payload = event.payload
    if isinstance(payload, RunChanged):
        run = payload.run
        # A run comes back to `running` after each question; it begins once.
        if run.status is RunStatus.RUNNING and run.started_at == draft.now:
            logger.info("📡 claude:stream begins", extra={"action": "stream.begun", "requestId": run.request_id})
    elif isinstance(payload, PromptOpened):
        prompt = payload.prompt
        # The same event tells of every further change of a pending prompt.
        if prompt.created_at == draft.now:
            logger.info(
                "prompt waits for a person (permission, plan or question)",
                extra={
                    "action": "prompt.opened",
                    "promptId": prompt.id,
                    "requestId": prompt.request_id,
                    "type": prompt.type,
                    "risk": prompt.risk_level,
                },
            )
    elif isinstance(payload, SessionChanged):
        logger.info(
            "session changed",
            extra={
                "action": "session.changed",
                "conversationId": event.conversation_id,
                "sessionId": payload.session_id,
            },
        )
