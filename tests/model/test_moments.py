"""The times in commands: their forms, and the instants that they mean in a time zone."""

from __future__ import annotations

from datetime import datetime

import pytest

from schedappliance.diagnostics import InvalidValue
from schedappliance.model.calendars.instants import instant_of
from schedappliance.model.calendars.zones import Machine, UnknownZone, Zones
from schedappliance.model.moments import AfterNow, read_past, read_when

ZONES = Zones(Machine(tz="Europe/Berlin"))
NOW = "2026-11-28T21:00:00+01:00"


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


@pytest.mark.parametrize(
    ("text", "due"),
    [
        ("08:00", "2026-11-29T08:00:00+01:00"),
        ("8:00", "2026-11-29T08:00:00+01:00"),
        ("21:00", "2026-11-29T21:00:00+01:00"),
        ("21:00:01", "2026-11-28T21:00:01+01:00"),
        ("08:00 UTC", "2026-11-29T08:00:00+00:00"),
        ("22:00 America/New_York", "2026-11-28T22:00:00-05:00"),
        ("tomorrow 08:00", "2026-11-29T08:00:00+01:00"),
        ("TOMORROW   08:00", "2026-11-29T08:00:00+01:00"),
        ("today 23:59", "2026-11-28T23:59:00+01:00"),
        ("tomorrow 00:00 Asia/Tokyo", "2026-11-30T00:00:00+09:00"),
        ("2026-12-24 18:30", "2026-12-24T18:30:00+01:00"),
        ("2026-12-24T18:30", "2026-12-24T18:30:00+01:00"),
        ("2026-12-24 18:30 local", "2026-12-24T18:30:00+01:00"),
        ("2027-07-01 18:30", "2027-07-01T18:30:00+02:00"),
        ("2027-03-28 02:30", "2027-03-28T03:00:00+02:00"),
        ("2027-10-31 02:30", "2027-10-31T02:30:00+02:00"),
        ("0800", "2026-11-29T08:00:00+01:00"),
        ("2130", "2026-11-28T21:30:00+01:00"),
        ("0800 UTC", "2026-11-29T08:00:00+00:00"),
        ("tomorrow 2130", "2026-11-29T21:30:00+01:00"),
        ("8am", "2026-11-29T08:00:00+01:00"),
        ("8:30pm", "2026-11-29T20:30:00+01:00"),
        ("9:30 PM", "2026-11-28T21:30:00+01:00"),
        ("12am", "2026-11-29T00:00:00+01:00"),
        ("12:30pm UTC", "2026-11-29T12:30:00+00:00"),
        ("noon", "2026-11-29T12:00:00+01:00"),
        ("midnight", "2026-11-29T00:00:00+01:00"),
        ("noon Asia/Tokyo", "2026-11-29T12:00:00+09:00"),
        ("Noon tomorrow", "2026-11-29T12:00:00+01:00"),
        ("tomorrow noon", "2026-11-29T12:00:00+01:00"),
        ("08:00 tomorrow", "2026-11-29T08:00:00+01:00"),
        ("22:00 today", "2026-11-28T22:00:00+01:00"),
        ("8am tomorrow America/New_York", "2026-11-29T08:00:00-05:00"),
        ("6pm 2026-12-24", "2026-12-24T18:00:00+01:00"),
        ("2026-12-24 1830", "2026-12-24T18:30:00+01:00"),
        ("tomorrow", "2026-11-29T21:00:00+01:00"),
        ("tomorrow Asia/Tokyo", "2026-11-30T05:00:00+09:00"),
        ("now", NOW),
        ("now + 5 minutes", "2026-11-28T21:05:00+01:00"),
        ("now+5min", "2026-11-28T21:05:00+01:00"),
        ("now + 1 hour", "2026-11-28T22:00:00+01:00"),
        ("now + 2 days", "2026-11-30T21:00:00+01:00"),
        ("now + 1 week", "2026-12-05T21:00:00+01:00"),
        ("1795370460", "2026-11-22T18:01:00+00:00"),
        ("2026-11-22T18:01:00Z", "2026-11-22T18:01:00+00:00"),
    ],
)
def test_a_time_means_an_instant(text: str, due: str) -> None:
    assert instant_of(read_when(text), ms(NOW), "Europe/Berlin", ZONES) == ms(due)


def test_the_same_time_tomorrow_follows_the_clock() -> None:
    due = instant_of(read_when("tomorrow"), ms("2026-10-24T21:00:05+02:00"), "Europe/Berlin", ZONES)
    assert due == ms("2026-10-25T21:00:05+01:00")


@pytest.mark.parametrize(
    "text",
    [
        *("25:00", "08:60", "08:00:60", "tomorrow 24:00", "2026-02-30 08:00", "now + 5 moons"),
        *("2400", "0860", "0am", "13pm", "8:60am", "noon 2026-02-30"),
    ],
)
def test_a_time_that_does_not_exist_is_rejected(text: str) -> None:
    with pytest.raises(InvalidValue) as raised:
        read_when(text)
    assert raised.value.message and raised.value.help


@pytest.mark.parametrize("text", ["today", "teatime", "+5", "now - 5 minutes", "2026-12-24", "1.2.2027 08:00", ""])
def test_any_other_text_is_no_time(text: str) -> None:
    with pytest.raises(InvalidValue):
        read_when(text)


def test_a_time_of_day_needs_a_zone_and_the_remedy_names_that_of_the_machine() -> None:
    with pytest.raises(InvalidValue) as raised:
        instant_of(read_when("08:00"), ms(NOW), None, ZONES)
    assert raised.value.code == "E205"
    assert raised.value.help.startswith('write `zone = "Europe/Berlin"` (this machine\'s) once in `sched`')
    assert instant_of(read_when("now + 5 minutes"), ms(NOW), None, ZONES) == ms(NOW) + 300_000


@pytest.mark.parametrize(("text", "is_too_long"), [("now + 36500 days", False), ("now + 99999999 weeks", True)])
def test_a_time_after_now_is_in_at_most_100_years(text: str, is_too_long: bool) -> None:
    """As a duration. A later time was accepted for the last second of the year 9999."""
    if is_too_long:
        with pytest.raises(InvalidValue, match="is in more than 100 years"):
            read_when(text)
    else:
        assert read_when(text) == AfterNow(36_500 * 86_400_000)


def test_the_remedy_for_a_missing_zone_shows_the_time() -> None:
    with pytest.raises(InvalidValue, match="append a zone: `tomorrow UTC`"):
        instant_of(read_when("tomorrow"), ms(NOW), None, ZONES)


def test_an_unknown_zone_is_named() -> None:
    with pytest.raises(UnknownZone, match="Europe/Berln"):
        instant_of(read_when("08:00 Europe/Berln"), ms(NOW), None, ZONES)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("12h", "2026-11-28T09:00:00+01:00"),
        ("1d12h", "2026-11-27T09:00:00+01:00"),
        ("21:00", "2026-11-28T21:00:00+01:00"),
        ("21:00:01", "2026-11-27T21:00:01+01:00"),
        ("08:00 UTC", "2026-11-28T08:00:00+00:00"),
        ("2200", "2026-11-27T22:00:00+01:00"),
        ("noon", "2026-11-28T12:00:00+01:00"),
        ("today", "2026-11-28T00:00:00+01:00"),
        ("Yesterday", "2026-11-27T00:00:00+01:00"),
        ("yesterday 22:00", "2026-11-27T22:00:00+01:00"),
        ("2026-10-25", "2026-10-25T00:00:00+02:00"),
        ("2026-10-25 UTC", "2026-10-25T00:00:00+00:00"),
        ("2026-10-25 Asia/Tokyo", "2026-10-25T00:00:00+09:00"),
        ("now", NOW),
        ("1700000000", "2023-11-14T22:13:20+00:00"),
    ],
)
def test_a_time_to_look_back_to_is_read(text: str, instant: str) -> None:
    assert instant_of(read_past(text), ms(NOW), "Europe/Berlin", ZONES, looks_back=True) == ms(instant)


def test_a_time_before_1970_is_1970() -> None:
    assert instant_of(read_past("36000d"), ms(NOW), "Europe/Berlin", ZONES, looks_back=True) == 0


def test_a_day_after_the_last_one_is_named() -> None:
    with pytest.raises(InvalidValue, match=r"^`9999-12-31` is never due"):
        instant_of(read_when("9999-12-31 00:00"), ms(NOW), "UTC", ZONES)
