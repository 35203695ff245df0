"""Days and months as numbers: a day counts from 1970-01-01, a month is `year * 12 + month - 1`.

Rule: integers only. The search for a due time asks here for each month, and an object of `datetime` costs more than that.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate

# The seconds of a day.
DAY_S = 86_400
# The Gregorian calendar repeats after 400 years, which are a whole number of weeks.
CYCLE_MONTHS, CYCLE_DAYS = 4_800, 146_097
# Due times have four digits of a year. Local times begin a day before 1970 in the Americas.
FIRST_MONTH, END_MONTH = 1969 * 12 + 11, 10_000 * 12
# A set of days remembers at most this many months: 80 years.
MOST_MONTHS = 960

# 0000-01-01 in days since 1970.
_ORIGIN = -719_528
# 0000-01-01 is a Saturday; Monday is 0.
_ORIGIN_WEEKDAY = 5


def _length(month: int) -> int:
    year, index = divmod(month, 12)
    if index == 1:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if index in (3, 5, 8, 10) else 31


_LENGTHS = [_length(month) for month in range(CYCLE_MONTHS)]
_FIRST_DAYS = tuple(accumulate(_LENGTHS, initial=0))


def kind_of_month(length: int, first: int) -> int:
    """The index of a month in the tables of days: by its length, and by the weekday of its first day."""
    return (length - 28) * 7 + first


# The month of the year and the kind of month in one number: all that a pattern of days depends on, except the year.
_KINDS = tuple(
    month % 12 * 28 + kind_of_month(length, (first + _ORIGIN_WEEKDAY) % 7)
    for month, (length, first) in enumerate(zip(_LENGTHS, _FIRST_DAYS[:-1], strict=True))
)


def month_of(day: int) -> int:
    """The month that contains a day."""
    cycle, rest = divmod(day - _ORIGIN, CYCLE_DAYS)
    return cycle * CYCLE_MONTHS + bisect_right(_FIRST_DAYS, rest) - 1


def first_day(month: int) -> int:
    """The first day of a month."""
    cycle, rest = divmod(month, CYCLE_MONTHS)
    return cycle * CYCLE_DAYS + _FIRST_DAYS[rest] + _ORIGIN


def kind_and_name(month: int) -> int:
    """The month of the year, from 0, times 28, plus the kind of the month."""
    return _KINDS[month % CYCLE_MONTHS]


def all_days_in(month: int) -> int:
    """All days of a month as bits 1 to 31."""
    return (2 << _LENGTHS[month % CYCLE_MONTHS]) - 2


def weekday_of(day: int) -> int:
    """Monday 0 to Sunday 6."""
    return (day + 3) % 7


def date_of(day: int) -> tuple[int, int, int]:
    """Year, month and day of the month."""
    month = month_of(day)
    return month // 12, month % 12 + 1, day - first_day(month) + 1


# No local time has a day outside these.
FIRST_DAY, END_DAY = first_day(FIRST_MONTH), first_day(END_MONTH)
