"""Holds what a round has left against the promises, from outside. Pure: evidence in, violations out.

The numbers are those of the promises in docs/reliability.md.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from tests.faults.suite.evidence import Absence, Evidence, Stored, Texts
from tests.faults.suite.plan import CRITICAL_S, AgentName, Script, Send, Shape
from tests.faults.suite.witness import FINAL, Json

_SWEEP_S: Final = 10.0
"""A server that stands still for less than this is taken for a slow one: that much of a sleep may count."""
_SLACK_S: Final = 1.0
MOST_BYTES: Final = 256 << 20
"""Several times what a server takes that does the same without faults."""
_HEARD: Final = {"allow_once": "yes", "deny": "no"}
"""What a scribe hears of each answer."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was not kept, and how that shows."""

    promise: str
    what: str


def judge(evidence: Evidence) -> list[Violation]:
    """Everything that is wrong, in the order of the promises."""
    found = [Violation(name, what) for name, rule in RULES for what in rule(evidence)]
    return found + [Violation("every round comes to its end", failure) for failure in evidence.failures]


# --- 1. stored before shown --------------------------------------------------------------------------------------


def shown_was_on_disk(evidence: Evidence) -> Iterator[str]:
    """When a server was killed, what any browser had been shown by then lay on the disk."""
    for number, crash in enumerate(evidence.crashes):
        yield from (f"at kill {number}: {lost}" for lost in _missing(crash.shown, crash.disk))


def _missing(shown: Texts, kept: Texts) -> Iterator[str]:
    for key, text in shown.items():
        if not kept.get(key, "").startswith(text):
            yield f"block {key} was shown up to {text[-40:]!r}, and is kept up to {kept.get(key, '')[-40:]!r}"


# --- 2. exactly once ---------------------------------------------------------------------------------------------


def agents_worked_once(evidence: Evidence) -> Iterator[str]:
    """No run was begun twice by any agent; by its own account and by its bridge's."""
    begun = Counter(line.request for line in evidence.lines if line.what == "begin")
    for source, starts in (("an agent", begun), ("the bridge's log", Counter(evidence.starts))):
        yield from (f"{source} has begun {name} {count} times" for name, count in starts.items() if count > 1)


def sends_have_one_answer(evidence: Evidence) -> Iterator[str]:
    """However often a message was sent, it is one message and one run, and every sender was told so."""
    for name, sent in evidence.sent.items():
        refused = [answer for answer in sent.answers if not answer["ok"]]
        if refused:
            yield f"{name} was refused: {refused[0]['error']}"
        ids = {answer["messageId"] for answer in sent.answers if answer["ok"]}
        if len(ids) > 1:
            yield f"{name} was answered as different messages: {ids}"
        if evidence.stored is not None:
            asked = [m["id"] for m in evidence.stored.messages if m["role"] == "user" and m["requestId"] == name]
            if len(asked) != 1 or (ids and set(asked) != ids):
                yield f"{name} is stored as {asked}, and was answered as {ids}"


def runs_have_one_end(evidence: Evidence) -> Iterator[str]:
    """One final state, the same for everybody, told at most once as an event."""
    for witness in evidence.witnesses:
        for name, endings in witness.endings.items():
            if len(endings) > 1:
                yield f"{witness.name} was told that {name} ended {len(endings)} times: {endings}"
    for name, run in (evidence.stored.runs if evidence.stored else {}).items():
        told = set().union(*(witness.finals[name] for witness in evidence.witnesses)) | {run["status"]}
        if told - set(FINAL) or len(told) != 1:
            yield f"{name} is stored as {run['status']}, and was told as {sorted(told)}"


def prompts_have_one_winner(evidence: Evidence) -> Iterator[str]:
    """Of all answers to a prompt one wins; the store, every tab and the agent agree which."""
    won = Counter(prompt_id for prompt_id, _, answer in evidence.responses if answer["ok"])
    yield from (f"prompt {name} was won {count} times" for name, count in won.items() if count > 1)
    for prompt in (evidence.stored.prompts if evidence.stored else {}).values():
        end = (prompt["status"], prompt["selectedOption"])
        told = set().union(*(witness.outcomes[prompt["id"]] for witness in evidence.witnesses))
        if told - {end}:
            yield f"prompt {prompt['id']} is stored as {end}, and was told as {sorted(told, key=str)}"
        heard = {line.text for line in evidence.of(prompt["requestId"], "heard")}
        if prompt["status"] == "answered" and heard - _may_be_heard(evidence, prompt):
            yield f"prompt {prompt['id']} was answered with {end[1]}, and the agent heard {heard}"


def _may_be_heard(evidence: Evidence, prompt: Json) -> set[str]:
    """The answer; and that its turn is over, where a person or the end of its bridge ended that at the same moment."""
    run = evidence.stored.runs.get(prompt["requestId"], {}) if evidence.stored else {}
    was_ended = run.get("status") == "aborted" or (run.get("error") or {}).get("code") == "bridge_lost"
    return {_HEARD.get(str(prompt["selectedOption"]), "")} | ({"cancelled"} if was_ended else set())


# --- 3. resume is state ------------------------------------------------------------------------------------------


def nothing_misfits(evidence: Evidence) -> Iterator[str]:
    """No gap, nothing twice, never back: what a browser is told follows on from what it shows."""
    witnesses = [*evidence.witnesses, *([evidence.newcomer] if evidence.newcomer else [])]
    for witness in witnesses:
        yield from (f"{witness.name}: {misfit}" for misfit in witness.all_misfits())


def tabs_are_equal(evidence: Evidence) -> Iterator[str]:
    """Every tab, one that comes now, and REST show the same, byte for byte."""
    for conversation_id, history in evidence.history.items():
        for witness in [*evidence.witnesses, evidence.newcomer]:
            if witness is None:
                continue
            shown = sorted(witness.screens[conversation_id].messages.values(), key=lambda m: int(m["ordinal"]))
            if shown != history:
                yield f"{witness.name} and REST differ in {conversation_id}: {_difference(shown, history)}"


def _difference(shown: list[Json], history: list[Json]) -> str:
    if [m["id"] for m in shown] != [m["id"] for m in history]:
        return f"{len(shown)} messages and {len(history)}"
    for here, there in zip(shown, history, strict=True):
        names = [name for name in there.keys() | here.keys() if here.get(name) != there.get(name)]
        if names:
            return ", ".join(f"{n} is {here.get(n)!r:.80} and {there.get(n)!r:.80}" for n in sorted(names))
    return "nothing"


# --- 4. nothing that was shown is lost ---------------------------------------------------------------------------


def shown_is_kept(evidence: Evidence) -> Iterator[str]:
    """What any browser was ever shown is in the database at the end."""
    if evidence.stored is None:
        return
    discarded = {message["id"] for message in evidence.stored.messages if message["status"] == "discarded"}
    kept = evidence.stored.texts()
    for witness in evidence.witnesses:
        shown = {key: text for key, text in witness.all_shown().items() if text and key[0] not in discarded}
        yield from (f"{witness.name}: {lost}" for lost in _missing(shown, kept))


def texts_are_whole(evidence: Evidence) -> Iterator[str]:
    """A run that completed says all that its agent said, in order and once; one that failed, its beginning."""
    for part in evidence.round.sends:
        run = evidence.stored.runs.get(part.request_id) if evidence.stored else None
        if run is None or evidence.stored is None:
            continue
        # A scribe's own log knows of no blocks.
        answer = evidence.stored.answer(part.request_id, "" if part.agent is AgentName.SCRIBE else "\n")
        said = _said(evidence, evidence.stored, part)
        if run["status"] == "completed" and answer != said:
            yield f"{part.request_id} completed with {len(answer)} characters of {len(said)}: {_parting(answer, said)}"
        if run["status"] != "completed" and not said.startswith(answer):
            yield f"{part.request_id} {run['status']} with a text that nobody said: {_parting(answer, said)}"


def _said(evidence: Evidence, stored: Stored, part: Send) -> str:
    if part.agent is AgentName.SCRIBE:
        return evidence.said(part.request_id)
    options = [p["selectedOption"] for p in stored.prompts.values() if p["requestId"] == part.request_id]
    option = options[0] if options and part.script is Script.ASK else None
    if part.script is Script.ASK and option is None:
        option = "deny"  # it never came to the answer: what is said before it is the same
    return evidence.expected[(part.content, option)]


def _parting(answer: str, said: str) -> str:
    place = next((n for n, (a, b) in enumerate(zip(answer, said, strict=False)) if a != b), min(len(answer), len(said)))
    return f"from {place} on {answer[place : place + 30]!r} instead of {said[place : place + 30]!r}"


def runs_end_for_a_reason(evidence: Evidence) -> Iterator[str]:
    """Every run ends as its script and what was done to it allow; none fails because something else broke."""
    for part in evidence.round.sends:
        run = evidence.stored.runs.get(part.request_id) if evidence.stored else None
        if run is None:
            if evidence.stored is not None:
                yield f"{part.request_id} was sent, and is not stored"
            continue
        code = (run["error"] or {}).get("code")
        end = run["status"] if code is None else code
        allowed = _allowed_ends(evidence, part)
        if end not in allowed:
            yield f"{part.request_id} ({part.script}) ended as {end}, not as one of {sorted(allowed)}: {run['error']}"


def _allowed_ends(evidence: Evidence, part: Send) -> set[str]:
    ends = {Script.FAIL: {"agent_failed"}, Script.CRITICAL: {"prompt_timeout"}}.get(part.script, {"completed"})
    if part.request_id in evidence.aborted:
        ends |= {"aborted", "completed"} if Script.FAIL is not part.script else {"aborted"}
    since = evidence.sent[part.request_id].at if part.request_id in evidence.sent else 0.0
    gone = {absence.who for absence in evidence.absences if absence.until >= since and _is_death(absence)}
    if ("server" if evidence.round.shape is Shape.INSIDE else "bridge") in gone:
        ends |= {"bridge_lost"}
    if "agent" in gone and part.agent is AgentName.SCRIBE:
        ends |= {"agent_failed"}
    return ends


def _is_death(absence: Absence) -> bool:
    return absence.how in ("killed", "restarted")


def database_is_sound(evidence: Evidence) -> Iterator[str]:
    """`baton db check` finds nothing, and no journal is left of what has ended."""
    if evidence.checked:
        yield evidence.checked
    if evidence.stored is not None and evidence.stored.journal_rows:
        yield f"{evidence.stored.journal_rows} rows of the journal are left"


# --- 5. no timer decides silently --------------------------------------------------------------------------------


def deadlines_count_only_what_could_be_answered(evidence: Evidence) -> Iterator[str]:
    """A prompt times out no sooner than its time, of which what the server was not there for is no part."""
    for prompt in (evidence.stored.prompts if evidence.stored else {}).values():
        asked, heard = evidence.of(prompt["requestId"], "asked"), evidence.of(prompt["requestId"], "heard")
        if prompt["status"] != "timeout" or not asked or not heard:
            continue
        passed = heard[0].at - asked[0].at
        counted = passed - sum(_uncounted(absence, asked[0].at, heard[0].at) for absence in evidence.absences)
        if counted < CRITICAL_S - _SLACK_S:
            yield f"prompt {prompt['id']} timed out after {counted:.1f} s that count, of {passed:.1f} s"


def _uncounted(absence: Absence, since: float, until: float) -> float:
    """How much of a wait surely does not count. Less than all of it, where the server was stopped."""
    if absence.who != "server":
        return 0.0
    shared_s = max(0.0, min(until, absence.until) - max(since, absence.since))
    return max(0.0, shared_s - _SWEEP_S) if absence.how == "stopped" else max(0.0, shared_s - _SLACK_S)


def a_timeout_is_no_denial(evidence: Evidence) -> Iterator[str]:
    """What timed out says so, in the prompt and in the run; nobody is said to have answered."""
    for prompt in (evidence.stored.prompts if evidence.stored else {}).values():
        if prompt["status"] == "timeout" and (prompt["selectedOption"] or prompt["autoHandler"] != "timeout"):
            yield f"prompt {prompt['id']} timed out as {prompt['selectedOption']} by {prompt['autoHandler']}"
        if prompt["status"] == "pending":
            yield f"prompt {prompt['id']} waits though its run has ended"


# --- 6. one slow part slows nobody else --------------------------------------------------------------------------


def queues_are_bounded(evidence: Evidence) -> Iterator[str]:
    """Whatever is slow, held or away: what the server holds for it has an end."""
    if evidence.peak_bytes > MOST_BYTES:
        yield f"the server has taken {evidence.peak_bytes >> 20} MiB"


# --- 7. nobody gets in -------------------------------------------------------------------------------------------


def strangers_stay_outside(evidence: Evidence) -> Iterator[str]:
    """Without a person's credential nothing opens, at any moment."""
    yield from (f"let in: {who}" for who in evidence.let_in)


RULES: Final[tuple[tuple[str, Callable[[Evidence], Iterator[str]]], ...]] = (
    ("1 stored before shown", shown_was_on_disk),
    ("2 exactly once", agents_worked_once),
    ("2 exactly once", sends_have_one_answer),
    ("2 exactly once", runs_have_one_end),
    ("2 exactly once", prompts_have_one_winner),
    ("3 resume is state", nothing_misfits),
    ("3 resume is state", tabs_are_equal),
    ("4 nothing shown is lost", shown_is_kept),
    ("4 nothing shown is lost", texts_are_whole),
    ("4 nothing shown is lost", runs_end_for_a_reason),
    ("4 nothing shown is lost", database_is_sound),
    ("5 no timer decides silently", deadlines_count_only_what_could_be_answered),
    ("5 no timer decides silently", a_timeout_is_no_denial),
    ("6 one slow part slows nobody else", queues_are_bounded),
    ("7 nobody gets in", strangers_stay_outside),
)
