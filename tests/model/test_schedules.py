"""The three questions about due times, against counting them one by one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedappliance.model.schedules import Every, Once

MINUTE = 60_000
INSTANTS = st.integers(0, 253_402_300_799_000)
PERIODS = st.integers(1000, 100 * 365 * 86_400_000)


@pytest.mark.parametrize(
    ("interval", "offset", "now", "expected"),
    [
        (MINUTE, 0, 0, MINUTE),
        (MINUTE, 0, 59_999, MINUTE),
        (MINUTE, 0, MINUTE, 2 * MINUTE),
        (MINUTE, 5000, 0, 5000),
        (MINUTE, 5000, 5000, 65_000),
        (MINUTE, 125_000, 0, 5000),
    ],
)
def test_the_next_multiple_counts_from_the_epoch(interval: int, offset: int, now: int, expected: int) -> None:
    assert Every(interval, offset).next_after(now) == expected


@given(PERIODS, st.integers(0, 100 * 365 * 86_400_000), INSTANTS)
def test_the_next_multiple_is_the_first_after_now(interval: int, offset: int, now: int) -> None:
    instant = Every(interval, offset).next_after(now)
    assert now < instant <= now + interval
    assert (instant - offset) % interval == 0


@given(st.integers(1, 40), st.integers(-100, 100), st.integers(-100, 100), st.integers(0, 100))
def test_the_answers_of_every_agree_with_a_list(interval: int, offset: int, since: int, length: int) -> None:
    schedule, until = Every(interval, offset), since + length
    due = range(offset % interval - 400 * interval, 1000, interval)
    assert schedule.next_after(since) == next(instant for instant in due if instant > since)
    assert schedule.latest(since) == [instant for instant in due if instant <= since][-1]
    assert schedule.count(since, until) == sum(since <= instant <= until for instant in due)
    assert schedule.count(until, since - 1) == 0


@pytest.mark.parametrize(("instant", "after", "latest"), [(4, 5, None), (5, None, 5), (6, None, 5)])
def test_one_due_time_is_before_or_after(instant: int, after: int | None, latest: int | None) -> None:
    assert (Once(5).next_after(instant), Once(5).latest(instant)) == (after, latest)


@pytest.mark.parametrize(("since", "until", "count"), [(0, 4, 0), (0, 5, 1), (5, 5, 1), (5, 9, 1), (6, 9, 0)])
def test_one_due_time_counts_once(since: int, until: int, count: int) -> None:
    assert Once(5).count(since, until) == count
