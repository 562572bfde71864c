"""One line at the bottom of a terminal that is rewritten as things change, with the log scrolling above it.

Where the output is no terminal there is no line, and the log alone tells.
"""

import shutil
from typing import Final, TextIO

from baton.bridge.facts import BridgeFacts, LinkState

_CLEAR: Final = "\r\x1b[2K"
_SIGNS: Final = {
    LinkState.CONNECTED: "🌉 connected to",
    LinkState.CONNECTING: "🌉 connecting to",
    LinkState.WAITING: "🌉 no link to",
    LinkState.STOPPED: "🌉 stopped:",
}


class StatusLine:
    """A terminal's last line. `stream` is what the log writes to meanwhile."""

    def __init__(self, terminal: TextIO) -> None:
        self._terminal = terminal
        self._text = ""
        self.is_shown = terminal.isatty()

    def show(self, text: str) -> None:
        """This is the line now; shown if it is another."""
        if self.is_shown and text != self._text:
            self._text = text
            self._draw()

    def end(self) -> None:
        """Take the line away, for good."""
        if self.is_shown and self._text:
            self._terminal.write(_CLEAR)
            self._terminal.flush()
        self.is_shown = False

    # --- as a stream for the log ---------------------------------------------------------------------------------

    def write(self, text: str) -> int:
        """Write above the line."""
        if self.is_shown and self._text:
            self._terminal.write(_CLEAR + text)
            if text.endswith("\n"):
                self._draw()
        else:
            self._terminal.write(text)
        return len(text)

    def flush(self) -> None:
        """See what was written."""
        self._terminal.flush()

    def _draw(self) -> None:
        # Longer than the terminal is wide, it would wrap, and could not be taken away again.
        width = shutil.get_terminal_size().columns - 3
        self._terminal.write(_CLEAR + self._text[: max(width, 20)])
        self._terminal.flush()


def status_text(facts: BridgeFacts) -> str:
    """How the bridge is, in one line, the most important first."""
    link = facts.link
    parts = [f"{_SIGNS[link.state]} {facts.url}"]
    if link.text and link.state is not LinkState.CONNECTED:
        parts.append(link.text)
    runs = f"{facts.active} working" + (f", {facts.queued} waiting" if facts.queued else "")
    parts.append(runs)
    if facts.spool_bytes:
        parts.append(f"{_size(facts.spool_bytes)} to be delivered")
    agents = [offer.id for offer in facts.agents if offer.available]
    parts.append(", ".join(agents) or "no agent available")
    return " · ".join(parts)


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes >= 100_000 else f"{size_bytes / 1e3:.1f} kB"
