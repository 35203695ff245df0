"""Doubts about valid expressions: each is about the right part, and ordinary expressions cause none."""

from __future__ import annotations

import re
from random import Random

import pytest

from schedappliance.diagnostics import Span
from schedappliance.model.calendars.clock_changes import FIXED, ROLLING, ClockRule
from schedappliance.model.calendars.compiling import calendar_of_expression
from schedappliance.model.calendars.cron import read_cron
from schedappliance.model.calendars.doubts import (
    Doubt,
    calendar_doubts,
    clock_doubts,
    cron_doubts,
    dates_doubts,
    delay_doubts,
    never_due,
    past_doubts,
    shortest_distance,
    unknown_zone,
)
from schedappliance.model.calendars.oncalendar import read_calendar, read_dates
from schedappliance.model.calendars.zones import UnknownZone, Zones, this_machine
from schedappliance.syntax.expressions import is_cron_form
from tests.model.calendars.random_expressions import random_cron

ZONES = Zones(this_machine())
NOW_S = 1_798_761_600  # 2027-01-01


def shown(text: str, doubts: list[Doubt]) -> list[tuple[str, str]]:
    return [(doubt.code, text[doubt.span.start : doubt.span.end]) for doubt in doubts]


@pytest.mark.parametrize("seeds", [range(300), pytest.param(range(300, 1500), marks=pytest.mark.slow)])
def test_an_expression_without_doubts_at_first_sight_has_none(seeds: range, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [random_cron(Random(seed)) for seed in seeds]
    at_first_sight = [cron_doubts(text) for text in texts]
    monkeypatch.setattr("schedappliance.model.calendars.doubts._PLAIN", re.compile(r"(?!)"))
    assert at_first_sight == [cron_doubts(text) for text in texts]


@pytest.mark.parametrize(
    ("text", "doubts"),
    [
        ("0 0 1 * MON", [("W414", "1 * MON")]),
        ("0 0 */2 * MON", [("W414", "*/2 * MON")]),
        ("0 0 1 * */2", [("W414", "1 * */2")]),
        ("*/35 * * * *", [("W416", "*/35")]),
        ("5/25 * * * *", [("W416", "5/25")]),
        ("*/60 * * * *", [("W416", "*/60")]),
        ("50-55/10 * * * *", [("W416", "50-55/10")]),
        ("0 */5 * * *", [("W416", "*/5")]),
        ("0 0 */2 * *", [("W416", "*/2")]),
        ("0 0 * * */2", [("W416", "*/2")]),
        ("0 0 1 */5 *", [("W416", "*/5")]),
        ("*/15 * * * * *", [("W417", "*/15")]),
        ("0,30 * * * * *", [("W417", "0,30")]),
        ("0 0 9 ? * 2", [("W418", "2")]),
        ("0 9 ? * 2", [("W418", "2")]),
        ("0 0 9 * * 6L 2030", [("W418", "6L")]),
        ("0 0 31 * *", [("W421", "31")]),
        ("0 0 29 2 *", [("W421", "29")]),
        ("0 0 5,30 * *", [("W421", "30")]),
    ],
)
def test_a_doubtful_cron_expression(text: str, doubts: list[tuple[str, str]]) -> None:
    assert shown(text, cron_doubts(text)) == doubts


@pytest.mark.parametrize(
    "text",
    [
        "30 2 * * 1-5",
        "*/15 * * * *",
        "0 8-18/3 * * *",
        "7-59/10 * * * *",
        "~/7 * * * *",
        "0 0 1 * +MON",
        "0 0 */2 * +SUN",
        "0 0 1 * ?",
        "0 0 * * MON",
        "0 0 28-31 * *",
        "0 0 31 1,3,5 *",
        "0 0 L * *",
        "0 */10 * * * *",
        "30 0 9 ? * MON",
        "0 0 0 1 1 * 2026/2",
        "@daily",
        "TZ=Asia/Tokyo @weekly",
    ],
)
def test_an_ordinary_cron_expression_causes_no_doubt(text: str) -> None:
    assert cron_doubts(text) == []


@pytest.mark.parametrize(
    ("text", "doubts"),
    [
        ("*:0/35", [("W416", "0/35")]),
        ("*:55/9", [("W416", "55/9")]),
        ("*-*-1/2", [("W416", "1/2")]),
        ("*-1/5-1", [("W416", "1/5")]),
        ("*-*-31", [("W421", "31")]),
        ("2-29", [("W421", "29")]),
        ("Mon..Fri 08:00..18:00", [("W424", "08:00..18:00")]),
        ("8:00..18:00/30", [("W424", "8:00..18:00/30")]),
        ("08:00..18", []),
        ("08:15..30:00", []),
        ("08..18:00:00", []),
        ("08:00,18:00", []),
        ("*:00..05:00", []),
        ("*:*:*", []),
        ("*:0/15", []),
        ("*-*~1", []),
        ("*-*~31/2", []),
        ("Sun *-*-1/2", []),
        ("*-*-1..7/2", []),
        ("2026/3-1-1", []),
        ("Mon..Fri 7:00", []),
        ("daily", []),
    ],
)
def test_doubts_about_calendar_expressions(text: str, doubts: list[tuple[str, str]]) -> None:
    assert shown(text, calendar_doubts(text)) == doubts


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("0 0 */2 * *", "`0 0 * * *` with `each = 2d` and `from` keeps every second day"),
        ("0 9 1-31/7 * ?", "`0 9 * * ?` with `each = 7d` and `from` keeps every 7th day"),
        ("0 0 1 */5 *", "`0 0 1 * *` with `each = 5mo` and `from` keeps every fifth month"),
        ("0 0 */2,31 * *", "write the numbers as a list"),
        ("0 0 * * */2", "write the numbers as a list"),
        ("*/35 * * * *", "`every = 35m` in place of the expression has equal distances"),
        ("*/7 8-18 * * MON-FRI", "`every = 7m` with `within` for the hours and weekdays has equal distances"),
        ("Mon *:0/7", "`every = 7m` with `within` for the hours and weekdays has equal distances"),
        ("30 */5 * * *", "`every = 5h` in place of the expression has equal distances"),
        ("0,30 */5 * * *", "write the numbers as a list"),
        ("*/7 * 1 * *", "write the numbers as a list"),
        ("*/7 * * 6 *", "write the numbers as a list"),
        ("*/35 30 * * * *", "write the numbers as a list"),
        ("*-*-1/7 09:00", "`*-*-* 09:00` with `each = 7d` and `from` keeps every 7th day"),
        ("*-1/5-1", "`*-*-1` with `each = 5mo` and `from` keeps every fifth month"),
    ],
)
def test_the_remedy_of_an_uneven_step_replaces_the_step(text: str, remedy: str) -> None:
    doubts = cron_doubts(text) if is_cron_form(text) else calendar_doubts(text)
    (uneven,) = [doubt for doubt in doubts if doubt.code == "W416"]
    assert uneven.remedy == remedy


LATER = "give later times, or remove the job"
BOTH = ClockRule("run", "both")
OMIT = ClockRule("omit", "first")


@pytest.mark.parametrize(
    ("text", "rule", "zone", "message"),
    [
        (
            "*/10 2 * * *",
            ROLLING,
            "Europe/Berlin",
            "on 2027-03-28 it is not due at all: the clock skips 02:00 to 03:00",
        ),
        ("30 2 * * *", OMIT, "America/New_York", "on 2027-03-14 it is not due at all: the clock skips 02:00 to 03:00"),
        (
            "15 2 * * *",
            OMIT,
            "Australia/Lord_Howe",
            "on 2027-10-03 it is not due at all: the clock skips 02:00 to 02:30",
        ),
        ("30 2 * * *", BOTH, "Europe/Berlin", "on 2027-10-31 it is due twice: the clock shows 02:00 to 03:00 twice"),
    ],
)
def test_a_clock_change_takes_or_doubles_due_times(text: str, rule: ClockRule, zone: str, message: str) -> None:
    (doubt,) = clock_doubts(read_cron(text), rule, ZONES.get(zone), ZONES, NOW_S, Span(0, len(text)))
    assert (doubt.code, doubt.message, doubt.span) == ("W415", message, Span(0, len(text)))


@pytest.mark.parametrize(
    ("text", "rule", "zone"),
    [
        ("30 2 * * *", FIXED, "Europe/Berlin"),
        ("*/10 * * * *", ROLLING, "Europe/Berlin"),
        ("*/10 2,4 * * *", ROLLING, "Europe/Berlin"),
        ("*/10 2 * * *", ROLLING, "Asia/Tokyo"),
        ("*/10 2 * * MON", ROLLING, "Europe/Berlin"),
        ("30 3 * * *", BOTH, "Europe/Berlin"),
    ],
)
def test_a_clock_change_causes_no_doubt(text: str, rule: ClockRule, zone: str) -> None:
    assert clock_doubts(read_cron(text), rule, ZONES.get(zone), ZONES, NOW_S, Span(0, 1)) == []


@pytest.mark.parametrize(
    ("text", "tried"),
    [("*-02-30", "February"), ("*-2,4-31", "February or April")],
)
def test_what_is_never_due_names_the_months_that_were_tried(text: str, tried: str) -> None:
    doubt = never_due(read_calendar(text), Span(0, len(text)))
    assert (doubt.code, doubt.message) == ("E214", f"never due: no {tried} has such a day")


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("9999-12-31", "choose other years or days; the last day is 9999-12-30"),
        ("2026-02-30", "choose other years or days"),
    ],
)
def test_what_is_never_due_in_its_years_names_the_last_day(text: str, remedy: str) -> None:
    assert never_due(read_calendar(text), Span(0, len(text))).remedy == remedy


def test_an_unknown_zone_has_a_suggestion() -> None:
    doubt = unknown_zone(UnknownZone("Europe/Berln", "it is not there"), ZONES, Span(0, 12))
    assert doubt == Doubt("E213", "unknown time zone `Europe/Berln`", "did you mean `Europe/Berlin`?", Span(0, 12))
    for name, remedy in (
        ("utc", "did you mean `UTC`?"),
        ("UTC+1", "write a place, or the offset with the opposite sign: `Etc/GMT-1`"),
        ("GMT-05:00", "write a place, or the offset with the opposite sign: `Etc/GMT+5`"),
        ("CET+1", "write a name such as `Europe/Berlin`, `UTC` or `local`"),
        ("MEZ", "write a name such as `Europe/Berlin`, `UTC` or `local`"),
    ):
        assert unknown_zone(UnknownZone(name, "it is not there"), ZONES, Span(0, 1)).remedy == remedy
    assert "/etc/localtime" in unknown_zone(UnknownZone("local", "it is not there"), ZONES, Span(0, 5)).remedy


@pytest.mark.parametrize(
    ("text", "shortest_s"),
    [("*/15 * * * *", 900), ("*/35 * * * *", 1500), ("0 9,17 * * *", 8 * 3600), ("0 0 0 1 1 * 2030", None)],
)
def test_the_shortest_distance_of_due_times_is_found(text: str, shortest_s: int | None) -> None:
    calendar = calendar_of_expression(read_cron(text), "UTC", ZONES)
    shortest_ms = shortest_distance(calendar, NOW_S * 1000)
    assert shortest_ms == (None if shortest_s is None else shortest_s * 1000)


def test_a_delay_as_long_as_the_shortest_distance_is_doubtful() -> None:
    calendar = calendar_of_expression(read_cron("*/15 * * * *"), "UTC", ZONES)
    assert delay_doubts("spread", 899_999, calendar, NOW_S * 1000, Span(0, 3)) == []
    message = "`spread` is as long as the distance between two due times (15m)"
    doubts = delay_doubts("spread", 900_000, calendar, NOW_S * 1000, Span(0, 3))
    assert doubts == [Doubt("W420", message, "choose a shorter delay", Span(0, 3))]


@pytest.mark.parametrize(("text", "last"), [("2020-01-01", "2020-01-01T00:00:00+00:00"), ("2020..2030-01-01", None)])
def test_an_expression_whose_due_times_have_passed_is_doubtful(text: str, last: str | None) -> None:
    calendar = calendar_of_expression(read_calendar(text), "UTC", ZONES)
    doubts = [Doubt("W423", f"it is not due any more: its last due time was {last}", LATER, Span(0, 3))] if last else []
    assert past_doubts(calendar, NOW_S * 1000, Span(0, 3)) == doubts


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (["2027-03-31"], "the dates of `holidays` end on 2027-03-31"),
        (["2026-12-25", "2026-04-03"], "the dates of `holidays` ended on 2026-12-25"),
        (["Mon 2025..2026-*-1..7"], "the dates of `holidays` ended on 2026-12-07"),
        (["2027-04-01"], None),
        (["2026-12-25", "*-01-01"], None),
        (["2026-12-25", "2028-12-25"], None),
        ([], None),
    ],
)
def test_dates_that_run_out_are_doubtful(entries: list[str], message: str | None) -> None:
    doubts = dates_doubts("holidays", [read_dates(entry) for entry in entries], NOW_S, Span(5, 13))
    assert [(doubt.code, doubt.message, doubt.span) for doubt in doubts] == (
        [("W419", message, Span(5, 13))] if message else []
    )
