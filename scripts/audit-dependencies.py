#!/usr/bin/env python3
"""Whether anything that Baton is made of has a known vulnerability: Python's packages, and npm's of each folder.

    scripts/audit-dependencies.py [FOLDER ...]      (`make audit`)

Asks pip-audit about the environment of this interpreter, and npm about each folder with a package.json. Where the
service that knows them cannot be reached, that part is told as not run, with the reason, and is no failure.

Exit codes: 0 nothing was found (in what could be asked), 1 something was.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

TIMEOUT_S = 180
_A_PACKAGE = f"aiohttp=={version('aiohttp')}"


class Runs(Protocol):
    """Runs a command in a folder, and gives it a text to read."""

    def __call__(self, command: Sequence[str], folder: Path, said: str = "") -> subprocess.CompletedProcess[str]: ...


@dataclass(frozen=True)
class Verdict:
    """What came of one part. `found`: a line for each vulnerability; `not_run`: why nobody was asked."""

    part: str
    asked: str = ""
    found: tuple[str, ...] = ()
    not_run: str = ""

    def __str__(self) -> str:
        if self.not_run:
            return f"➖ {self.part}: not run: {self.not_run}"
        if not self.found:
            return f"✅ {self.part}: {self.asked}, no known vulnerability"
        return "\n".join([f"❌ {self.part}: {self.asked}, {len(self.found)} known vulnerabilities", *self.found])


def run(command: Sequence[str], folder: Path, said: str = "") -> subprocess.CompletedProcess[str]:
    """The command in the folder; 127 where there is none of that name, 124 where it took too long."""
    try:
        return subprocess.run(
            command, cwd=folder, input=said, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except FileNotFoundError:
        return subprocess.CompletedProcess(command, 127, "", f"{command[0]} is not installed")
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, "", f"no answer within {TIMEOUT_S} s")


def audit_python(run: Runs = run) -> Verdict:
    """The packages of this environment, Baton itself left out."""
    # One first: a registry that knows the packages but not their faults would be asked for each of them in vain.
    first = _ask_pypi(run, "--no-deps", "--disable-pip", "--requirement", "/dev/stdin", said=f"{_A_PACKAGE}\n")
    if first.not_run:
        return first
    return _ask_pypi(run, "--skip-editable")


def _ask_pypi(run: Runs, *options: str, said: str = "") -> Verdict:
    command = [sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off", "--timeout", "10"]
    done = run([*command, *options], Path.cwd(), said)
    told = _json_of(done.stdout)
    if not isinstance(told, dict) or "dependencies" not in told:
        return Verdict("python", not_run=_reason(done))
    packages = [package for package in told["dependencies"] if "vulns" in package]
    if not packages:
        return Verdict("python", not_run="the package index here does not tell of vulnerabilities")
    found = tuple(_line(package, one) for package in packages for one in package["vulns"])
    return Verdict("python", asked=f"{len(packages)} packages", found=found)


def _line(package: dict[str, Any], one: dict[str, Any]) -> str:
    cure = ", ".join(one["fix_versions"]) or "no version yet"
    return f"   {package['name']} {package['version']}: {one['id']}, mended in {cure}"


def audit_npm(folder: Path, run: Runs = run) -> Verdict:
    """The packages of one folder; where it has no lock file, those that would be installed today."""
    if (folder / "package-lock.json").exists():
        return _ask_npm(str(folder), folder, run)
    with tempfile.TemporaryDirectory() as made:
        shutil.copy(folder / "package.json", made)
        locking = run(["npm", "install", "--package-lock-only", "--ignore-scripts", "--no-audit"], Path(made))
        if locking.returncode:
            return Verdict(str(folder), not_run=_reason(locking))
        return _ask_npm(str(folder), Path(made), run)


def _ask_npm(part: str, folder: Path, run: Runs) -> Verdict:
    done = run(["npm", "audit", "--json"], folder)
    told = _json_of(done.stdout)
    if not isinstance(told, dict) or "vulnerabilities" not in told:
        return Verdict(part, not_run=_npm_reason(told) or _reason(done))
    found = tuple(
        f"   {name} {one.get('range', '')}: {one.get('severity', 'unknown')}"
        for name, one in sorted(told["vulnerabilities"].items())
    )
    counts = told.get("metadata", {}).get("dependencies", {})
    return Verdict(part, asked=f"{counts.get('total', 'all')} packages", found=found)


def _json_of(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _npm_reason(told: Any) -> str:
    """npm says in its JSON that the registry did not answer."""
    if not isinstance(told, dict):
        return ""
    error = told.get("error")
    summary = error.get("summary") if isinstance(error, dict) else None
    return _first_line(str(summary or told.get("message") or ""))


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    """The last thing that was said, which is where Python's tools have it, or that nothing was."""
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    return _first_line(lines[-1]) if lines else f"exit code {done.returncode}"


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0][:200]


def main(folders: Sequence[str]) -> int:
    """Tell each part's verdict as it comes; the exit code."""
    verdicts = []
    for ask in (audit_python, *(lambda folder=folder: audit_npm(Path(folder)) for folder in folders)):
        verdicts.append(ask())
        print(verdicts[-1], flush=True)
    return 1 if any(verdict.found for verdict in verdicts) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
