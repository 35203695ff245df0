"""Interval jobs with windows, compared with every due time of the interval."""

from __future__ import annotations

from datetime import datetime
from random import Random
from zoneinfo import ZoneInfo

import pytest

from schedappliance.model.calendars.compiling import calendar_of
from schedappliance.model.calendars.delays import delay_below
from schedappliance.model.calendars.every_within import EveryWithin, OpenTimes, steps_into
from schedappliance.model.calendars.oncalendar import read_window
from schedappliance.model.calendars.rule import CalendarRule, every_text, read_rule
from schedappliance.model.calendars.zones import Zones, this_machine
from schedappliance.model.schedules import Every
from tests.model.calendars.due_times import backward, forward

ZONES = Zones(this_machine())
MINUTE, HOUR, DAY = 60, 3600, 86_400
NIGHTS = (1_792_890_000, 1_806_195_600, 1_798_754_400)
WINDOWS = (("Mon..Fri", 8 * HOUR, 18 * HOUR), ("Sat..Sun", 22 * HOUR, 26 * HOUR), ("Sun", 2 * HOUR, 3 * HOUR))
MEMBERS = {"Mon..Fri": range(5), "Sat..Sun": range(5, 7), "Sun": range(6, 7)}


def _text(window: tuple[str, int, int]) -> str:
    weekdays, start, end = window
    return f"{weekdays} {start // HOUR:02}:00..{end // HOUR % 24:02}:00"


def _is_open(instant: int, zone: ZoneInfo, windows: list[tuple[str, int, int]]) -> bool:
    local = datetime.fromtimestamp(instant, zone)
    second = local.hour * HOUR + local.minute * MINUTE + local.second
    return any(
        (local.weekday() in MEMBERS[weekdays] and start <= second < end)
        or ((local.weekday() - 1) % 7 in MEMBERS[weekdays] and start <= second + DAY < end)
        for weekdays, start, end in windows
    )


@pytest.mark.parametrize("seed", range(30))
def test_every_due_time_is_in_a_window(seed: int) -> None:
    random = Random(seed)
    windows = random.sample(WINDOWS, random.choice((1, 2, 3)))
    interval = random.choice((7 * MINUTE, 15 * MINUTE, HOUR, 5 * HOUR, 25 * HOUR)) * 1000
    every = Every(interval, random.randrange(interval))
    name = random.choice(("Europe/Berlin", "America/New_York", "Australia/Lord_Howe"))
    start = random.choice(NIGHTS) - random.randrange(3 * DAY)
    end = start + 10 * DAY
    schedule = EveryWithin(every, OpenTimes(ZONES.get(name), [read_window(_text(window)) for window in windows]))
    due = [
        instant
        for instant in range(every.next_after(start * 1000 - 1), end * 1000, interval)
        if _is_open(instant // 1000, ZoneInfo(name), windows)
    ]
    assert forward(schedule, start, end) == [instant // 1000 for instant in due]
    assert backward(schedule, start, end) == [instant // 1000 for instant in due]
    for low, high in [
        (start * 1000, end * 1000 - 1),
        sorted(random.randrange(start * 1000, end * 1000) for _ in range(2)),
    ]:
        assert schedule.count(low, high) == sum(low <= instant <= high for instant in due)


@pytest.mark.parametrize("seed", range(3))
def test_the_fewest_steps_into_a_range(seed: int) -> None:
    random = Random(seed)
    for _ in range(500):
        modulus = random.randrange(1, 60)
        step, low = random.randrange(modulus), random.randrange(modulus)
        high = low + random.randrange(modulus)
        inside = [n for n in range(modulus) if any(low <= n * step % modulus + turn <= high for turn in (0, modulus))]
        assert steps_into(step, modulus, low, high) == min(inside, default=None), (step, modulus, low, high)


@pytest.mark.parametrize(
    ("zone", "due"),
    [
        ("UTC", False),
        # At 12:00 UTC it is 13:00 in winter and 14:00 in summer.
        ("Europe/Berlin", True),
    ],
)
def test_an_interval_that_misses_its_window(zone: str, due: bool) -> None:
    windows = [read_window("13:00..13:30")]
    daily = EveryWithin(Every(DAY * 1000, 12 * HOUR * 1000), OpenTimes(ZONES.get(zone), windows))
    summer = 1_783_000_000_000
    assert (daily.next_after(summer) is not None) is due
    assert (daily.latest(summer) is not None) is due
    assert (daily.count(0, summer) > 0) is due


@pytest.mark.parametrize("seed", range(40))
def test_an_interval_with_bounds_is_due_as_counted_one_by_one(seed: int) -> None:
    """`every` with a window, `from`, `until` and `spread`, against each due time of the interval by itself."""
    dice = Random(seed)
    zone = dice.choice(("Europe/Berlin", "Australia/Lord_Howe", "America/New_York", "UTC"))
    begin, end = sorted(dice.sample(range(1, 24), 2))
    interval, offset = dice.choice((600, 1800, 5400, 7 * 3600, 86_400, 90_001)), dice.choice((0, 30, 3600))
    start = dice.choice((1_774_000_000, 1_792_000_000)) + dice.randrange(5 * 86_400)
    rule = CalendarRule(
        syntax="every",
        expressions=(every_text(Every(interval * 1000, offset * 1000)),),
        zone=zone,
        within=(f"{begin:02}:00..{end:02}:00",),
        from_ms=(start + 86_400) * 1000,
        until_ms=(start + 9 * 86_400) * 1000 + 500,
        spread=dice.choice((0, 600)),
        seed="n\0j",
    )
    calendar = calendar_of(read_rule(rule.text({})), ZONES, {})
    delay = delay_below(600, "n\0j") if rule.spread else 0
    expected = [
        (due + delay) * 1000
        for due in range(start + 86_400, start + 9 * 86_400 + 1)
        if (due - offset) % interval == 0 and begin <= datetime.fromtimestamp(due, ZoneInfo(zone)).hour < end
    ]
    due_times, due = [], calendar.next_after(-1)
    while due is not None:
        due_times.append(due)
        due = calendar.next_after(due)
    assert due_times == expected
    assert [calendar.latest(due) for due in expected] == expected
    assert calendar.count(0, end * 10**12) == len(expected)
    for due in expected:
        explained = calendar.explain(due)
        assert explained is not None and explained.spread == delay
