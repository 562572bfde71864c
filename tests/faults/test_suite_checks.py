"""Each check of the fault suite finds what it is there for, and says nothing about a round in which all went well."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.suite.checks import judge
from tests.faults.suite.evidence import Absence, Crash, Evidence, Line, Sent, Stored, grow
from tests.faults.suite.plan import AgentName, Break, Fault, Round, Script, Send, Shape
from tests.faults.suite.witness import Screen, Witness

Json = dict[str, Any]
REQUEST = "s1-n0-r0"


def send(script: Script = Script.SPEAK) -> Send:
    return Send(0, 0, 0, REQUEST, AgentName.SCRIBE, script, words=2, rate=30, twice=False)


def message(name: str, role: str, text: str, *, ordinal: int) -> Json:
    blocks = [{"type": "text", "text": text}]
    told = {"id": name, "role": role, "content": text, "blocks": blocks, "requestId": REQUEST}
    return {**told, "ordinal": ordinal, "seq": 9, "status": "completed"}


def run(status: str = "completed", code: str | None = None) -> Json:
    return {"requestId": REQUEST, "seq": 9, "status": status, "error": {"code": code} if code else None}


def prompt(status: str = "answered", option: str | None = "deny", handler: str = "user_selection") -> Json:
    told = {"id": "p", "requestId": REQUEST, "status": status, "selectedOption": option}
    return {**told, "autoHandler": handler}


def line(what: str, text: str = "", *, at: float = 1.0) -> Line:
    return Line(at, 1, REQUEST, what, text)


def snapshot(*messages: Json, seq: int = 9) -> Json:
    told: Json = {"epoch": "e", "seq": seq, "messages": list(messages), "runs": [run()], "prompts": []}
    return {**told, "queue": {"paused": False, "runs": []}, "truncated": False, "conversation": {"id": "c"}}


def good() -> Evidence:
    """A round in which a scribe said two words, through a kill of the server."""
    messages = [message("m1", "user", "hi", ordinal=1), message("m2", "assistant", "one two ", ordinal=2)]
    witness, newcomer = Witness("tab 0"), Witness("newcomer")
    for page in (witness, newcomer):
        page.screens["c"] = Screen()
        page.take_snapshot("c", snapshot(*messages), None)
    part = Break(0, Fault.KILL_SERVER, 1, 0, 5)
    evidence = Evidence(Round(1, 0, Shape.REMOTE, 1, (AgentName.SCRIBE,), (send(),), (), (part,)), ["c"])
    evidence.sent[REQUEST] = Sent(0.5, [{"ok": True, "messageId": "m1"}] * 2)
    evidence.witnesses, evidence.newcomer = [witness], newcomer
    evidence.history = {"c": messages}
    evidence.stored = Stored(messages, {REQUEST: run()}, {}, 0)
    evidence.lines = [line("begin"), line("said", "one "), line("said", "two "), line("end")]
    evidence.starts = [REQUEST]
    evidence.crashes = [Crash({("m2", 0): "one "}, {("m2", 0): "one two "})]
    return evidence


def end_as(evidence: Evidence, script: Script, ended: Json, *prompts: Json, text: str = "one two ") -> None:
    """The run ends so, everywhere."""
    round_ = evidence.round
    evidence.round = Round(1, 0, round_.shape, 1, round_.conversations, (send(script),), (), round_.breaks)
    messages = [message("m1", "user", "hi", ordinal=1), message("m2", "assistant", text, ordinal=2)]
    evidence.stored = Stored(messages, {REQUEST: ended}, {p["id"]: p for p in prompts}, 0)
    evidence.history = {"c": messages}
    for witness in evidence.witnesses:
        witness.finals[REQUEST] = {ended["status"]}


def test_nothing_is_found_where_everything_went_well() -> None:
    assert judge(good()) == []


def timed_out(evidence: Evidence, heard_at: float) -> None:
    end_as(evidence, Script.CRITICAL, run("failed", "prompt_timeout"), prompt("timeout", None, "timeout"))
    evidence.lines += [line("asked", at=10), line("heard", "cancelled", at=heard_at)]


def test_a_timeout_after_its_time_of_which_the_server_was_down_for_a_part_is_well() -> None:
    evidence = good()
    evidence.absences = [Absence("server", "killed", 11, 21)]
    timed_out(evidence, heard_at=26)
    assert judge(evidence) == []


def test_an_answer_that_meets_the_end_of_its_turn_is_well() -> None:
    evidence = good()
    evidence.absences = [Absence("bridge", "restarted", 1, 2)]
    end_as(evidence, Script.ASK, run("failed", "bridge_lost"), prompt(option="allow_once"), text="one ")
    evidence.lines.append(line("heard", "cancelled"))
    evidence.newcomer = None
    evidence.witnesses = []
    assert judge(evidence) == []


def test_a_failure_that_what_was_done_explains_is_well() -> None:
    evidence = good()
    evidence.absences = [Absence("bridge", "killed", 1, 2)]
    end_as(evidence, Script.SPEAK, run("failed", "bridge_lost"), text="one ")
    evidence.newcomer = None
    evidence.witnesses = []
    assert judge(evidence) == []


def not_on_disk(evidence: Evidence) -> None:
    evidence.crashes = [Crash({("m2", 0): "one two "}, {("m2", 0): "one "})]


def begun_twice(evidence: Evidence) -> None:
    evidence.lines.insert(0, line("begin"))


def begun_twice_in_the_log(evidence: Evidence) -> None:
    evidence.starts.append(REQUEST)


def answered_as_two_messages(evidence: Evidence) -> None:
    evidence.sent[REQUEST].answers = [{"ok": True, "messageId": "m1"}, {"ok": True, "messageId": "m3"}]


def stored_twice(evidence: Evidence) -> None:
    assert evidence.stored is not None
    evidence.stored.messages.append(message("m3", "user", "hi", ordinal=3))


def ended_twice(evidence: Evidence) -> None:
    evidence.witnesses[0].endings[REQUEST] = ["chat:error", "chat:message-complete"]


def told_another_end(evidence: Evidence) -> None:
    evidence.witnesses[0].finals[REQUEST].add("failed")


def won_twice(evidence: Evidence) -> None:
    evidence.responses = [("p", "deny", {"ok": True}), ("p", "allow_once", {"ok": True})]


def heard_the_loser(evidence: Evidence) -> None:
    end_as(evidence, Script.ASK, run(), prompt(option="deny"))
    evidence.lines.append(line("heard", "yes"))


def heard_no_answer_in_a_turn_that_went_on(evidence: Evidence) -> None:
    end_as(evidence, Script.ASK, run(), prompt(option="deny"))
    evidence.lines.append(line("heard", "cancelled"))


def told_another_winner(evidence: Evidence) -> None:
    end_as(evidence, Script.ASK, run(), prompt(option="deny"))
    evidence.witnesses[0].outcomes["p"] = {("answered", "allow_once")}


def went_back(evidence: Evidence) -> None:
    evidence.witnesses[0].take_snapshot("c", snapshot(*evidence.history["c"], seq=8), 9)


def left_a_gap(evidence: Evidence) -> None:
    told = {"conversationId": "c", "seq": 12, "prevSeq": 11, "run": run()}
    evidence.witnesses[0].take("chat:run", told)


def shows_something_else(evidence: Evidence) -> None:
    evidence.history = {"c": [evidence.history["c"][0]]}


def lost_what_was_shown(evidence: Evidence) -> None:
    evidence.witnesses[0].shown[("m2", 0)] = "one two three"


def lost_a_word(evidence: Evidence) -> None:
    evidence.lines.append(line("said", "three "))


def said_what_nobody_said(evidence: Evidence) -> None:
    evidence.absences = [Absence("bridge", "killed", 1, 2)]
    end_as(evidence, Script.SPEAK, run("failed", "bridge_lost"), text="one one ")


def failed_without_a_reason(evidence: Evidence) -> None:
    end_as(evidence, Script.SPEAK, run("failed", "bridge_lost"))


def failed_for_a_fault_before_it(evidence: Evidence) -> None:
    evidence.absences = [Absence("bridge", "killed", 0.1, 0.2)]
    end_as(evidence, Script.SPEAK, run("failed", "bridge_lost"))


def unsound(evidence: Evidence) -> None:
    evidence.checked = "seq_behind: 1"


def timed_out_while_the_server_was_down(evidence: Evidence) -> None:
    evidence.absences = [Absence("server", "killed", 10.5, 21)]
    timed_out(evidence, heard_at=22.5)


def denied_by_the_clock(evidence: Evidence) -> None:
    end_as(evidence, Script.CRITICAL, run("failed", "prompt_timeout"), prompt("timeout", "deny", "timeout"))


def waits_for_ever(evidence: Evidence) -> None:
    end_as(evidence, Script.CRITICAL, run("failed", "prompt_timeout"), prompt("pending", None, ""))


def grew(evidence: Evidence) -> None:
    evidence.peak_bytes = 1 << 30


def let_somebody_in(evidence: Evidence) -> None:
    evidence.let_in = ["/bridge"]


def never_ended(evidence: Evidence) -> None:
    evidence.failures = ["90 s after everything was mended"]


@pytest.mark.parametrize(
    ("spoil", "promise"),
    [
        (not_on_disk, "1"),
        (begun_twice, "2"),
        (begun_twice_in_the_log, "2"),
        (answered_as_two_messages, "2"),
        (stored_twice, "2"),
        (ended_twice, "2"),
        (told_another_end, "2"),
        (won_twice, "2"),
        (heard_the_loser, "2"),
        (heard_no_answer_in_a_turn_that_went_on, "2"),
        (told_another_winner, "2"),
        (went_back, "3"),
        (left_a_gap, "3"),
        (shows_something_else, "3"),
        (lost_what_was_shown, "4"),
        (lost_a_word, "4"),
        (said_what_nobody_said, "4"),
        (failed_without_a_reason, "4"),
        (failed_for_a_fault_before_it, "4"),
        (unsound, "4"),
        (timed_out_while_the_server_was_down, "5"),
        (denied_by_the_clock, "5"),
        (waits_for_ever, "5"),
        (grew, "6"),
        (let_somebody_in, "7"),
        (never_ended, "every"),
    ],
)
def test_what_is_wrong_is_found_under_its_promise(spoil: Callable[[Evidence], None], promise: str) -> None:
    evidence = good()
    spoil(evidence)
    assert promise in {violation.promise.split()[0] for violation in judge(evidence)}


def test_the_journal_adds_to_a_text_what_follows_on_and_nothing_twice() -> None:
    texts = {("m", 0): "🖋a"}
    delta = {"type": "text.delta", "messageId": "m", "block": 0}
    grow(
        texts,
        [{**delta, "offset": 0, "text": "🖋"}, {**delta, "offset": 3, "text": "b"}, {**delta, "offset": 9, "text": "x"}],
    )
    assert texts == {("m", 0): "🖋ab"}
