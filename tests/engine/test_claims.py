"""What becomes of a due job: the occurrence that is claimed, the verdict, and what was missed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedappliance.engine.claims import WHILE_BUSY, WHILE_DOWN, Claim, MissedOccurrences, Verdict, claim
from schedappliance.engine.records import Job, User
from schedappliance.engine.schedule import Missed
from schedappliance.model.commands import read_command

MINUTE = 60_000


def job(text: str = "run hello", next_run: int = MINUTE, interval: int | None = MINUTE, occurrence: int = 4) -> Job:
    command = read_command(text).command
    return Job(1, "every", next_run, interval, occurrence, text, command, User(1, "one"), "console")


def test_it_claims_the_next_occurrence_of_a_job_in_time() -> None:
    assert claim(job(), MINUTE, 0, alive=False) == Claim(5, MINUTE, Verdict.RUN, None, 2 * MINUTE)


def test_it_plans_nothing_after_a_single_run() -> None:
    assert claim(job(interval=None), 10 * MINUTE, 0, alive=False) == Claim(5, MINUTE, Verdict.RUN, None, None)


@pytest.mark.parametrize(("started", "reason"), [(9 * MINUTE, WHILE_DOWN), (30_000, WHILE_BUSY)])
def test_it_catches_up_once_and_numbers_what_was_missed(started: int, reason: str) -> None:
    passed = Missed(3, MINUTE, 3 * MINUTE)
    expected = Claim(8, 4 * MINUTE, Verdict.RUN, MissedOccurrences(7, passed, reason), 5 * MINUTE)
    assert claim(job(), 4 * MINUTE + 5, started, alive=False) == expected


@pytest.mark.parametrize(
    ("text", "started", "alive", "verdict"),
    [
        ("run hello", 0, True, Verdict.OVERLAP),
        ("run hello", 2 * MINUTE, True, Verdict.OVERLAP),
        ("config set a 1", 0, True, Verdict.RUN),
        ("sched in 5 run hello", 0, True, Verdict.RUN),
        ("shutdown", 0, False, Verdict.RUN),
        ("shutdown", MINUTE, False, Verdict.RUN),
        ("shutdown", MINUTE + 1, False, Verdict.TOO_LATE),
        ("run hello", MINUTE + 1, False, Verdict.RUN),
        ("no such command", 0, False, Verdict.UNREADABLE),
        ("json shutdown", MINUTE + 1, False, Verdict.TOO_LATE),
        ("json json shutdown", 0, False, Verdict.RUN),
        ("json run hello", 0, True, Verdict.OVERLAP),
        ("json sched in 5 run hello", 0, True, Verdict.RUN),
    ],
)
def test_it_judges_a_due_command(text: str, started: int, alive: bool, verdict: Verdict) -> None:
    assert claim(job(text, interval=None), 2 * MINUTE, started, alive).verdict is verdict


@given(st.integers(0, 10**13), st.integers(1000, 10**10), st.integers(0, 10**13), st.integers(0, 10**9))
def test_no_occurrence_is_lost_or_counted_twice(next_run: int, interval: int, late: int, occurrence: int) -> None:
    decision = claim(job("pid", next_run, interval, occurrence), next_run + late, 0, alive=False)
    count = decision.missed.missed.count if decision.missed else 0
    assert decision.occurrence == occurrence + count + 1
    if decision.missed:
        assert decision.missed.occurrence == decision.occurrence - 1
