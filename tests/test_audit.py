"""`make audit`: what is known is a failure, and a service that does not answer is told and is none."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPT = Path(__file__).parent.parent / "scripts" / "audit-dependencies.py"


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit_dependencies", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def says(stdout: object = "", stderr: str = "", code: int = 0) -> Any:
    """A tool that says this, whatever it is asked."""
    text = stdout if isinstance(stdout, str) else json.dumps(stdout)

    def run(command: Sequence[str], folder: Path, said: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(command, code, text, stderr)

    return run


SOUND = {"name": "aiohttp", "version": "3.14.5", "vulns": []}
BROKEN = {"name": "left", "version": "1.0", "vulns": [{"id": "GHSA-1", "fix_versions": ["1.1"]}]}
SKIPPED = {"name": "baton-agents", "skip_reason": "distribution marked as editable"}


def test_a_known_vulnerability_of_a_python_package_is_told_with_its_cure(audit: ModuleType) -> None:
    verdict = audit.audit_python(says({"dependencies": [SOUND, BROKEN, SKIPPED]}, code=1))
    assert verdict.found == ("   left 1.0: GHSA-1, mended in 1.1",)
    assert "2 packages, 1 known" in str(verdict)


def test_where_nothing_is_known_it_says_how_many_were_asked_for(audit: ModuleType) -> None:
    verdict = audit.audit_python(says({"dependencies": [SOUND]}))
    assert str(verdict) == "✅ python: 1 packages, no known vulnerability"


def test_an_index_that_knows_no_vulnerabilities_is_asked_once_and_told(audit: ModuleType) -> None:
    asked: list[str] = []

    def run(command: Sequence[str], folder: Path, said: str = "") -> subprocess.CompletedProcess[str]:
        asked.append(said)
        unknown = {"name": "aiohttp", "skip_reason": "Dependency not found on PyPI and could not be audited"}
        return subprocess.CompletedProcess(command, 0, json.dumps({"dependencies": [unknown]}), "")

    assert "not run: the package index" in str(audit.audit_python(run))
    assert [text.partition("=")[0] for text in asked] == ["aiohttp"]


def test_a_service_that_does_not_answer_is_told_and_no_finding(audit: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "package-lock.json").write_text("{}")
    offline = says(stderr="Traceback\nConnectionError: nobody answers", code=1)
    refusing = says({"message": "404 Not Found - POST /-/npm/v1/security", "error": {"summary": ""}}, code=1)
    missing = says(stderr="npm is not installed", code=127)
    for verdict, reason in (
        (audit.audit_python(offline), "ConnectionError: nobody answers"),
        (audit.audit_npm(tmp_path, refusing), "404 Not Found - POST /-/npm/v1/security"),
        (audit.audit_npm(tmp_path, missing), "npm is not installed"),
        (audit.audit_npm(tmp_path, says(code=1)), "exit code 1"),
    ):
        assert verdict.found == ()
        assert str(verdict).endswith(f"not run: {reason}")


def test_a_known_vulnerability_of_an_npm_package_is_found(audit: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "package-lock.json").write_text("{}")
    told = {
        "vulnerabilities": {"left": {"range": "<2", "severity": "high"}},
        "metadata": {"dependencies": {"total": 12}},
    }
    verdict = audit.audit_npm(tmp_path, says(told, code=1))
    assert verdict.found == ("   left <2: high",)
    assert "12 packages" in str(verdict)


def test_a_folder_without_a_lock_file_is_asked_about_as_it_would_be_installed(
    audit: ModuleType, tmp_path: Path
) -> None:
    (tmp_path / "package.json").write_text("{}")
    asked: list[str] = []

    def run(command: Sequence[str], folder: Path, said: str = "") -> subprocess.CompletedProcess[str]:
        asked.append(command[1])
        assert (folder / "package.json").exists()
        assert folder != tmp_path, "no lock file is left behind"
        return subprocess.CompletedProcess(command, 0, '{"vulnerabilities": {}}', "")

    assert str(audit.audit_npm(tmp_path, run)).startswith("✅")
    assert asked == ["install", "audit"]


def test_it_fails_for_findings_only(
    audit: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for verdict, code in (
        (audit.Verdict("python", not_run="nobody answers"), 0),
        (audit.Verdict("python", asked="1 packages"), 0),
        (audit.Verdict("python", asked="1 packages", found=("   left",)), 1),
    ):
        monkeypatch.setattr(audit, "audit_python", lambda verdict=verdict: verdict)
        assert audit.main([]) == code
        assert str(verdict) in capsys.readouterr().out
