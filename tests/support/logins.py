"""Logins as tests know them: in memory, of whatever tokens the test has."""

from dataclasses import replace

from baton.core.commands import Identity


class FakeLogins:
    """Implements web.access.LoginKeeper. `failures`: addresses from which a wrong token came."""

    def __init__(self) -> None:
        self.opened: dict[str, Identity] = {}
        self.failures: list[str] = []

    def verify(self, token: str) -> Identity | None:
        return self.opened.get(token)

    async def open(self, who: Identity, token: str) -> str:
        secret = f"cookie-{len(self.opened)}-of-{who.user_id}"
        self.opened[secret] = replace(who, login_id=secret)
        return secret

    async def close(self, secret: str, address: str) -> None:
        self.opened.pop(secret, None)

    async def failed(self, address: str) -> None:
        self.failures.append(address)
