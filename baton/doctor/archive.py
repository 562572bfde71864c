"""`baton debug-info`: one archive that can be shown to others. Told by name what is in it; everything else is not.

Each part is taken from a place that holds no content, and is passed through a `Redactor` all the same: a log line or
an agent's reason may quote what somebody else has written.
"""

import asyncio
import io
import json
import os
import platform
import re
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from baton import __version__
from baton.bridge_settings import BridgeSettings
from baton.core.errors import BatonError, ConfigError, Unavailable
from baton.doctor.examine import examine
from baton.doctor.findings import Report
from baton.doctor.patient import Patient, open_patient
from baton.doctor.redaction import Redactor
from baton.doctor.telling import as_object, as_text
from baton.setting_kinds import Setting
from baton.settings import Settings, bridge_table, limits_table, settings_table, without_credentials

LOG_LINES: Final = 500
_LOG_TAIL_BYTES: Final = 1 << 20
_HIDDEN_VALUES: Final = frozenset({"acp", "store", "token", "admin_token", "bridge_token"})
"""Beside what is marked as secret: a command line may hold a key."""
_PACKAGES: Final = (
    *("aiohttp", "aiojobs", "python-socketio", "python-engineio", "motor", "pymongo", "orjson", "marshmallow"),
    *("claude-agent-sdk", "agent-client-protocol"),
)
_OWN_LINE: Final = re.compile(r"\A\d{4}-\d\d-\d\dT\S+Z \w+ .*\baction=\w|\A\{.*\"action\": \"\w")
"""Baton's own records name their action. What a library or a crashed program wrote may quote anything."""
_LEFT_OUT: Final = "[a line that is not Baton's own is left out]"

_ABOUT: Final = {
    "doctor.txt": "what `baton doctor` finds",
    "doctor.json": "the same for machines",
    "versions.json": "Baton, Python, platform, libraries",
    "settings.json": "settings; secret ones as set or unset",
    "health.json": "the server's /health",
    "bridge.json": "the page of the bridge on this machine",
    "metrics.txt": "the server's /metrics: numbers",
    "migrations.json": "what the database has had, as doctor sees it",
    "counts.json": "how many messages, runs, prompts and conversations, by status",
    "bridge.log": f"the last {LOG_LINES} lines of the bridge's log, Baton's own records only",
}


async def collect(
    settings: Settings,
    bridge: BridgeSettings,
    tell: Callable[[str], None],
    *,
    url: str | None = None,
    wrong_settings: Sequence[str] = (),
    file: Path | None = None,
) -> None:
    """Write the archive, readable by its owner only, and tell what is in it. Raises ConfigError where it cannot be."""
    target = file or Path(f"baton-debug-{time.strftime('%Y%m%d-%H%M%S')}.tar.gz")
    report = await examine(settings, bridge, url=url, wrong_settings=wrong_settings)
    async with open_patient(settings, bridge, url) as patient:
        if not _is_silent(report):
            await _note_health(patient)
        hide = Redactor((patient.token, settings.admin_token, settings.bridge_token, bridge.token, *_tokens(settings)))
        parts = await _parts(patient, report, hide)
    await asyncio.to_thread(_write, target, parts)
    tell(as_text(report))
    tell(f"\n{target.absolute()}")
    for name in parts:
        tell(f"  {name:<16} {_ABOUT[name]}")
    tell("No message, no token and no environment is in it. Look into it before you send it:")
    tell(f"  tar -xzOf {target} | less")


def _is_silent(report: Report) -> bool:
    return any(finding.check == "address" for finding in report.problems)


async def _note_health(patient: Patient) -> None:
    """From here on requests carry the token, which only a Baton server is to see."""
    try:
        reply = await patient.ask("/health")
    except Unavailable:
        return
    if "services" in reply.said:
        patient.health = reply.said


def _tokens(settings: Settings) -> Iterator[str]:
    """Those of the data folder, also where another one is set."""
    for path in settings.data.glob("*.token"):
        try:
            yield path.read_text(encoding="ascii", errors="replace").strip()
        except OSError:
            continue


async def _parts(patient: Patient, report: Report, hide: Redactor) -> dict[str, str]:
    """Text by name. Values are cleaned before they become JSON, which it would else be no longer."""

    def as_json(value: object) -> str:
        return json.dumps(hide.value(value), ensure_ascii=False, indent=2) + "\n"

    stats = await _said(patient, "/api/stats")
    migrations = [finding.what for finding in report.findings if finding.check == "migrations"]
    return {
        "doctor.txt": as_text(report),
        "doctor.json": as_json(as_object(report)),
        "versions.json": as_json(_versions()),
        "settings.json": as_json(dict(_settings(patient))),
        "health.json": as_json(patient.health or {"answers": False}),
        "bridge.json": as_json(await _said(patient, "/health", patient.page_url) if patient.page_url else {}),
        "metrics.txt": hide.text(await _metrics(patient)),
        "migrations.json": as_json(migrations),
        "counts.json": as_json({name: counts for name, counts in stats.items() if name != "ok"}),
        "bridge.log": hide.text(await asyncio.to_thread(_log_tail, patient.bridge.log_file)),
    }


async def _said(patient: Patient, path: str, url: str | None = None) -> Mapping[str, Any]:
    """The JSON there; why not, where there is none."""
    if url is None and patient.health is None:
        return {"missing": "no server answers"}
    try:
        reply = await patient.ask(path, url=url)
    except BatonError as error:
        return {"missing": error.message}
    is_good = reply.status in (200, 503) and bool(reply.said)
    return reply.said if is_good else {"missing": f"status {reply.status}"}


async def _metrics(patient: Patient) -> str:
    if patient.health is None:
        return "no server answers\n"
    try:
        reply = await patient.ask("/metrics")
    except BatonError as error:
        return f"{error.message}\n"
    return reply.text if reply.status == 200 else f"status {reply.status}\n"


def _versions() -> dict[str, str]:
    return {
        "baton": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        **{name: _version(name) for name in _PACKAGES},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _settings(patient: Patient) -> Iterator[tuple[str, object]]:
    """By variable. Agents' own settings are named and no more: somebody else's may be a key."""
    yield "serve", dict(_values(settings_table(), patient.settings))
    yield "bridge", dict(_values(bridge_table(), patient.bridge))
    yield "limits", dict(_values(limits_table(), patient.settings.limits))
    yield "agents", {agent: sorted(own) for agent, own in patient.settings.agent_settings.items()}


def _values(table: Sequence[Setting], values: object) -> Iterator[tuple[str, str]]:
    for setting in table:
        value = getattr(values, setting.name)
        if setting.is_secret or setting.name in _HIDDEN_VALUES:
            yield setting.variable, "set" if value else "unset"
        else:
            yield setting.variable, without_credentials(str(value))


def _log_tail(path: Path | None) -> str:
    """The last lines, without those that are not Baton's own records."""
    if path is None:
        return "a bridge logs to stderr only\n"
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - _LOG_TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()[-LOG_LINES:]
    except OSError as error:
        return f"{path}: {error.strerror}\n"
    return "".join(f"{line if _OWN_LINE.match(line) else _LEFT_OUT}\n" for line in lines)


def _write(target: Path, parts: Mapping[str, str]) -> None:
    """Never over a file that is there."""
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise ConfigError(f"{target}: cannot be written ({error.strerror}); name another file") from error
    with os.fdopen(descriptor, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, text in parts.items():
            content = text.encode()
            member = tarfile.TarInfo(f"baton-debug/{name}")
            member.size, member.mode, member.mtime = len(content), 0o600, int(time.time())
            archive.addfile(member, io.BytesIO(content))
