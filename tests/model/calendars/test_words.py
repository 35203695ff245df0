"""Calendars in words."""

from __future__ import annotations

from random import Random

import pytest

from schedappliance.model.calendars.clock_changes import FIXED, ROLLING, ClockRule
from schedappliance.model.calendars.cron import read_cron
from schedappliance.model.calendars.oncalendar import read_calendar
from schedappliance.model.calendars.rule import CalendarRule
from schedappliance.model.calendars.words import clock_words, expression_words, rule_words
from schedappliance.model.calendars.zones import Machine, Zones
from tests.model.calendars.random_expressions import random_calendar, random_cron
from tests.support.random_seeds import few_and_many

UTC_ZONE = Zones(Machine()).get("UTC")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("30 2 * * 1-5", "at 02:30, Monday to Friday"),
        ("30 15 2 * * *", "at 02:15:30, every day"),
        ("0,30 2,14 * * *", "at 02:00, 02:30, 14:00 and 14:30, every day"),
        ("* * * * *", "every minute"),
        ("*/15 * * * *", "every 15 minutes"),
        ("5/15 * * * *", "every 15 minutes, from 00:05"),
        ("*/7 2 * * *", "at minutes 0, 7, 14, 21, 28, 35, 42, 49 and 56 of hour 2, every day"),
        ("5 * * * *", "every hour at :05"),
        ("30 */2 * * *", "every 2 hours from 00:30 to 22:30"),
        ("15 8-18 * * *", "every hour from 08:15 to 18:15"),
        ("*/10 8-17 1 * MON", "every 10 minutes from 08:00 to 17:50, on the 1st and on Mondays"),
        ("0 9 1 1 MON", "at 09:00, on the 1st of January and on Mondays of January"),
        ("0 0 L 6,7 FRI", "at 00:00, on the last day of June and July and on Fridays of June and July"),
        ("* * * * * *", "every second"),
        ("*/15 * * * * *", "every 15 seconds"),
        ("0,5 30 2 * * *", "at the seconds 0 and 5 of minute 30 of hour 2, every day"),
        ("0 0 1,15 * *", "at 00:00, on the 1st and 15th"),
        ("0 0 1 1 *", "at 00:00, on the 1st of January"),
        ("0 0 * jan,jun-aug *", "at 00:00, in January and June to August"),
        ("0 0 */2 * *", "at 00:00, on every 2nd day from the 1st to the 31st"),
        ("0 18 L * *", "at 18:00, on the last day of the month"),
        ("0 0 L-2,1 2 *", "at 00:00, on the 1st of February and on the 3rd last day of February"),
        ("0 9 15W * *", "at 09:00, on the working day nearest to the 15th of the month"),
        ("0 9 LW * *", "at 09:00, on the working day nearest to the last day of the month"),
        ("0 0 * * FRIL", "at 00:00, on the last Friday of the month"),
        ("0 0 * * MON#1,MON#3", "at 00:00, on the first Monday and third Monday of the month"),
        ("0 0 13 * +FRI", "at 00:00, on the 13th if it is Friday"),
        ("0 0 L * +1-5", "at 00:00, on the last day of the month if it is Monday to Friday"),
        ("0 0 0 1 1 * 2030", "at 00:00, on the 1st of January, in 2030"),
        ("0 0 0 1 1 * 2030-2035", "at 00:00, on the 1st of January, from 2030 to 2035"),
    ],
)
def test_a_cron_expression_has_words(text: str, words: str) -> None:
    assert expression_words(read_cron(text)) == words


@pytest.mark.parametrize(
    ("cron", "calendar"),
    [
        ("30 2 * * 1-5", "Mon..Fri 02:30"),
        ("*/15 * * * *", "*:0/15"),
        ("0 10 * * FRI#2", "Fri *-*-8..14 10:00"),
        ("0 0 * * MONL", "Mon *-*~1..7"),
        ("0 10 L-6,L-5,L-4,L-3,L-2,L-1,L * *", "*-*~1..7 10:00"),
        ("0 0 1 1,4,7,10 *", "quarterly"),
    ],
)
def test_equal_expressions_read_alike_in_both_languages(cron: str, calendar: str) -> None:
    assert expression_words(read_cron(cron)) == expression_words(read_calendar(calendar))


@pytest.mark.parametrize(("seed", "count"), few_and_many(200, 600))
def test_every_expression_has_words_of_one_line(seed: int, count: int) -> None:
    random = Random(seed)
    for _ in range(count):
        for expression in (read_cron(random_cron(random)), read_calendar(random_calendar(random))):
            words = expression_words(expression)
            assert words and "\n" not in words and words == words.strip(" ,")


def test_a_list_is_joined_and_the_zone_follows() -> None:
    rule = CalendarRule(syntax="cron", expressions=("0 9 15W * *", "30 2 * * MON"), zone="Europe/Berlin")
    nearest = "at 09:00, on the working day nearest to the 15th of the month"
    assert rule_words(rule, UTC_ZONE) == f"{nearest}; at 02:30, Monday, Europe/Berlin"
    mixed = CalendarRule(syntax="cron", expressions=("0 9 * * *", "TZ=UTC 0 3 * * *"), zone="Europe/Berlin")
    assert rule_words(mixed, UTC_ZONE) == "at 09:00, every day, Europe/Berlin; at 03:00, every day, UTC"


def test_options_have_words() -> None:
    rule = CalendarRule(
        syntax="calendar",
        expressions=("*-*~1 18:00",),
        zone="UTC",
        within=("Mon..Fri 08:00..19:00",),
        excluded=("weekend", "holidays"),
        move="previous",
        nth=(3, -1),
        each=(2, "w"),
        from_day=20_822,
        until_day=21_186,
        spread=600,
        jitter=1,
    )
    assert rule_words(rule, UTC_ZONE) == (
        "at 18:00, on the last day of the month, UTC, only each 2nd week, not on days in `weekend` or `holidays`, "
        "but on the previous day that is left, of these the third and last in each month, "
        "within `Mon..Fri 08:00..19:00`, from 2027-01-04, until 2028-01-03, plus a fixed delay of less than 10m, "
        "plus a varying delay of less than 1s"
    )


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        (
            FIXED,
            "a time that the clock skips is due at the first instant after the gap; a repeated time counts the first time",
        ),
        (ROLLING, "a time that the clock skips is left out; a repeated time counts both times"),
        (
            ClockRule("shift", "last"),
            "a time that the clock skips is due later by the length of the gap; a repeated time counts the last time",
        ),
    ],
)
def test_the_rule_for_clock_changes_has_words(rule: ClockRule, words: str) -> None:
    assert clock_words(rule) == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("every 900", "every 15 minutes, until 2027-01-01T00:00:00+00:00"),
        ("every 86400 offset 60", "every day, 60 seconds later, until 2027-01-01T00:00:00+00:00"),
        ("every 5401", "every 5,401 seconds, until 2027-01-01T00:00:00+00:00"),
    ],
)
def test_an_interval_with_a_bound_has_words(text: str, words: str) -> None:
    rule = CalendarRule(syntax="every", expressions=(text,), zone="UTC", until_ms=1_798_761_600_000)
    assert rule_words(rule, UTC_ZONE) == words


def test_the_positions_in_a_month_are_named_from_the_first_to_the_last() -> None:
    rule = CalendarRule(syntax="cron", expressions=("0 9 * * *",), zone="UTC", nth=(-1, 3))
    assert rule_words(rule, UTC_ZONE) == "at 09:00, every day, UTC, of these the third and last in each month"
