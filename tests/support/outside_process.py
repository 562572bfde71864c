"""tests/support/outside_bridge.py as a process of its own."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

SCRIPT = Path(__file__).with_name("outside_bridge.py")


@asynccontextmanager
async def outside_bridge(url: str, token: str, *options: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A bridge by somebody else, connected to the server at `url` (http); ended at the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(SCRIPT),
        "--url",
        url.replace("http://", "ws://") + "/bridge",
        "--token",
        token,
        *options,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()
