"""The process of an ACP agent and its pipes, as a transport of agent-client-protocol's connection.

Everything the agent writes is foreign: a line that is no message is counted and skipped, one that is too long, or too
many in a row that are none, end the process. It must not know any method of the protocol.
"""

import asyncio
import json
import logging
import os
import shutil
import signal
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from baton.agents.claude_environment import without_secrets
from baton.agents.processes import kill_tree
from baton.core.errors import AgentFailed
from baton.core.text import clean_text

logger = logging.getLogger(__name__)

MAX_LINE_BYTES: Final = 32 << 20
"""One message of the agent; at most twice as much of what it writes is held in memory."""
MAX_GARBAGE: Final = 200
"""Lines in a row that are no messages: a log that went to the wrong pipe is shorter."""
CLOSE_TIMEOUT_S: Final = 2.0
"""How long it may take to end after its input has ended; then it is killed."""
REAP_TIMEOUT_S: Final = 1.0
"""How long a process that was killed may take."""
_EXIT_TIMEOUT_S: Final = 0.5
"""How long a process may take to exit whose output has ended."""
_STDERR_LINES: Final = 20
_STDERR_LINE_CHARS: Final = 500
_CHUNK: Final = 64 << 10

_LAUNCH: Final = (
    "/bin/sh",
    "-c",
    # The parent's death signal, where the system has it: an agent whose bridge was killed must not go on unseen.
    'if setpriv --pdeathsig TERM true 2>/dev/null; then exec setpriv --pdeathsig TERM "$@"; fi; exec "$@"',
    "agent",
)


class AgentProcess:
    """One running program in a process group of its own. `receive`, `send` and `close` are the connection's.

    `fault` says, once the output has ended, why it did, where the agent was at fault.
    """

    def __init__(self, process: asyncio.subprocess.Process, environment: Mapping[str, str]) -> None:
        assert process.stdin is not None, "started with pipes"
        assert process.stdout is not None, "started with pipes"
        assert process.stderr is not None, "started with pipes"
        self._process = process
        self._environment = environment
        self._stdin, self._stdout = process.stdin, process.stdout
        self._last_words: deque[str] = deque(maxlen=_STDERR_LINES)
        self._garbage = 0
        self.fault: str | None = None
        self._stderr = asyncio.create_task(self._read_stderr(process.stderr), name=f"acp stderr {process.pid}")

    @classmethod
    async def start(cls, command: Sequence[str], environment: Mapping[str, str], folder: str) -> "AgentProcess":
        """Start it with this environment and nothing else. Raises AgentFailed `agent_missing`."""
        program = find_program(command[0], environment)
        if program is None:
            raise AgentFailed(f"The program {command[0]!r} is not installed here", code="agent_missing")
        try:
            process = await asyncio.create_subprocess_exec(
                *_LAUNCH,
                program,
                *command[1:],
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=dict(environment),
                cwd=folder,
                start_new_session=True,
                limit=MAX_LINE_BYTES,
            )
        except OSError as error:
            raise AgentFailed(f"{command[0]!r} cannot be started: {error.strerror}", code="agent_missing") from error
        return cls(process, environment)

    @property
    def pid(self) -> int:
        """Of the agent, which leads its group."""
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Whether it is known to have ended."""
        return self._process.returncode is not None

    # --- the connection's side ---------------------------------------------------------------------------------

    async def receive(self) -> dict[str, Any] | None:
        """The next message; None when there will be no more."""
        while (line := await self._read_line()) is not None:
            # Buffered lines come without waiting; each gets its turn, so that a flood starves nobody.
            await asyncio.sleep(0)
            message = read_message(line)
            if message is not None:
                self._garbage = 0
                return message
            self._garbage += 1
            if self._garbage > MAX_GARBAGE:
                self._give_up("writes what is no message of the Agent Client Protocol")
                return None
        return None

    async def send(self, message: dict[str, Any]) -> None:
        """Write it. An agent that takes none any more is ended, which ends every call that waits for it."""
        try:
            self._stdin.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")
            await self._stdin.drain()
        except OSError:
            self._give_up("does not take its input")

    async def close(self) -> None:
        """End its input: it may end by itself."""
        with suppress(OSError, RuntimeError):
            self._stdin.close()

    # --- its end -----------------------------------------------------------------------------------------------

    async def end(self) -> None:
        """End it with everything that it has started, by force where it does not end by itself. At most 4 s."""
        await self.close()
        waiting = asyncio.create_task(self._process.wait(), name=f"acp end {self.pid}")
        try:
            await asyncio.wait({waiting}, timeout=CLOSE_TIMEOUT_S)
            self.kill()
            await asyncio.wait({waiting}, timeout=REAP_TIMEOUT_S)
        finally:
            self.kill()
            for task in (waiting, self._stderr):
                task.cancel()
            await asyncio.wait({waiting, self._stderr})
            # asyncio has no public way to close pipes that a process outside of the group may still hold open.
            self._process._transport.close()  # type: ignore[attr-defined]

    def kill(self) -> None:
        """End it at once, and what is left of its group where it has ended already."""
        if not self.has_ended:
            kill_tree(self.pid)
            return
        # Its number stays taken for as long as anybody is left in its group.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)

    async def death(self) -> str:
        """Why its output has ended, with its last words, without anything secret. For people."""
        waiting = asyncio.create_task(self._process.wait(), name=f"acp death {self.pid}")
        try:
            await asyncio.wait({waiting}, timeout=_EXIT_TIMEOUT_S)
            # asyncio tells of an exit only when the pipes are closed too, and whoever it left behind may hold them.
            self.kill()
            await asyncio.wait({waiting, self._stderr}, timeout=REAP_TIMEOUT_S)
        finally:
            waiting.cancel()
            await asyncio.wait({waiting})
        what = self.fault or f"ended unexpectedly ({_exit_text(self._process.returncode)})"
        words = [line for line in self._last_words if line][-3:]
        text = f"{what}: {' / '.join(words)}" if words else what
        return clean_text(without_secrets(text, self._environment))[:500]

    # --- inside ------------------------------------------------------------------------------------------------

    async def _read_line(self) -> bytes | None:
        try:
            return await self._stdout.readuntil(b"\n")
        except asyncio.IncompleteReadError:
            return None
        except asyncio.LimitOverrunError:
            self._give_up(f"wrote one message of more than {MAX_LINE_BYTES >> 20} MiB")
            return None

    async def _read_stderr(self, pipe: asyncio.StreamReader) -> None:
        rest = ""
        while chunk := await pipe.read(_CHUNK):
            *lines, rest = (rest + chunk.decode("utf-8", "replace")).split("\n")
            rest = rest[-_STDERR_LINE_CHARS:]
            self._last_words.extend(line.strip()[:_STDERR_LINE_CHARS] for line in lines[-_STDERR_LINES:])
        self._last_words.append(rest.strip())

    def _give_up(self, fault: str) -> None:
        if self.fault is None:
            logger.warning("an ACP agent is ended", extra={"action": "acp.fault", "pid": self.pid, "fault": fault})
            self.fault = fault
        self.kill()


def find_program(name: str, environment: Mapping[str, str]) -> str | None:
    """Where the program is, for whoever has this environment; None: nowhere."""
    return shutil.which(name, path=environment.get("PATH", os.defpath))


def read_message(line: bytes) -> dict[str, Any] | None:
    """The JSON-RPC message of a line; None where it is none, or one that the connection would trip over."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(message, dict):
        return None
    name, has_id = message.get("id"), "id" in message
    is_named = isinstance(name, (str, int)) or name is None
    has_method = isinstance(message.get("method"), str)
    if not is_named or not (has_method or ("method" not in message and has_id)):
        return None
    error = message.get("error")
    if error is not None and not isinstance(error, dict):
        message["error"] = {"message": str(error)[:_STDERR_LINE_CHARS]}
    return message


def _exit_text(code: int | None) -> str:
    if code is None:
        return "its output is closed"
    return f"signal {-code}" if code < 0 else f"exit code {code}"
