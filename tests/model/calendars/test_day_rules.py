"""`each`, `only`, `except`, `move`, `nth` and `within`, compared with a walk through all days."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from dateutil import rrule

from schedappliance.model.calendars.compiling import Calendars, calendar_of
from schedappliance.model.calendars.day_lists import DayList
from schedappliance.model.calendars.day_sets import DaySearch
from schedappliance.model.calendars.oncalendar import read_dates
from schedappliance.model.calendars.rule import CalendarRule
from schedappliance.model.calendars.zones import Zones, this_machine
from tests.model.calendars import day_rules
from tests.model.calendars.due_times import backward, forward
from tests.support.random_seeds import few_and_many_seeds

ZONES = Zones(this_machine())
DAYS = {
    name: DayList(tuple(map(read_dates, texts)))
    for name, texts in {
        "weekend": ["Sat..Sun"],
        "holidays": ["*-01-01", "*-12-25..26", "2027-03-26", "2027-03-29"],
        "summer": ["*-06..08-*"],
        "closed": ["*-02-01..20", "2028-*-*"],
    }.items()
}
MEMBERS: dict[str, Callable[[date], bool]] = {
    "weekend": lambda day: day.weekday() >= 5,
    "holidays": lambda day: (
        (day.month, day.day) in ((1, 1), (12, 25), (12, 26)) or day in (date(2027, 3, 26), date(2027, 3, 29))
    ),
    "summer": lambda day: day.month in (6, 7, 8),
    "closed": lambda day: (day.month == 2 and day.day <= 20) or day.year == 2028,
}
EXPRESSIONS: dict[str, Callable[[date], bool]] = {
    "*-*-* 12:00": lambda _: True,
    "Mon *-*-* 12:00": lambda day: day.weekday() == 0,
    "*-*-1,15 12:00": lambda day: day.day in (1, 15),
    "*-*~1 12:00": lambda day: (day + timedelta(days=1)).day == 1,
    "*-12-20..31 12:00": lambda day: day.month == 12 and day.day >= 20,
    "2026,2028-*-5 12:00": lambda day: day.year in (2026, 2028) and day.day == 5,
}
# A long margin, so that moves from outside are seen.
MARGIN = timedelta(days=400)
START, END = date(2026, 1, 1), date(2029, 1, 1)


def _seconds(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def _random_rule(random: Random) -> CalendarRule:
    from_day = date(2026, 1, 1) + timedelta(days=random.randrange(-900, 200))
    names = [[], [], ["weekend"], ["holidays"], ["weekend", "holidays"], ["closed"]]
    options: dict[str, Any] = {
        "excluded": tuple(random.choice(names)),
        "only": random.choice(((), (), ("summer",), ("summer", "weekend"))),
        "move": random.choice((None, "next", "previous", "nearest")),
        "nth": random.choice(((), (), (1,), (3, -1), (2, 2, -2, 40))),
    }
    if random.random() < 0.5:
        options["each"] = (random.choice((1, 2, 3, 5)), random.choice(("d", "w", "mo", "y")))
        options["from_ms"] = _seconds(from_day) * 1000
    chosen = random.sample(sorted(EXPRESSIONS), random.choice((1, 1, 2)))
    return CalendarRule(syntax="calendar", expressions=tuple(chosen), zone="UTC", **options)


def _expected(rule: CalendarRule) -> set[date]:
    def left(day: date) -> bool:
        among = not rule.only or any(MEMBERS[name](day) for name in rule.only)
        return among and not any(MEMBERS[name](day) for name in rule.excluded)

    every_day = [START - MARGIN + timedelta(days=n) for n in range((END - START + 2 * MARGIN).days)]
    due: set[date] = set()
    for text in rule.expressions:
        days = {day for day in every_day if EXPRESSIONS[text](day)}
        if rule.each and rule.from_ms is not None:
            days = day_rules.every_nth(days, *rule.each, datetime.fromtimestamp(rule.from_ms // 1000, UTC).date())
        due |= day_rules.moved(days, left, rule.move)
    if rule.nth:
        due = day_rules.nth_in_month(due, rule.nth)
    first = 0 if rule.from_ms is None else rule.from_ms // 1000
    return {day for day in due if START <= day < END and _seconds(day) + 43_200 >= first}


@few_and_many_seeds(30, 100)
def test_rules_about_days(seeds: range) -> None:
    for seed in seeds:
        rule = _random_rule(Random(seed))
        calendar = calendar_of(rule, ZONES, DAYS)
        due = [_seconds(day) + 43_200 for day in sorted(_expected(rule))]
        start, end = _seconds(START), _seconds(END)
        assert forward(calendar, start, end) == due, (seed, rule)
        assert backward(calendar, start, end) == due, (seed, rule)
        assert calendar.count(start * 1000, end * 1000 - 1) == len(due), (seed, rule)


FREQUENCIES = {"d": rrule.DAILY, "w": rrule.WEEKLY, "mo": rrule.MONTHLY, "y": rrule.YEARLY}


@pytest.mark.parametrize("unit", FREQUENCIES)
@pytest.mark.parametrize("number", [1, 2, 3, 7, 13])
def test_each_as_dateutil(number: int, unit: Any) -> None:
    since = datetime(2026, 1, 7, 9, tzinfo=UTC)
    text = {"d": "09:00", "w": "Tue,Thu 09:00", "mo": "*-*-3,29 09:00", "y": "*-02,05-29 09:00"}[unit]
    by_unit: dict[str, dict[str, Any]] = {
        "d": {},
        "w": {"byweekday": (rrule.TU, rrule.TH)},
        "mo": {"bymonthday": (3, 29)},
        "y": {"bymonth": (2, 5), "bymonthday": 29},
    }
    expected = rrule.rrule(FREQUENCIES[unit], interval=number, dtstart=since, wkst=rrule.MO, count=200, **by_unit[unit])
    from_ms = int(since.timestamp()) * 1000
    rule = CalendarRule(syntax="calendar", expressions=(text,), zone="UTC", each=(number, unit), from_ms=from_ms)
    calendar = calendar_of(rule, ZONES, {})
    due, instant = [], from_ms - 1
    for _ in range(200):
        following = calendar.next_after(instant)
        assert following is not None
        due.append(datetime.fromtimestamp(following // 1000, UTC))
        instant = following
    assert due == list(expected)


@pytest.mark.parametrize(("number", "unit"), [(7, "y"), (5, "mo"), (11, "mo"), (13, "w"), (97, "d")])
def test_each_over_days_that_come_once_in_years(number: int, unit: Any) -> None:
    """Mondays that are the 29th of February: the search leaves out the months that have none."""
    start = date(2016, 2, 29)
    leap_days = [date(year, 2, 29) for year in range(2016, 9999) if year % 4 == 0 and (year % 100 or not year % 400)]
    due = day_rules.every_nth({day for day in leap_days if day.weekday() == 0}, number, unit, start)
    from_ms = _seconds(start) * 1000
    rule = CalendarRule(
        syntax="cron", expressions=("0 12 29 2 +MON",), zone="UTC", each=(number, unit), from_ms=from_ms
    )
    calendar = calendar_of(rule, ZONES, {})
    instant: int | None = from_ms
    for day in [*sorted(due), None]:
        assert instant is not None
        instant = calendar.next_after(instant)
        assert instant == (None if day is None else (_seconds(day) + 43_200) * 1000)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "America/New_York", "Pacific/Auckland"])
@pytest.mark.parametrize("each", [(2, "y"), (5, "mo"), (2, "w"), (7, "d")], ids=str)
def test_each_without_from_counts_from_1970_in_every_zone(zone: str, each: tuple[int, Any]) -> None:
    """West of Greenwich, 1970 begins after the instant 0."""
    rule = CalendarRule(syntax="calendar", expressions=("13:00",), zone=zone, each=each)
    calendar = calendar_of(rule, ZONES, {})
    every_day = {date(1970, 1, 1) + timedelta(days=number) for number in range(4000)}
    instant = 0
    for day in sorted(day_rules.every_nth(every_day, *each, date(1970, 1, 1)))[:100]:
        following = calendar.next_after(instant)
        assert following is not None
        instant = following
        assert datetime.fromtimestamp(instant // 1000, ZoneInfo(zone)).date() == day


def test_a_move_over_months() -> None:
    """`only` with few days: what is due in winter moves to the first day of summer."""
    rule = CalendarRule(syntax="calendar", expressions=("*-12-24 12:00",), zone="UTC", only=("summer",), move="next")
    calendar = calendar_of(rule, ZONES, DAYS)
    assert calendar.next_after(_seconds(date(2026, 1, 1)) * 1000) == (_seconds(date(2026, 6, 1)) + 43_200) * 1000


def test_a_calendar_that_ends_is_quickly_known_to_have_ended() -> None:
    rule = CalendarRule(
        syntax="calendar", expressions=("2026-12-26 12:00",), zone="UTC", excluded=("weekend", "holidays"), move="next"
    )
    calendar = calendar_of(rule, ZONES, DAYS)
    last = (_seconds(date(2026, 12, 28)) + 43_200) * 1000
    assert calendar.next_after(0) == last
    assert calendar.next_after(last) is None
    assert calendar.latest(last + 10**12) == last


def test_jobs_with_the_same_moves_share_their_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """150 jobs that are next due in 2044 took 3 s together: each month was searched at each weekend, and twice for each job."""
    searches = 0

    def counted(search: Callable[..., int | None]) -> Callable[..., int | None]:
        def count(*arguments: Any) -> int | None:
            nonlocal searches
            searches += 1
            return search(*arguments)

        return count

    for name in ("first_from", "last_to"):
        monkeypatch.setattr(DaySearch, name, counted(getattr(DaySearch, name)))
    calendars = Calendars(ZONES, DAYS)
    options: dict[str, Any] = {"zone": "UTC", "only": ("weekend",), "move": "nearest"}
    for number in range(150):
        nth, text = (number % 3 + 1, -1), f"Mon *-02-29 12:{number // 60:02}:{number % 60:02}"
        rule = CalendarRule(syntax="calendar", expressions=(text,), nth=nth, **options)
        due = calendars.get(rule.text(DAYS)).next_after(_seconds(date(2026, 12, 1)) * 1000)
        assert due == (_seconds(date(2044, 2, 28)) + 43_200 + number) * 1000
    # In each of the 207 months, what is before the first weekend and after the last one.
    assert searches < 207 * 5 + 150 * 5
