"""What is due, against a table and against counting the due times one by one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedappliance.engine.schedule import Due, Missed, what_is_due
from schedappliance.model.schedules import Every, Once

MINUTE = 60_000
INSTANTS = st.integers(0, 253_402_300_799_000)
PERIODS = st.integers(1000, 100 * 365 * 86_400_000)


@pytest.mark.parametrize(
    ("next_run", "interval", "now", "expected"),
    [
        (1000, None, 1000, Due(1000, None, None)),
        (1000, None, 10**13, Due(1000, None, None)),
        (1000, MINUTE, 1000, Due(1000, 61_000, None)),
        (1000, MINUTE, 60_999, Due(1000, 61_000, None)),
        (1000, MINUTE, 61_000, Due(61_000, 121_000, Missed(1, 1000, 1000))),
        (1000, MINUTE, 61_001, Due(61_000, 121_000, Missed(1, 1000, 1000))),
        (1000, MINUTE, 181_500, Due(181_000, 241_000, Missed(3, 1000, 121_000))),
    ],
)
def test_the_latest_due_time_is_found_and_earlier_ones_are_counted(
    next_run: int, interval: int | None, now: int, expected: Due
) -> None:
    assert what_is_due(Every(interval, next_run) if interval else Once(next_run), next_run, now) == expected


@given(INSTANTS, PERIODS, INSTANTS)
def test_the_next_due_time_keeps_the_phase_and_is_in_the_future(next_run: int, interval: int, late: int) -> None:
    now = next_run + late
    due = what_is_due(Every(interval, next_run), next_run, now)
    assert due.next_ms is not None
    assert due.due_ms <= now < due.next_ms == due.due_ms + interval
    assert (due.due_ms - next_run) % interval == 0
    count = due.missed.count if due.missed else 0
    assert next_run + count * interval == due.due_ms
    if due.missed:
        assert (due.missed.since_ms, due.missed.latest_ms) == (next_run, due.due_ms - interval)


@given(st.integers(0, 200), st.integers(1, 40), st.integers(0, 400))
def test_the_arithmetic_agrees_with_counting_one_by_one(next_run: int, interval: int, late: int) -> None:
    now = next_run + late
    passed = range(next_run, now + 1, interval)
    due = what_is_due(Every(interval, next_run), next_run, now)
    assert (due.due_ms, due.next_ms) == (passed[-1], passed[-1] + interval)
    assert due.missed == (Missed(len(passed) - 1, passed[0], passed[-2]) if len(passed) > 1 else None)


def test_the_arithmetic_is_fast_however_many_due_times_have_passed() -> None:
    """A loop over 2.5 * 10**17 periods would never end."""
    due = what_is_due(Every(1000, 0), 0, 250 * 10**18 + 1)
    assert due.missed == Missed(250 * 10**15, 0, 250 * 10**18 - 1000)


def test_a_next_due_time_that_the_schedule_no_longer_has_counts_as_one() -> None:
    """Another zone or a changed clock may have moved the other due times."""
    schedule = Every(MINUTE, 0)
    assert what_is_due(schedule, 70_000, 119_999) == Due(70_000, 2 * MINUTE, None)
    assert what_is_due(schedule, 70_000, 120_000) == Due(2 * MINUTE, 3 * MINUTE, Missed(1, 70_000, 70_000))
    assert what_is_due(schedule, 70_000, 180_000) == Due(3 * MINUTE, 4 * MINUTE, Missed(2, 70_000, 2 * MINUTE))
    assert what_is_due(Once(0), 70_000, 180_000) == Due(70_000, None, None)
