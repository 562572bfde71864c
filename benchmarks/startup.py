"""From the command to a healthy /health. `python -m benchmarks.startup`"""

import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.processes import baton_server


async def measure(rounds: int = 5) -> None:
    """Print the median of so many starts: of the first one on an empty folder, and of later ones."""
    first, later = [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="baton-bench-") as folder:
            first.append(await _start_s(Path(folder)))
            later.append(await _start_s(Path(folder)))
    print(f"\nstart-up to a healthy /health, medians of {rounds}:")
    print(f"  first start, empty folder {statistics.median(first):.2f} s ({min(first):.2f} to {max(first):.2f})")
    print(f"  later starts              {statistics.median(later):.2f} s ({min(later):.2f} to {max(later):.2f})")


async def _start_s(folder: Path) -> float:
    began = time.monotonic()
    async with baton_server(folder):
        return time.monotonic() - began


if __name__ == "__main__":
    asyncio.run(measure())
