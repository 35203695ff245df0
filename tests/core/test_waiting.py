"""The queued runs: their order, and what each of them waits for."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from schedappliance.core.queue import (
    FIRST,
    MOST_COUNTED,
    Behind,
    Delayed,
    LaneName,
    Position,
    Waiter,
    WaitingRuns,
    turn_about,
)
from schedappliance.engine.records import RunKey


def waiter(
    sequence: int, job: int | None = None, program: str = "p", guest: int | None = None, alert_turn: int | None = None
) -> Waiter:
    return Waiter(sequence, RunKey(sequence if job is None else job, sequence), program, guest, alert_turn)


def numbers_before(waiting: WaitingRuns, *sequences: int) -> list[int | None]:
    """Behind how many runs each of these waits."""
    behind = [waiting.find(RunKey(sequence, sequence)) for sequence in sequences]
    return [one.number for one in behind if isinstance(one, Behind)]


def lanes_of(waiting: WaitingRuns, *sequences: int) -> list[str]:
    """In which lane each of these waits."""
    places = [waiting.find(RunKey(sequence, sequence)) for sequence in sequences]
    return [place.where for place in places if isinstance(place, Behind)]


def startable(waiting: WaitingRuns, boot_ms: int = 0, full: tuple[str, ...] = (), guests_fit: bool = True) -> list[int]:
    """The sequences of all runs that may start now."""
    sequences = []
    waiting.release_delayed(boot_ms)
    while (one := waiting.take(lambda program: program not in full, guests_fit)) is not None:
        sequences.append(one.sequence)
    return sequences


def test_the_first_claimed_is_the_first_to_start() -> None:
    waiting = WaitingRuns()
    for sequence in (3, 1, 2):
        waiting.add(waiter(sequence))
    assert (len(waiting), startable(waiting), len(waiting)) == (3, [1, 2, 3], 0)


def test_runs_whose_program_is_at_its_limit_let_others_pass_and_keep_their_order() -> None:
    waiting = WaitingRuns()
    for sequence, program in ((1, "p"), (2, "q"), (3, "p"), (4, "q")):
        waiting.add(waiter(sequence, program=program))
    assert startable(waiting, full=("p",)) == [2, 4]
    waiting.release_program("q")
    assert (startable(waiting), len(waiting)) == ([], 2)
    waiting.release_program("p")
    assert startable(waiting) == [1]
    waiting.release_program("p")
    waiting.release_program("p")
    assert (startable(waiting), len(waiting), waiting.lanes) == ([3], 0, {})


def test_runs_of_guests_let_those_of_trusted_users_pass_only_where_places_are_kept() -> None:
    waiting = WaitingRuns()
    for sequence, guest in ((1, 1001), (2, None), (3, 1001), (4, None)):
        waiting.add(waiter(sequence, guest=guest))
    first = waiting.take(lambda _: True, True)
    assert first and first.sequence == 1
    assert (waiting.has_ready_for(False), startable(waiting, guests_fit=False)) == (True, [2, 4])
    assert (waiting.has_ready, waiting.has_ready_for(False), waiting.has_ready_for(True)) == (True, False, True)
    assert waiting.find(RunKey(3, 3)) == Behind("guests", 0, "p", is_of_guest=True)
    assert (startable(waiting), waiting.lanes) == ([3], {})


def test_guests_take_turns() -> None:
    """One of them kept all others from their runs for as long as they liked."""
    waiting = WaitingRuns()
    for sequence, guest in ((1, 1001), (2, 1001), (3, 1001), (4, 1001), (5, 1002), (6, 1002), (7, 1003)):
        waiting.add(waiter(sequence, guest=guest))
    order = [1, 5, 7, 2, 6, 3, 4]
    before = numbers_before(waiting, *order)
    assert (before, startable(waiting), waiting.lanes) == ([0, 1, 2, 3, 4, 5, 6], order, {})
    for sequence, guest in ((8, 1001), (9, 1002), (10, 1003)):
        waiting.add(waiter(sequence, guest=guest))
    assert startable(waiting) == [10, 9, 8], "in the order of their last turns"


def test_users_take_turns_where_a_program_is_at_its_limit() -> None:
    """The daily backup of the stanza files waited behind all that one user had asked for."""
    waiting = WaitingRuns()
    for sequence, guest in ((1, 1001), (2, 1001), (3, 1001), (4, None), (5, 1002)):
        waiting.add(waiter(sequence, program="full", guest=guest))
    assert startable(waiting, full=("full",)) == []
    order = [4, 5, 1, 2, 3]
    assert numbers_before(waiting, *order) == list(range(5))
    assert released(waiting, 5) == order


def released(waiting: WaitingRuns, number: int) -> list[int]:
    """The sequences of the runs that start when runs of their program end one after the other."""
    order = []
    for _ in range(number):
        waiting.release_program("full")
        order += startable(waiting)
    return order


def test_a_turn_looks_at_no_program_at_its_limit_while_no_guest_waits_for_a_place() -> None:
    """With 1,000 such programs, each line took 0.9 ms instead of 0.2."""
    waiting = WaitingRuns()
    for sequence in range(1, 5):
        waiting.add(waiter(sequence, program=f"p{sequence % 2}"))
    assert startable(waiting, full=("p0", "p1")) == []
    asked: list[str] = []

    def has_room(program: str) -> bool:
        asked.append(program)
        return True

    assert (waiting.pass_guests(has_room), asked) == (False, [])


def test_a_guest_who_gets_no_place_keeps_no_program_from_others() -> None:
    waiting = WaitingRuns()
    for sequence, guest in ((1, 1001), (2, 1001), (3, 1002), (4, None), (5, None), (6, 1003)):
        waiting.add(waiter(sequence, program="full", guest=guest))
    assert startable(waiting, full=("full",)) == []
    for sequence in (4, 3):
        waiting.release_program("full")
        assert startable(waiting) == [sequence]
    waiting.release_program("full")
    assert (startable(waiting, guests_fit=False), lanes_of(waiting, 6)) == ([], ["guests"])
    before = places(waiting), len(waiting.changes)
    assert not waiting.pass_guests(lambda _: False)
    assert waiting.pass_guests(lambda program: program == "full")
    assert not waiting.pass_guests(lambda _: True), "one of each user is enough"
    assert lanes_of(waiting, 1, 2, 5) == ["guests", "limited", "ready"]
    waiting.undo(before[1])
    assert places(waiting) == before[0]
    assert waiting.pass_guests(lambda _: True)
    assert startable(waiting, guests_fit=False) == [5]
    assert startable(waiting, full=("full",)) == []
    waiting.release_program("full")
    assert startable(waiting) == [1], "who came too late at a place keeps the order"


def test_deliveries_take_the_turns_of_the_users_whom_their_alerts_are_about() -> None:
    """One user's failures delayed the alerts of all jobs by hours. Those of trusted users go first."""
    waiting = WaitingRuns()
    turns = {1: 1001, 2: 1001, 3: 1001, 4: FIRST, 5: 1002, 6: FIRST, 7: None}
    for sequence, turn in turns.items():
        waiting.add(waiter(sequence, program="full", alert_turn=turn))
    assert startable(waiting, full=("full",)) == []
    order = [4, 6, 1, 5, 7, 2, 3]
    assert numbers_before(waiting, *order) == list(range(7))
    assert (released(waiting, 7), waiting.lanes) == (order, {})


@pytest.mark.parametrize(
    ("users", "turn"), [([], None), ([1001], 1001), ([1002, 1001], 1002), ([1001, 0], FIRST), ([1001, 9], FIRST)]
)
def test_an_alert_about_a_trusted_user_goes_first(users: list[int], turn: int | None) -> None:
    assert turn_about(users, frozenset({0, 9})) == turn


def test_a_delivery_that_gets_events_of_others_gets_their_turn() -> None:
    waiting = WaitingRuns()
    for sequence in (1, 2, 3):
        waiting.add(waiter(sequence, program="full", alert_turn=1001))
    assert startable(waiting, full=("full",)) == []
    before = places(waiting), len(waiting.changes)
    waiting.change_turn(RunKey(3, 3), FIRST)
    waiting.change_turn(RunKey(4, 4), FIRST)
    assert (numbers_before(waiting, 3, 1, 2), len(waiting)) == ([0, 1, 2], 3)
    waiting.undo(before[1])
    assert places(waiting) == before[0]
    waiting.change_turn(RunKey(3, 3), FIRST)
    assert released(waiting, 3) == [3, 1, 2]


def test_no_number_is_told_where_guests_and_trusted_users_wait_for_the_same_places() -> None:
    """Who is next there depends on the turns of the guests and on the order of the claims."""
    waiting = WaitingRuns()
    for sequence, guest in ((1, 1001), (2, 1001), (3, 1002), (4, None), (5, None)):
        waiting.add(waiter(sequence, guest=guest))
    assert numbers_before(waiting, 1, 2, 3, 4, 5) == [None] * 5
    waiting.remove_job(4)
    waiting.remove_job(5)
    assert numbers_before(waiting, 1, 3, 2) == [0, 1, 2]


def test_one_run_of_a_job_follows_the_end_of_another() -> None:
    waiting = WaitingRuns()
    for sequence, job in ((5, 1), (4, 1), (6, 2)):
        waiting.block(waiter(sequence, job))
    assert (startable(waiting), len(waiting), waiting.blocked_of(1), waiting.blocked_of(3)) == ([], 3, 2, 0)
    waiting.release_job(1)
    assert startable(waiting) == [4]
    for job in (1, 2, 1):
        waiting.release_job(job)
    assert (startable(waiting), waiting.lanes) == ([5, 6], {})


def test_an_attempt_waits_for_its_instant_and_then_precedes_later_claims() -> None:
    waiting = WaitingRuns()
    waiting.delay(200, waiter(1))
    waiting.delay(100, waiter(3))
    assert (waiting.next_attempt(), startable(waiting, 99), startable(waiting, 100)) == (100, [], [3])
    waiting.add(waiter(2))
    assert (waiting.next_attempt(), startable(waiting, 200), waiting.next_attempt()) == (200, [1, 2], None)


def test_all_queued_runs_of_a_job_are_removed_wherever_they_wait() -> None:
    waiting = WaitingRuns()
    for sequence, job in ((1, 7), (2, 8)):
        waiting.add(waiter(sequence, job, "full"))
    assert startable(waiting, full=("full",)) == []
    for sequence, job in ((3, 7), (4, 8)):
        waiting.add(waiter(sequence, job))
        waiting.block(waiter(sequence + 10, job))
        waiting.delay(100, waiter(sequence + 20, job))
    assert [key.occurrence for key in waiting.remove_job(7)] == [1, 3, 13, 23]
    assert (len(waiting), waiting.remove_job(7), waiting.blocked_of(7)) == (4, [], 0)
    waiting.release_program("full")
    waiting.release_job(8)
    assert startable(waiting, 100) == [2, 4, 14, 24]


def test_a_removed_run_leaves_its_place_to_the_next_of_its_program() -> None:
    waiting = WaitingRuns()
    for sequence in (1, 2, 3):
        waiting.add(waiter(sequence, program="full"))
    assert startable(waiting, full=("full",)) == []
    waiting.release_program("full")
    assert waiting.remove_job(1) == [RunKey(1, 1)]
    assert startable(waiting) == [2]
    waiting.remove_job(3)
    assert (len(waiting), waiting.lanes) == (0, {})


@pytest.mark.parametrize("seed", range(20))
def test_order_and_count_are_right_whatever_is_removed(seed: int) -> None:
    """Compares with plain lists that are sorted and searched."""
    dice, waiting = Random(seed), WaitingRuns()
    ready: list[Waiter] = []
    delayed: list[tuple[int, Waiter]] = []
    for sequence in range(1, 400):
        one = waiter(dice.randrange(10**6) * 1000 + sequence, dice.randrange(40))
        what = dice.randrange(5)
        if what in (0, 1):
            waiting.add(one)
            ready.append(one)
        elif what == 2:
            waiting.delay(at := dice.randrange(1000), one)
            delayed.append((at, one))
        elif what == 3:
            gone = sorted(
                [w for w in ready if w.key.job == one.key.job] + [w for _, w in delayed if w.key.job == one.key.job]
            )
            assert waiting.remove_job(one.key.job) == [w.key for w in gone]
            ready = [w for w in ready if w not in gone]
            delayed = [item for item in delayed if item[1] not in gone]
        elif ready:
            assert waiting.take(lambda _: True, True) == min(ready)
            ready.remove(min(ready))
        assert len(waiting) == len(ready) + len(delayed)
        assert waiting.next_attempt() == (min(delayed)[0] if delayed else None)
        for place, item in enumerate(sorted(ready)[:3]):
            assert waiting.find(item.key) == Behind("ready", place, "p")
        for at, item in delayed[:3]:
            assert waiting.find(item.key) == Delayed(at)
    waiting.release_delayed(1000)
    assert list(iter(lambda: waiting.take(lambda _: True, True), None)) == sorted(ready + [w for _, w in delayed])
    assert (len(waiting), waiting.next_attempt(), waiting.lanes) == (0, None, {})


def places(waiting: WaitingRuns) -> dict[LaneName, list[Position]]:
    return {name: sorted(lane) for name, lane in waiting.lanes.items()}


@pytest.mark.parametrize("seed", range(20))
def test_an_undo_restores_every_place(seed: int) -> None:
    dice, waiting = Random(seed), WaitingRuns()
    steps: list[Callable[[int, Waiter], object]] = [
        lambda _, one: waiting.add(one),
        lambda _, one: waiting.block(one),
        lambda at, one: waiting.delay(at, one),
        lambda at, one: waiting.wait_for_user(at % 3, one),
        lambda at, _: waiting.release_delayed(at),
        lambda at, _: waiting.release_user(at % 3),
        lambda _, one: waiting.release_job(one.key.job),
        lambda _, one: waiting.release_program(one.program),
        lambda _, one: waiting.remove_job(one.key.job),
        lambda at, _: waiting.pass_guests(lambda program: at % 2 == 0 or program == "p"),
        lambda at, _: waiting.take(lambda program: at % 2 == 0 or program == "p", at % 3 == 0),
    ]
    marks: list[tuple[int, int, dict[LaneName, list[Position]]]] = []
    for sequence in range(1, 300):
        marks.append((len(waiting.changes), len(waiting), places(waiting)))
        one = waiter(sequence, dice.randrange(10), dice.choice("pq"), dice.random() < 0.5)
        dice.choice(steps)(dice.randrange(sequence), one)
    for changes, number, earlier in sorted(dice.sample(marks, 30), key=lambda mark: -mark[0]):
        waiting.undo(changes)
        assert (len(waiting), places(waiting)) == (number, earlier)
    waiting.undo(0)
    assert (len(waiting), waiting.lanes, waiting.jobs()) == (0, {}, [])


def test_behind_how_many_runs_one_waits_is_not_counted_in_a_long_lane() -> None:
    waiting = WaitingRuns()
    for sequence in range(MOST_COUNTED):
        waiting.add(waiter(sequence))
    assert numbers_before(waiting, 5, MOST_COUNTED - 1) == [5, MOST_COUNTED - 1]
    waiting.add(waiter(MOST_COUNTED))
    assert numbers_before(waiting, 5, MOST_COUNTED) == [None, None]
