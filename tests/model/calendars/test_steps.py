"""How many steps a calendar takes to answer: few, whatever its options are, also if it is never due."""

from __future__ import annotations

import sys
from collections.abc import Callable
from random import Random
from types import FrameType
from typing import Any

import pytest

from schedappliance.model.calendars.calendar import Calendar
from schedappliance.model.calendars.compiling import calendar_of
from schedappliance.model.calendars.day_lists import DayList
from schedappliance.model.calendars.day_sets import in_all_years
from schedappliance.model.calendars.oncalendar import read_dates
from schedappliance.model.calendars.rule import CalendarRule
from schedappliance.model.calendars.zones import Zones, this_machine
from tests.support.random_seeds import few_and_many_seeds

DATES = {
    "weekend": ("Sat..Sun",),
    "holidays": ("*-01-01", "*-12-25..26", "2027-03-26", "2027-03-29"),
    "summer": ("*-06..08-*",),
    "leap": ("*-02-29",),
    "far": ("9998-12-24",),
    "ends": ("1999-12-24", "9990-05-05"),
    "elections": ("2028/4-11-02..08",),
    "all": ("*-*-*",),
}
DAYS = {name: DayList(tuple(map(read_dates, texts))) for name, texts in DATES.items()}
EXPRESSIONS = (
    *("*-*-* 12:00", "Mon *-*-* 09:00", "Sun *-03-25..31 02:30", "*-02-29 08:00", "Mon *-02-29 08:00", "*-*~1 18:00"),
    *("2035-06-01 10:00", "9998-02-28 10:00", "Fri *-*-13 00:00", "*:0/10", "2000/400-02-29 03:00", "Sat,Sun 02:00"),
)
INTERVALS = ("every 900", "every 86400", "every 604800 offset 7", "every 604801", "every 31536060", "every 129600")
WINDOWS = ("13:00..14:00", "Mon 02:00..03:00", "Sun 02:10..02:50", "Tue 00:00..00:01", "Sat..Sun")
ZONES = ("UTC", "Europe/Berlin", "Africa/Casablanca", "Australia/Lord_Howe")
NOW_MS, IN_9892_MS = 1_795_824_000_000, 250_000_000_000_000
# Most of these steps make the pieces of a zone for 400 years. One month after the other, a question took up to 8,000,000.
MOST_STEPS = 200_000


def steps_of(ask: Callable[[], object]) -> int:
    """How many functions of Python a question calls. It does not depend on the speed of the machine."""
    steps = 0

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal steps
        steps += event == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        ask()
    finally:
        sys.setprofile(before)
    return steps


def most_steps(rule: CalendarRule) -> int:
    in_all_years.cache_clear()

    def made() -> Calendar:
        return calendar_of(rule, Zones(this_machine()), DAYS)

    return max(
        steps_of(lambda: made().next_after(-1)),
        steps_of(lambda: made().next_after(NOW_MS)),
        steps_of(lambda: made().latest(NOW_MS)),
        steps_of(lambda: made().latest(IN_9892_MS)),
    )


@pytest.mark.parametrize(
    ("expression", "options"),
    [
        ("Sun *-*-* 09:00", {"each": (13, "w"), "excluded": ("weekend",), "move": "nearest", "nth": (8,)}),
        ("*-*-* 12:00", {"each": (13, "w"), "excluded": ("weekend", "holidays"), "move": "next", "nth": (8, -9)}),
        ("*-*-31 12:00", {"each": (997, "d"), "only": ("far",), "move": "previous"}),
        ("*-*-* 12:00", {"each": (7, "mo"), "only": ("ends",), "move": "nearest", "nth": (5,)}),
        ("*-02-29 08:00", {"each": (13, "y"), "excluded": ("elections",), "move": "next", "within": ("13:00..14:00",)}),
        ("Sun *-03~1..7 02:30", {"each": (13, "w"), "dst_skipped": "omit", "excluded": ("summer",), "move": "next"}),
        ("Fri *-*-13 00:00", {"only": ("leap",), "move": "nearest", "nth": (-2,), "spread": 3600, "jitter": 3600}),
        ("every 604801", {"within": ("Sat..Sun",), "zone": "Australia/Lord_Howe"}),
        ("every 31536060", {"within": ("Mon 02:00..02:01",), "until_ms": NOW_MS}),
        ("every 86400", {"within": ("13:00..14:00",), "zone": "UTC"}),
    ],
)
def test_a_calendar_that_is_never_or_seldom_due(expression: str, options: dict[str, Any]) -> None:
    syntax = "every" if expression.startswith("every") else "calendar"
    options = {"syntax": syntax, "zone": "Europe/Berlin", **options}
    assert most_steps(CalendarRule(expressions=(expression,), **options)) < MOST_STEPS


def _random_rule(random: Random) -> CalendarRule:
    options: dict[str, Any] = {
        "zone": random.choice(ZONES),
        "from_ms": random.choice((None, None, NOW_MS, IN_9892_MS)),
        "until_ms": random.choice((None, None, NOW_MS, IN_9892_MS + 10**12)),
        "from_day": random.choice((None, None, 20_822)),
        "until_day": random.choice((None, None, 20_822, 2_893_000)),
        "spread": random.choice((0, 0, 3600)),
        "jitter": random.choice((0, 0, 259_200)),
    }
    windows = tuple(random.sample(WINDOWS, random.choice((1, 2))))
    if random.random() < 0.25:
        return CalendarRule(syntax="every", expressions=(random.choice(INTERVALS),), within=windows, **options)
    unit: Any = random.choice(("d", "w", "mo", "y"))
    return CalendarRule(
        syntax="calendar",
        expressions=tuple(random.sample(EXPRESSIONS, random.choice((1, 1, 2)))),
        dst_skipped=random.choice(("run", "shift", "omit")),
        dst_repeated=random.choice(("first", "last", "both")),
        within=random.choice(((), (), windows)),
        only=tuple(random.sample(sorted(DATES), random.choice((0, 0, 1, 2)))),
        excluded=tuple(random.sample(sorted(DATES), random.choice((0, 1, 2)))),
        move=random.choice((None, "next", "previous", "nearest")),
        nth=random.choice(((), (), (3,), (-1, 12), (31, -31))),
        each=random.choice((None, (random.choice((1, 7, 13, 97, 997)), unit))),
        **options,
    )


@few_and_many_seeds(4, 70)
def test_any_options(seeds: range) -> None:
    for seed in seeds:
        rule = _random_rule(Random(seed))
        assert most_steps(rule) < MOST_STEPS, (seed, rule)
