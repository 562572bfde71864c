"""The fault suite's rounds come from their seed alone, and few of them see every fault."""

from tests.faults.suite.plan import FAULTS_PER_ROUND, Fault, Round, Script, Shape, deal, plan

ROUNDS = [plan(seed, number) for seed in range(5) for number in range(40)]
CI_SEED, CI_ROUNDS = 8, 8
"""What .ci/run plays."""


def test_the_same_seed_and_number_give_the_same_round_and_others_give_another() -> None:
    assert plan(3, 4) == plan(3, 4)
    assert len({plan(seed, number) for seed in range(4) for number in range(4)}) == 16


def test_as_many_rounds_as_one_deck_has_cards_for_see_every_fault_once() -> None:
    for seed in range(20):
        rounds = -(-len(Fault) // FAULTS_PER_ROUND)
        dealt = [fault for number in range(rounds) for fault in deal(seed, number)]
        assert set(dealt[: len(Fault)]) == set(Fault)


def test_the_rounds_of_ci_see_every_fault_and_every_shape() -> None:
    rounds = [plan(CI_SEED, number) for number in range(CI_ROUNDS)]
    assert frozenset().union(*(round_.faults for round_ in rounds)) == set(Fault)
    assert {round_.shape for round_ in rounds} == set(Shape)


def test_a_fault_of_a_bridge_elsewhere_is_dealt_only_where_there_is_one() -> None:
    for round_ in ROUNDS:
        if round_.shape is Shape.INSIDE:
            assert not any(fault.value.endswith("-bridge") for fault in round_.faults)


def test_every_send_has_a_name_of_its_own_and_every_abort_names_a_send() -> None:
    for round_ in ROUNDS:
        names = [send.request_id for send in round_.sends]
        assert len(set(names)) == len(names)
        assert {abort.request_id for abort in round_.aborts} <= set(names)


def test_a_browser_that_reads_nothing_has_something_to_miss() -> None:
    slow = [round_ for round_ in ROUNDS if Fault.SLOW_BROWSER in round_.faults]
    assert slow
    for round_ in slow:
        (flood,) = [send for send in round_.sends if send.request_id.endswith("flood")]
        (part,) = [part for part in round_.breaks if part.fault is Fault.SLOW_BROWSER]
        assert flood.script is Script.HUGE
        assert flood.person != part.target


def test_a_round_can_be_read() -> None:
    round_: Round = ROUNDS[0]
    lines = list(round_.script())
    assert len(lines) == 1 + len(round_.sends) + len(round_.aborts) + len(round_.breaks)
    assert lines[1:] == sorted(lines[1:], key=lambda line: float(line.split()[0]))
