"""By how much a wall clock was set between two moments: a table, and any way in which time passes and clocks are set."""

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
    put_right,
    put_right_across_boots,
    step_back_across_boots_ms,
    step_back_ms,
    step_forward_ms,
)

HOUR = 3_600_000
WALL = 1_700_000_000_000
BEFORE = Moment(WALL, 5000)
# What may happen to a clock: so much time passes, then it is set by so much.
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
def test_a_step_is_what_the_wall_clock_has_lost_or_won_against_the_boot_clock(
    now: Moment, back: int, forward: int
) -> None:
    assert (step_back_ms(BEFORE, now), step_forward_ms(BEFORE, now)) == (back, forward)


@pytest.mark.parametrize(
    ("now", "back"),
    [(WALL + HOUR, 0), (WALL, 0), (WALL - 1000, 0), (WALL - 1001, 1001), (WALL - HOUR, HOUR), (0, WALL)],
)
def test_across_boots_only_a_clock_before_the_last_tick_tells(now: int, back: int) -> None:
    assert step_back_across_boots_ms(WALL, Moment(now, 10)) == back


@given(HAPPENINGS)
def test_it_sees_the_sum_of_all_steps_and_no_time_that_passes(happenings: list[tuple[int, int]]) -> None:
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
def test_two_spans_tell_as_much_as_the_whole(happenings: list[tuple[int, int]], last: int) -> None:
    """Following every step as it is seen comes to the same as following all of them at once, but for the tolerance."""
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
        # Time has passed between the two, but not as much as the clock had lost.
        (StepsBack(WALL, (3 * HOUR,)), HOUR, WALL - 2 * HOUR, StepsBack(WALL, (3 * HOUR, HOUR))),
        (StepsBack(WALL, (3 * HOUR,)), HOUR, WALL - HOUR, StepsBack(WALL, (HOUR,))),
        (StepsBack(WALL, (3 * HOUR,)), HOUR, WALL + HOUR, StepsBack(WALL + 2 * HOUR, (HOUR,))),
    ],
)
def test_steps_back_are_gathered_until_time_has_made_up_for_them(
    known: StepsBack | None, back: int, now: int, expected: StepsBack
) -> None:
    assert another_step_back(known, back, now) == expected


def test_not_more_than_so_many_steps_back_are_gathered() -> None:
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
        # It has gone wrong a little by itself meanwhile.
        (KNOWN, 4 * HOUR - NEARLY_MS, WALL, (HOUR, 3 * HOUR)),
        (KNOWN, 4 * HOUR - NEARLY_MS - 3660, WALL + HOUR, (HOUR, 3 * HOUR)),
        (KNOWN, 4 * HOUR - NEARLY_MS - 3665, WALL + HOUR, ()),
        # It is where it was, but that is not right any more.
        (KNOWN, HOUR, WALL, ()),
        # Time had passed the place by itself before the step.
        (KNOWN, 4 * HOUR, WALL + 4 * HOUR, ()),
        (KNOWN, 4 * HOUR, WALL + 4 * HOUR - 1, (HOUR, 3 * HOUR)),
    ],
)
def test_a_step_forward_puts_right_when_it_leads_to_where_the_clock_was(
    known: StepsBack | None, forward: int, now: int, undone: tuple[int, ...]
) -> None:
    assert put_right(known, forward, now) == undone


@pytest.mark.parametrize(
    ("last", "now", "undone"),
    [
        (HOUR, WALL, (HOUR, 3 * HOUR)),
        (HOUR, WALL + HOUR, (HOUR, 3 * HOUR)),
        (HOUR, WALL - HOUR, ()),
        # From after the store was made on any clock may have been right.
        (WALL - 30 * HOUR, WALL, ()),
    ],
)
def test_across_boots_a_clock_is_put_right_that_was_wrong_for_sure(
    last: int, now: int, undone: tuple[int, ...]
) -> None:
    assert put_right_across_boots(KNOWN, last, WALL - 40 * HOUR, now) == undone
