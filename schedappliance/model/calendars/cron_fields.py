"""One field of a cron expression: its numbers, its special days, and its normal form.

Rule: the normal form of a field is read as the same field, and its normal form is itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

from schedappliance.diagnostics import InvalidValue, Span, did_you_mean, shortened
from schedappliance.model.calendars.days import (
    MONTHS,
    SHORT_WEEKDAYS,
    Days,
    days_from_end,
    nearest_working_day,
    nth_weekday,
)
from schedappliance.model.calendars.progressions import Progression, normalized, numbers_of, progression, runs
from schedappliance.syntax.expressions import CronField, Item, Leaf, invalid_expression

_MONTHS = tuple(name[:3].upper() for name in MONTHS)
# Cron counts weekdays from Sunday.
_WEEKDAYS = tuple(SHORT_WEEKDAYS[number - 1].upper() for number in range(7))
_SUNDAY = 7
# `~` without an end picks a day that every month has.
_LAST_OF_ALL_MONTHS = 28

_WORKING_DAY = re.compile(r"(\d+)W", re.ASCII | re.IGNORECASE)
_LAST_WEEKDAY = re.compile(r"(\d+|[A-Z]+)L", re.ASCII | re.IGNORECASE)


class Kind(NamedTuple):
    """What a field counts. `names`: those of its numbers, from `low`."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()

    @property
    def all_numbers(self) -> range:
        return range(self.low, self.high + 1)


SECOND = Kind("second", 0, 59)
MINUTE = Kind("minute", 0, 59)
HOUR = Kind("hour", 0, 23)
DAY = Kind("day of month", 1, 31)
MONTH = Kind("month", 1, 12, _MONTHS)
WEEKDAY = Kind("day of week", 0, 6, _WEEKDAYS)
YEAR = Kind("year", 1970, 9999)


def kinds_of(number: int) -> tuple[Kind, ...]:
    """What the fields of an expression with this number of fields count: 5, 6 with the second, or 7 with the year too."""
    five = (MINUTE, HOUR, DAY, MONTH, WEEKDAY)
    return {5: five, 6: (SECOND, *five), 7: (SECOND, *five, YEAR)}[number]


@dataclass(frozen=True, slots=True)
class FieldSet:
    """A field that was read. `special`: days that depend on the month. `text`: the normal form, without `+`.

    `single`: the normal form where `*` decides nothing else, for a step such as `*/70` that leaves only the lowest number.
    """

    numbers: frozenset[int]
    special: tuple[Days, ...]
    text: str
    begins_with_star: bool
    is_full: bool
    single: str | None = None


@dataclass(slots=True)
class _Parts:
    """The items of a field, by their form. `picked`: those with `~`, by their texts."""

    star: Progression | None = None
    plain: list[Progression] = field(default_factory=list)
    picked: dict[str, Progression] = field(default_factory=dict)
    special: dict[tuple[int, ...], tuple[str, Days]] = field(default_factory=dict)


def read_field(written: CronField, kind: Kind, seed: str) -> FieldSet:
    """Raises InvalidValue with a span in the text."""
    if written.plus and kind is not WEEKDAY:
        remedy = "write `+` only before the day of week, where it means that both day fields must match"
        raise invalid_expression(f"unexpected `+` in the {kind.name}", remedy, written.plus.span)
    parts = _Parts()
    for item in written.items:
        _read_item(item, kind, seed, parts)
    progressions = [*([parts.star] if parts.star else []), *parts.plain, *parts.picked.values()]
    numbers = frozenset(number % 7 if kind is WEEKDAY else number for number in numbers_of(progressions))
    begins_with_star = written.has_star
    return FieldSet(
        numbers=numbers,
        special=tuple([days for _, days in parts.special.values()]),
        text=_text(parts, kind, begins_with_star),
        begins_with_star=begins_with_star,
        is_full=len(numbers) == len(kind.all_numbers),
        single=str(kind.low) if begins_with_star and numbers == {kind.low} and not parts.picked else None,
    )


def _read_item(item: Item, kind: Kind, seed: str, parts: _Parts) -> None:
    first = item.leaves[0]
    if first.kind in ("STAR", "QUESTION"):
        if first.kind == "QUESTION" and kind not in (DAY, WEEKDAY):
            message = f"`?` is not possible in the {kind.name}"
            raise invalid_expression(message, "write `*`", first.span)
        star = progression(kind.low, kind.high, _step(item))
        if parts.star is None and not (parts.plain or parts.picked or parts.special):
            parts.star = star
        else:
            parts.plain.append(star)
    elif item.has("TILDE"):
        text, pick = _pick(item, kind, seed)
        parts.picked[text] = pick
    elif special := _special(item, kind):
        if item.step:
            message = f"a step is not possible after `{special[1]}`"
            raise invalid_expression(message, "leave the step out", Span(item.leaves[-1].end, item.step.end))
        parts.special[special[0]] = special[1:]
    else:
        parts.plain.append(_range(item, kind))


def _range(item: Item, kind: Kind) -> Progression:
    """`a`, `a-b`, `a/n` or `a-b/n`."""
    step = _step(item)
    first = _number(item.leaves[0], kind)
    if not item.has("DASH"):
        return progression(first, max(first, kind.high) if item.step else first, step)
    last = _end(item.leaves[-1], kind, first)
    if first > last:
        raise _wrapped(item, kind, first, last)
    return progression(first, last, step)


def _end(leaf: Leaf, kind: Kind, first: int) -> int:
    """The end of a range. `SUN` at the end is the day after `SAT`."""
    last = _number(leaf, kind)
    return _SUNDAY if kind is WEEKDAY and last == 0 < first and leaf.text.isalpha() else last


def _wrapped(item: Item, kind: Kind, first: int, last: int) -> InvalidValue:
    begin, end = item.leaves[0].text.upper(), item.leaves[-1].text.upper()
    high = "SUN" if kind is WEEKDAY and begin.isalpha() else str(_SUNDAY if kind is WEEKDAY else kind.high)
    low = _name(kind.low + (kind is WEEKDAY), kind) if end.isalpha() else str(kind.low + (kind is WEEKDAY))
    before = begin if first == (_SUNDAY if kind is WEEKDAY else kind.high) else f"{begin}-{high}"
    after = end if last <= kind.low + (kind is WEEKDAY) else f"{low}-{end}"
    remedy = "write the earlier year first" if kind is YEAR else f"write `{before},{after}`"
    if kind is WEEKDAY and last == 0:
        remedy = f"write `{begin}-7`" if first != _SUNDAY else f"write `{begin}`"
    if item.has("TILDE"):
        remedy = "write the smaller number first"
    written = "".join(leaf.text for leaf in item.leaves)
    return invalid_expression(f"range `{written}` ends before it begins", remedy, item.span)


def _number(leaf: Leaf, kind: Kind) -> int:
    text = leaf.text.upper()
    high = _SUNDAY if kind is WEEKDAY else kind.high
    if text.isdigit():
        if not kind.low <= int(text) <= high:
            remedy = f"give {kind.low} to {high}"
            if text == "60":
                remedy += "; system time has no leap seconds" if kind.name == "second" else ""
            raise invalid_expression(f"{kind.name} {shortened(leaf.text)} is out of range", remedy, leaf.span)
        return int(text)
    if text in kind.names:
        return kind.low + kind.names.index(text)
    message = f"invalid {kind.name} `{shortened(leaf.text)}`"
    if text == "H":
        raise invalid_expression(message, "write `~` for a value that depends on the name of the job", leaf.span)
    otherwise = f"give {kind.low} to {high}" + (f", or a name such as `{kind.names[1]}`" if kind.names else "")
    raise invalid_expression(message, did_you_mean(leaf.text, kind.names, otherwise), leaf.span)


def _step(item: Item) -> int:
    if item.step is None:
        return 1
    if not item.step.text.isdigit():
        message = f"invalid step `{shortened(item.step.text)}`"
        raise invalid_expression(message, "give a number, as in `*/15`", item.step.span)
    if int(item.step.text) == 0:
        raise invalid_expression("step 0 never advances", "give 1 or more, or leave the step out", item.step.span)
    return int(item.step.text)


def _pick(item: Item, kind: Kind, seed: str) -> tuple[str, Progression]:
    """The normal text of an item with `~`, and the numbers that the seed picks."""
    kinds = [leaf.kind for leaf in item.leaves]
    low = _number(item.leaves[0], kind) if kinds[0] == "ATOM" else kind.low
    if kinds[-1] == "ATOM":
        high = _end(item.leaves[-1], kind, low)
    else:
        high = max(low, _LAST_OF_ALL_MONTHS) if kind is DAY and not item.step else max(low, kind.high)
    if low > high:
        raise _wrapped(item, kind, low, high)
    step = _step(item)
    text = f"{_name(low, kind)}~{_name(high, kind)}" + (f"/{step}" if item.step else "")
    digest = blake2b(f"{seed}\0{kind.name}\0{text}".encode(), digest_size=8).digest()
    size = high - low + 1
    value = low + int.from_bytes(digest) % (min(step, size) if item.step else size)
    return text, progression(value, high, step) if item.step else Progression(value, value)


def _special(item: Item, kind: Kind) -> tuple[tuple[int, ...], str, Days] | None:
    """A day that depends on the month: its place in the normal order, its text, and the set. None: another item."""
    if kind is DAY:
        return _special_day(item)
    if kind is WEEKDAY:
        return _special_weekday(item)
    if item.has("HASH"):
        hash_sign = item.leaves[1]
        raise invalid_expression(f"`#` is not possible in the {kind.name}", "leave it out", hash_sign.span)
    return None


def _special_day(item: Item) -> tuple[tuple[int, ...], str, Days] | None:
    """`L`, `L-3`, `LW` or `15W`."""
    first = item.leaves[0]
    text = first.text.upper()
    if item.has("HASH"):
        message, remedy = "`#` is not possible in the day of month", "write it in the day of week, as in `FRI#2`"
        raise invalid_expression(message, remedy, item.leaves[1].span)
    if text == "L":
        before = 0
        if item.has("DASH"):
            before = _limited(item.leaves[-1], 0, 30, "number of days before the last")
        return (0, before), f"L-{before}" if before else "L", days_from_end(frozenset({before + 1}))
    if item.has("DASH"):
        return None
    if text in ("LW", "WL"):
        return (2, 0), "LW", nearest_working_day(None)
    if match := _WORKING_DAY.fullmatch(text):
        number = _number(Leaf("ATOM", match[1], first.start, first.end - 1), DAY)
        return (1, number), f"{number}W", nearest_working_day(number)
    return None


def _special_weekday(item: Item) -> tuple[tuple[int, ...], str, Days] | None:
    """`FRIL`, `FRI#L` or `FRI#2`."""
    first, last = item.leaves[0], item.leaves[-1]
    if item.has("HASH"):
        weekday = _number(first, WEEKDAY)
        nth = -1 if last.text.upper() == "L" else _limited(last, 1, 5, "number of the weekday in the month")
    elif item.has("DASH"):
        return None
    elif first.text.upper() == "L":
        message, remedy = "`L` lacks its day of week", "write `FRIL` for the last Friday, or `SAT` for Saturdays"
        raise invalid_expression(message, remedy, first.span)
    elif match := _LAST_WEEKDAY.fullmatch(first.text):
        weekday, nth = _number(Leaf("ATOM", match[1], first.start, first.end - 1), WEEKDAY), -1
    else:
        return None
    weekday = weekday or _SUNDAY
    text = _name(weekday, WEEKDAY) + ("L" if nth < 0 else f"#{nth}")
    return (weekday, nth % 7), text, nth_weekday(weekday - 1, nth)


def _limited(leaf: Leaf, low: int, high: int, name: str) -> int:
    if not leaf.text.isdigit():
        raise invalid_expression(f"invalid {name} `{shortened(leaf.text)}`", f"give {low} to {high}", leaf.span)
    if not low <= int(leaf.text) <= high:
        raise invalid_expression(f"{name} {shortened(leaf.text)} is out of range", f"give {low} to {high}", leaf.span)
    return int(leaf.text)


def _name(number: int, kind: Kind) -> str:
    return _WEEKDAYS[number % 7] if kind is WEEKDAY else str(number)


def _text(parts: _Parts, kind: Kind, begins_with_star: bool) -> str:
    """The normal form. Months are numbers and weekdays are names, since systems count weekdays differently."""
    numbers = numbers_of([*parts.plain, *([parts.star] if parts.star else [])])
    if kind is WEEKDAY:
        numbers = frozenset(number % 7 or _SUNDAY for number in numbers)
    if len(numbers) == len(kind.all_numbers):
        return "*" if begins_with_star else _progression_text(runs(numbers)[0], kind)
    texts = []
    if parts.star:
        covered = parts.star.numbers
        step = parts.star.step if len(covered) > 1 else len(kind.all_numbers)
        texts.append(f"*/{step}")
        numbers -= frozenset(number % 7 or _SUNDAY for number in covered) if kind is WEEKDAY else frozenset(covered)
    if kind is WEEKDAY:
        plain = runs(numbers)
    else:
        covering = normalized(parts.plain)
        plain = normalized(one for one in covering if not numbers.isdisjoint(one.numbers)) if parts.star else covering
    texts += [_progression_text(one, kind) for one in plain]
    texts += sorted(parts.picked)
    texts += [text for _, (text, _) in sorted(parts.special.items())]
    return ",".join(texts)


def _progression_text(one: Progression, kind: Kind) -> str:
    if one.first == one.last:
        return _name(one.first, kind)
    if one.repeats and kind is YEAR and one.last + one.step > kind.high:
        return f"{one.first}/{one.step}"
    text = f"{_name(one.first, kind)}-{_name(one.last, kind)}"
    return f"{text}/{one.step}" if one.repeats else text
