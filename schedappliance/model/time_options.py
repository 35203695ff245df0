"""The values of the options that decide when a job is due: expressions, windows, dates, names of `days`, delays.

Rule: a mistake points at its place inside the expression, also in a quoted string. The readers of expressions are
imported when a file has one: the console's client imports the tables of options too, and needs none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

from schedappliance.diagnostics import InvalidValue, Span, counted, shortened
from schedappliance.model import values
from schedappliance.model.items import read_all, read_texts
from schedappliance.syntax.tree import Dictionary, ListValue, Scalar, Value

if TYPE_CHECKING:
    from schedappliance.model.calendars.day_sets import Unit
    from schedappliance.model.calendars.expression import Dates

# Every due time asks each expression, and a longer list is better written as several jobs.
MOST_EXPRESSIONS = 16
MOST_DATES = 10_000
MOST_EACH = 1000

_EACH = re.compile(r"(\d{1,9})(d|w|mo|y)", re.ASCII | re.IGNORECASE)
_POSITION = re.compile(r"-?\d{1,9}", re.ASCII)


def cron(value: Value) -> tuple[str, ...]:
    """Cron expressions, each checked."""
    from schedappliance.model.calendars.cron import read_cron

    return _read_expressions(value, read_cron, "expression")


def calendar(value: Value) -> tuple[str, ...]:
    """Calendar expressions, each checked."""
    from schedappliance.model.calendars.oncalendar import read_calendar

    return _read_expressions(value, read_calendar, "expression")


def windows(value: Value) -> tuple[str, ...]:
    """Time ranges of `within`, each checked."""
    from schedappliance.model.calendars.oncalendar import read_window

    return _read_expressions(value, read_window, "time range")


def dates(value: Value) -> tuple[Dates, ...]:
    """The dates of a `days` stanza."""
    return tuple(_read_each(value, _possible_dates, MOST_DATES, "date", may_be_empty=True))


def names(value: Value) -> tuple[str, ...]:
    """Names of `days` stanzas. calendar_references.py checks whether they are declared."""
    return tuple(_read_each(value, _name, MOST_EXPRESSIONS, "name"))


def positions(value: Value) -> tuple[int, ...]:
    """Positions of days in a month: 1 is the first one, -1 the last one."""
    return tuple(_read_each(value, _position, 62, "position"))


def each(text: str) -> tuple[int, Unit]:
    """A number of days, weeks, months or years: `2w`. Raises InvalidValue."""
    match = _EACH.fullmatch(text)
    if not match:
        remedy = "write a number of days, weeks, months or years: `3d`, `2w`, `6mo`, `1y`"
        raise InvalidValue(f"invalid value `{shortened(text)}`", remedy)
    number = int(match[1])
    if not 1 <= number <= MOST_EACH:
        raise InvalidValue(f"`{shortened(text)}` is out of range", f"give a number from 1 to {MOST_EACH:,}", "E204")
    return number, cast("Unit", match[2].lower())


def delay(text: str) -> int:
    """Whole seconds. Raises InvalidValue."""
    milliseconds = values.duration(text)
    if milliseconds % 1000:
        raise InvalidValue(
            f"`{shortened(text)}` is not a number of whole seconds", "due times are whole seconds", "E204"
        )
    return milliseconds // 1000


def time_zone(value: str) -> str:
    """The name of a time zone that this machine knows."""
    from schedappliance.model.calendars.zones import LOCAL, UnknownZone, Zones, instead_of_zone, this_machine

    zones = Zones(this_machine())
    try:
        zones.get(value)
    except UnknownZone as unknown:
        message = f"unknown time zone `{shortened(value)}`: {unknown.reason}"
        remedy = "" if value == LOCAL else instead_of_zone(value, zones)
        remedy = remedy or "write a name such as `Europe/Berlin`, `UTC`, or `local` for the zone of this machine"
        raise InvalidValue(message, remedy, "E213") from None
    return value


def zone_name(text: str) -> str:
    """The name of a time zone. calendar_references.py checks whether this machine knows it."""
    if not text or "\0" in text:
        raise InvalidValue(
            f"invalid time zone `{shortened(text)}`", "write a name such as `Europe/Berlin`, `UTC` or `local`"
        )
    return text


def items_of(value: Value) -> tuple[Scalar, ...]:
    """The items of a list, or the only item."""
    if isinstance(value, Dictionary):
        raise InvalidValue("expected one value or a list, not a dictionary", 'write it as `"a"` or `( "a" "b" )`')
    return value.items if isinstance(value, ListValue) else (value,)


def _read_each(
    value: Value, read: Callable[[str], Any], most: int, noun: str, *, may_be_empty: bool = False
) -> list[Any]:
    items = items_of(value)
    if not items and not may_be_empty:
        raise InvalidValue("the list is empty", f"give at least one {noun}")
    results: list[Any]
    results, _ = read_all(lambda: read_texts(items[:most], read), lambda: _check_length(items, most, noun))
    return results


def _check_length(items: Sequence[Scalar], most: int, noun: str) -> None:
    if len(items) > most:
        message = f"{counted(len(items), noun)} in one list"
        raise InvalidValue(message, f"give at most {most:,}", "E204", items[most].span)


def _read_expressions(value: Value, read: Callable[[str], Any], noun: str) -> tuple[str, ...]:
    """The texts of expressions, each checked."""
    try:
        _read_each(value, read, MOST_EXPRESSIONS, noun)
    except InvalidValue:
        if unquoted := _unquoted(items_of(value), read):
            raise unquoted from None
        raise
    return tuple(item.value for item in items_of(value))


def _unquoted(items: Sequence[Scalar], read: Callable[[str], Any]) -> InvalidValue | None:
    """The only mistake of a list that is one expression without quotes: each of its words reads as an expression."""
    text = " ".join(item.value for item in items)
    if len(items) < 2 or any(item.quote for item in items):
        return None
    try:
        read(text)
    except InvalidValue:
        return None
    span = Span(items[0].span.start, items[-1].span.end)
    return InvalidValue("an expression with blanks needs quotes", f'write `( "{shortened(text)}" )`', "E212", span)


def _possible_dates(text: str) -> Dates:
    """Raises InvalidValue also for dates that no year has."""
    from schedappliance.model.calendars.day_sets import Pattern
    from schedappliance.model.calendars.oncalendar import read_dates

    entry = read_dates(text)
    # The calendar repeats after 400 years.
    years = entry.years if entry.years is not None else range(2000, 2400)
    pattern = Pattern(entry.days, entry.months, entry.years)
    months = [month for month in range(12) if entry.months >> (month + 1) & 1]
    if not any(pattern.days_in(year * 12 + month) for year in years for month in months):
        raise InvalidValue(f"there is no such date: `{shortened(text)}`", "choose a date that exists", "E214")
    return entry


def _name(text: str) -> str:
    if not text:
        raise InvalidValue("the name is empty", 'write the name of a `days` stanza: `except = "holidays"`')
    return text


def _position(text: str) -> int:
    remedy = "write 1 for the first, 3 for the third, -1 for the last due day of each month"
    if not _POSITION.fullmatch(text):
        raise InvalidValue(f"invalid position `{shortened(text)}`", remedy)
    if not 1 <= abs(int(text)) <= 31:
        raise InvalidValue(f"position `{text}` is out of range", remedy, "E204")
    return int(text)
