"""The step of a wall clock between two moments: a table, and random sequences of passing time and steps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedappliance.clock import ManualClock, Moment
from schedappliance.engine.clockstep import (
    MOST_STEPS,
    NEARLY_MS,
    TOLERANCE_MS,
    StepsBack,
    another_step_back,
    step_back_across_boots_ms,
    step_back_ms,
    step_forward_ms,
    steps_undone_across_boots,
    steps_undone_by,
)

HOUR = 3_600_000
WALL = 1_700_000_000_000
BEFORE = Moment(WALL, 5000)
# An event of a clock: an amount of time passes, then the clock is set by an amount.
HAPPENINGS = st.lists(st.tuples(st.integers(0, 10**10), st.integers(-(10**12), 10**12)), max_size=8)


@pytest.mark.parametrize(
    ("now", "back", "forward"),
    [
        (BEFORE, 0, 0),
        (Moment(WALL + HOUR, 5000 + HOUR), 0, 0),
        (Moment(WALL - 1000, 5000), 0, 0),
        (Moment(WALL - 1001, 5000), 1001, 0),
        (Moment(WALL - HOUR, 5000), HOUR, 0),
        (Moment(WALL, 5000 + HOUR), HOUR, 0),
        (Moment(WALL + 10, 5000 + HOUR), HOUR - 10, 0),
        (Moment(WALL + 1000, 5000), 0, 0),
        (Moment(WALL + 1001, 5000), 0, 1001),
        (Moment(WALL + 2 * HOUR, 5000 + HOUR), 0, HOUR),
    ],
)
def test_a_step_is_the_change_of_the_wall_clock_against_the_boot_clock(now: Moment, back: int, forward: int) -> None:
    assert (step_back_ms(BEFORE, now), step_forward_ms(BEFORE, now)) == (back, forward)


@pytest.mark.parametrize(
    ("now", "back"),
    [(WALL + HOUR, 0), (WALL, 0), (WALL - 1000, 0), (WALL - 1001, 1001), (WALL - HOUR, HOUR), (0, WALL)],
)
def test_across_boots_only_a_clock_before_the_last_tick_shows_a_step(now: int, back: int) -> None:
    assert step_back_across_boots_ms(WALL, Moment(now, 10)) == back


@given(HAPPENINGS)
def test_the_step_is_the_sum_of_all_steps_without_passing_time(happenings: list[tuple[int, int]]) -> None:
    clock = ManualClock(WALL, boot=77)
    before = clock.moment()
    for passed, step in happenings:
        clock.advance(passed)
        clock.step(step)
    total = sum(step for _, step in happenings)
    now = clock.moment()
    assert step_back_ms(before, now) == (-total if total < -TOLERANCE_MS else 0)
    assert step_forward_ms(before, now) == (total if total > TOLERANCE_MS else 0)
    assert 0 in (step_back_ms(before, now), step_forward_ms(before, now))


@given(HAPPENINGS, st.integers(-(10**12), 10**12))
def test_two_spans_give_the_same_as_the_whole(happenings: list[tuple[int, int]], last: int) -> None:
    """Following each step when it is seen equals following all at once, within the tolerance."""
    clock = ManualClock(WALL)
    begin = steady = clock.moment()
    followed = 0
    for passed, step in [*happenings, (0, last)]:
        clock.advance(passed)
        clock.step(step)
        change = step_forward_ms(steady, clock.moment()) - step_back_ms(steady, clock.moment())
        if change:
            followed += change
            steady = clock.moment()
    whole = step_forward_ms(begin, clock.moment()) - step_back_ms(begin, clock.moment())
    assert abs(followed - whole) <= 2 * TOLERANCE_MS


KNOWN = StepsBack(WALL, (3 * HOUR, HOUR))


@pytest.mark.parametrize(
    ("known", "back", "now", "expected"),
    [
        (None, HOUR, WALL - HOUR, StepsBack(WALL, (HOUR,))),
        (StepsBack(WALL, (HOUR,)), HOUR, WALL - 2 * HOUR, StepsBack(WALL, (HOUR, HOUR))),
        # Time has passed between the two, but less than the clock had lost.
        (StepsBack(WALL, (3 * HOUR,)), HOUR, WALL - 2 * HOUR, StepsBack(WALL, (3 * HOUR, HOUR))),
        (StepsBack(WALL, (3 * HOUR,)), HOUR, WALL - HOUR, StepsBack(WALL, (HOUR,))),
        (StepsBack(WALL, (3 * HOUR,)), HOUR, WALL + HOUR, StepsBack(WALL + 2 * HOUR, (HOUR,))),
    ],
)
def test_steps_back_add_up_until_as_much_time_has_passed(
    known: StepsBack | None, back: int, now: int, expected: StepsBack
) -> None:
    assert another_step_back(known, back, now) == expected


def test_the_number_of_remembered_steps_back_is_limited() -> None:
    known: StepsBack | None = None
    for number in range(MOST_STEPS + 5):
        known = another_step_back(known, 2000 + number, WALL - (number + 1) * HOUR)
    assert known == StepsBack(WALL - HOUR + 2000, tuple(2000 + number for number in range(5, MOST_STEPS + 5)))


@pytest.mark.parametrize(
    ("known", "forward", "now", "undone"),
    [
        (None, HOUR, WALL, ()),
        (KNOWN, 4 * HOUR, WALL, (HOUR, 3 * HOUR)),
        (KNOWN, 9 * HOUR, WALL + 5 * HOUR, (HOUR, 3 * HOUR)),
        (KNOWN, 4 * HOUR, WALL - TOLERANCE_MS, (HOUR, 3 * HOUR)),
        (KNOWN, 4 * HOUR, WALL - TOLERANCE_MS - 1, ()),
        # The clock has drifted a little meanwhile.
        (KNOWN, 4 * HOUR - NEARLY_MS, WALL, (HOUR, 3 * HOUR)),
        (KNOWN, 4 * HOUR - NEARLY_MS - 3660, WALL + HOUR, (HOUR, 3 * HOUR)),
        (KNOWN, 4 * HOUR - NEARLY_MS - 3665, WALL + HOUR, ()),
        # The clock shows the old time, which is no longer right.
        (KNOWN, HOUR, WALL, ()),
        # Time had passed that point by itself before the step.
        (KNOWN, 4 * HOUR, WALL + 4 * HOUR, ()),
        (KNOWN, 4 * HOUR, WALL + 4 * HOUR - 1, (HOUR, 3 * HOUR)),
    ],
)
def test_a_step_forward_to_the_expected_time_corrects_the_clock(
    known: StepsBack | None, forward: int, now: int, undone: tuple[int, ...]
) -> None:
    assert steps_undone_by(known, forward, now) == undone


@pytest.mark.parametrize(
    ("last", "now", "undone"),
    [
        (HOUR, WALL, (HOUR, 3 * HOUR)),
        (HOUR, WALL + HOUR, (HOUR, 3 * HOUR)),
        (HOUR, WALL - HOUR, ()),
        # Any clock later than the creation of the store may have been right.
        (WALL - 30 * HOUR, WALL, ()),
    ],
)
def test_across_boots_only_a_clock_that_was_certainly_wrong_is_corrected(
    last: int, now: int, undone: tuple[int, ...]
) -> None:
    assert steps_undone_across_boots(KNOWN, last, WALL - 40 * HOUR, now) == undone
