"""Looking for files by a part of their name, in a folder of many. `python -m benchmarks.files [files]`"""

import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

from baton.bridge.file_index import build_index
from baton.bridge.files import Folders

QUERIES = ("component", "comp 17", "cmpnt", "src/feature_3", "index.ts", "zzz not there")
REPEATS = 5
IGNORED = """
node_modules/
dist/
build/
*.pyc
__pycache__/
.venv/
*.log
.DS_Store
coverage/
*.egg-info/
.env
.env.*
!.env.example
/tmp/
docs/_build/
*.sw[op]
.idea/
.vscode/
target/
*.min.js
"""


def measure(files: int = 100_000) -> None:
    """Make a folder of so many files and a tenth as many ignored ones, look for names in it, print the times."""
    with tempfile.TemporaryDirectory(prefix="baton-bench-") as folder:
        root = Path(folder).resolve()
        _fill(root, files)
        began = time.perf_counter()
        index = build_index(str(root), "")
        made_s = time.perf_counter() - began
        print(f"\nfiles: {len(index.paths):,} entries indexed in {made_s:.2f} s, whole: {index.is_whole}")
        folders = Folders(str(root))
        folders.list({"query": "warm"})
        for query in QUERIES:
            times = [_ask(folders, query) for _ in range(REPEATS)]
            print(f"  {query!r:<18} {statistics.median(times) * 1000:7.1f} ms")
        peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"  peak memory {peak_mib:.0f} MiB")


def _ask(folders: Folders, query: str) -> float:
    began = time.perf_counter()
    folders.list({"query": query})
    return time.perf_counter() - began


def _fill(root: Path, files: int) -> None:
    (root / ".gitignore").write_text(IGNORED)
    for number in range(files // 50):
        folder = root / "src" / f"feature_{number % 40}" / f"part_{number}"
        folder.mkdir(parents=True)
        for name in range(49):
            (folder / f"component_{name}.tsx").touch()
        (folder / "index.ts").touch()
    for number in range(files // 10):
        folder = root / "node_modules" / f"package_{number % 100}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"component_{number}.js").touch()


if __name__ == "__main__":
    measure(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
