"""Lets the wall clock of a `baton serve` jump: Python imports this at its start where its folder is in PYTHONPATH.

The offset in seconds stands in the file that FAULTS_CLOCK names, and is read anew whenever the clock is asked. The
monotonic clock is left alone, as a machine leaves it whose time is set. Baton asks one place for the time, the clock
behind `core.ports.Clock`; Engine.IO and the log ask `time.time`.

libfaketime was tried and is no way: with the monotonic clock left alone, its `time.sleep` fails (0.9.10, Python 3.11).
"""

import os
import time
from datetime import datetime, timedelta, tzinfo

import baton.clock

_FILE = os.environ["FAULTS_CLOCK"]
_time = time.time


def _offset_s() -> float:
    with open(_FILE) as file:
        return float(file.read())


class _Shifted:
    @staticmethod
    def now(zone: tzinfo | None = None) -> datetime:
        return datetime.now(zone) + timedelta(seconds=_offset_s())


baton.clock.datetime = _Shifted  # type: ignore[attr-defined]
time.time = lambda: _time() + _offset_s()
