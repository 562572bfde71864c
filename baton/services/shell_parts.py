"""What a shell command is made of, as both readers (`shell_tree`, `shell_plain`) tell it."""

import re
from dataclasses import dataclass
from typing import Final

MAX_CHARS: Final = 32_000
"""Of a command line; a longer one is not looked at."""

_LAST_PART = re.compile(r"/([\w.+-]+)\Z")


@dataclass(frozen=True, slots=True)
class Word:
    """One word after quote removal; what is not literal stands as it is written."""

    text: str
    is_known: bool = True
    """The text is what the program gets, whatever the variables, unless it is a pattern of file names."""
    glob_at: int | None = None
    """Where the first unquoted sign of a file name pattern stands."""

    @property
    def literal(self) -> str | None:
        """Exactly what the program gets; None where that is only known at run time."""
        return self.text if self.is_known and self.glob_at is None else None


@dataclass(frozen=True, slots=True)
class Redirect:
    """One redirection, without here-documents. `is_write`: it can create or change its target."""

    operator: str
    target: Word

    @property
    def is_write(self) -> bool:
        """Whether it can create or change its target; a copied descriptor is none."""
        return ">" in self.operator and not self.is_copy

    @property
    def is_copy(self) -> bool:
        """Whether it only copies or closes a descriptor: `2>&1`, `>&-`."""
        return self.operator in (">&", "<&") and re.fullmatch(r"\d+-?|-", self.target.literal or "") is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One simple command."""

    words: tuple[Word, ...]
    assignments: tuple[str, ...] = ()
    """Names of the variables set for it alone."""
    redirects: tuple[Redirect, ...] = ()
    inputs: tuple[Word, ...] = ()
    """What here-documents and here-strings give it."""
    is_piped: bool = False
    """It reads what another command says."""
    source: "Command | None" = None
    """The command whose output it reads, where that is one simple command."""

    @property
    def program(self) -> str | None:
        """The program's name without its folder, in small letters; None where it is only known at run time.

        Small letters: on file systems that do not tell them apart, `RM` is `rm`.
        """
        if not self.words:
            return None
        first = self.words[0]
        if first.literal is not None:
            return first.text.rsplit("/", 1)[-1].casefold()
        last = _LAST_PART.search(first.text.strip('"'))
        return last[1].casefold() if last is not None and first.glob_at is None else None

    @property
    def arguments(self) -> tuple[Word, ...]:
        """What stands behind the program."""
        return self.words[1:]


def words(*texts: str) -> tuple[Word, ...]:
    """Literal words."""
    return tuple(Word(text) for text in texts)
