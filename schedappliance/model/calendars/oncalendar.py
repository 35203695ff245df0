"""Calendar expressions as in systemd.time(7), the time ranges of `within`, and the dates of a `days` stanza.

Rule: weekdays, date and time must all match. What systemd accepts has the same meaning here.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from schedappliance.diagnostics import InvalidValue, Span, did_you_mean, shortened
from schedappliance.model.calendars.cron_fields import DAY, HOUR, MINUTE, MONTH, SECOND, YEAR, Kind
from schedappliance.model.calendars.days import (
    ALL_MONTHS,
    EVERY_DAY,
    SHORT_WEEKDAYS,
    WEEKDAYS,
    Days,
    days_from_end,
    days_of_month,
    weekdays,
)
from schedappliance.model.calendars.expression import Dates, Expression, Window
from schedappliance.model.calendars.months import DAY_S
from schedappliance.model.calendars.progressions import Progression, normalized, numbers_of, progression, runs
from schedappliance.syntax.expressions import (
    CALENDAR_SHAPE,
    DATES_SHAPE,
    WINDOW_SHAPE,
    CalendarTree,
    Item,
    Leaf,
    Names,
    invalid_expression,
    is_complete_cron_form,
    parse_calendar,
    parse_dates,
    parse_window,
)

MAX_CACHED = 65_536

SHORTHANDS = {
    "minutely": "*-*-* *:*:00",
    "hourly": "*-*-* *:00:00",
    "daily": "*-*-* 00:00:00",
    "weekly": "Mon *-*-* 00:00:00",
    "monthly": "*-*-01 00:00:00",
    "quarterly": "*-01,04,07,10-01 00:00:00",
    **dict.fromkeys(
        ("semiannually", "semi-annually", "biannually", "bi-annually"),
        "*-01,07-01 00:00:00",
    ),
    **dict.fromkeys(("yearly", "annually", "anually"), "*-01-01 00:00:00"),
}

_NUMBER_OF = {name.lower(): number % 7 for number, name in enumerate(SHORT_WEEKDAYS + WEEKDAYS)}
_NAMES = "write `Mon`, `Tue`, `Wed`, `Thu`, `Fri`, `Sat` or `Sun`"
_EVERY_WEEKDAY = frozenset(range(7))
_PLAIN_DATE = re.compile("([0-9]{4})-([0-9]{2})-([0-9]{2})")


class Chain(NamedTuple):
    """A list of numbers that was read. `text`: its normal form. `repeats`: it is `*` or has a step."""

    numbers: frozenset[int]
    text: str
    repeats: bool
    is_full: bool


class CalendarParts(NamedTuple):
    """The lists of a calendar expression as they are written. `from_end`: the days count from the end of the month."""

    weekdays: frozenset[int]
    year: Chain
    month: Chain
    day: Chain
    from_end: bool
    hour: Chain
    minute: Chain
    second: Chain


@lru_cache(maxsize=MAX_CACHED)
def read_calendar(text: str) -> Expression:
    """The meaning of a calendar expression. Raises InvalidValue with a span in the text."""
    try:
        zone, parts = read_calendar_parts(text)
    except InvalidValue as invalid:
        raise _better(text, invalid) from None
    time = f"{parts.hour.text}:{parts.minute.text}:{parts.second.text}"
    return Expression(
        normal=_joined(_weekdays_text(parts.weekdays), _date_text(parts), time),
        days=_days(parts),
        months=_months(parts),
        years=None if parts.year.is_full else parts.year.numbers,
        hours=tuple(sorted(parts.hour.numbers)),
        minutes=tuple(sorted(parts.minute.numbers)),
        seconds=tuple(sorted(parts.second.numbers)),
        rolling=parts.hour.repeats or parts.minute.repeats,
        zone=zone,
    )


@lru_cache(maxsize=MAX_CACHED)
def read_window(text: str) -> Window:
    """The meaning of an entry of `within`. Raises InvalidValue with a span in the text."""
    tree = parse_window(text)
    days = _weekdays(tree.names, WINDOW_SHAPE)
    if not tree.clocks:
        return Window(_joined(_weekdays_text(days), "00:00..24:00"), days, 0, DAY_S)
    start, end = (_seconds_of(clock, is_end) for clock, is_end in zip(tree.clocks, (False, True), strict=True))
    if start == end:
        first, last = tree.clocks
        remedy = "write `00:00..24:00` for the whole day"
        raise invalid_expression("the time range is empty", remedy, Span(first[0].start, last[-1].end))
    normal = _joined(_weekdays_text(days), f"{_clock_text(start)}..{_clock_text(end)}")
    return Window(normal, days, start, end if end > start else end + DAY_S)


@lru_cache(maxsize=MAX_CACHED)
def read_dates(text: str) -> Dates:
    """The meaning of an entry of a `days` stanza. Raises InvalidValue with a span in the text."""
    if (plain := _plain_date(text)) is not None:
        return plain
    parts = _parts(parse_dates(text), DATES_SHAPE)
    date = _date_text(parts)
    normal = _joined(_weekdays_text(parts.weekdays), "" if date == "*-*-*" else date) or date
    return Dates(normal, _days(parts), _months(parts), None if parts.year.is_full else parts.year.numbers)


def _plain_date(text: str) -> Dates | None:
    """A date such as `2027-03-26`, without the parser, which would take 150 µs; None for any other text.

    Long lists, such as those of `schedappliance holidays`, hold only such dates. The parser reports those out of range.
    """
    match = _PLAIN_DATE.fullmatch(text)
    if match is None:
        return None
    year, month, day = map(int, match.groups())
    if not (year in YEAR.all_numbers and month in MONTH.all_numbers and day in DAY.all_numbers):
        return None
    return Dates(text, days_of_month(frozenset({day})), 1 << month, frozenset({year}))


def read_calendar_parts(text: str) -> tuple[str | None, CalendarParts]:
    """The zone and the lists as they are written. Raises InvalidValue with a span in the text."""
    tree = parse_calendar(text)
    shorthand = _shorthand(tree)
    zone = _zone(tree) if tree.zone else None
    return zone, _parts(parse_calendar(shorthand) if shorthand else tree)


def _joined(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _shorthand(tree: CalendarTree) -> str | None:
    """What stands for a word such as `daily`."""
    if tree.names is None or tree.date or tree.time or len(tree.names.ranges) > 1 or len(tree.names.ranges[0]) > 1:
        return None
    return SHORTHANDS.get(tree.names.ranges[0][0].text.lower())


def _zone(tree: CalendarTree) -> str:
    leaf = tree.zone
    assert leaf is not None
    word = leaf.text.lower()
    if word in ("am", "pm"):
        raise invalid_expression(f"unexpected `{leaf.text}`", "write hours from 0 to 23, as in `14:30`", leaf.span)
    if word in _NUMBER_OF or word in SHORTHANDS:
        remedy = "write the weekdays first and separate them by `,`" if word in _NUMBER_OF else CALENDAR_SHAPE
        raise invalid_expression(f"`{leaf.text}` stands in the place of the time zone", remedy, leaf.span)
    return leaf.text


def _parts(tree: CalendarTree, shape: str = CALENDAR_SHAPE) -> CalendarParts:
    date, time = tree.date, tree.time
    zero = Chain(frozenset({0}), "00", False, False)
    return CalendarParts(
        _weekdays(tree.names, shape),
        _chain(date.year if date else None, YEAR),
        _chain(date.month if date else None, MONTH),
        _chain(date.day if date else None, DAY, date.from_end if date else False),
        date.from_end if date else False,
        _chain(time.hour, HOUR) if time else zero,
        _chain(time.minute, MINUTE) if time else zero,
        _chain(time.second, SECOND) if time and time.second else zero,
    )


def _weekdays(names: Names | None, shape: str) -> frozenset[int]:
    """`shape`: what to write if a word is wrong. Shorthands and zones belong into calendar expressions only."""
    if names is None:
        return _EVERY_WEEKDAY
    numbers: set[int] = set()
    for written in names.ranges:
        first, last = _ends(written)
        begin, end = _weekday(first, shape), _weekday(last, shape)
        if begin > end:
            raise _wrapped(first, last, begin, end)
        numbers.update(range(begin, end + 1))
    return frozenset(numbers)


def _ends(written: tuple[Leaf, ...]) -> tuple[Leaf, Leaf]:
    """The two ends of a range. `Mon-Fri` is one word for the grammar."""
    if len(written) == 2:
        return written[0], written[1]
    (leaf,) = written
    first, hyphen, last = leaf.text.partition("-")
    if not (hyphen and first.lower() in _NUMBER_OF):
        return leaf, leaf
    middle = leaf.start + len(first)
    return Leaf("WORD", first, leaf.start, middle), Leaf("WORD", last, middle + 1, leaf.end)


def _weekday(leaf: Leaf, shape: str) -> int:
    number = _NUMBER_OF.get(leaf.text.lower())
    if number is not None:
        return number
    if not leaf.text:
        raise invalid_expression("nothing follows `-`", _NAMES, Span(leaf.start - 1, leaf.end))
    message = f"invalid weekday `{shortened(leaf.text)}`"
    if shape != CALENDAR_SHAPE:
        raise invalid_expression(message, did_you_mean(leaf.text, SHORT_WEEKDAYS, shape), leaf.span)
    if leaf.text.lower() in SHORTHANDS:
        remedy = f"write `{SHORTHANDS[leaf.text.lower()]}`, and change it"
        raise invalid_expression(f"`{leaf.text}` cannot be combined", remedy, leaf.span)
    if "/" in leaf.text:
        raise invalid_expression("a time zone alone is not a calendar expression", CALENDAR_SHAPE, leaf.span)
    remedy = did_you_mean(leaf.text, (*SHORT_WEEKDAYS, *SHORTHANDS), _NAMES)
    raise invalid_expression(message, remedy, leaf.span)


def _wrapped(first: Leaf, last: Leaf, begin: int, end: int) -> InvalidValue:
    before = "Sun" if begin == 6 else f"{SHORT_WEEKDAYS[begin]}..Sun"
    after = "Mon" if end == 0 else f"Mon..{SHORT_WEEKDAYS[end]}"
    message = f"`{first.text}..{last.text}` ends before it begins: weeks begin on Monday"
    return invalid_expression(message, f"write `{before},{after}`", Span(first.start, last.end))


def _chain(items: tuple[Item, ...] | None, kind: Kind, from_end: bool = False) -> Chain:
    if items is None or any(_is_star(item) for item in items):
        return Chain(frozenset(kind.all_numbers), "*", True, True)
    progressions = [_progression(item, kind, from_end) for item in items]
    numbers = numbers_of(progressions)
    repeats = any(one.repeats or _is_open(item) for one, item in zip(progressions, items, strict=True))
    is_full = len(numbers) == len(kind.all_numbers)
    if is_full and (repeats or kind in (YEAR, MONTH, DAY)):
        return Chain(numbers, "*", True, True)
    text = ",".join(_progression_text(one, kind, from_end) for one in normalized(progressions))
    return Chain(numbers, text, any(one.repeats for one in progressions), is_full)


def _is_star(item: Item) -> bool:
    return item.leaves[0].kind == "STAR" and item.step is None


def _is_open(item: Item) -> bool:
    """Whether an item has a step and no end: `0/1` covers as much as `*`."""
    return item.step is not None and not item.has("DOTS")


def _progression(item: Item, kind: Kind, from_end: bool) -> Progression:
    """`a`, `a..b`, `a/n`, `a..b/n` or `*/n`."""
    begin, end = item.leaves[0], item.leaves[-1]
    step = _step(item)
    first = kind.low if begin.kind == "STAR" else _number(begin, kind)
    if not item.has("DOTS"):
        if from_end and item.step:
            # Days from the end that are `step` days apart become fewer: `~7/2` is 7, 5, 3 and 1.
            return progression(first - (first - 1) // step * step, first, step)
        return progression(first, kind.high if item.step else first, step)
    last = _number(end, kind)
    if first > last:
        message = f"range `{begin.text}..{end.text}` ends before it begins"
        before = begin.text if first == kind.high else f"{begin.text}..{kind.high}"
        after = end.text if last == kind.low else f"{kind.low}..{end.text}"
        remedy = "write the smaller number first" if kind is YEAR or from_end else f"write `{before},{after}`"
        raise invalid_expression(message, remedy, item.span)
    return progression(first, last, step)


def _number(leaf: Leaf, kind: Kind) -> int:
    number = int(leaf.text)
    if kind is YEAR and len(leaf.text) <= 2:
        number += 2000 if number < 70 else 1900
    if not kind.low <= number <= kind.high:
        remedy = f"give {kind.low} to {kind.high}"
        if kind is SECOND and number == 60:
            remedy += "; system time has no leap seconds"
        raise invalid_expression(f"{kind.name} {shortened(leaf.text)} is out of range", remedy, leaf.span)
    return number


def _step(item: Item) -> int:
    if item.step is None:
        return 1
    step = int(item.step.text)
    if step == 0:
        raise invalid_expression("step 0 never advances", "give 1 or more, or leave the step out", item.step.span)
    return step


def _progression_text(one: Progression, kind: Kind, from_end: bool) -> str:
    width = 4 if kind is YEAR else 2
    if one.first == one.last:
        return f"{one.first:0{width}}"
    if not one.repeats:
        return f"{one.first:0{width}}..{one.last:0{width}}"
    if one.last + one.step > kind.high and not from_end:
        return f"{one.first:0{width}}/{one.step}"
    return f"{one.first:0{width}}..{one.last:0{width}}/{one.step}"


def _weekdays_text(numbers: frozenset[int]) -> str:
    if numbers == _EVERY_WEEKDAY:
        return ""
    ranges = [(SHORT_WEEKDAYS[run.first], SHORT_WEEKDAYS[run.last]) for run in runs(numbers)]
    return ",".join(first if first == last else f"{first}..{last}" for first, last in ranges)


def _date_text(parts: CalendarParts) -> str:
    sign = "~" if parts.from_end and not parts.day.is_full else "-"
    return f"{parts.year.text}-{parts.month.text}{sign}{parts.day.text}"


def _days(parts: CalendarParts) -> Days:
    of_month = days_from_end if parts.from_end else days_of_month
    days = EVERY_DAY if parts.day.is_full else of_month(parts.day.numbers)
    return days if parts.weekdays == _EVERY_WEEKDAY else days & weekdays(parts.weekdays)


def _months(parts: CalendarParts) -> int:
    return ALL_MONTHS if parts.month.is_full else sum(1 << month for month in parts.month.numbers)


def _seconds_of(clock: tuple[Leaf, ...], is_end: bool) -> int:
    """Seconds since midnight. A range may end at 24:00."""
    if is_end and [int(leaf.text) for leaf in clock] in ([24, 0], [24, 0, 0]):
        return DAY_S
    numbers = [_number(leaf, kind) for leaf, kind in zip(clock, (HOUR, MINUTE, SECOND), strict=False)]
    hour, minute, second = (*numbers, 0)[:3]
    return hour * 3600 + minute * 60 + second


def _clock_text(seconds: int) -> str:
    minutes, second = divmod(seconds, 60)
    text = f"{minutes // 60:02}:{minutes % 60:02}"
    return f"{text}:{second:02}" if second else text


def _better(text: str, invalid: InvalidValue) -> InvalidValue:
    """A clearer mistake if the text is meant as something other than a calendar expression, else the mistake as it is."""
    stripped = text.strip(" \t")
    begin = text.find(stripped) if stripped else 0
    whole = Span(begin, begin + len(stripped))
    if is_complete_cron_form(text):
        remedy = "write `cron` in place of `calendar`"
        return invalid_expression("this is a cron expression, not a calendar expression", remedy, whole)
    if stripped.lower().startswith("every "):
        message = f"`{shortened(stripped)}` is a period, not a calendar expression"
        return invalid_expression(message, "write `every` with a duration, such as `5m`", whole)
    if stripped.startswith("@"):
        remedy = (
            f"write `at` with `{stripped[1:]}` in place of `calendar`" if stripped[1:].isdigit() else CALENDAR_SHAPE
        )
        return invalid_expression(f"`{shortened(stripped)}` is not a calendar expression", remedy, whole)
    return invalid
