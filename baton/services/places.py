"""Where each open run is: which conversation, which bridge, and how much of what that bridge said is on disk.

Known at every moment, also while the run's lane is in use or is being read anew, so that frames find their way and a
bridge's hello misses no run. Changed only by what is on disk.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from baton.core import lifecycle
from baton.core.ids import BridgeId, ConversationId, RequestId
from baton.core.models import Run
from baton.core.stored import JournalRow


@dataclass(slots=True)
class Place:
    """Of one open run. `bridge_id`: the only one that may speak in it; None: it waits."""

    conversation_id: ConversationId
    bridge_id: BridgeId | None
    bridge_seq: int


class Places:
    """Of all open runs of the process."""

    def __init__(self) -> None:
        self._places: dict[RequestId, Place] = {}

    def of(self, request_id: RequestId) -> Place | None:
        """Where the run is; None: it has ended, or is unknown."""
        return self._places.get(request_id)

    def at(self, bridge_id: BridgeId) -> list[tuple[RequestId, ConversationId]]:
        """The open runs of a bridge, the longest known first."""
        return [(name, place.conversation_id) for name, place in self._places.items() if place.bridge_id == bridge_id]

    def note(self, runs: Iterable[Run], journal: JournalRow | None = None) -> None:
        """These runs and this journal row are on disk."""
        for run in runs:
            if lifecycle.is_final(run):
                self._places.pop(run.request_id, None)
            else:
                self._places[run.request_id] = Place(run.conversation_id, run.bridge_id, run.bridge_seq)
        if journal is not None and (place := self._places.get(journal.request_id)) is not None:
            place.bridge_seq = journal.bridge_seq
