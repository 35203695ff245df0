"""The lists of dates of `days` stanzas, compared with a look at each entry."""

from __future__ import annotations

from random import Random

import pytest

from schedappliance.model.calendars.day_lists import DayList
from schedappliance.model.calendars.day_sets import AnyOf, Pattern
from schedappliance.model.calendars.oncalendar import read_dates

ENTRIES = (
    *("2027-03-26", "2027-03-29", "2027-03-29", "2028-02-29", "2026..2028-12-24", "2026,2030-01..03-*", "2029-*~1"),
    *("Sat..Sun", "*-01-01", "Fri *-*-13", "Mon 2027-*-*", "*-02~1"),
)
MONTHS = range(2024 * 12, 2034 * 12)


@pytest.mark.parametrize("seed", range(30))
def test_a_list_has_the_days_of_its_entries(seed: int) -> None:
    random = Random(seed)
    entries = tuple(read_dates(text) for text in random.sample(ENTRIES, random.randrange(len(ENTRIES))))
    listed, each = DayList(entries).days, AnyOf(tuple(Pattern(one.days, one.months, one.years) for one in entries))
    assert [listed.days_in(month) for month in MONTHS] == [each.days_in(month) for month in MONTHS]
    assert listed.extent.start == each.extent.start
    assert listed.extent.end == each.extent.end


def test_jobs_share_what_is_compiled_of_a_list() -> None:
    days = DayList((read_dates("2027-03-26"),))
    assert days.days is days.days
    assert days.digest == DayList((read_dates("2027-3-26"), read_dates("2027-03-26"))).digest
    assert days != DayList((read_dates("2027-03-27"),))
