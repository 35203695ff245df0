"""Calendars as a whole: laws of the three questions, lists, windows, bounds, delays, and when nothing is ever due."""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from schedappliance.model.calendars.calendar import Calendar
from schedappliance.model.calendars.compiling import Calendars, calendar_of
from schedappliance.model.calendars.day_lists import DayList
from schedappliance.model.calendars.oncalendar import read_dates
from schedappliance.model.calendars.questions import Joined
from schedappliance.model.calendars.rule import CalendarRule
from schedappliance.model.calendars.zones import UnknownZone, Zones, this_machine
from tests.model.calendars.due_times import backward, forward
from tests.support.random_seeds import few_and_many_seeds

ZONES = Zones(this_machine())
DAYS = {
    "weekend": DayList((read_dates("Sat..Sun"),)),
    "holidays": DayList((read_dates("*-01-01"), read_dates("*-12-25..26"))),
}
BERLIN = ZoneInfo("Europe/Berlin")
YEAR = 366 * 86_400_000


def calendar(*expressions: str, **options: Any) -> Calendar:
    options = {"syntax": "calendar", "zone": "Europe/Berlin", **options}
    return calendar_of(CalendarRule(expressions=expressions, **options), ZONES, DAYS)


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) * 1000


def texts(due: list[int]) -> list[str]:
    return [datetime.fromtimestamp(instant, BERLIN).isoformat() for instant in due]


EXPRESSIONS = (
    "*:0/20",
    "02:30",
    "Mon..Fri 08..18:00",
    "*-*~1 23:59:59",
    "00:00 America/New_York",
    "*-*-* 1..3:*:0/30",
    "2:30 UTC",
)
OPTIONS: tuple[dict[str, Any], ...] = (
    {},
    {"within": ("Mon..Fri 22:00..02:45", "Sun 02:00..03:30")},
    {"excluded": ("weekend",), "move": "nearest"},
    {"nth": (1, -1)},
    {"from_ms": ms("2026-10-01T00:00:00+02:00"), "until_ms": ms("2027-04-10T12:00:00+02:00")},
    {"from_day": 20_727, "until_day": 20_918},
    {"from_day": 20_750, "each": (3, "d")},
    {"spread": 3600},
    {"jitter": 1000},
    {"spread": 100, "jitter": 50, "dst_skipped": "shift", "dst_repeated": "last"},
)


def _random_calendar(random: Random) -> Calendar:
    chosen = random.sample(EXPRESSIONS, random.choice((1, 1, 2, 3)))
    return calendar(*chosen, **random.choice(OPTIONS), seed=str(random.random()))


@few_and_many_seeds(60, 240)
def test_laws_of_the_three_questions(seeds: range) -> None:
    for seed in seeds:
        random = Random(seed)
        one = _random_calendar(random)
        night = random.choice((ms("2026-10-25T01:00:00Z"), ms("2027-03-28T01:00:00Z"), ms("2026-12-31T23:00:00Z")))
        start = night - random.randrange(100_000_000)
        middle, end = sorted(random.randrange(start, start + 200_000_000) for _ in range(2))
        due = [instant * 1000 for instant in forward(one, -(-start // 1000), -(-end // 1000))]
        assert due == sorted(set(due)), seed
        assert due == [instant * 1000 for instant in backward(one, -(-start // 1000), -(-end // 1000))], seed
        assert one.count(start, end - 1) == len(due), seed
        assert one.count(start, middle - 1) + one.count(middle, end) == one.count(start, end), seed
        for instant in random.sample(due, min(len(due), 20)):
            assert one.latest(instant) == instant == one.next_after(instant - 1), seed
            explained = one.explain(instant)
            assert explained is not None and explained.due_ms == instant, seed


@pytest.mark.parametrize("seed", range(40))
def test_a_list_is_the_union_of_its_expressions(seed: int) -> None:
    random = Random(seed)
    chosen = random.sample(EXPRESSIONS, random.choice((2, 3, 4)))
    start = random.choice((ms("2026-10-23T00:00:00Z"), ms("2027-03-26T00:00:00Z"))) // 1000
    end = start + 4 * 86_400
    single = [set(forward(calendar(one), start, end)) for one in chosen]
    together = calendar(*chosen)
    assert forward(together, start, end) == sorted(set.union(*single))
    assert together.count(start * 1000, end * 1000 - 1) == len(set.union(*single))


def test_windows_leave_out_what_is_outside() -> None:
    start, end = ms("2026-11-02T00:00:00+01:00") // 1000, ms("2026-11-30T00:00:00+01:00") // 1000
    due = forward(calendar("*:0/20", "17:59:59", within=("Mon..Fri 08:10..18:00", "Sat 23:00..01:00")), start, end)

    def is_open(instant: int) -> bool:
        local = datetime.fromtimestamp(instant, BERLIN)
        time = (local.hour, local.minute)
        night = (local.weekday() == 5 and time >= (23, 0)) or (local.weekday() == 6 and time < (1, 0))
        return (local.weekday() < 5 and (8, 10) <= time < (18, 0)) or night

    assert due == [instant for instant in forward(calendar("*:0/20", "17:59:59"), start, end) if is_open(instant)]


def test_equal_times_of_a_list_are_one() -> None:
    both = calendar("02:30", "*-*-1 02:30", "02:45")
    assert both.count(ms("2026-06-01T00:00:00Z"), ms("2026-06-10T22:00:00Z")) == 20


def test_equal_instants_of_two_zones_are_one() -> None:
    both = calendar("18:00", "12:00 America/New_York")
    start, end = ms("2027-01-01T00:00:00Z"), ms("2028-01-01T00:00:00Z")
    # The clocks are changed on other nights there, so the two are apart for two weeks and one.
    assert both.count(start, end) == 365 + 14 + 7 == len(forward(both, start // 1000, end // 1000))


ZONES_OF_A_LIST = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "UTC", "Asia/Tokyo")
TIMES_OF_A_LIST = ("09:00", "02:30", "Mon..Fri 00:00", "*-*-1 18:00,30", "03:00", "Sun 02:15", "23:59:59", "0/7:30")


@pytest.mark.parametrize("skipped", ["run", "shift", "omit"])
@pytest.mark.parametrize("repeated", ["first", "last", "both"])
@few_and_many_seeds(6, 20)
def test_a_list_over_several_zones_counts_each_instant_once(skipped: str, repeated: str, seeds: range) -> None:
    for seed in seeds:
        random = Random(seed)
        zones = random.sample(ZONES_OF_A_LIST, random.choice((2, 3)))
        texts = [f"{random.choice(TIMES_OF_A_LIST)} {zone}" for zone in zones]
        one = calendar(*texts, dst_skipped=skipped, dst_repeated=repeated)
        start = ms("2027-01-01T00:00:00Z") + random.randrange(300 * 86_400) * 1000
        end = start + random.randrange(500 * 86_400) * 1000
        due = forward(one, start // 1000, end // 1000)
        assert one.count(start, end - 1) == len(due), (seed, texts)


def test_a_list_over_several_zones_is_not_counted_day_by_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten years of two fixed times take a few milliseconds: only the hours after a gap are looked at."""
    seconds, looked = Joined.seconds, []

    def counted(joined: Joined, start: int, end: int) -> int:
        looked.append(start)
        return seconds(joined, start, end)

    monkeypatch.setattr(Joined, "seconds", counted)
    both = calendar("09:00", "09:00 America/New_York")
    assert both.count(ms("2017-01-01T00:00:00Z"), ms("2027-01-01T00:00:00Z") - 1) == 2 * 3652
    assert len(looked) < 50


@few_and_many_seeds(4, 20)
def test_rolling_lists_over_several_zones_are_counted_by_stretches(
    seeds: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in seeds:
        random = Random(seed)
        zones = random.sample(ZONES_OF_A_LIST, random.choice((2, 3)))
        one = calendar(*(f"{random.choice(('*:00', '0/5:10/20', '*:0/45'))} {zone}" for zone in zones))
        start = ms("2027-01-01T00:00:00Z") + random.randrange(300 * 86_400) * 1000
        end = start + random.randrange(300 * 86_400) * 1000
        due = forward(one, start // 1000, end // 1000)
        with monkeypatch.context() as patch:
            patch.delattr(Joined, "seconds")
            assert one.count(start, end - 1) == len(due), (seed, zones)


def test_windows_over_midnight_belong_to_the_day_that_begins_them() -> None:
    one = calendar("*:00", within=("Fri 22:00..02:00",))
    due = texts(forward(one, ms("2026-11-02T00:00:00+01:00") // 1000, ms("2026-11-09T00:00:00+01:00") // 1000))
    assert due == [
        "2026-11-06T22:00:00+01:00",
        "2026-11-06T23:00:00+01:00",
        "2026-11-07T00:00:00+01:00",
        "2026-11-07T01:00:00+01:00",
    ]


def test_bounds_are_included() -> None:
    noon = calendar("12:00", from_ms=ms("2026-05-01T10:00:00Z"), until_ms=ms("2026-05-03T10:00:00Z"))
    assert texts(forward(noon, 0, 2**32)) == [f"2026-05-0{day}T12:00:00+02:00" for day in (1, 2, 3)]
    assert noon.count(0, 2**42) == 3
    assert noon.latest(ms("2026-05-01T09:59:59Z")) is None


def test_spread_moves_all_due_times_alike() -> None:
    delays = {
        (due - ms("2026-05-01T10:00:00Z")) // 1000 % 86_400
        for due in [
            calendar("12:00", spread=1200, seed="a").next_after(ms(f"2026-05-0{n}T00:00:00Z")) or 0 for n in range(1, 9)
        ]
    }
    assert len(delays) == 1 and delays < set(range(1200))
    others = {calendar("12:00", spread=1200, seed=str(n)).next_after(0) for n in range(50)}
    assert len(others) > 40


def test_jitter_differs_for_each_due_time_and_keeps_the_order() -> None:
    plain, jittered = calendar("*:0/5"), calendar("*:0/5", jitter=3600, seed="x")
    start, end = ms("2026-05-01T10:00:00Z") // 1000, ms("2026-05-03T10:00:00Z") // 1000
    nominal, due = forward(plain, start, end), forward(jittered, start, end)
    assert len({instant % 300 for instant in due}) > 100
    assert all(n <= d < n + 300 for n, d in zip(nominal, due, strict=True))


@pytest.mark.parametrize(
    ("expression", "options"),
    [
        ("*-02-30", {}),
        ("*-04,06,09,11-31 12:00", {}),
        ("Mon *-02-29 12:00", {"within": ("Tue..Sun 00:00..24:00",)}),
        ("12:00", {"within": ("13:00..14:00",)}),
        ("Sat..Sun 12:00", {"excluded": ("weekend",)}),
        ("Sat..Sun 12:00", {"excluded": ("weekend",), "only": ("weekend",), "move": "nearest"}),
        ("*-12-25 12:00", {"excluded": ("holidays",)}),
        ("12:00", {"until_ms": ms("2026-01-01T00:00:00Z")}),
        ("2020-*-* 12:00", {}),
        ("Tue 12:00", {"each": (7, "d"), "from_ms": ms("2026-01-05T00:00:00+01:00")}),
        ("*-02-* 12:00", {"nth": (30,)}),
        # The last Sunday of March at 02:30 never comes there.
        ("Sun *-03~1..7 02:30", {"dst_skipped": "omit"}),
        ("Sun *-03-25..31 02:30:00", {"dst_skipped": "omit", "from_ms": ms("2026-01-01T00:00:00Z")}),
    ],
)
def test_never(expression: str, options: dict[str, Any]) -> None:
    assert calendar(expression, **options).next_after(ms("2026-11-28T00:00:00Z")) is None


@pytest.mark.parametrize(
    ("expression", "due"),
    [
        ("Mon *-02-29 00:00", "2044-02-29T00:00:00+01:00"),
        ("9999-*-* 12:00", "9999-01-01T12:00:00+01:00"),
        ("Sun *-03~1..7 02:30", "2027-03-28T03:00:00+02:00"),
    ],
)
def test_seldom(expression: str, due: str) -> None:
    assert calendar(expression).next_after(ms("2026-11-28T00:00:00Z")) == ms(due)


def test_the_last_day_of_9999() -> None:
    every_second = calendar("*:*:*", zone="Pacific/Kiritimati")
    end = int(datetime(9999, 12, 31, tzinfo=UTC).timestamp()) * 1000
    assert every_second.next_after(end - 2000) == end - 1000
    assert every_second.next_after(end - 1000) is None
    assert every_second.latest(end * 10) == end - 1000
    assert every_second.latest(-1) is None
    assert every_second.next_after(-(10**15)) == 0
    # In local time, this is on the day that is left out.
    assert calendar("02:30").next_after(end - 3_600_000) is None


def test_ten_years_of_seconds_are_counted() -> None:
    start, end = ms("2026-01-01T00:00:00+01:00"), ms("2036-01-01T00:00:00+01:00")
    assert calendar("*:*:*").count(start, end - 1) == (end - start) // 1000


@pytest.mark.parametrize(
    ("options", "due", "local", "change"),
    [
        ({}, "2027-03-28T03:00:00+02:00", "2027-03-28T02:30", "skipped"),
        ({"dst_skipped": "shift"}, "2027-03-28T03:30:00+02:00", "2027-03-28T02:30", "skipped"),
        ({}, "2026-10-25T02:30:00+02:00", "2026-10-25T02:30", "first"),
        ({"dst_repeated": "last"}, "2026-10-25T02:30:00+01:00", "2026-10-25T02:30", "last"),
        ({}, "2026-11-25T02:30:00+01:00", "2026-11-25T02:30", None),
    ],
)
def test_a_clock_change_is_explained(options: dict[str, Any], due: str, local: str, change: str | None) -> None:
    explained = calendar("02:30", **options).explain(ms(due))
    assert explained is not None
    assert (explained.local, explained.change) == (ms(f"{local}:00Z") // 1000, change)
    assert explained.zone.name == "Europe/Berlin"


def test_a_move_and_the_delays_are_explained() -> None:
    monthly = calendar("*-*~1 18:00", excluded=("weekend",), move="previous", spread=600, jitter=300, seed="s")
    due = monthly.next_after(ms("2027-01-10T00:00:00Z"))
    assert due is not None
    explained = monthly.explain(due)
    assert explained is not None and explained.moved_from is not None
    assert explained.moved_from * 86_400_000 == ms("2027-01-31T00:00:00Z")
    nominal = ms("2027-01-29T18:00:00+01:00")
    assert due == nominal + (explained.spread + explained.jitter) * 1000
    assert explained.spread > 0 and explained.jitter > 0
    assert monthly.explain(due + 1000) is None


def test_an_unknown_zone() -> None:
    with pytest.raises(UnknownZone):
        calendar("12:00", zone="Europe/Berln")


def test_a_text_has_one_calendar() -> None:
    rule = CalendarRule(syntax="cron", expressions=("0 9 * * 1-5",), zone="UTC", excluded=("holidays",))
    calendars = Calendars(ZONES, DAYS)
    assert calendars.get(rule.text(DAYS)) is calendars.get(rule.text(DAYS))


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York", "Pacific/Kiritimati"])
@pytest.mark.parametrize("options", [{"spread": 259_200}, {"jitter": 172_800}, {"spread": 90_000, "jitter": 259_200}])
def test_no_delay_leads_beyond_the_year_9999(zone: str, options: dict[str, int]) -> None:
    end = int(datetime(9999, 12, 31, tzinfo=UTC).timestamp())
    start, later = end - 10 * 86_400, end + 10 * 86_400
    for seed in "abcdefgh":
        delayed = calendar("00:00", zone=zone, seed=seed, **options)
        due = forward(delayed, start, later)
        assert due == backward(delayed, start, later)
        assert delayed.count(start * 1000, later * 1000) == len(due)
        assert due[-1] < end
        assert all(delayed.explain(one * 1000) for one in due)
