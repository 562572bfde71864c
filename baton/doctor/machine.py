"""The set-up of this machine: folders and their rights, disks, ports, programs, the log file. Asks no server."""

import os
import platform
import shutil
import socket
import stat
import subprocess  # nosec B404  # what it starts is judged where it does
import tempfile
from pathlib import Path
from shlex import quote
from typing import Final

from baton.core.commands import AccountRole
from baton.credentials import token_path
from baton.doctor.findings import Area, Finding, Notes
from baton.doctor.patient import Patient

_LOW_BYTES: Final = 1 << 30
_NODE_COMMANDS: Final = ("npx", "node", "npm", "bunx", "bun")


def check_machine(patient: Patient) -> list[Finding]:
    """Blocks for some milliseconds: for a thread."""
    notes = Notes(Area.SETUP)
    _versions(notes)
    _programs(notes, patient)
    if patient.is_here:
        _data_folder(notes, patient)
        _token_files(notes, patient.settings.data)
    _disk(notes, patient.settings.data)
    _log_file(notes, patient.bridge.log_file)
    return notes.findings


def _versions(notes: Notes) -> None:
    from baton import __version__

    notes.ok(
        "versions", f"Baton {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    )


def _programs(notes: Notes, patient: Patient) -> None:
    """Programs that the settings name must be here; those that agents bring themselves are the agents' to judge."""
    path = patient.settings.agent_environment.get("PATH")
    node = shutil.which("node", path=path)
    notes.ok("programs", f"Node.js {_said_version(node)}" if node else "no Node.js, which only some agents need")
    for name, command in patient.settings.acp:
        program = command.split()[0] if command.split() else ""
        if shutil.which(program, path=path) is None:
            kind = "Node.js brings it" if program in _NODE_COMMANDS else "its program must be on PATH"
            notes.problem(
                "programs",
                f"{name} needs {program!r}, which is not on PATH here",
                why=f"the agent cannot start: {kind}",
                cure="curl -fsSL https://fnm.vercel.app/install | bash"
                if program in _NODE_COMMANDS
                else f"command -v {quote(program)} || echo 'install it, or name its path in BATON_ACP'",
            )


def _said_version(program: str) -> str:
    try:
        done = subprocess.run(  # nosec B603  # noqa: S603 - found on PATH, and given nothing of anybody's
            [program, "--version"], capture_output=True, text=True, timeout=2, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return f"({program} does not say its version)"
    return done.stdout.strip()[:40]


def _data_folder(notes: Notes, patient: Patient) -> None:
    folder = patient.settings.data
    shown = quote(str(folder))
    try:
        found = folder.stat()
    except FileNotFoundError:
        notes.note("data folder", f"{folder} is not there yet: the first start makes it", cure="baton serve")
        return
    except OSError as error:
        notes.problem(
            "data folder",
            f"{folder}: {error.strerror}",
            why="the database and the tokens are kept there",
            cure=f"baton serve --data {quote(str(Path.home() / 'baton-data'))}",
        )
        return
    if not stat.S_ISDIR(found.st_mode):
        notes.problem(
            "data folder",
            f"{folder} is no folder",
            why="the database and the tokens are kept there",
            cure=f"mv {shown} {shown}.old",
        )
    elif stat.S_IMODE(found.st_mode) & 0o077:
        notes.problem(
            "data folder",
            f"{folder} can be read by other users of this machine",
            why="it holds tokens and everything that was said; a server refuses to start on it",
            cure=f"chmod 700 {shown}",
        )
    elif (trouble := _unwritable(folder)) is not None:
        notes.problem(
            "data folder",
            f"{folder} cannot be written ({trouble})",
            why="nothing can be stored",
            cure=f'sudo chown -R "$USER" {shown}',
        )
    else:
        notes.ok("data folder", f"{folder}: yours alone, and can be written")


def _unwritable(folder: Path) -> str | None:
    """Why no file can be made there. Tried, because rights do not tell of full and read-only disks."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
            file.flush()
    except OSError as error:
        return error.strerror
    return None


def _token_files(notes: Notes, folder: Path) -> None:
    for role in (AccountRole.ADMIN, AccountRole.BRIDGE):
        path = token_path(folder, role)
        try:
            mode = stat.S_IMODE(path.stat().st_mode)
        except OSError:
            continue  # not there yet, or its folder is told of above
        if mode & 0o077:
            notes.problem(
                "token files",
                f"{path} can be read by other users of this machine",
                why=f"whoever reads it is {role.value} here; a server refuses to start with it",
                cure=f"chmod 600 {quote(str(path))}",
            )


def _disk(notes: Notes, folder: Path) -> None:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        usage = shutil.disk_usage(existing)
    except OSError as error:
        notes.skipped("disk space", f"{existing}: {error.strerror}")
        return
    free = f"{usage.free / (1 << 30):.1f} GiB free on the disk of {existing}"
    if usage.free >= _LOW_BYTES:
        notes.ok("disk space", free)
        return
    notes.problem(
        "disk space",
        free,
        why="without room nothing is stored, so nothing is shown, and runs fail with spool_full",
        cure=f"du -xh {quote(str(existing))} | sort -h | tail -20",
    )


def _log_file(notes: Notes, path: Path | None) -> None:
    """As `logs` opens it: no link is followed, and a file of somebody else's is refused."""
    if path is None:
        notes.ok("log file", "a bridge logs to stderr only")
        return
    trouble = _log_trouble(path)
    if trouble is None:
        notes.ok("log file", f"{path} can be written by a bridge")
        return
    notes.problem(
        "log file",
        f"{path} cannot be written by a bridge of yours ({trouble})",
        why="`baton bridge` does not start without its log file",
        cure="baton bridge --log-file " + quote(str(Path.home() / "baton-bridge.log")),
    )


def _log_trouble(path: Path) -> str | None:
    if path.is_symlink():
        return "it is a link"
    if path.exists():
        if not path.is_file():
            return "it is no file"
        if path.stat().st_uid != os.geteuid():
            return "it belongs to another user"
        return None if os.access(path, os.W_OK) else "it is read-only"
    return None if os.access(path.parent, os.W_OK | os.X_OK) else "its folder cannot be written"


def is_taken(port: int) -> bool:
    """Whether somebody listens on this port of this machine."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False
