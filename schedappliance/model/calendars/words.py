"""Calendars in words: `at 02:30, Monday to Friday, Europe/Berlin`.

Rule: the words come from the sets of days and times, so that two expressions with the same meaning read alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date
from functools import reduce
from operator import or_

from schedappliance.clock import HasOffset, local_text
from schedappliance.diagnostics import counted, joined
from schedappliance.model.calendars.clock_changes import ClockRule
from schedappliance.model.calendars.days import (
    ALL_MONTHS,
    EVERY_DAY,
    MONTHS,
    WEEKDAYS,
    Days,
    days_from_end,
    days_of_month,
    nearest_working_day,
    nth_weekday,
    weekdays,
)
from schedappliance.model.calendars.expression import Expression
from schedappliance.model.calendars.progressions import runs
from schedappliance.model.calendars.rule import CalendarRule
from schedappliance.model.calendars.texts import EPOCH_DAY
from schedappliance.model.schedules import Every
from schedappliance.model.values import duration_text

MOST_TIMES, MOST_YEARS = 6, 4

_EMPTY = days_of_month(frozenset())
_SKIPPED = {
    "run": "a time that the clock skips is due at the first instant after the gap",
    "shift": "a time that the clock skips is due later by the length of the gap",
    "omit": "a time that the clock skips is left out",
}
_REPEATED = {
    "first": "a repeated time counts the first time",
    "last": "a repeated time counts the last time",
    "both": "a repeated time counts both times",
}
_UNITS = {"d": "day", "w": "week", "mo": "month", "y": "year"}
_SPANS = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))
NTH = {1: "first", 2: "second", 3: "third", 4: "fourth", 5: "fifth", -1: "last"}


def expression_words(expression: Expression) -> str:
    """When an expression is due, without its zone."""
    times = _times(expression)
    days = _days(expression)
    if not days and times.startswith("at "):
        days = "every day"
    return ", ".join(part for part in (times, days, _years(expression.years)) if part)


def clock_words(rule: ClockRule) -> str:
    """What becomes of due times when the clock changes."""
    return f"{_SKIPPED[rule.skipped]}; {_REPEATED[rule.repeated]}"


def rule_words(rule: CalendarRule, zone: HasOffset) -> str:
    """When a calendar is due, with its zone and its options, but without the sentence about clock changes.

    `zone`: in which `from` and `until` are shown.
    """
    expressions = rule.read_expressions()
    if every := rule.every:
        zones = [rule.zone] if rule.within and rule.zone else []
        return ", ".join([_interval(every), *zones, *option_words(rule, zone)])
    texts = [expression_words(expression) for expression in expressions]
    zones = [expression.zone or rule.zone or "" for expression in expressions]
    if len(set(zones)) == 1:
        parts = ["; ".join(texts), zones[0]]
    else:
        parts = ["; ".join(f"{text}, {zone}" for text, zone in zip(texts, zones, strict=True))]
    return ", ".join(part for part in (*parts, *option_words(rule, zone)) if part)


def option_words(rule: CalendarRule, zone: HasOffset) -> Iterator[str]:
    """What the options besides the expressions, the zone and the clock rule decide."""
    if rule.each:
        number, unit = rule.each
        yield f"only each {ordinal(number)} {_UNITS[unit]}"
    if rule.only:
        yield f"only on days in {joined([f'`{name}`' for name in rule.only], 'or')}"
    if rule.excluded:
        yield f"not on days in {joined([f'`{name}`' for name in rule.excluded], 'or')}"
    if rule.move and (rule.only or rule.excluded):
        yield f"but on the {rule.move} day that is left"
    if rule.nth:
        numbers = [
            NTH.get(n) or (ordinal(n) if n > 0 else f"{ordinal(-n)} last")
            for n in sorted(rule.nth, key=lambda n: (n < 0, n))
        ]
        yield f"of these the {joined(numbers)} in each month"
    if rule.within:
        yield f"within {joined([f'`{window}`' for window in rule.within], 'or')}"
    if rule.from_ms is not None:
        yield f"from {local_text(rule.from_ms, zone)}"
    if rule.from_day is not None:
        yield f"from {date.fromordinal(EPOCH_DAY + rule.from_day)}"
    if rule.until_ms is not None:
        yield f"until {local_text(rule.until_ms, zone)}"
    if rule.until_day is not None:
        yield f"until {date.fromordinal(EPOCH_DAY + rule.until_day)}"
    if rule.spread:
        yield f"plus a fixed delay of less than {duration_text(rule.spread * 1000)}"
    if rule.jitter:
        yield f"plus a varying delay of less than {duration_text(rule.jitter * 1000)}"


def _interval(every: Every) -> str:
    seconds, offset = every.interval_ms // 1000, every.offset_ms // 1000
    size, unit = next((size, unit) for size, unit in _SPANS if seconds % size == 0)
    number = seconds // size
    text = f"every {unit}" if number == 1 else f"every {number:,} {unit}s"
    return f"{text}, {counted(offset, 'second')} later" if offset else text


def _times(expression: Expression) -> str:
    hours, minutes, seconds = expression.hours, expression.minutes, expression.seconds
    if len(seconds) > 1:
        return _with_seconds(expression)
    if len(hours) * len(minutes) <= MOST_TIMES and not (len(hours) > 3 and len(minutes) == 1 and _step(hours, 24)):
        return "at " + joined([_clock(hour, minute, seconds[0]) for hour in hours for minute in minutes])
    step = _step(minutes, 60)
    if len(hours) == 24 and step:
        begin = "" if minutes[0] == 0 and not seconds[0] else f", from {_clock(0, minutes[0], seconds[0])}"
        return ("every minute" if step == 1 else f"every {step} minutes") + begin
    first = _clock(hours[0], minutes[0], seconds[0])
    last = _clock(hours[-1], minutes[-1], seconds[0])
    if step and len(minutes) > 1 and hours[-1] - hours[0] == len(hours) - 1:
        return ("every minute" if step == 1 else f"every {step} minutes") + f" from {first} to {last}"
    if len(minutes) == 1 and len(hours) == 24:
        return f"every hour at :{minutes[0]:02}" + (f":{seconds[0]:02}" if seconds[0] else "")
    distance = _step(hours, 24) or (1 if hours[-1] - hours[0] == len(hours) - 1 else 0)
    if len(minutes) == 1 and distance:
        return f"every {counted(distance, 'hour').removeprefix('1 ')} from {first} to {last}"
    return f"at {_minutes(minutes, seconds[0])} of {_hours(hours)}"


def _with_seconds(expression: Expression) -> str:
    hours, minutes, seconds = expression.hours, expression.minutes, expression.seconds
    step = _step(seconds, 60)
    if step:
        each = "every second" if step == 1 else f"every {step} seconds"
        each += f", from :{seconds[0]:02}" if seconds[0] else ""
    else:
        each = f"at the seconds {_numbers(seconds)}"
    if len(hours) == 24 and len(minutes) == 60:
        return each if step else f"{each} of every minute"
    return f"{each} of {_minutes(minutes, 0) if len(minutes) < 60 else 'every minute'} of {_hours(hours)}"


def _minutes(minutes: Sequence[int], second: int) -> str:
    if len(minutes) == 60:
        return "every minute"
    name = "minute" if len(minutes) == 1 else "minutes"
    return f"{name} {_numbers(minutes)}" + (f", second {second}," if second else "")


def _hours(hours: Sequence[int]) -> str:
    if len(hours) == 24:
        return "every hour"
    return f"{'hour' if len(hours) == 1 else 'the hours'} {_numbers(hours)}"


def _step(numbers: Sequence[int], size: int) -> int:
    """The distance of numbers that go round evenly, as the minutes 5, 20, 35 and 50; 0: they do not."""
    step, rest = divmod(size, len(numbers))
    if rest or numbers[0] >= step or len(numbers) == 1:
        return 0
    return step if list(numbers) == list(range(numbers[0], size, step)) else 0


def _clock(hour: int, minute: int, second: int) -> str:
    return f"{hour:02}:{minute:02}" + (f":{second:02}" if second else "")


def _days(expression: Expression) -> str:
    months = "" if expression.months == ALL_MONTHS else _months(expression.months)
    if expression.days == EVERY_DAY:
        return f"in {months}" if months else ""
    if expression.days == _EMPTY:
        return "on no day"
    phrases = _union(expression.days, months) or _intersection(expression.days, months)
    if not phrases:
        return f"on the days of `{expression.normal}`"
    text = joined(phrases)
    return f"{text} in {months}" if months and " of " not in text else text


def _union(days: Days, months: str) -> list[str]:
    """Phrases for sets that together are the days; empty: they are no union of the sets that have a name."""
    of_month = f" of {months}" if months else ""
    classes = _classes(of_month, of_month or " of the month")
    chosen: list[tuple[int, int, Days]] = []
    rest = days
    for index, (candidates, _) in enumerate(classes):
        for name, candidate in candidates:
            if candidate.without(days) == _EMPTY and candidate.without(rest) != candidate:
                chosen.append((index, name, candidate))
                rest = rest.without(candidate)
    if rest != _EMPTY:
        return []
    chosen = _needed(chosen, days)
    phrases = []
    for index, (_, phrase) in enumerate(classes):
        if names := [name for number, name, _ in chosen if number == index]:
            phrases.append(phrase(names))
    # Weekdays come first if they stand alone, else last, with a preposition as the other phrases.
    numbers = [name for index, name, _ in chosen if index == 0]
    if numbers and len(phrases) > 1:
        return [*phrases[1:], f"on {joined([f'{WEEKDAYS[number]}s' for number in numbers])}{of_month}"]
    return phrases


def _needed(chosen: list[tuple[int, int, Days]], days: Days) -> list[tuple[int, int, Days]]:
    """Without the sets that the others contain, as the 31st is contained in the last day of the month."""
    for one in list(chosen):
        others = [other for other in chosen if other is not one]
        if others and reduce(or_, [candidate for _, _, candidate in others]) == days:
            chosen = others
    return chosen


Names = list[int]
_Class = tuple[list[tuple[int, Days]], Callable[[Names], str]]


def _classes(of_month: str, of_any_month: str) -> list[_Class]:
    """The sets that have a name, by the phrase for several of them. A number stands for the name of each."""
    nth = [(n * 7 + day, nth_weekday(day, n)) for n in (1, 2, 3, 4, 5, -1) for day in range(7)]
    return [
        ([(day, weekdays(frozenset({day}))) for day in range(7)], lambda names: _ranges(names, WEEKDAYS, 0)),
        (
            [(n, days_of_month(frozenset({n}))) for n in range(1, 32)],
            lambda names: f"on {_ordinals(names)}{of_month}",
        ),
        (
            [(n, days_from_end(frozenset({n}))) for n in range(1, 32)],
            lambda names: f"on the {joined([_from_end(n) for n in names])}{of_any_month}",
        ),
        (
            nth,
            lambda names: f"on the {joined([f'{NTH[n // 7]} {WEEKDAYS[n % 7]}' for n in names])}{of_any_month}",
        ),
        (
            [(n, nearest_working_day(n or None)) for n in range(32)],
            lambda names: f"on the working day nearest to the {joined([_target(n) for n in names])}{of_any_month}",
        ),
    ]


def _intersection(days: Days, months: str) -> list[str]:
    """Days that must be certain weekdays and have certain numbers, too."""
    names = [number for number in range(7) if days & weekdays(frozenset({number})) != _EMPTY]
    of_week = weekdays(frozenset(names))
    for make, phrase in (
        (days_of_month, _ordinals),
        (days_from_end, lambda numbers: f"the {joined([_from_end(n) for n in numbers])}"),
    ):
        numbers = [number for number in range(1, 32) if days & make(frozenset({number})) != _EMPTY]
        if make(frozenset(numbers)) & of_week == days:
            of_month = f" of {months}" if months else "" if make is days_of_month else " of the month"
            return [f"on {phrase(numbers)}{of_month} if it is {_ranges(names, WEEKDAYS, 0, 'or')}"]
    return []


def _months(months: int) -> str:
    return _ranges([month for month in range(1, 13) if months >> month & 1], MONTHS, 1)


def _years(years: frozenset[int] | None) -> str:
    if years is None:
        return ""
    numbers = sorted(years)
    if len(numbers) > 2 and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"from {numbers[0]} to {numbers[-1]}"
    if len(numbers) <= MOST_YEARS:
        return f"in {joined([str(number) for number in numbers])}"
    shown = ", ".join(str(number) for number in numbers[: MOST_YEARS - 1])
    return f"in {shown}, ... {numbers[-1]}"


def _ranges(numbers: Iterable[int], names: Sequence[str], low: int, conjunction: str = "and") -> str:
    parts = []
    for run in runs(numbers):
        first, last = names[run.first - low], names[run.last - low]
        parts.append(first if first == last else f"{first} to {last}")
    return joined(parts, conjunction)


def _ordinals(numbers: Iterable[int]) -> str:
    numbers = list(numbers)
    step = numbers[1] - numbers[0] if len(numbers) > MOST_YEARS else 0
    if step > 1 and numbers == list(range(numbers[0], numbers[-1] + 1, step)):
        return f"every {ordinal(step)} day from the {ordinal(numbers[0])} to the {ordinal(numbers[-1])}"
    parts = [ordinal(run.first) + (f" to {ordinal(run.last)}" if run.last > run.first else "") for run in runs(numbers)]
    return f"the {joined(parts)}"


def _numbers(numbers: Iterable[int]) -> str:
    parts = [str(run.first) + (f" to {run.last}" if run.last > run.first else "") for run in runs(numbers)]
    return joined(parts)


def ordinal(number: int) -> str:
    suffix = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"


def _from_end(number: int) -> str:
    return "last day" if number == 1 else f"{ordinal(number)} last day"


def _target(number: int) -> str:
    return ordinal(number) if number else "last day"
