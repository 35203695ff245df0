"""The months that a search for due days asks: all that can have days, and few of the others."""

from __future__ import annotations

from random import Random

import pytest

from schedappliance.diagnostics import InvalidValue
from schedappliance.model.calendars import local_times
from schedappliance.model.calendars.checks import check_calendar, check_cron
from schedappliance.model.calendars.day_sets import AllOf, DaySet, Nth, Pattern, Without, possible_months
from schedappliance.model.calendars.days import ALL_MONTHS, days_of_month, nth_weekday, weekdays
from schedappliance.model.calendars.local_times import Month


def random_pattern(dice: Random) -> Pattern:
    days = [days_of_month(frozenset({29, 31})), nth_weekday(0, 5), weekdays(frozenset({2, 6}))]
    years = (
        frozenset(dice.randrange(1969, 10_000) for _ in range(dice.randrange(1, 5))) if dice.random() < 0.6 else None
    )
    return Pattern(dice.choice(days), dice.choice([ALL_MONTHS, 0b100, 0b1000000000010]), years)


def random_set(dice: Random) -> DaySet:
    first, second = random_pattern(dice), random_pattern(dice)
    sets: list[DaySet] = [first, AllOf((first, second)), Without(first, second), Nth(first, frozenset({1, -1}))]
    return dice.choice(sets)


@pytest.mark.parametrize("seed", range(60))
def test_no_month_with_days_is_left_out(seed: int) -> None:
    dice = Random(seed)
    days, start = random_set(dice), dice.randrange(1970 * 12, 9000 * 12)
    end = start + dice.randrange(20_000)
    months = list(possible_months(days, start, end))
    assert months == sorted(set(months))
    assert {month for month in range(start, end) if days.days_in(month)} <= set(months) <= set(range(start, end))


@pytest.mark.parametrize(
    ("syntax", "text"),
    [
        ("calendar", "9999-12-31 23:59:59"),
        ("calendar", "9998-12-31 23:59:59 Europe/Berlin"),
        ("calendar", "9998-02-29"),
        ("calendar", "Sun 2400/400-02-29"),
        ("cron", "59 59 23 29 2 MON#5 9000-9999"),
    ],
)
def test_a_search_in_far_years_asks_few_months(syntax: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All months up to 9999 took 0.3 s of the deciding thread for one line, from a user without any role."""
    asked: list[int] = []
    month_of = local_times._month_of

    def counted(parts: tuple[local_times.Part, ...], month: int) -> Month:
        asked.append(month)
        return month_of(parts, month)

    monkeypatch.setattr(local_times, "_month_of", counted)
    check = check_calendar if syntax == "calendar" else check_cron
    check.cache_clear()
    try:
        check(text)
    except InvalidValue as invalid:
        assert "never due" in str(invalid)
    assert 0 < len(asked) <= 70
