"""What a serving process does by itself, and how often: `jobs` runs and counts it, services know what it is."""

from typing import Final

from baton.core.limits import Limits
from baton.jobs import Jobs
from baton.services.catalog import Services
from baton.web.throttle import TELL_EVERY_S, Throttle

SWEEP_EVERY_S: Final = 1.0
SILENCE_EVERY_S: Final = 5.0
TOKENS_EVERY_S: Final = 30.0
FIRST_CLEAN_UP_S: Final = 300.0
"""After a start people and bridges come back first."""


async def start_rounds(jobs: Jobs, services: Services, throttle: Throttle, limits: Limits) -> None:
    """All of them but the lease, which is kept from before the first of these on."""
    await jobs.spawn("flush", services.intake.run)
    await jobs.spawn("dispatch", services.dispatcher.run)
    await jobs.every(SWEEP_EVERY_S, "deadlines", services.deadlines.sweep)
    await jobs.every(SILENCE_EVERY_S, "silence", services.silence.sweep)
    await jobs.every(TOKENS_EVERY_S, "tokens", services.tokens.sweep)
    await jobs.every(TELL_EVERY_S, "refusals", throttle.tell)
    every_s = limits.clean_up_every_s
    await jobs.every(every_s, "clean-up", services.cleaning.clean_up, first_s=min(every_s, FIRST_CLEAN_UP_S))
