"""What must not leave the machine is taken out of text that others wrote: tokens, passwords, keys."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from baton.doctor.findings import Finding

HIDDEN: Final = "[hidden]"

_PATTERNS: Final = (
    (re.compile(r"(?i)\b(bearer|basic)\s+[^\s\"']+"), rf"\1 {HIDDEN}"),
    (re.compile(r"://[^/\s@]*@"), f"://{HIDDEN}@"),
    (
        re.compile(
            r"(?i)([\w-]*(?:token|secret|password|passwd|api[_-]?key|authorization)[\w-]*\"?\s*[=:]\s*)[^\s,}&]+"
        ),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"\b(?:sk|pk|ghp|gho|xox[a-z]|AKIA)[-_A-Za-z0-9]{12,}"), HIDDEN),
)
"""By their shape: a credential of somebody else's is not known by its text."""


class Redactor:
    """Knows the tokens of this machine. What it gives holds none of them, and nothing that looks like one."""

    def __init__(self, tokens: Iterable[str | None]) -> None:
        self._tokens = sorted({token for token in tokens if token}, key=len, reverse=True)

    def text(self, text: str) -> str:
        """`text`, with [hidden] where something was."""
        for token in self._tokens:
            text = text.replace(token, HIDDEN)
        for pattern, instead in _PATTERNS:
            text = pattern.sub(instead, text)
        return text

    def value(self, value: object) -> object:
        """The same of every text in a value of JSON; names stay."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {name: self.value(item) for name, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.value(item) for item in value]
        return value

    def findings(self, findings: Iterable[Finding]) -> tuple[Finding, ...]:
        """The same of each. Cures are Baton's own words, with only known tokens to be looked for."""
        return tuple(
            replace(
                finding,
                what=self.text(finding.what),
                why=finding.why and self.text(finding.why),
                cure=finding.cure and self._known(finding.cure),
            )
            for finding in findings
        )

    def _known(self, text: str) -> str:
        for token in self._tokens:
            text = text.replace(token, HIDDEN)
        return text
