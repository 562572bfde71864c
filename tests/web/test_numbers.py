"""/metrics of a whole server: what is counted, and that dashboard and documentation speak of the same names."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from baton.core.tally import Spread
from tests.support.in_process import Running, running_server
from tests.web.socket_stage import CONVERSATION, Script, open_stage, streamed

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "observability.md").read_text(encoding="utf-8")
DASHBOARD = json.loads((ROOT / "deploy" / "grafana-dashboard.json").read_text(encoding="utf-8"))

Values = dict[str, float]
"""By sample, written as Prometheus writes it."""


@dataclass(frozen=True)
class World:
    running: Running
    session: aiohttp.ClientSession

    async def metrics(self) -> Values:
        async with self.session.get("/metrics") as answer:
            text = await answer.text()
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        return {
            sample.name + "".join(f"|{value}" for _, value in sorted(sample.labels.items())): sample.value
            for sample in samples
        }

    async def run(self, content: str) -> None:
        """Let the demo agent answer."""
        async with self.session.post("/api/chat/conversations", json={"agent": "demo"}) as made:
            path = f"/api/chat/conversations/{(await made.json())['conversation']['id']}/messages"
        async with self.session.post(path, json={"content": content}) as sent:
            assert sent.status == 202, await sent.text()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with running_server(tmp_path) as running:
        headers = {"Authorization": f"Bearer {running.token}"}
        async with aiohttp.ClientSession(running.url, headers=headers) as session:
            yield World(running, session)


async def test_a_run_is_counted_from_its_first_delta_to_its_outcome(world: World) -> None:
    before = await world.metrics()
    await world.run("/demo markdown words=20 rate=2000")
    tally = world.running.server.services.lanes.tally
    async with asyncio.timeout(20):
        while not tally.runs_ended["completed"]:
            await asyncio.sleep(0)
    after = await world.metrics()
    assert after["baton_runs_ended_total|completed"] == before["baton_runs_ended_total|completed"] + 1
    assert after["baton_deltas_in_total"] >= 3, "begun, said, done: the rest may be merged on its way"
    assert after["baton_flush_frames_count"] == after["baton_flush_seconds_count"] >= 1
    assert after["baton_flush_frames_sum"] >= after["baton_flush_frames_count"]
    assert after["baton_store_write_seconds_count"] > after["baton_flush_seconds_count"]
    assert after["baton_store_write_failures_total"] == 0
    assert after["baton_inbox_frames"] == 0
    assert after["baton_deltas_out_total"] == 0, "nobody watches"


async def test_what_was_refused_is_counted_by_its_reason(world: World) -> None:
    async with world.session.get("/api/me", headers={"Authorization": "Bearer wrong"}) as answer:
        assert answer.status == 401
    values = await world.metrics()
    assert values["baton_refusals_total|wrong_token"] == 1
    assert values["baton_refusals_total|rest_per_minute"] == 0


async def test_events_are_counted_by_receiver_and_those_who_fall_behind_too() -> None:
    async with open_stage(Script()) as stage:
        first, second = await stage.websocket(), await stage.websocket()
        stage.fanout.publish([streamed(1)])
        assert stage.fanout.deltas_out == 0
        for raw in (first, second):
            await raw.ask("join-conversation", CONVERSATION)
        stage.fanout.publish([streamed(1), streamed(2)])
        assert (stage.fanout.deltas_out, stage.fanout.resyncs) == (4, 0)
        assert len(stage.fanout.backlogs_bytes()) == 2


async def test_how_late_the_loop_was_is_measured_once_a_second() -> None:
    async with open_stage(Script()) as stage:
        await stage.clock.until_sleeping(1)
        await stage.clock.run_for(3)
        assert stage.sockets.loop_lag_s.total == 0
        stage.clock.advance(5)
        await stage.until(lambda: stage.sockets.loop_lag_s.total > 0)
        assert (sum(stage.sockets.loop_lag_s.counts), stage.sockets.loop_lag_s.total) == (4, 4.0)


def test_a_spread_puts_each_value_below_its_bound() -> None:
    spread = Spread((1.0, 2.0))
    for value in (0.0, 1.0, 1.5, 2.0, 99.0):
        spread.add(value)
    assert (spread.counts, spread.total) == ([2, 2, 1], 103.5)


# --- names ---------------------------------------------------------------------------------------------------------


@pytest.fixture
async def families(world: World) -> set[str]:
    """Every name that Baton's own metrics have in /metrics, without what a histogram adds."""
    async with world.session.get("/metrics") as answer:
        text = await answer.text()
    found = set()
    for family in text_string_to_metric_families(text):
        if family.name.startswith("baton_") and not family.name.endswith("_created"):
            found.add(f"{family.name}_total" if family.type == "counter" else family.name)
    return found


def in_dashboard() -> set[str]:
    """Every name of Baton's that a panel asks for, without what a histogram adds."""
    asked = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]
    names = {name for expression in asked for name in re.findall(r"\bbaton_\w+", expression)}
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in names}


async def test_the_dashboard_shows_exactly_what_is_measured(families: set[str]) -> None:
    assert in_dashboard() == families


async def test_the_page_explains_exactly_what_is_measured(families: set[str]) -> None:
    assert set(re.findall(r"`(baton_\w+)`", PAGE)) == families


async def test_the_dashboard_asks_for_labels_that_there_are(world: World) -> None:
    await world.run("/demo markdown words=1")
    async with world.session.get("/metrics") as answer:
        text = await answer.text()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    known = {name for sample in samples for name in sample.labels}
    asked = set(re.findall(r"{{(\w+)}}", json.dumps(DASHBOARD)))
    assert asked - known <= {"handler"}, "which prompts have, once there was one"


def test_no_panel_lies_on_another_and_each_has_its_own_id() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
