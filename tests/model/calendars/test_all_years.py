"""Sets of days in all years as one integer: the same days as those of the single months."""

from __future__ import annotations

from random import Random

from schedappliance.model.calendars.day_lists import DayList
from schedappliance.model.calendars.day_sets import AllOf, AnyOf, DaySet, Each, Nth, Pattern, Unit, Without
from schedappliance.model.calendars.days import ALL_MONTHS, EVERY_DAY, days_of_month, nth_weekday, weekdays
from schedappliance.model.calendars.months import END_MONTH, FIRST_DAY, FIRST_MONTH, first_day
from schedappliance.model.calendars.moves import Moved
from schedappliance.model.calendars.oncalendar import read_dates
from tests.support.random_seeds import few_and_many_seeds

DATES = (
    *("2027-03-26", "2028-02-29", "2026..2028-12-24", "2026,2030-01..03-*", "9998-01-01", "5000/3-05-05"),
    *("Sat..Sun", "*-01-01", "Fri *-*-13", "Mon 2027-*-*", "*-02~1", "*-06..08-*"),
)
LOOKED_AT = 600


def _pattern(random: Random) -> Pattern:
    few = days_of_month(frozenset(random.sample(range(1, 32), 5)))
    days = random.choice((few, nth_weekday(0, 5), weekdays(frozenset({5, 6})), EVERY_DAY))
    years = random.choice(
        (None, None, frozenset(random.sample(range(1969, 10_000), 3)), frozenset(range(1970, 9999, 7)))
    )
    return Pattern(days, random.choice((ALL_MONTHS, ALL_MONTHS, 0b100, 0b1000000000010)), years)


def _simple(random: Random) -> DaySet:
    unit: Unit = random.choice(("d", "w", "mo", "y"))
    return random.choice(
        (
            _pattern(random),
            DayList(tuple(map(read_dates, random.sample(DATES, random.randrange(1, 5))))).days,
            Each(random.choice((1, 2, 3, 7, 13, 97, 999)), unit, random.randrange(-20, 30_000)),
        )
    )


def _set(random: Random, depth: int = 2) -> DaySet:
    if not depth:
        return _simple(random)
    one, other = _set(random, depth - 1), _set(random, depth - 1)
    positions = frozenset(random.sample((1, 2, 3, 5, 31, -1, -2, -31), random.randrange(1, 4)))
    return random.choice(
        (
            AnyOf((one, other)),
            AllOf((one, other)),
            Without(one, other),
            Nth(one, positions),
            Moved(one, other, random.choice(("next", "previous", "nearest"))),
        )
    )


@few_and_many_seeds(8, 70)
def test_the_days_are_those_of_the_months(seeds: range) -> None:
    for seed in seeds:
        random = Random(seed)
        days = _set(random)
        first = random.choice((FIRST_MONTH, 2026 * 12, END_MONTH - LOOKED_AT, random.randrange(FIRST_MONTH, 9000 * 12)))
        all_days, extent = days.days_in_all_years(), days.extent
        for month in range(first, first + LOOKED_AT):
            start, end = first_day(month), first_day(month + 1)
            in_month = (all_days >> start - FIRST_DAY & (1 << end - start) - 1) << 1
            assert in_month == days.days_in(month), (seed, days, month)
            assert not in_month or extent.start <= month < extent.end, (seed, days, month)
