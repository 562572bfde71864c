"""Who looks at which prompt: a look holds its deadline up for a while, as long as the one who looks is there.

The stored deadline always is the true one: a look moves it at once by the time it holds, and what is left of that
time is taken back when the last one who looked has gone.
"""

from dataclasses import replace
from datetime import datetime

from baton.core.events import PromptOpened
from baton.core.ids import PromptId
from baton.core.models import Prompt, PromptStatus
from baton.services.drafts import Draft


class Watchers:
    """The looks of this process's sockets. Forgotten with the process: `outages` makes up for that."""

    def __init__(self) -> None:
        self._looks: dict[PromptId, dict[str, datetime]] = {}

    def look(self, prompt_id: PromptId, holder: str, until: datetime) -> None:
        """`holder` (a socket) looks at it until then."""
        self._looks.setdefault(prompt_id, {})[holder] = until

    def let_go(self, holder: str) -> None:
        """The socket is gone."""
        for prompt_id, looks in list(self._looks.items()):
            looks.pop(holder, None)
            if not looks:
                del self._looks[prompt_id]

    def forget(self, prompt_id: PromptId) -> None:
        """The prompt has its end."""
        self._looks.pop(prompt_id, None)

    def held_until(self, prompt_id: PromptId) -> datetime | None:
        """How long those who are there look at it; None: nobody does."""
        return max(self._looks.get(prompt_id, {}).values(), default=None)

    def prompts(self) -> list[PromptId]:
        """Those that were looked at."""
        return list(self._looks)


def held_until(prompt: Prompt, until: datetime | None, now: datetime) -> Prompt:
    """The prompt with its deadline and next stage held up until then; None: from now on by nobody."""
    before = prompt.seen_until if prompt.seen_until is not None and prompt.seen_until > now else now
    after = until if until is not None and until > now else now
    moved = after - before
    return replace(
        prompt,
        seen_until=after if after > now else None,
        timeout_at=prompt.timeout_at and prompt.timeout_at + moved,
        stage_at=prompt.stage_at and prompt.stage_at + moved,
    )


def store_pending(draft: Draft, prompt: Prompt) -> Prompt:
    """Draft a prompt that still waits, and tell it. The prompt as stored."""
    seq = draft.next_seq()
    stored = replace(prompt, seq=seq)
    draft.store_prompt(stored, PromptStatus.PENDING)
    draft.tell(PromptOpened(stored), seq)
    return stored
