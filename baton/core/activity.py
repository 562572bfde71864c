"""What an agent says of its run rather than in a message: tokens so far, its to-do list, notices.

The run itself keeps it, so that whoever comes later, or after a restart, sees what those saw who watched. Pure; the
same function is fed by a bridge's frames and, after a crash, by the journal.
"""

from dataclasses import replace
from typing import Final

from baton.core.models import Run, RunNotice
from baton.core.stream import Notice, PlanUpdated, StreamEvent, UsageUpdated

MAX_NOTICES: Final = 20
"""Of one run; older ones give way."""
MAX_PLAN_ENTRIES: Final = 200
MAX_CHARS: Final = 2000
"""Of one notice, or of one line of a to-do list."""


def clipped(event: StreamEvent) -> StreamEvent:
    """The event as it is shown and kept: a run travels whole with each change of its state, and must stay small."""
    if isinstance(event, PlanUpdated):
        entries = event.entries[:MAX_PLAN_ENTRIES]
        return PlanUpdated(entries=tuple(replace(entry, text=_clip(entry.text)) for entry in entries))
    if isinstance(event, Notice):
        return replace(event, text=_clip(event.text))
    return event


def told(run: Run, event: StreamEvent) -> Run:
    """The run after `event`; the same one where the event is not about runs. The page does the same (`thread.ts`)."""
    if isinstance(event, UsageUpdated):
        return replace(run, usage=event.usage)
    if isinstance(event, PlanUpdated):
        return replace(run, plan=event.entries)
    if isinstance(event, Notice):
        return replace(run, notices=(*run.notices, RunNotice(event.level, event.text))[-MAX_NOTICES:])
    return run


def _clip(text: str) -> str:
    return text if len(text) <= MAX_CHARS else text[: MAX_CHARS - 1] + "…"
