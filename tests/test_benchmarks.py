"""What the benchmarks say is what they found: their page, their plots, and what counts as reached."""

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from benchmarks import hot_path
from benchmarks.load import LoadBridge
from benchmarks.plots import Chart, Line, draw
from benchmarks.report import PAGE, page_with
from benchmarks.results import RESULTS, Found, Goal, Options, Table, keep, load

TABLE = Table("speed", "How fast", ("", "median"), (("Baton", "3 ms"),))
GOALS = (Goal("latency", 5, 3.25, "ms"), Goal("rate", 8000, 7000, "a second", at_least=True))
CHART = Chart("curve", "A <curve>", "x", "y", (Line("one", ((0, 1), (2, 30))), Line("two", ((1, 2.5),))), limit=100)


class Link:
    """What a load sends."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def send(self, text: str) -> None:
        self.sent.append(text)


def test_the_tables_of_the_page_are_those_of_the_results() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == page_with(page, RESULTS), "run `make bench-docs`"


def test_what_a_part_finds_takes_the_place_of_what_it_found_before(tmp_path: Path) -> None:
    keep(tmp_path, "one", Found(tables=(TABLE,), goals=GOALS, charts=(CHART,)), Options())
    keep(tmp_path, "two", Found(), Options())
    changed = Table("speed", "How fast", ("", "median"), (("Baton", "2 ms"),))
    keep(tmp_path, "one", Found(tables=(changed,)), Options())
    kept = load(tmp_path)
    assert list(kept) == ["one", "two"]
    assert kept["one"]["tables"][0]["rows"] == [["Baton", "2 ms"]]
    assert "| Baton | 2 ms |" in (tmp_path / "results.md").read_text()
    assert (tmp_path / "curve.svg").exists()


def test_a_page_gets_its_tables_and_keeps_its_text(tmp_path: Path) -> None:
    keep(tmp_path, "one", Found(tables=(TABLE,), goals=GOALS), Options())
    page = "before\n<!-- bench: speed -->\nold\n<!-- /bench -->\n<!-- bench: other -->\nold\n<!-- /bench -->\nafter\n"
    written = page_with(page, tmp_path)
    assert "| Baton | 3 ms |" in written
    assert "old" not in written
    assert written.startswith("before\n<!-- bench: speed -->\n")
    assert written.endswith("<!-- bench: other -->\nNot measured yet.\n<!-- /bench -->\nafter\n")
    assert page_with(written, tmp_path) == written


def test_what_was_measured_on_another_store_stands_apart_and_says_so(tmp_path: Path) -> None:
    keep(tmp_path / "mongodb", "one", Found(tables=(TABLE,)), Options(on=", on a server"))
    page = "".join(f"<!-- bench: {name} -->\n<!-- /bench -->\n" for name in ("mongodb/speed", "mongodb/run", "speed"))
    speed, run, other = page_with(page, tmp_path).split("<!-- /bench -->\n")[:3]
    assert "| Baton | 3 ms |" in speed
    assert ", on a server;" in run
    assert "Not measured yet." in other


def test_a_goal_that_was_missed_says_so(tmp_path: Path) -> None:
    keep(tmp_path, "one", Found(goals=GOALS), Options())
    page = page_with("<!-- bench: goals -->\n<!-- /bench -->\n", tmp_path)
    assert "| latency | at most 5 ms | 3.25 ms | yes |" in page
    assert "| rate | at least 8,000 a second | 7,000 a second | **no** |" in page


@pytest.mark.parametrize("is_log", [False, True])
def test_a_plot_is_a_sound_document_with_its_points_inside(is_log: bool) -> None:
    chart = Chart(CHART.key, CHART.title, CHART.x, CHART.y, CHART.lines, CHART.limit, is_log)
    root = ElementTree.fromstring(draw(chart))
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    circles = [element for element in root.iter() if element.tag.endswith("circle")]
    assert len(circles) == 3
    assert all(0 <= float(c.attrib["cx"]) <= width and 0 <= float(c.attrib["cy"]) <= height for c in circles)


async def test_the_hot_path_can_be_measured() -> None:
    assert 0 < await hot_path.measure(2, 2, 1, flushes=3, rounds=1) < 1e6


def test_the_load_keeps_back_what_the_window_does_not_take() -> None:
    peer, link = LoadBridge(message_deltas=1000, per_frame=1, text="word"), Link()
    peer.socket = link  # type: ignore[assignment]  # only its send is asked
    peer.read(link, json.dumps({"type": "welcome", "window": 300}))  # type: ignore[arg-type]  # as above
    for _ in range(20):
        peer.speak("r1")
    assert 0 < sum(map(len, link.sent)) <= 300
    while not peer.is_done:
        acked, before = json.loads(link.sent[-1])["seq"], len(link.sent)
        peer.read(link, json.dumps({"type": "ack", "acks": {"r1": acked}}))  # type: ignore[arg-type]  # as above
        assert sum(map(len, link.sent[before:])) <= 300
    assert [json.loads(text)["seq"] for text in link.sent] == list(range(1, 21))
