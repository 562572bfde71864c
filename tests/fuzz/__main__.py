"""`make fuzz`: a long run of both levels, with progress. `python -m tests.fuzz --help` says how."""

import argparse
import asyncio
import secrets
import sys
import tempfile
from pathlib import Path

from tests.fuzz.in_memory import fuzz_in_memory
from tests.fuzz.on_wire import fuzz_on_wire
from tests.fuzz.report import Report


def main() -> int:
    """Run what was asked for; the exit code."""
    parser = argparse.ArgumentParser(prog="make fuzz ARGS=...", description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000, help="malformed inputs in memory (%(default)s)")
    parser.add_argument("--wire", type=int, help="malformed inputs over real sockets (a tenth of COUNT)")
    parser.add_argument("--seed", type=int, help="the same seed makes the same mutants (one that is printed)")
    chosen = parser.parse_args()
    seed = secrets.randbelow(2**32) if chosen.seed is None else chosen.seed
    wire = chosen.count // 10 if chosen.wire is None else chosen.wire
    sys.stdout.write(f"seed {seed}\n")
    with tempfile.TemporaryDirectory() as folder:
        if chosen.count:
            report = Report("in memory", seed, chosen.count, shows_progress=True)
            asyncio.run(fuzz_in_memory(Path(folder), report))
            sys.stdout.write(f"{report}\n")
        if wire:
            report = Report("on the wire", seed, wire, shows_progress=True)
            asyncio.run(fuzz_on_wire(Path(folder) / "wire", report))
            sys.stdout.write(f"{report}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
