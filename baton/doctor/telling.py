"""A report as text, as JSON, and in the four lines that people look for first."""

import json
from collections.abc import Iterator
from dataclasses import asdict

from baton.core.text import Json
from baton.doctor.findings import SIGNS, Finding, Level, Report


def as_json(report: Report) -> str:
    """One object: `{status, url, version, findings: [{area, check, level, what, why, cure}]}`."""
    return json.dumps(as_object(report), ensure_ascii=False, indent=2)


def as_object(report: Report) -> dict[str, Json]:
    """The same, not yet text."""
    return {
        "status": "problems" if report.problems else "ok",
        "url": report.url,
        "version": report.version,
        "findings": [asdict(finding) for finding in report.findings],
    }


def as_text(report: Report) -> str:
    """A line for each check, below its area; why and cure below what is not well."""
    lines: list[str] = [f"Baton {report.version} looks at {report.url}"]
    area = None
    for finding in report.findings:
        if finding.area is not area:
            area = finding.area
            lines += ["", str(area.value).capitalize()]
        lines += _lines(finding)
    count = len(report.problems)
    end = "All well." if not count else f"{count} problem{'s' if count > 1 else ''}; each `cure` is one command."
    return "\n".join([*lines, "", end])


def _lines(finding: Finding) -> Iterator[str]:
    yield f"  {SIGNS[finding.level]} {finding.check}: {finding.what}"
    if finding.level in (Level.PROBLEM, Level.NOTE):
        if finding.why:
            yield f"       why:  {finding.why}"
        if finding.cure:
            yield f"       cure: {finding.cure}"
