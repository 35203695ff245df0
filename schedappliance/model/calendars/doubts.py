"""Expressions that are valid but probably do not mean what their author thinks, and expressions that are never due.

Rule: pure functions. Each doubt has a code, a message, a remedy and a place in the text of the expression.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from schedappliance.clock import local_text
from schedappliance.diagnostics import Diagnostic, InvalidValue, Source, Span, counted, shortened
from schedappliance.model.calendars.calendar import Calendar
from schedappliance.model.calendars.clock_changes import ClockRule
from schedappliance.model.calendars.compiling import calendar_of_expression
from schedappliance.model.calendars.cron import read_cron
from schedappliance.model.calendars.cron_fields import DAY, HOUR, MINUTE, MONTH, SECOND, WEEKDAY, YEAR, Kind, kinds_of
from schedappliance.model.calendars.day_lists import end_of_dates
from schedappliance.model.calendars.day_sets import Unit
from schedappliance.model.calendars.days import ALL_MONTHS, MONTHS, WEEKDAYS, weekdays
from schedappliance.model.calendars.expression import Dates, Expression
from schedappliance.model.calendars.months import DAY_S, date_of, first_day, kind_of_month, month_of
from schedappliance.model.calendars.oncalendar import SHORTHANDS, read_calendar
from schedappliance.model.calendars.pieces import Piece, Zone
from schedappliance.model.calendars.words import NTH, expression_words, ordinal
from schedappliance.model.calendars.zones import LOCAL, UnknownZone, Zones, instead_of_zone
from schedappliance.model.schedules import Schedule
from schedappliance.model.values import duration_text
from schedappliance.syntax.expressions import CronField, CronTree, Item, Leaf, Time, parse_calendar, parse_cron

FIVE_YEARS_S = 5 * 366 * DAY_S
COMPARED_DUE_TIMES = 1000
# Due times are compared over ten years: a calendar that is due once in centuries takes milliseconds for each of them.
COMPARED_MS = 10 * 366 * DAY_S * 1000
_LENGTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
# How `every` or `each` writes the step of a field, which goes on evenly.
_EVEN = {
    "second": "`every = {}`",
    "minute": "`every = {}m`",
    "hour": "`every = {}h`",
    "day of month": "`each = {}d`",
    "month": "`each = {}mo`",
}


def _evenly(text: str, items: Sequence[Item], kind: Kind, step: int, expression: Expression) -> str:
    """What goes on evenly in place of the step that is the only item of a field."""
    if kind is WEEKDAY or len(items) != 1:
        return "write the numbers as a list"
    even = _EVEN[kind.name].format(step)
    if kind in (SECOND, MINUTE, HOUR):
        return _as_interval(even, kind, expression)
    (item,) = items
    each_one = f"{text[: item.span.start]}*{text[item.span.end :]}"
    noun = kind.name.partition(" ")[0]
    return f"`{each_one}` with {even} and `from` keeps every {NTH.get(step, ordinal(step))} {noun}"


def _as_interval(every: str, kind: Kind, expression: Expression) -> str:
    """The remedy for a step of a time of day: an interval, unless it would be due at other times than the other fields say."""
    first_week = expression.days.masks[kind_of_month(31, 0)]
    days = frozenset(day for day in range(7) if first_week >> day + 1 & 1)
    within_step = {SECOND: 1, MINUTE: len(expression.seconds), HOUR: len(expression.minutes) * len(expression.seconds)}
    fits = within_step[kind] == 1 and (kind is not SECOND or len(expression.minutes) == 60)
    if not fits or expression.months != ALL_MONTHS or expression.years or expression.days != weekdays(days):
        return "write the numbers as a list"
    if len(days) == 7 and (kind is HOUR or len(expression.hours) == 24):
        return f"{every} in place of the expression has equal distances"
    return f"{every} with `within` for the hours and weekdays has equal distances"


class Doubt(NamedTuple):
    """`span`: the part of the expression that the doubt is about."""

    code: str
    message: str
    remedy: str
    span: Span

    def diagnostic(self, source: Source) -> Diagnostic:
        return Diagnostic(self.code, self.message, self.remedy, source, self.span)

    def error(self) -> InvalidValue:
        return InvalidValue(self.message, self.remedy, self.code, self.span)


def unknown_zone(error: UnknownZone, zones: Zones, span: Span) -> Doubt:
    """E213. `span`: where the name of the zone stands."""
    if error.name == LOCAL:
        remedy = 'write a name such as `zone = "Europe/Berlin"`, set TZ to a name, or link /etc/localtime to a zone'
        return Doubt("E213", f"the machine has no time zone: {error.reason}", remedy, span)
    remedy = instead_of_zone(error.name, zones) or "write a name such as `Europe/Berlin`, `UTC` or `local`"
    return Doubt("E213", f"unknown time zone `{shortened(error.name)}`", remedy, span)


# Most cron expressions: five fields without steps, one of them any day, and no day that a month lacks. They have no doubt,
# and need not be parsed again.
_PLAIN = re.compile(r"(?!\* \d)[\d*,-]+ [\d*,-]+ (\* [\w*,-]+ [\w*,-]+|(\d|1\d|2[0-8]) [\w*,-]+ \*)", re.ASCII)


def cron_doubts(text: str) -> list[Doubt]:
    """The doubts about a valid cron expression that need no zone: W414, W416, W417, W418, W421 and W426."""
    if _PLAIN.fullmatch(text):
        return []
    tree = parse_cron(text)
    if tree.nickname:
        return []
    kinds = kinds_of(len(tree.fields))
    fields = {kind.name: field for kind, field in zip(kinds, tree.fields, strict=True)}
    expression = read_cron(text)
    day, weekday = fields[DAY.name], fields[WEEKDAY.name]
    return [
        *_either_day(text, day, weekday),
        *(
            doubt
            for kind in kinds
            if kind not in (DAY, WEEKDAY) or _is_any(day) or _is_any(weekday)
            for doubt in _uneven(text, fields[kind.name].items, kind, expression)
        ),
        *_first_of_six(text, tree),
        *_every_minute(text, fields[MINUTE.name], fields[HOUR.name]),
        *_quartz_weekdays(tree, weekday),
        *_missing_days(day.items, expression.months, "`L` is the last day of the month"),
    ]


def calendar_doubts(text: str) -> list[Doubt]:
    """The doubts about a valid calendar expression that need no zone: W416, W421 and W424."""
    tree = parse_calendar(text)
    if tree.names and tree.names.ranges[0][0].text.lower() in SHORTHANDS:
        return []
    doubts: list[Doubt] = []
    expression = read_calendar(text)
    if tree.date and not tree.date.from_end:
        doubts += _uneven(text, tree.date.month, MONTH, expression)
        doubts += [] if tree.names else _uneven(text, tree.date.day, DAY, expression)
        doubts += _missing_days(tree.date.day, expression.months, "`*-*~1` is the last day of the month")
    if tree.time:
        for items, kind in ((tree.time.hour, HOUR), (tree.time.minute, MINUTE), (tree.time.second or (), SECOND)):
            doubts += _uneven(text, items, kind, expression)
        doubts += _minutes_like_times(text, tree.time)
    return doubts


def clock_doubts(
    expression: Expression, rule: ClockRule, zone: Zone, zones: Zones, now_s: int, span: Span
) -> list[Doubt]:
    """W415: a clock change in the five years after `now_s` takes all due times of a day, or doubles a fixed time."""
    loses, doubles = rule.skipped == "omit", rule.repeated == "both" and not expression.rolling
    if not (loses or doubles):
        return []
    # In UTC the due times are the local times.
    local = calendar_of_expression(replace(expression, zone="UTC"), "UTC", zones)
    for piece in _changes(zone, now_s):
        low, high = sorted((piece.start + piece.before, piece.start + piece.offset))
        is_skipped = piece.before < piece.offset
        if not (loses if is_skipped else doubles):
            continue
        in_change = local.count(low * 1000, high * 1000 - 1)
        if not in_change:
            continue
        day = low // DAY_S
        date, clocks = _date(day), f"{_clock(low)} to {_clock(high)}"
        on_day = local.count(day * DAY_S * 1000, (day + 1) * DAY_S * 1000 - 1)
        if is_skipped and in_change == on_day:
            message = f"on {date} it is not due at all: the clock skips {clocks}"
            return [Doubt("W415", message, "write `dst_skipped = run`, or another time", span)]
        if not is_skipped:
            message = f"on {date} it is due twice: the clock shows {clocks} twice"
            return [Doubt("W415", message, "write `dst_repeated = first`, or another time", span)]
    return []


def shortest_distance(calendar: Schedule, now_ms: int) -> int | None:
    """The shortest distance between two of the next 1,000 due times of ten years, in milliseconds.

    None: there are fewer than two.
    """
    shortest, due_ms = None, calendar.next_after(now_ms)
    for _ in range(COMPARED_DUE_TIMES - 1):
        following = None if due_ms is None or due_ms > now_ms + COMPARED_MS else calendar.next_after(due_ms)
        if due_ms is None or following is None:
            break
        distance = following - due_ms
        shortest = distance if shortest is None else min(shortest, distance)
        due_ms = following
    return shortest


def past_doubts(calendar: Calendar, now_ms: int, span: Span) -> list[Doubt]:
    """W423: the last due time has passed."""
    last = None if calendar.next_after(now_ms) is not None else calendar.latest(now_ms)
    explained = None if last is None else calendar.explain(last)
    if explained is None:
        return []
    message = f"it is not due any more: its last due time was {local_text(explained.due_ms, explained.zone)}"
    return [Doubt("W423", message, "give later times, or remove the job", span)]


def anchor_doubts(each: tuple[int, Unit], calendar: Calendar, now_ms: int, span: Span) -> list[Doubt]:
    """W427: `each` without `from` decides by 1970 which days are left. Quarters and other parts of a year are usual."""
    number, unit = each
    if number == 1 or (unit == "mo" and 12 % number == 0):
        return []
    due_ms = calendar.next_after(now_ms)
    explained = None if due_ms is None else calendar.explain(due_ms)
    if explained is None:
        return []
    date = local_text(explained.due_ms, explained.zone)[:10]
    message = f"`each = {number}{unit}` counts from 1970-01-01, since there is no `from`; next due on {date}"
    first = date if explained.moved_from is None else _date(_one_step_before(explained.moved_from, number, unit))
    return [Doubt("W427", message, f"write `from = {first}` to keep that, or another day to count from", span)]


def _one_step_before(day: int, number: int, unit: Unit) -> int:
    """The day from which to count, so that a due day stays due also if `move` moves it back: one step of `each` earlier."""
    if unit in ("d", "w"):
        return day - number * (7 if unit == "w" else 1)
    return first_day(month_of(day) - number * (12 if unit == "y" else 1))


def delay_doubts(option: str, delay_ms: int, calendar: Schedule, now_ms: int, span: Span) -> list[Doubt]:
    """W420: `spread` or `jitter` is not shorter than the shortest distance between two due times without delay."""
    shortest = shortest_distance(calendar, now_ms)
    if shortest is None or delay_ms < shortest:
        return []
    longer = "as long as" if delay_ms == shortest else "longer than"
    message = f"`{option}` is {longer} the distance between two due times ({duration_text(shortest)})"
    return [Doubt("W420", message, "choose a shorter delay", span)]


def dates_doubts(name: str, entries: Sequence[Dates], now_s: int, span: Span) -> list[Doubt]:
    """W419: the last date of a `days` stanza is past or less than 90 days ahead."""
    last = end_of_dates(entries)
    if last is None or last >= now_s // DAY_S + 90:
        return []
    verb = "ended" if last < now_s // DAY_S else "end"
    message = f"the dates of `{name}` {verb} on {_date(last)}"
    return [Doubt("W419", message, "add later dates; `schedappliance holidays` writes those of holidays", span)]


def never_due(expression: Expression, span: Span) -> Doubt:
    """E214: an expression has no due time."""
    months = [name for number, name in enumerate(MONTHS, 1) if expression.months >> number & 1]
    if expression.years is not None:
        last = "; the last day is 9999-12-30" if max(expression.years) == YEAR.high else ""
        return Doubt("E214", f"never due: {expression_words(expression)}", f"choose other years or days{last}", span)
    tried = "month" if len(months) == 12 else " or ".join(months)
    message = f"never due: no {tried} has such a day"
    return Doubt(
        "E214", message, "choose a day that comes; `L` in `cron` and `~1` in `calendar` are the last day", span
    )


def _either_day(text: str, day: CronField, weekday: CronField) -> Iterator[Doubt]:
    if weekday.plus or _is_any(day) or _is_any(weekday):
        return
    span = Span(day.span.start, weekday.span.end)
    written = text[weekday.span.start : weekday.span.end]
    if not (day.has_star or weekday.has_star):
        message = f"one of the two day fields is enough: {_days_of(text)}"
        yield Doubt("W414", message, f"write `+{written}` if both must match, else two expressions", span)
        return
    star = day if day.has_star else weekday
    begins = text[star.span.start : star.span.end]
    message = f"a day must match both day fields, because `{begins}` begins with `*`"
    remedy = f"write `+{written}` to make that clear; for either, write the field without `*`"
    yield Doubt("W414", message, remedy, span)


def _is_any(field: CronField) -> bool:
    """`*`, `?` or `*/1` somewhere in the field."""
    return any(
        item.leaves[0].kind in ("STAR", "QUESTION") and (item.step is None or int(item.step.text) == 1)
        for item in field.items
    )


def _days_of(text: str) -> str:
    return expression_words(read_cron(text)).partition(", ")[2] or "it is due on either"


def _uneven(text: str, items: Sequence[Item], kind: Kind, expression: Expression) -> Iterator[Doubt]:
    """Steps that do not divide the range, and steps that lead past it.

    Nobody expects even distances of days that must have a number and a weekday, so these are left out.
    """
    size = 7 if kind is WEEKDAY else len(kind.all_numbers)
    for item in items:
        if item.step is None or (step := int(item.step.text)) < 2:
            continue
        first, last = _ends(item, kind)
        span = item.span
        written = "".join(leaf.text for leaf in item.leaves) + f"/{item.step.text}"
        if first is None or last is None:
            continue
        if first + step > last:
            message = f"the step of `{written}` leads past its range: only {kind.name} {first} is left"
            yield Doubt("W416", message, f"write `{first}`, or a smaller step", span)
        elif (item.has("DASH") or item.has("DOTS")) and (first, last) != (kind.low, kind.high):
            continue
        elif (kind is DAY or size % step) and kind.name != "year":
            numbers = list(range(first, last + 1, step))
            message = f"the steps of `{written}` are uneven: after {kind.name} {numbers[-1]} comes {numbers[0]}"
            yield Doubt("W416", message, _evenly(text, items, kind, step, expression), span)


def _ends(item: Item, kind: Kind) -> tuple[int | None, int | None]:
    """The first and the last possible number of an item with a step; None: it depends on the job."""
    if item.has("TILDE"):
        return None, None
    first = kind.low if item.leaves[0].kind in ("STAR", "QUESTION") else _number(item.leaves[0], kind)
    last = _number(item.leaves[-1], kind) if len(item.leaves) > 1 else kind.high
    return first, 7 if kind is WEEKDAY and last == 0 else last


def _number(leaf: Leaf, kind: Kind) -> int:
    return int(leaf.text) if leaf.text.isdigit() else kind.low + kind.names.index(leaf.text.upper())


def _minutes_like_times(text: str, time: Time) -> Iterator[Doubt]:
    """`08:00..18:00`, which looks like two times of day."""
    if time.second is None or any(len(chain) > 1 for chain in (time.hour, time.minute, time.second)):
        return
    (hour,), (minute,), (second,) = time.hour, time.minute, time.second
    leaves = (*hour.leaves, *minute.leaves, second.leaves[0])
    if [leaf.kind for leaf in leaves] != ["INT", "INT", "DOTS", "INT", "INT"] or hour.step or minute.step:
        return
    at, first, last = (int(leaves[index].text) for index in (0, 1, 3))
    if last > 23:
        return
    span = Span(hour.span.start, second.span.end)
    written = text[minute.span.start : minute.span.end]
    message = f"`{written}` are minutes: it is due from {at:02}:{first:02} to {at:02}:{last:02}"
    remedy = f"`{at:02}..{last:02}:{first:02}` is due each hour; `within` is a range of times of day"
    yield Doubt("W424", message, remedy, span)


def _first_of_six(text: str, tree: CronTree) -> Iterator[Doubt]:
    if len(tree.fields) != 6:
        return
    first = tree.fields[0]
    if [leaf.kind for item in first.items for leaf in (*item.leaves, *([item.step] if item.step else []))] == ["ATOM"]:
        return
    written = text[first.span.start : first.span.end]
    five = text[first.span.start : tree.fields[4].span.end]
    message = f"the first of six fields is the second: `{written}` counts seconds"
    yield Doubt("W417", message, f"if it counts minutes, write five fields: `{five}`", first.span)


def _every_minute(text: str, minute: CronField, hour: CronField) -> Iterator[Doubt]:
    """`* 2 * * *`, written for once at 02:00. `*/1` says that every minute is meant."""
    star = text[minute.span.start : minute.span.end]
    hours = [item.leaves[0].text for item in hour.items if len(item.leaves) == 1 and item.step is None]
    if star != "*" or len(hours) < len(hour.items) or not all(number.isdigit() for number in hours):
        return
    begin, end = text[: minute.span.start], text[minute.span.end :]
    first = int(hours[0])
    message = f"it is due each minute from {first:02}:00 to {first:02}:59, since the minute is `*`"
    remedy = f"write `{begin}0{end}` for once at {first:02}:00, or `{begin}*/1{end}` if each minute is meant"
    yield Doubt("W426", message, remedy, minute.span)


def _quartz_weekdays(tree: CronTree, weekday: CronField) -> Iterator[Doubt]:
    has_question = any(item.leaves[0].kind == "QUESTION" for field in tree.fields for item in field.items)
    if not has_question and len(tree.fields) < 6:
        return
    for item in weekday.items:
        for leaf in item.leaves[:1] if item.has("HASH") else item.leaves:
            digits = leaf.text.rstrip("lL")
            if leaf.kind == "ATOM" and digits.isdigit():
                number = int(digits)
                here, there = WEEKDAYS[(number + 6) % 7], WEEKDAYS[(number + 5) % 7]
                message = f"day of week {number} is {here} here, and {there} in Quartz"
                remedy = f"write `{here[:3].upper()}` or `{there[:3].upper()}`"
                yield Doubt("W418", message, remedy, leaf.span)
                return


def _missing_days(items: Sequence[Item], months: int, remedy: str) -> Iterator[Doubt]:
    """Single days that some of the months lack."""
    names = [number for number in range(1, 13) if months >> number & 1]
    for item in items:
        leaf = item.leaves[0]
        if len(item.leaves) > 1 or item.step or not leaf.text.isdigit() or (number := int(leaf.text)) < 29:
            continue
        having = [month for month in names if _LENGTHS[month - 1] >= number]
        if number == 29 and 2 in names:
            where = "only in leap years" if names == [2] else "in February only in leap years"
            yield Doubt("W421", f"day 29 comes {where}", remedy, leaf.span)
        elif having and len(having) < len(names):
            message = f"day {number} comes in {len(having)} of {counted(len(names), 'month')}"
            yield Doubt("W421", message, remedy, leaf.span)


def _changes(zone: Zone, now_s: int) -> Iterator[Piece]:
    """The pieces that begin with a clock change within five years."""
    piece = zone.piece_at(now_s)
    while piece.end < now_s + FIVE_YEARS_S:
        piece = zone.piece_at(piece.end)
        if piece.before != piece.offset:
            yield piece


def _date(day: int) -> str:
    year, month, number = date_of(day)
    return f"{year:04}-{month:02}-{number:02}"


def _clock(local: int) -> str:
    return f"{local // 3600 % 24:02}:{local // 60 % 60:02}"
