"""The claim of a due job: the occurrences that are claimed, and those that are missed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedappliance.engine import schedule
from schedappliance.engine.reasons import NO_SHUTDOWN, NOT_MADE_UP, TOO_OLD, WHILE_BUSY, WHILE_DOWN, Reason
from schedappliance.engine.records import Job, Kind, User
from schedappliance.engine.schedule import (
    LATE_MS,
    MOST_AT_ONCE,
    CatchUp,
    Claim,
    Missed,
    MissedOccurrences,
    Occurrence,
    Schedules,
    catch_up_of,
    claim_now,
    claim_single,
)
from schedappliance.model.calendars.zones import Machine, Zones
from schedappliance.model.commands import read_command
from schedappliance.model.configuration import Configuration

MINUTE = 60_000
ONCE = CatchUp("once")
POLICIES = ("once", "none", "all")
SCHEDULES = Schedules(Zones(Machine()), {})


def job(
    text: str = "run hello", next_run: int | None = MINUTE, interval: int | None = MINUTE, occurrence: int = 4
) -> Job:
    command = read_command(text).command
    return Job(1, "every", next_run, interval, occurrence, text, command, User(1, "one"), "console")


def claim(job: Job, now: int, started: int, catch_up: CatchUp, trouble: str | None = None) -> Claim:
    return schedule.claim(job, SCHEDULES.of(job), now, started, catch_up, trouble)


def numbers(decision: Claim) -> list[int]:
    return [run.number for run in decision.runs]


def missed_by(decision: Claim) -> tuple[int, str] | None:
    return (decision.missed.missed.count, decision.missed.reason) if decision.missed else None


def test_the_next_occurrence_of_a_punctual_job_is_claimed() -> None:
    assert claim(job(), MINUTE, 0, ONCE) == Claim((Occurrence(5, MINUTE),), None, 5, 2 * MINUTE)


def test_a_one_shot_job_has_no_next_run() -> None:
    claimed = claim(job(interval=None), 10 * MINUTE, 0, ONCE)
    assert claimed == Claim((Occurrence(5, MINUTE),), None, 5, None)


@pytest.mark.parametrize(("started", "reason"), [(9 * MINUTE, WHILE_DOWN), (30_000, WHILE_BUSY)])
def test_a_claim_catches_up_once_and_numbers_missed_due_times(started: int, reason: Reason) -> None:
    passed = MissedOccurrences(7, Missed(3, MINUTE, 3 * MINUTE), reason)
    expected = Claim((Occurrence(8, 4 * MINUTE),), passed, 8, 5 * MINUTE)
    assert claim(job(), 4 * MINUTE + 5, started, ONCE) == expected


@pytest.mark.parametrize(
    ("started", "reason"),
    [(9 * MINUTE, WHILE_DOWN), (30_000, "the time had passed before it could be run: database is locked")],
)
def test_the_reason_is_the_obstacle_unless_no_appliance_ran(started: int, reason: str) -> None:
    assert missed_by(claim(job(), 4 * MINUTE, started, ONCE, "database is locked")) == (3, reason)


@given(
    st.sampled_from(["at", "in", "run", "every"]),
    st.sampled_from(["run hello", "shutdown", "config set a 1"]),
    st.sampled_from([None, "nightly"]),
    st.sampled_from([Configuration(catch_up=policy, catch_up_within_ms=w) for policy in POLICIES for w in (None, 9)]),
    st.integers(0, 10 * LATE_MS),
    st.integers(0, 10 * LATE_MS),
)
def test_the_short_way_decides_as_the_long_one(
    kind: Kind, text: str, declared: str | None, configuration: Configuration, late: int, started: int
) -> None:
    due = job(text, interval=MINUTE if kind == "every" else None)._replace(kind=kind, declared=declared)
    short = claim_single(configuration, due)
    assert short in (None, claim(due, MINUTE + late, started, catch_up_of(configuration, due)))
    # Most due jobs are such.
    assert short or kind == "every" or declared or text == "shutdown" or configuration != Configuration()


def test_once_is_the_default_policy() -> None:
    assert CatchUp() == CatchUp("once", None)


@pytest.mark.parametrize("late", [0, 5, MINUTE - 1])
@pytest.mark.parametrize("policy", ["once", "none", "all"])
def test_every_policy_runs_a_due_time_that_is_not_late(policy: str, late: int) -> None:
    claimed = claim(job(), MINUTE + late, 0, CatchUp(policy))
    assert claimed == Claim((Occurrence(5, MINUTE),), None, 5, 2 * MINUTE)


@pytest.mark.parametrize(
    ("policy", "runs", "missed"),
    [
        ("once", [8], MissedOccurrences(7, Missed(3, MINUTE, 3 * MINUTE), WHILE_DOWN)),
        ("none", [], MissedOccurrences(8, Missed(4, MINUTE, 4 * MINUTE), NOT_MADE_UP)),
        ("all", [5, 6, 7, 8], None),
    ],
)
def test_each_policy_acts_differently_after_a_downtime(
    policy: str, runs: list[int], missed: MissedOccurrences | None
) -> None:
    claimed = claim(job(), 4 * MINUTE + 5, 4 * MINUTE + 1, CatchUp(policy))
    assert (numbers(claimed), claimed.missed, claimed.last, claimed.next_run_ms) == (runs, missed, 8, 5 * MINUTE)
    assert [run.due_ms for run in claimed.runs] == [(number - 4) * MINUTE for number in runs]


@pytest.mark.parametrize(("policy", "runs"), [("once", [5]), ("none", []), ("all", [5])])
def test_each_policy_acts_differently_with_a_late_one_shot_job(policy: str, runs: list[int]) -> None:
    claimed = claim(job(interval=None), 9 * MINUTE, 8 * MINUTE, CatchUp(policy))
    assert (numbers(claimed), claimed.last, claimed.next_run_ms) == (runs, 5, None)
    assert missed_by(claimed) == (None if runs else (1, NOT_MADE_UP))


@pytest.mark.parametrize("count", [MOST_AT_ONCE - 1, MOST_AT_ONCE, MOST_AT_ONCE + 1, 5 * MOST_AT_ONCE])
def test_all_catches_up_the_latest_hundred(count: int) -> None:
    claimed = claim(job(occurrence=0), count * MINUTE, count * MINUTE, CatchUp("all"))
    passed = max(0, count - 100)
    assert numbers(claimed) == list(range(passed + 1, count + 1))
    assert (claimed.runs[0].due_ms, claimed.runs[-1].due_ms) == ((passed + 1) * MINUTE, count * MINUTE)
    expected = MissedOccurrences(passed, Missed(passed, MINUTE, passed * MINUTE), WHILE_DOWN) if passed else None
    assert (claimed.missed, claimed.last, claimed.next_run_ms) == (expected, count, (count + 1) * MINUTE)


@pytest.mark.parametrize(("late", "runs"), [(0, [5]), (LATE_MS, [5]), (LATE_MS + 1, [])])
def test_none_catches_up_nothing_more_than_a_minute_late(late: int, runs: list[int]) -> None:
    assert numbers(claim(job(interval=10 * MINUTE), MINUTE + late, 0, CatchUp("none"))) == runs


@pytest.mark.parametrize(("started", "runs"), [(MINUTE, [5]), (MINUTE + 1, [])])
def test_none_catches_up_nothing_due_before_the_start(started: int, runs: list[int]) -> None:
    assert numbers(claim(job(), MINUTE + 2, started, CatchUp("none"))) == runs


@pytest.mark.parametrize(
    ("policy", "within", "runs", "missed"),
    [
        ("once", 5, [8], (3, WHILE_DOWN)),
        ("once", 4, [], (4, TOO_OLD)),
        ("all", 4, [], (4, TOO_OLD)),
        ("all", 5, [8], (3, TOO_OLD)),
        ("all", MINUTE + 4, [8], (3, TOO_OLD)),
        ("all", MINUTE + 5, [7, 8], (2, TOO_OLD)),
        ("all", 3 * MINUTE + 5, [5, 6, 7, 8], None),
        ("all", 100 * MINUTE, [5, 6, 7, 8], None),
        ("none", 100 * MINUTE, [], (4, NOT_MADE_UP)),
    ],
)
def test_due_times_older_than_catch_up_within_are_missed(
    policy: str, within: int, runs: list[int], missed: tuple[int, str] | None
) -> None:
    claimed = claim(job(), 4 * MINUTE + 5, 4 * MINUTE + 5, CatchUp(policy, within))
    assert (numbers(claimed), missed_by(claimed), claimed.last, claimed.next_run_ms) == (runs, missed, 8, 5 * MINUTE)


@pytest.mark.parametrize(("within", "runs"), [(MINUTE, [5]), (MINUTE - 1, [])])
def test_a_one_shot_job_may_be_too_old_too(within: int, runs: list[int]) -> None:
    claimed = claim(job(interval=None), 2 * MINUTE, 0, CatchUp("once", within))
    assert (numbers(claimed), missed_by(claimed)) == (runs, None if runs else (1, TOO_OLD))


@pytest.mark.parametrize("policy", ["once", "none", "all"])
@pytest.mark.parametrize(
    ("text", "started", "runs"),
    [
        ("shutdown", 0, 1),
        ("shutdown", MINUTE, 1),
        ("shutdown", MINUTE + 1, 0),
        ("json shutdown", MINUTE + 1, 0),
        ("json json shutdown", 0, 1),
    ],
)
def test_a_shutdown_is_never_caught_up(policy: str, text: str, started: int, runs: int) -> None:
    claimed = claim(job(text, interval=None), 2 * MINUTE, started, CatchUp(policy))
    assert (len(claimed.runs), missed_by(claimed)) == (runs, None if runs else (1, NO_SHUTDOWN))


@pytest.mark.parametrize("next_run", [None, MINUTE, 100 * MINUTE])
def test_a_claim_by_hand_takes_the_next_number_and_moves_no_due_time(next_run: int | None) -> None:
    claimed = claim_now(job(next_run=next_run), 7 * MINUTE + 3)
    assert claimed == Claim((Occurrence(5, 7 * MINUTE + 3),), None, 5, next_run)


def test_a_claim_by_hand_takes_the_only_occurrence_of_a_job_that_runs_once() -> None:
    once = job("run tell", next_run=100 * MINUTE, interval=None)._replace(kind="run")
    assert claim_now(once, MINUTE) == Claim((Occurrence(5, MINUTE),), None, 5, None)


@given(
    st.integers(0, 10**13),
    st.integers(1000, 10**10),
    st.integers(0, 10**13),
    st.integers(0, 10**9),
    st.sampled_from(["once", "none", "all"]),
    st.none() | st.integers(1, 10**12),
)
def test_no_occurrence_is_lost_or_counted_twice(
    next_run: int, interval: int, late: int, occurrence: int, policy: str, within: int | None
) -> None:
    decision = claim(job("pid", next_run, interval, occurrence), next_run + late, 0, CatchUp(policy, within))
    count = decision.missed.missed.count if decision.missed else 0
    assert decision.last == occurrence + count + len(decision.runs)
    assert numbers(decision) == list(range(occurrence + count + 1, decision.last + 1))
    assert [run.due_ms for run in decision.runs] == [
        next_run + (run.number - occurrence - 1) * interval for run in decision.runs
    ]
    assert decision.next_run_ms == next_run + (decision.last - occurrence) * interval
    assert next_run + late < decision.next_run_ms <= next_run + late + interval
    if decision.missed:
        assert decision.missed.occurrence == occurrence + count
        assert decision.missed.missed.since_ms == next_run
        assert decision.missed.missed.latest_ms == next_run + (count - 1) * interval


@pytest.mark.parametrize("policy", [CatchUp("none"), CatchUp("once", 1), CatchUp("all", 1)])
def test_a_run_requested_for_now_starts_however_late(policy: CatchUp) -> None:
    asked = job(interval=None)._replace(kind="run")
    decision = claim(asked, 10**12, 10**12 - 1, policy)
    assert (numbers(decision), decision.missed, decision.next_run_ms) == ([5], None, None)
    stop = job("shutdown", interval=None)._replace(kind="run")
    assert claim(stop, 10**12, 10**12 - 1, policy).runs == ()
