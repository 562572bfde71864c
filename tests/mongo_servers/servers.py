"""Servers by others that speak MongoDB's wire protocol, made from package registries: how each is built and started.

Baton's own tests of its MongoDB adapter run on a mock; these are the second opinions. Where the toolchain of one is
missing, it says so. Nothing is installed: what is built lies in `build/`, what a toolchain downloads in its own cache.
"""

import hashlib
import os
import selectors
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.ports import free_port

HERE: Final = Path(__file__).parent
BUILD: Final = HERE.parent.parent / "build" / "mongo_servers"
_START_S: Final = 60.0
_STOP_S: Final = 10.0


class NotHereError(Exception):
    """The server cannot be had on this machine; the text says why."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One server. `build` gives the command that starts it; behind it come the arguments of `arguments(folder)`."""

    name: str
    title: str
    needs: tuple[str, ...]
    build: Callable[[], Sequence[str]]
    arguments: Callable[[Path], Sequence[str]]

    def missing(self) -> str | None:
        """Why it cannot be had here; None: it can."""
        absent = [program for program in self.needs if shutil.which(program) is None]
        return f"no {' and no '.join(absent)} here" if absent else None

    @contextmanager
    def running(self, folder: Path) -> Iterator[str]:
        """Its address; it ends with the block, and with this process. Raises NotHereError."""
        reason = self.missing()
        if reason is not None:
            raise NotHereError(reason)
        command = [*self.build(), *self.arguments(folder)]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        try:
            yield f"mongodb://127.0.0.1:{_port_of(process, folder / 'log')}"
        finally:
            _stop(process)


def _port_of(process: "subprocess.Popen[bytes]", log: Path) -> int:
    assert process.stdout is not None, "it is a pipe"
    with selectors.DefaultSelector() as waiting:
        waiting.register(process.stdout, selectors.EVENT_READ)
        line = process.stdout.readline() if waiting.select(_START_S) else b""
    if not line.strip().isdigit():
        raise NotHereError(f"it did not start: {log.read_text(errors='replace')[-500:].strip()}")
    return int(line)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    try:
        process.communicate(timeout=_STOP_S)  # closes its input
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


# --- mongo-java-server -------------------------------------------------------------------------------------------


def _java() -> Sequence[str]:
    jars = BUILD / "java"
    if not _have_checksums(jars):
        _build(["mvn", "-q", "-B", "-C", "dependency:copy-dependencies", f"-DoutputDirectory={jars}"], HERE / "java")
        if not _have_checksums(jars):
            raise NotHereError("what Maven brought is not what tests/mongo_servers/java/checksums.sha256 names")
    return ["java", "-Xmx2g", "-cp", f"{jars}/*", str(HERE / "java" / "Launcher.java")]


def _have_checksums(jars: Path) -> bool:
    lines = (HERE / "java" / "checksums.sha256").read_text().splitlines()
    wanted = {name: digest for digest, name in map(str.split, lines)}
    there = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in jars.glob("*.jar")}
    return there == wanted


# --- FerretDB ----------------------------------------------------------------------------------------------------


def _ferretdb() -> Sequence[str]:
    program = BUILD / "ferretdb"
    BUILD.mkdir(parents=True, exist_ok=True)
    # go.sum holds what may be downloaded; a build of what has not changed takes a second.
    _build(["go", "build", "-mod=readonly", "-o", str(program), "."], HERE / "ferretdb")
    return [str(program)]


def _build(command: Sequence[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=_quiet())
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise NotHereError(f"`{' '.join(command[:2])}` failed: {said[-1] if said else done.returncode}")


def _quiet() -> dict[str, str]:
    return {**os.environ, "DO_NOT_TRACK": "1"}


CANDIDATES: Final = (
    Candidate("mongo-java-server", "mongo-java-server 1.47.0, in memory", ("java", "mvn"), _java, lambda _: ["memory"]),
    Candidate(
        "mongo-java-server-h2",
        "mongo-java-server 1.47.0, on an H2 file",
        ("java", "mvn"),
        _java,
        lambda folder: [str(folder / "h2")],
    ),
    Candidate(
        "ferretdb",
        "FerretDB 1.24.2, on SQLite",
        ("go",),
        _ferretdb,
        lambda folder: [str(free_port()), str(folder)],
    ),
)
