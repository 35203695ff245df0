"""Calendar expressions, time ranges and dates: their meaning and their normal form."""

from __future__ import annotations

from itertools import product

import pytest

from schedappliance.diagnostics import InvalidValue
from schedappliance.model.calendars.days import ALL_MONTHS, EVERY_DAY, days_from_end, days_of_month, weekdays
from schedappliance.model.calendars.oncalendar import SHORTHANDS, read_calendar, read_dates, read_window
from tests.support.calls import calls

MON_TO_FRI = frozenset(range(5))
HOUR_S = 3600


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("Mon..Fri 07:00", "Mon..Fri *-*-* 07:00:00"),
        (" fri,Monday..wed,Mon-Tue   7:0 ", "Mon..Wed,Fri *-*-* 07:00:00"),
        ("Mon,", "Mon *-*-* 00:00:00"),
        ("Sat..Sun", "Sat,Sun *-*-* 00:00:00"),
        ("Mon..Sun 10:00", "*-*-* 10:00:00"),
        ("*:0/15", "*-*-* *:00/15:00"),
        ("*:*/15", "*-*-* *:00/15:00"),
        ("*:0/1", "*-*-* *:*:00"),
        ("*:45,0,15,30", "*-*-* *:00,15,30,45:00"),
        ("*:3..9,5,0", "*-*-* *:00,03..09:00"),
        ("*:0..59/15,7", "*-*-* *:00/15,07:00"),
        ("*:55/9", "*-*-* *:55:00"),
        ("8..18:00:30", "*-*-* 08..18:00:30"),
        ("5-1", "*-05-01 00:00:00"),
        ("26-5-1", "2026-05-01 00:00:00"),
        ("99-5-1", "1999-05-01 00:00:00"),
        ("2026/2-1-1", "2026/2-01-01 00:00:00"),
        ("2026..2030/3-1-1", "2026..2029/3-01-01 00:00:00"),
        ("*-1..12-1..31", "*-*-* 00:00:00"),
        ("*-*~1", "*-*~01 00:00:00"),
        ("02~03", "*-02~03 00:00:00"),
        ("*-*~7/2", "*-*~01..07/2 00:00:00"),
        ("*-*~1..6/2", "*-*~01..05/2 00:00:00"),
        ("*-*~*", "*-*-* 00:00:00"),
        ("Daily", "*-*-* 00:00:00"),
        ("weekly Europe/Berlin", "Mon *-*-* 00:00:00"),
    ],
)
def test_an_expression_has_a_normal_form_that_means_the_same(text: str, normal: str) -> None:
    expression = read_calendar(text)
    again = read_calendar(normal)
    assert (expression.normal, again.normal) == (normal, normal)
    assert (again.days, again.months, again.years) == (expression.days, expression.months, expression.years)
    assert (again.hours, again.minutes, again.seconds) == (expression.hours, expression.minutes, expression.seconds)
    assert again.rolling == expression.rolling


@pytest.mark.parametrize("word", SHORTHANDS)
def test_a_shorthand_stands_for_an_expression_in_normal_form(word: str) -> None:
    assert read_calendar(word).normal == read_calendar(SHORTHANDS[word]).normal == SHORTHANDS[word]


def test_weekdays_date_and_time_must_all_match() -> None:
    expression = read_calendar("Mon..Fri *-1,7-1..7 8,20:30")
    assert expression.days == weekdays(MON_TO_FRI) & days_of_month(frozenset(range(1, 8)))
    assert (expression.months, expression.years) == (1 << 1 | 1 << 7, None)
    assert (expression.hours, expression.minutes, expression.seconds) == ((8, 20), (30,), (0,))


def test_days_after_a_tilde_count_from_the_end_of_the_month() -> None:
    assert read_calendar("*-*~1,3").days == days_from_end(frozenset({1, 3}))
    assert read_calendar("*-*~7/2").days == days_from_end(frozenset({1, 3, 5, 7}))


@pytest.mark.parametrize("text", ["07:00 America/New_York", "Mon America/New_York", "daily America/New_York "])
def test_the_last_word_is_the_zone(text: str) -> None:
    assert read_calendar(text).zone == "America/New_York"


@pytest.mark.parametrize(
    ("text", "rolling"),
    [
        ("*:00", True),
        ("2:*", True),
        ("2:0/10", True),
        ("8..18/2:00", True),
        ("hourly", True),
        ("2:0,10,20", False),
        ("8..18:00", False),
        ("2:55/9", False),
        ("2:00:0/10", False),
        ("daily", False),
    ],
)
def test_an_expression_rolls_if_its_hour_or_minute_repeats(text: str, rolling: bool) -> None:
    assert read_calendar(text).rolling is rolling


@pytest.mark.parametrize(
    ("text", "normal", "days", "start", "end"),
    [
        ("Mon..Fri 08:00..18:00", "Mon..Fri 08:00..18:00", MON_TO_FRI, 8 * HOUR_S, 18 * HOUR_S),
        ("8:00..18:30:15", "08:00..18:30:15", frozenset(range(7)), 8 * HOUR_S, 18 * HOUR_S + 1815),
        ("Fri 22:00..06:00", "Fri 22:00..06:00", {4}, 22 * HOUR_S, 30 * HOUR_S),
        ("18:00..24:00", "18:00..24:00", frozenset(range(7)), 18 * HOUR_S, 24 * HOUR_S),
        ("18:00..0:00", "18:00..00:00", frozenset(range(7)), 18 * HOUR_S, 24 * HOUR_S),
        ("Sat,Sun", "Sat,Sun 00:00..24:00", {5, 6}, 0, 24 * HOUR_S),
    ],
)
def test_a_window_is_a_range_of_time_on_weekdays(text: str, normal: str, days: object, start: int, end: int) -> None:
    window = read_window(text)
    assert (window.normal, window.weekdays, window.start, window.end) == (normal, days, start, end)
    assert read_window(normal) == window


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("Sat..Sun", "Sat,Sun"),
        ("*-12-25..26", "*-12-25,26"),
        ("12-25", "*-12-25"),
        ("2026-04-03", "2026-04-03"),
        ("Mon *-*~7/1", "Mon *-*~01..07"),
        ("*-*-*", "*-*-*"),
    ],
)
def test_dates_of_a_days_stanza_have_neither_time_nor_zone(text: str, normal: str) -> None:
    dates = read_dates(text)
    assert dates.normal == normal
    assert read_dates(normal) == dates


def test_a_plain_date_means_the_same_without_the_parser() -> None:
    for year, month, day in product((1970, 2028, 9999), range(1, 13), range(1, 32)):
        assert read_dates(f"{year}-{month:02}-{day:02}") == read_dates(f"{year}-{month},{month}-{day}")


@pytest.mark.parametrize("text", ["1969-12-31", "2027-00-01", "2027-13-01", "2027-01-00", "2027-01-32"])
def test_a_plain_date_out_of_range_is_reported_at_its_number(text: str) -> None:
    with pytest.raises(InvalidValue, match="is out of range") as raised:
        read_dates(text)
    assert raised.value.span is not None
    assert text[slice(*raised.value.span)] in ("1969", "00", "13", "32")


def test_a_plain_date_needs_no_parser() -> None:
    """A list may have 10,000 of them, and the deciding thread reads it."""
    plain, other = "2027-03-26", "2027-3-26"
    read_dates.cache_clear()
    assert read_dates(plain) == read_dates(other)
    read_dates.cache_clear()
    assert 10 * calls(lambda: read_dates(plain)) < calls(lambda: read_dates(other))


def test_dates_are_days_months_and_years() -> None:
    assert read_dates("*-*-*").days == EVERY_DAY
    dates = read_dates("2026..2028-12-24")
    assert (dates.days, dates.months, dates.years) == (
        days_of_month(frozenset({24})),
        1 << 12,
        frozenset({2026, 2027, 2028}),
    )
    assert (read_dates("Sat..Sun").months, read_dates("Sat..Sun").years) == (ALL_MONTHS, None)
