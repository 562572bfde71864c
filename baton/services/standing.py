"""The grants that are in force in this process, so that a question of an agent is judged without asking the store.

Changed only by what is on disk: `Lanes.settle` notes what a change stored, a start loads the rest.
"""

from collections.abc import Iterable, Sequence

from baton.core.ids import ConversationId, ProjectId
from baton.core.permissions import Grant, GrantId, GrantScope, GrantStatus

_Owner = tuple[GrantScope, ConversationId | ProjectId | None]


class StandingGrants:
    """Every grant that has not ended, by whom it reaches."""

    def __init__(self) -> None:
        self._grants: dict[_Owner, dict[GrantId, Grant]] = {}

    def note(self, grants: Iterable[Grant]) -> None:
        """These are on disk as they are here."""
        for grant in grants:
            owner = _owner(grant)
            if grant.status is GrantStatus.GRANTED:
                self._grants.setdefault(owner, {})[grant.id] = grant
            else:
                self._grants.get(owner, {}).pop(grant.id, None)

    def replace_all(self, grants: Iterable[Grant]) -> None:
        """These, and no others, are on disk."""
        self._grants.clear()
        self.note(grants)

    def forget(self, conversation_id: ConversationId) -> None:
        """The conversation is gone for good."""
        self._grants.pop((GrantScope.CONVERSATION, conversation_id), None)

    def reaching(self, conversation_id: ConversationId, project_id: ProjectId | None) -> Sequence[Grant]:
        """Those that may count for a conversation, also such as have run out and are not noted as ended yet."""
        owners: list[_Owner] = [(GrantScope.ALL, None), (GrantScope.CONVERSATION, conversation_id)]
        if project_id is not None:
            owners.append((GrantScope.PROJECT, project_id))
        return [grant for owner in owners for grant in self._grants.get(owner, {}).values()]

    def all(self) -> Sequence[Grant]:
        """Every one of them."""
        return [grant for grants in self._grants.values() for grant in grants.values()]


def _owner(grant: Grant) -> _Owner:
    if grant.scope is GrantScope.CONVERSATION:
        return (grant.scope, grant.conversation_id)
    return (grant.scope, grant.project_id if grant.scope is GrantScope.PROJECT else None)
