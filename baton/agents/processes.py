"""Ending a child process together with everything that it has started."""

import os
import signal
from contextlib import suppress
from pathlib import Path


def kill_tree(pid: int) -> None:
    """SIGKILL the process and all its descendants, also those in sessions of their own (shells of an agent's tools).

    Where there is no /proc, its process group. `pid` must be a child of ours that was not waited for yet, so that
    the number cannot have been given to somebody else.
    """
    for member in (pid, *_descendants(pid)):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(member, signal.SIGKILL)
    with suppress(ProcessLookupError, PermissionError):
        if os.getpgid(pid) == pid:
            os.killpg(pid, signal.SIGKILL)


def _descendants(pid: int) -> list[int]:
    children = _children()
    found: list[int] = []
    waiting = [pid]
    while waiting:
        for child in children.get(waiting.pop(), []):
            found.append(child)
            waiting.append(child)
    return found


def _children() -> dict[int, list[int]]:
    """By parent; empty where there is no /proc."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        # A process may end while we look.
        with suppress(OSError, ValueError, IndexError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(folder.name))
    return children
