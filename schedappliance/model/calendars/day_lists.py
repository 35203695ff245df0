"""The lists of dates that the `days` stanzas declare.

Rule: a list is compiled once, when a calendar first needs it. All jobs that name it share the result.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from hashlib import blake2b
from operator import or_

from schedappliance.model.calendars import all_years
from schedappliance.model.calendars.day_sets import Extent, Pattern
from schedappliance.model.calendars.days import Days, bits
from schedappliance.model.calendars.expression import Dates
from schedappliance.model.calendars.months import END_MONTH, first_day


class Listed:
    """The days of any of these entries.

    Of 10,000 dates a month has few, so only those of its year are asked, and once for each month: 5 us instead of 3 ms.
    """

    def __init__(self, entries: Iterable[Dates]) -> None:
        alike: dict[tuple[int, frozenset[int] | None], Days] = {}
        for entry in entries:
            key = (entry.months, entry.years)
            known = alike.get(key)
            alike[key] = entry.days if known is None else known | entry.days
        self._each_year: list[Pattern] = []
        self._by_year: defaultdict[int, list[Pattern]] = defaultdict(list)
        for (months, years), days in alike.items():
            pattern = Pattern(days, months, years)
            if years is None:
                self._each_year.append(pattern)
            for year in years or ():
                self._by_year[year].append(pattern)
        self._months: dict[int, int] = {}
        since, start = (max(self._by_year, default=-1) + 1) * 12, min(self._by_year, default=0) * 12
        start, end = (0, END_MONTH) if self._each_year else (start, since)
        self.extent = Extent(by_kind=not self._by_year, since=since, start=start, end=end)

    def days_in(self, month: int) -> int:
        days = self._months.get(month)
        if days is None:
            days = 0
            for pattern in self._patterns(month // 12):
                days |= pattern.days_in(month)
            self._months[month] = days
        return days

    def days_in_all_years(self) -> int:
        masks = zip(*(pattern.masks for pattern in self._each_year), strict=True)
        days = all_years.by_kind([reduce(or_, alike) for alike in masks]) if self._each_year else 0
        if not self._by_year:
            return days
        months = (year * 12 + n - 1 for year, some in self._by_year.items() for one in some for n in bits(one.months))
        return days | all_years.of_months((month, self.days_in(month)) for month in set(months))

    def _patterns(self, year: int) -> Iterator[Pattern]:
        yield from self._each_year
        yield from self._by_year.get(year, ())


def end_of_dates(entries: Sequence[Dates]) -> int | None:
    """The last day of a `days` stanza, since 1970; None: it has dates without a year, or no date at all."""
    last: int | None = None
    for entry in entries:
        if entry.years is None:
            return None
        pattern = Pattern(entry.days, entry.months, entry.years)
        months = (year * 12 + month for year in sorted(entry.years, reverse=True) for month in range(11, -1, -1))
        for month in months:
            if days := pattern.days_in(month):
                last = max(last or 0, first_day(month) + days.bit_length() - 2)
                break
    return last


@dataclass(frozen=True)
class DayList:
    """The dates of one `days` stanza."""

    entries: tuple[Dates, ...]

    @cached_property
    def days(self) -> Listed:
        return Listed(self.entries)

    @cached_property
    def end(self) -> int | None:
        """The last day, since 1970; None: it has dates without a year, or no date at all."""
        return end_of_dates(self.entries)

    @cached_property
    def digest(self) -> str:
        """It depends on the dates alone, not on their order or spelling."""
        normal = sorted({dates.normal for dates in self.entries})
        return blake2b("\n".join(normal).encode(), digest_size=8).hexdigest()


# The lists by the names of their stanzas.
DayLists = Mapping[str, DayList]
