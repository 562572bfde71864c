"""The grants that are in force in this process, so that a question of an agent is judged without asking the store.

Changed only by what is on disk: `Lanes.settle` notes what a change stored, a start loads the rest.
"""

from collections.abc import Iterable, Sequence

from baton.core.ids import ConversationId, ProjectId, UserId
from baton.core.permissions import Grant, GrantId, GrantScope, GrantStatus

_Reach = tuple[GrantScope, ConversationId | ProjectId | None, UserId | None]


class StandingGrants:
    """Every grant that has not ended, by whom it reaches."""

    def __init__(self) -> None:
        self._grants: dict[_Reach, dict[GrantId, Grant]] = {}

    def note(self, grants: Iterable[Grant]) -> None:
        """These are on disk as they are here."""
        for grant in grants:
            reach = _reach(grant)
            if grant.status is GrantStatus.GRANTED:
                self._grants.setdefault(reach, {})[grant.id] = grant
            else:
                self._grants.get(reach, {}).pop(grant.id, None)

    def replace_all(self, grants: Iterable[Grant]) -> None:
        """These, and no others, are on disk."""
        self._grants.clear()
        self.note(grants)

    def forget(self, conversation_id: ConversationId) -> None:
        """The conversation is gone for good."""
        self._grants.pop((GrantScope.CONVERSATION, conversation_id, None), None)

    def reaching(
        self, conversation_id: ConversationId, project_id: ProjectId | None, user_id: UserId
    ) -> Sequence[Grant]:
        """Those that may count for a conversation of this user, also such as have run out and are not noted as ended
        yet."""
        reaches: list[_Reach] = [(GrantScope.CONVERSATION, conversation_id, None)]
        for bound_to in (None, user_id):
            reaches.append((GrantScope.ALL, None, bound_to))
            if project_id is not None:
                reaches.append((GrantScope.PROJECT, project_id, bound_to))
        return [grant for reach in reaches for grant in self._grants.get(reach, {}).values()]

    def all(self) -> Sequence[Grant]:
        """Every one of them."""
        return [grant for grants in self._grants.values() for grant in grants.values()]


def _reach(grant: Grant) -> _Reach:
    if grant.scope is GrantScope.CONVERSATION:
        return (grant.scope, grant.conversation_id, None)
    return (grant.scope, grant.project_id if grant.scope is GrantScope.PROJECT else None, grant.user_id)
