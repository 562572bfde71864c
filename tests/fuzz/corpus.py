"""What is right: every event of a browser and every frame of a bridge, with all of their fields.

Events are those of `bad_values`, which were written from docs/protocol.md; frames are the golden ones.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.bad_values import BARE, EVENTS, NOBODY

GOLDEN = Path(__file__).parent.parent / "golden" / "bridge"

_SOUND: dict[str, Any] = {
    "text": "some words",
    "whole": 3,
    "place": 2,
    "seconds": 60,
    "mode": "plan",
    "ids": [NOBODY],
    "texts": ["Bash", "Read"],
    "object": {"command": "ls", "deep": [{"er": 1}]},
    "answers": {"q1": "Yes", "q2": ["A", "B"]},
    "time": 1_700_000_000_000,
}


def sound_events(conversation_ids: Sequence[str] = (NOBODY,)) -> list[tuple[str, Any]]:
    """Each event with all of its fields, and each with a bare id where it may be one; ids are the first of these."""
    known = _SOUND | {"id": conversation_ids[0]}
    full = [(name, {field: known[kind.rstrip("!")] for field, kind in kinds.items()}) for name, kinds in EVENTS.items()]
    return full + [(name, conversation_ids[0]) for name in sorted(BARE)]


def sound_frames() -> list[dict[str, Any]]:
    """Each frame that a bridge sends; those of a run with `requestId` and `seq`."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(GOLDEN.glob("bridge.*.json"))]


def sound_stream_events() -> list[dict[str, Any]]:
    """Frames of a run with one event each, so that the mutants of one are not refused for another's sake."""
    (whole,) = (frame for frame in sound_frames() if frame["type"] == "claude:stream")
    return [{**whole, "events": [event]} for event in whole["events"]]
