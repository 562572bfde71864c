"""Runs the `baton` command as a process of its own, on a data folder of the test."""

import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support.in_process import Running


@dataclass(frozen=True, slots=True)
class Said:
    """What a process said, and its exit code."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class Shell:
    """Runs `baton ...` as a process of its own, on this data."""

    folder: Path
    environment: dict[str, str]

    async def token(self, *arguments: str) -> Said:
        """`baton token ...`"""
        return await self.baton("token", *arguments)

    async def baton(self, *arguments: str) -> Said:
        """What it said, once it has ended; never a traceback."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("BATON_")}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "baton",
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=self.folder,
            env=inherited | {"BATON_DATA": str(self.folder / "data"), **self.environment},
        )
        async with asyncio.timeout(120):
            out, err = await process.communicate()
        assert process.returncode is not None
        said = Said(process.returncode, out.decode(), err.decode())
        assert "Traceback" not in said.err
        return said


def beside(running: Running, folder: Path) -> Shell:
    """On the data of a running server."""
    return Shell(folder, {"PORT": str(running.server.settings.port)})
