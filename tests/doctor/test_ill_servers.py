"""What `baton doctor` makes of answers that a real server gives only after hours, or when it is ill."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from baton.bridge_settings import BridgeSettings
from baton.doctor.examine import examine
from baton.doctor.findings import Area, Finding, Level, Report
from baton.doctor.telling import as_json
from baton.settings import Settings
from tests.support.told_server import BRIDGE, HEALTH, WELL, told_server

TOKEN = "token-of-the-admin-0123456789abcdef"


async def look(
    folder: Path,
    answers: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    page: Mapping[str, Any] | None = None,
    statuses: Mapping[str, int] | None = None,
) -> Report:
    """The report on a server elsewhere that answers like this, and on a bridge's page like this."""
    async with told_server(answers, statuses=statuses) as told, told_server({"/health": page or {}}) as shown:
        settings = Settings(
            data=folder / "data",
            admin_token=TOKEN,
            bridge_port=int(shown.url.rpartition(":")[2]) if page else None,
        )
        bridge = BridgeSettings(data=folder / "data", log_file=None)
        report = await examine(settings, bridge, url=told.url)
    assert TOKEN not in as_json(report)
    return report


def problems(report: Report, area: Area) -> list[Finding]:
    """Those of one area; a told server speaks no Socket.IO, which is found each time."""
    return [finding for finding in report.problems if finding.area is area]


def ago(**span: float) -> str:
    return (datetime.now(UTC) - timedelta(**span)).isoformat()


def run(**fields: Any) -> dict[str, Any]:
    return {"requestId": "r1", "status": "running", "away": False, "bridgeId": "laptop-1", "deadlineAt": None, **fields}


async def test_a_server_elsewhere_that_is_well_has_no_problem_but_its_sockets(tmp_path: Path) -> None:
    report = await look(tmp_path)
    assert {finding.area for finding in report.problems} == {Area.WEBSOCKET}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"away": True}, "is away"),
        ({"deadlineAt": "2026-01-01T12:00:00.000Z"}, "is stuck"),
        ({"status": "queued", "queuedAt": "2026-01-01T12:00:00.000Z"}, "waits in its queue"),
    ],
)
async def test_a_run_that_does_not_move_is_found(tmp_path: Path, fields: dict[str, Any], said: str) -> None:
    report = await look(tmp_path, {"/api/chat/runs": {"ok": True, "runs": [run(**fields)]}})
    (finding,) = problems(report, Area.STREAMING)
    assert said in finding.what
    assert finding.cure is not None


@pytest.mark.parametrize("fields", [{}, {"status": "awaiting_input", "deadlineAt": "2026-01-01T12:00:00Z"}])
async def test_a_run_that_works_or_waits_for_a_person_is_well(tmp_path: Path, fields: dict[str, Any]) -> None:
    report = await look(tmp_path, {"/api/chat/runs": {"ok": True, "runs": [run(**fields)]}})
    assert problems(report, Area.STREAMING) == []


async def test_of_many_runs_alike_some_are_named_and_the_rest_is_counted(tmp_path: Path) -> None:
    runs = [run(requestId=f"r{number}", deadlineAt="2026-01-01T12:00:00Z") for number in range(30)]
    report = await look(tmp_path, {"/api/chat/runs": {"ok": True, "runs": runs}})
    found = problems(report, Area.STREAMING)
    assert len(found) == 6
    assert "25 further" in found[-1].what
    assert "reset-active" in str(found[-1].cure)


async def test_a_prompt_that_waits_for_long_is_found_without_what_it_asks(tmp_path: Path) -> None:
    prompt = {"id": "p1", "conversationId": "c1", "title": "Run rm?", "timeoutAt": None}
    prompts = [{**prompt, "createdAt": ago(minutes=30)}, {**prompt, "id": "p2", "createdAt": ago(seconds=5)}]
    report = await look(tmp_path, {"/api/chat/prompts": {"ok": True, "prompts": prompts}})
    (finding,) = problems(report, Area.PERMISSIONS)
    assert "p1" in finding.what
    assert "30 minutes" in finding.what
    assert "rm" not in as_json(report).replace("permissions", "").replace("normal", "")


async def test_two_conversations_of_one_session_are_found(tmp_path: Path) -> None:
    two = [{"id": f"c{number}", "claudeSessionId": "s1", "bridgeId": "laptop-1"} for number in (1, 2)]
    report = await look(tmp_path, {"/api/chat/conversations": {"ok": True, "conversations": two}})
    (finding,) = problems(report, Area.SESSIONS)
    assert "c1, c2" in finding.what


@pytest.mark.parametrize(("state", "level"), [("queued", Level.PROBLEM), ("idle", Level.NOTE)])
async def test_a_session_on_a_bridge_that_is_gone_counts_where_somebody_waits(
    tmp_path: Path, state: str, level: Level
) -> None:
    one = {"id": "c1", "claudeSessionId": "s1", "bridgeId": "desktop-2", "state": state}
    report = await look(tmp_path, {"/api/chat/conversations": {"ok": True, "conversations": [one]}})
    (finding,) = [item for item in report.findings if item.check == "bridge of a session"]
    assert finding.level is level


async def test_a_database_that_fails_or_is_slow_is_found(tmp_path: Path) -> None:
    latency = "/api/chat/test-latency"
    failing = {"ok": False, "error": {"code": "store_unavailable", "message": "The disk is full"}}
    (failed,) = problems(await look(tmp_path, {latency: failing}, statuses={latency: 503}), Area.MESSAGES)
    (slow,) = problems(await look(tmp_path, {latency: {**WELL[latency], "storeWriteMs": 900}}), Area.MESSAGES)
    assert "The disk is full" in failed.what
    assert "900.0 ms" in slow.what
    assert (failed.cure, slow.cure) == ("baton db check", "baton db check")


@pytest.mark.parametrize("store", ["ok", "down"])
async def test_a_server_that_is_down_says_why(tmp_path: Path, store: str) -> None:
    down = {**HEALTH, "status": "down", "services": {**HEALTH["services"], "store": store}}
    report = await look(tmp_path, {"/health": down}, statuses={"/health": 503})
    (finding,) = problems(report, Area.SERVER)
    assert ("database does not work" in finding.what) is (store == "down")


async def test_a_job_that_fails_is_found(tmp_path: Path) -> None:
    ill = {**HEALTH, "services": {**HEALTH["services"], "jobs": "degraded: clean-up failed 3 times"}}
    (finding,) = problems(await look(tmp_path, {"/health": ill}), Area.SERVER)
    assert "clean-up failed 3 times" in finding.what


async def test_an_agent_that_cannot_work_counts_only_where_no_other_model_can(tmp_path: Path) -> None:
    codex = {"id": "acp:codex", "title": "Codex", "available": False, "reason": "no login"}
    demo = {"id": "demo", "title": "Demo", "available": True, "reason": None}

    async def levels(*agents: Mapping[str, Any]) -> list[Level]:
        bridges = {"ok": True, "bridges": [{**BRIDGE, "agents": agents}]}
        report = await look(tmp_path, {"/api/bridges": bridges})
        return [item.level for item in report.findings if item.check == "agents"]

    assert await levels(*BRIDGE["agents"], codex) == [Level.OK, Level.NOTE]
    assert await levels(demo, codex) == [Level.OK, Level.PROBLEM]
    assert await levels(demo) == [Level.OK]


async def test_another_version_is_told_of_the_server_as_a_problem_and_of_a_bridge_as_a_note(tmp_path: Path) -> None:
    old = {"ok": True, "bridges": [{**BRIDGE, "version": "0.0.1"}]}
    report = await look(tmp_path, {"/health": {**HEALTH, "version": "99.0.0"}, "/api/bridges": old})
    levels = {item.area: item.level for item in report.findings if item.check == "version"}
    assert levels == {Area.SERVER: Level.PROBLEM, Area.BRIDGE: Level.NOTE}


async def test_a_full_spool_and_runs_for_another_server_are_told(tmp_path: Path) -> None:
    page = {
        "name": "laptop",
        "link": {"state": "connected", "server": "http://localhost:3001"},
        "agents": [],
        "runs": {"elsewhere": 2},
        "spool": {"bytes": 900, "maxBytes": 1000},
    }
    report = await look(tmp_path, page=page)
    full, elsewhere = [item for item in report.findings if item.check == "spool"]
    assert (full.level, full.cure) == (Level.PROBLEM, "baton bridge --spool-max-bytes 2000")
    assert (elsewhere.level, elsewhere.what[:6]) == (Level.NOTE, "2 runs")


async def test_the_token_goes_to_no_server_that_is_not_a_baton(tmp_path: Path) -> None:
    async with told_server({"/health": {"status": "ok"}}) as told:
        settings = Settings(data=tmp_path / "data", admin_token=TOKEN, bridge_port=None)
        report = await examine(settings, BridgeSettings(data=tmp_path / "data", log_file=None), url=told.url)
    assert set(told.credentials.values()) == {None}
    assert any("is no Baton server" in finding.what for finding in report.problems)


async def test_answers_that_make_no_sense_end_one_check_and_no_other(tmp_path: Path) -> None:
    report = await look(tmp_path, {"/api/chat/runs": {"ok": True, "runs": [3]}, "/api/bridges": {"bridges": None}})
    assert any("does not understand" in finding.what for finding in report.findings)
    assert any(finding.check == "prompts" and finding.level is Level.OK for finding in report.findings)
    assert json.loads(as_json(report))["status"] == "problems"
