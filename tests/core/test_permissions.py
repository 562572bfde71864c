"""A grant ends once; risks have an order."""

from datetime import timedelta

import pytest

from baton.core.errors import AlreadyResolved
from baton.core.permissions import Grant, GrantId, GrantScope, GrantStatus, Risk, expire, is_in_force, revoke, worst
from baton.testing.samples import START, at

GRANT = Grant(id=GrantId("9" * 24), scope=GrantScope.ALL, tool_name="Bash", created_at=START)


def test_the_worst_risk_counts() -> None:
    assert worst([Risk.MEDIUM, Risk.CRITICAL, Risk.LOW]) is Risk.CRITICAL
    assert worst([]) is Risk.LOW
    assert [risk.level for risk in Risk] == [0, 1, 2, 3]


def test_a_grant_ends_once() -> None:
    revoked = revoke(GRANT, at(5))
    assert (revoked.status, revoked.revoked_at) == (GrantStatus.REVOKED, at(5))
    with pytest.raises(AlreadyResolved) as late:
        revoke(revoked, at(6))
    assert late.value.winner is revoked
    with pytest.raises(AlreadyResolved):
        expire(revoked)


def test_an_expiry_takes_effect_when_it_is_due() -> None:
    grant = Grant(
        id=GRANT.id, scope=GrantScope.ALL, tool_name="Bash", created_at=START, expires_at=START + timedelta(seconds=10)
    )
    assert is_in_force(grant, at(9))
    assert not is_in_force(grant, at(10))
    assert not is_in_force(expire(grant), START)
