"""What one check has found, in words for people and in one form for machines. Values only."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Area(StrEnum):
    """The set-up, the server, and the six problem families of docs/troubleshooting.md."""

    SETUP = "set-up"
    SERVER = "server"
    BRIDGE = "bridge"
    MESSAGES = "messages"
    WEBSOCKET = "websocket"
    SESSIONS = "sessions"
    STREAMING = "streaming"
    PERMISSIONS = "permissions"


class Level(StrEnum):
    """Only a PROBLEM counts for the exit code. SKIPPED: it could not be looked at, and `what` says why."""

    OK = "ok"
    NOTE = "note"
    SKIPPED = "skipped"
    PROBLEM = "problem"


SIGNS: Final = {Level.OK: "✅", Level.NOTE: "💬", Level.SKIPPED: "➖", Level.PROBLEM: "❌"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One check's result. `cure` is one command; None where there is nothing to cure."""

    area: Area
    check: str
    level: Level
    what: str
    why: str | None = None
    cure: str | None = None


class Notes:
    """Gathers the findings of one area; a problem cannot be told without its why and its cure."""

    def __init__(self, area: Area) -> None:
        self._area = area
        self.findings: list[Finding] = []

    def ok(self, check: str, what: str) -> None:
        """It is as it should be."""
        self.findings.append(Finding(area=self._area, check=check, level=Level.OK, what=what))

    def note(self, check: str, what: str, *, why: str | None = None, cure: str | None = None) -> None:
        """Worth knowing, and may well be meant."""
        self.findings.append(Finding(area=self._area, check=check, level=Level.NOTE, what=what, why=why, cure=cure))

    def skipped(self, check: str, what: str) -> None:
        """It could not be looked at."""
        self.findings.append(Finding(area=self._area, check=check, level=Level.SKIPPED, what=what))

    def problem(self, check: str, what: str, *, why: str, cure: str) -> None:
        """Something that somebody should mend."""
        self.findings.append(Finding(area=self._area, check=check, level=Level.PROBLEM, what=what, why=why, cure=cure))


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All findings, in the order of the areas. `url`: the server that was looked at."""

    url: str
    version: str
    findings: tuple[Finding, ...]

    @property
    def problems(self) -> tuple[Finding, ...]:
        """Those that make the exit code 1."""
        return tuple(finding for finding in self.findings if finding.level is Level.PROBLEM)


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """By area, within one as they were found."""
    places = list(Area)
    return tuple(sorted(findings, key=lambda finding: places.index(finding.area)))
