"""`baton db check`: what is there, how fast it answers, and whether it fits together; `--repair` mends what is safe."""

import asyncio
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

from baton.clock import SystemClock
from baton.core.ports import Store
from baton.database import bring_up_to_date, make_store
from baton.keeping import Progress, Tell, open_records, owned_database, require_database
from baton.services.integrity import MEANINGS, Finding, Findings, look
from baton.services.mending import mend
from baton.settings import Settings

_SHOWN_IDS: Final = 5


async def check(settings: Settings, tell: Tell, *, repair: bool = False, as_json: bool = False) -> bool:
    """Whether the database is healthy (after a repair: then). Raises what stands in the way of looking."""
    require_database(settings)
    mended: Findings | None = None
    found = await _look(settings)
    if repair:
        # Also a healthy one: who asks for a repair is to learn that a server has the database.
        mended = found
        found = await _repair(settings, found)
    answers = await _measure(settings, found)
    if as_json:
        tell(json.dumps(_report(settings, found, mended, answers), ensure_ascii=False))
    else:
        _tell_report(settings, tell, found, mended, answers)
    return not found


async def _look(settings: Settings) -> Findings:
    found = await _look_once(settings)
    if found and settings.sqlite_path is None:
        # A server may write meanwhile, and what is read is of no one moment: what stands as it did then is a fault.
        found = found.also_in(await _look_once(settings))
    return found


async def _look_once(settings: Settings) -> Findings:
    async with open_records(settings) as records:
        with Progress(sys.stderr, "💾 looking at records:") as progress:
            return await look(records, progress)


async def _repair(settings: Settings, found: Findings) -> Findings:
    if found.ids("file_damaged"):
        return found
    if found.ids("migration_missing"):
        await bring_up_to_date(settings, SystemClock())
        found = await _look(settings)
    async with owned_database(settings) as store:
        async with open_records(settings) as records:
            await mend(found, records=records, store=store, clock=SystemClock())
        # With other connections: on SQLite those before see the database as it was.
        return await _look(settings)


async def _measure(settings: Settings, found: Findings) -> dict[str, Any] | None:
    """Counts and times; None: the store does not open before something else is done."""
    if found.ids("file_damaged") or found.ids("migration_missing"):
        return None
    store: Store = make_store(settings, SystemClock())
    try:
        await store.open()
        counts = await store.counts()
        write_ms, read_ms = await store.probe()
    finally:
        await store.close()
    return {**asdict(counts), "writeMs": round(write_ms, 1), "readMs": round(read_ms, 1)}


def _report(
    settings: Settings, found: Findings, mended: Findings | None, answers: dict[str, Any] | None
) -> dict[str, Any]:
    return {
        "healthy": not found,
        "store": settings.store_label,
        "counts": {name: value for name, value in (answers or {}).items() if isinstance(value, Mapping)},
        "writeMs": (answers or {}).get("writeMs"),
        "readMs": (answers or {}).get("readMs"),
        "findings": [_finding(finding) for finding in found],
        "mended": [_finding(finding) for finding in _gone(found, mended)],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    meaning = MEANINGS[finding.code]
    return {
        "code": finding.code,
        "count": finding.count,
        "ids": finding.ids[:_SHOWN_IDS],
        "meaning": meaning.text,
        "repair": meaning.is_mended,
    }


def _gone(found: Findings, mended: Findings | None) -> list[Finding]:
    """Findings of before the repair that are none any more."""
    left = {finding.code for finding in found}
    return [finding for finding in mended or () if finding.code not in left]


def _tell_report(
    settings: Settings, tell: Tell, found: Findings, mended: Findings | None, answers: dict[str, Any] | None
) -> None:
    tell(settings.store_label)
    for name, value in (answers or {}).items():
        if isinstance(value, Mapping):
            tell(f"{name:<14} {_counted(value)}")
    if answers is not None:
        tell(f"{'durable write':<14} {answers['writeMs']:.1f} ms")
        tell(f"{'read':<14} {answers['readMs']:.1f} ms")
    for finding in _gone(found, mended):
        tell(f"✅ mended {finding.code} ({finding.count}): {_ids(finding)}")
    for finding in found:
        meaning = MEANINGS[finding.code]
        tell(f"❌ {finding.code} ({finding.count}): {meaning.text}")
        tell(f"   {_ids(finding)}")
    if not found:
        tell("✅ healthy")
    elif any(MEANINGS[finding.code].is_mended for finding in found):
        tell("`baton db check --repair` mends " + ", ".join(f.code for f in found if MEANINGS[f.code].is_mended))


def _ids(finding: Finding) -> str:
    more = finding.count - _SHOWN_IDS
    return ", ".join(finding.ids[:_SHOWN_IDS]) + (f" and {more} more" if more > 0 else "")


def _counted(by_status: Mapping[str, int]) -> str:
    parts = ", ".join(f"{status} {count}" for status, count in sorted(by_status.items()) if count)
    return f"{sum(by_status.values())}" + (f" ({parts})" if parts else "")


def run_check(settings: Settings, tell: Tell, *, repair: bool, as_json: bool) -> int:
    """The command; its exit code."""
    return 0 if asyncio.run(check(settings, tell, repair=repair, as_json=as_json)) else 1
