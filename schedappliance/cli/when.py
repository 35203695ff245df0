"""`schedappliance when`: what a cron or calendar expression means, and when it is due."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from schedappliance.cli.arguments import add_format, parser, whole_number
from schedappliance.cli.errors import FAILED, OK, USAGE, Failure, print_note
from schedappliance.clock import SystemClock, local_datetime, local_text, time_data
from schedappliance.diagnostics import Diagnostic, InvalidValue, Source, Span, counted, has_errors, in_order
from schedappliance.model.calendars.days import MONTHS, SHORT_WEEKDAYS

if TYPE_CHECKING:
    from schedappliance.model.calendars.calendar import Calendar, DueTime
    from schedappliance.model.calendars.clock_changes import ClockRule
    from schedappliance.model.calendars.expression import Expression
    from schedappliance.model.calendars.pieces import Zone
    from schedappliance.model.calendars.zones import Zones

DESCRIPTION = """\
Show what a cron or calendar expression means: its normal form, its meaning in
words, and its next due times. Warnings on stderr name what may surprise. Put
the expression in quotes, as in: schedappliance when '30 2 * * MON-FRI'"""

STATUSES = {OK: "shown", FAILED: "the expression or its zone is invalid, or it is never due", USAGE: "wrong usage"}

DAY_S = 86_400
# As many as `sched next` shows.
MOST_SHOWN = 1000
_MONTHS_IN_A_ROW = 3
_DAY_WIDTH = 3


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    when = parser("when", DESCRIPTION, STATUSES, "EXPR [options]")
    when.add_argument("words", metavar="EXPR", nargs="+", help="for example '*/15 8-17 * * *' or 'Mon..Fri 07:00'")
    when.add_argument(
        "--zone",
        metavar="ZONE",
        default="local",
        help="zone of an expression without one: a name, or local (of this machine); default: local",
    )
    when.add_argument(
        "--from",
        dest="start",
        metavar="TIME",
        help="show due times after this time: a Unix timestamp, or ISO 8601; without an offset, a local time of the zone; default: now",
    )
    when.add_argument(
        "--next", metavar="N", type=_number, default=5, help="number of due times, at most 1000; default: 5"
    )
    when.add_argument("--year", metavar="YEAR", type=_year, help="show the twelve months with the due days marked")
    add_format(when, table="for people", json="one object")
    return when.parse_intermixed_args(arguments)


def _number(text: str) -> int:
    return whole_number(text, 0, MOST_SHOWN)


def _year(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1970 <= int(text) <= 9998):
        raise argparse.ArgumentTypeError(f"invalid year `{text}`; give 1970 to 9998")
    return int(text)


@dataclass(frozen=True, slots=True)
class _Read:
    """An expression that was read, with its zone and its calendar."""

    text: str
    expression: Expression
    zone: Zone
    zones: Zones
    calendar: Calendar

    def due_times(self, after_ms: int) -> Iterator[DueTime]:
        due_ms = self.calendar.next_after(after_ms)
        while due_ms is not None:
            explained = self.calendar.explain(due_ms)
            assert explained is not None
            yield explained
            due_ms = self.calendar.next_after(due_ms)

    def last_before_end(self, after_ms: int) -> DueTime | None:
        """The last due time, if none comes after an instant."""
        if self.calendar.next_after(after_ms) is not None:
            return None
        last_ms = self.calendar.latest(after_ms)
        return None if last_ms is None else self.calendar.explain(last_ms)


def run(options: argparse.Namespace) -> int:
    """Raises Failure."""
    from schedappliance.syntax.expressions import is_cron_form

    if len(options.words) > 1:
        raise Failure(f"{len(options.words)} arguments in place of one expression; put it in quotes", USAGE)
    (text,) = options.words
    source = Source("<expression>", text)
    try:
        read = _read(text, options.zone, source)
    except _Mistake as mistake:
        _print_diagnostics([mistake.diagnostic])
        return FAILED
    now_ms = SystemClock().moment().wall
    start_ms = now_ms if options.start is None else _instant(options.start, read.zone)
    diagnostics = _doubts(read, start_ms, source)
    _print_diagnostics(diagnostics)
    if is_cron_form(text) and "~" in text:
        print_note("`~` picks values that depend on the job; these are an example")
    due = list(islice(read.due_times(start_ms), options.next))
    days = None if options.year is None else _due_days(read, options.year)
    if options.format == "json":
        sys.stdout.write(_json(read, due, days, start_ms))
    else:
        sys.stdout.write(_table(read, due, options.next, start_ms))
        if days is not None:
            sys.stdout.write(_year_view(options.year, days))
    return FAILED if has_errors(diagnostics) else OK


class _Mistake(Exception):
    def __init__(self, diagnostic: Diagnostic) -> None:
        super().__init__(diagnostic.message)
        self.diagnostic = diagnostic


def _read(text: str, zone_name: str, source: Source) -> _Read:
    """Raises _Mistake."""
    from schedappliance.model.calendars.compiling import calendar_of_expression
    from schedappliance.model.calendars.cron import read_cron
    from schedappliance.model.calendars.doubts import unknown_zone
    from schedappliance.model.calendars.oncalendar import read_calendar
    from schedappliance.model.calendars.zones import UnknownZone, Zones, this_machine
    from schedappliance.syntax.expressions import is_cron_form

    try:
        expression = read_cron(text) if is_cron_form(text) else read_calendar(text)
    except InvalidValue as invalid:
        raise _Mistake(invalid.diagnostic(source, Span(0, len(text)))) from None
    zones = Zones(this_machine())
    name = expression.zone or zone_name
    try:
        zone = zones.get(name)
    except UnknownZone as error:
        start = text.find(name) if is_cron_form(text) else text.rfind(name)
        place = source if expression.zone else Source("--zone", name)
        span = Span(start, start + len(name)) if expression.zone else Span(0, len(name))
        raise _Mistake(unknown_zone(error, zones, span).diagnostic(place)) from None
    return _Read(text, expression, zone, zones, calendar_of_expression(expression, name, zones))


def _doubts(read: _Read, start_ms: int, source: Source) -> list[Diagnostic]:
    from schedappliance.model.calendars.doubts import calendar_doubts, clock_doubts, cron_doubts, never_due, past_doubts
    from schedappliance.syntax.expressions import is_cron_form

    whole = Span(0, len(read.text))
    if read.calendar.next_after(start_ms) is None and read.calendar.latest(start_ms) is None:
        return [never_due(read.expression, whole).diagnostic(source)]
    doubts = cron_doubts(read.text) if is_cron_form(read.text) else calendar_doubts(read.text)
    doubts += clock_doubts(read.expression, _rule(read), read.zone, read.zones, start_ms // 1000, whole)
    doubts += past_doubts(read.calendar, start_ms, whole)
    return [doubt.diagnostic(source) for doubt in doubts]


def _rule(read: _Read) -> ClockRule:
    from schedappliance.model.calendars.clock_changes import FIXED, ROLLING

    return ROLLING if read.expression.rolling else FIXED


def _print_diagnostics(diagnostics: list[Diagnostic]) -> None:
    from schedappliance.lint import report

    if diagnostics:
        print(report.full(in_order(diagnostics)), file=sys.stderr, end="")


def _instant(text: str, zone: Zone) -> int:
    """Milliseconds. A time without an offset is in the zone. Raises Failure."""
    from schedappliance.model import values

    try:
        local = datetime.fromisoformat(text)
        if local.tzinfo is None and not text.isdigit():
            return _instant_of(int(local.replace(tzinfo=UTC).timestamp()), zone) * 1000
    except ValueError:
        pass
    try:
        return values.instant(text)
    except InvalidValue as invalid:
        raise Failure(f"--from: {invalid}", USAGE) from None


def _instant_of(local: int, zone: Zone) -> int:
    """The instant of a local time in seconds; of one that the clock skips or repeats, an instant near it."""
    instant = local - zone.offset_at(local)
    return local - zone.offset_at(instant)


def _table(read: _Read, due: list[DueTime], wanted: int, start_ms: int) -> str:
    from schedappliance.model.calendars.words import clock_words

    rows = [("normal", read.expression.normal), ("words", _words(read))]
    if due and _has_changes(read.zone, due[0].due_ms // 1000):
        rows.append(("clock", clock_words(_rule(read))))
    lines = [f"{name:<7} {value}\n" for name, value in rows]
    for number, one in enumerate(due):
        note = f"  {_note(one)}" if _note(one) else ""
        lines.append(f"{'next' if number == 0 else '':<7} {_shown(one)}{note}\n")
    if len(due) < wanted:
        lines.append(f"{'':<7} nothing more is planned\n" if due else f"{'next':<7} never\n")
    if last := read.last_before_end(start_ms):
        lines.append(f"{'last':<7} {_shown(last)}\n")
    return "".join(lines)


def _words(read: _Read) -> str:
    from schedappliance.model.calendars.words import expression_words

    return f"{expression_words(read.expression)}, {read.zone.name or 'local time'}"


def _has_changes(zone: Zone, instant: int) -> bool:
    """Whether the clock of a zone changes in the year after an instant."""
    return any(zone.offset_at(instant) != zone.offset_at(instant + month * 30 * DAY_S) for month in range(1, 13))


def _shown(one: DueTime) -> str:
    """The local time at which it is due, which a clock change may have moved: `Sun 2027-03-28T03:00:00+02:00`."""
    weekday = local_datetime(one.due_ms, one.zone).weekday()
    return f"{SHORT_WEEKDAYS[weekday]} {local_text(one.due_ms, one.zone)}"


def _note(one: DueTime) -> str:
    """What a clock change does to a due time."""
    nominal = f"{datetime.fromtimestamp(one.local, UTC):%H:%M:%S}".removesuffix(":00")
    if one.change == "skipped":
        return f"the clock skips {nominal}"
    if one.change in ("first", "last"):
        return f"the {'first' if one.change == 'first' else 'second'} {nominal} of this day"
    return ""


def _json(read: _Read, due: list[DueTime], days: list[datetime] | None, start_ms: int) -> str:
    content: dict[str, Any] = {
        "expression": read.text,
        "normal": read.expression.normal,
        "words": _words(read),
        "zone": read.zone.name,
        "next": [_due_data(one) for one in due],
    }
    if last := read.last_before_end(start_ms):
        content["last"] = _due_data(last)
    if days is not None:
        content["days"] = [f"{day:%Y-%m-%d}" for day in days]
    return json.dumps(content, indent=2) + "\n"


def _due_data(one: DueTime) -> dict[str, Any]:
    return {**time_data("due", one.due_ms), "note": _note(one) or None}


def _due_days(read: _Read, year: int) -> list[datetime]:
    """The local days of a year with a due time."""
    days = []
    begin, end = (int(datetime(number, 1, 1, tzinfo=UTC).timestamp()) for number in (year, year + 1))
    due_ms = read.calendar.next_after(_instant_of(begin, read.zone) * 1000 - 1)
    while due_ms is not None:
        local = due_ms // 1000 + read.zone.offset_at(due_ms // 1000)
        if local >= end:
            break
        day = local // DAY_S
        if local >= begin:
            days.append(datetime.fromtimestamp(day * DAY_S, UTC))
        due_ms = read.calendar.next_after(max(due_ms, _instant_of((day + 1) * DAY_S, read.zone) * 1000 - 1))
    return days


def _year_view(year: int, days: list[datetime]) -> str:
    """Twelve months in four rows. A `*` after its number marks a due day."""
    marked = {(day.month, day.day) for day in days}
    months = [_month_view(year, month, {day for number, day in marked if number == month}) for month in range(1, 13)]
    rows = [f"\n{year}: due on {counted(len(days), 'day')}\n"]
    for first in range(0, 12, _MONTHS_IN_A_ROW):
        rows.append("\n")
        for lines in zip(*months[first : first + _MONTHS_IN_A_ROW], strict=True):
            rows.append("  ".join(lines).rstrip() + "\n")
    return "".join(rows)


def _month_view(year: int, month: int, due: set[int]) -> list[str]:
    """Eight lines of equal width."""
    from calendar import Calendar as Weeks

    width = 7 * _DAY_WIDTH
    lines = [f"{MONTHS[month - 1]:^{width}}", "".join(f"{name[:2]:<{_DAY_WIDTH}}" for name in SHORT_WEEKDAYS)]
    for week in Weeks().monthdayscalendar(year, month):
        cells = (f"{day:2}{'*' if day in due else ' '}" if day else " " * _DAY_WIDTH for day in week)
        lines.append("".join(cells))
    return lines + [" " * width] * (8 - len(lines))
