"""Cron expressions: what their fields mean.

Rule: the days of the month and the days of the week combine as in Vixie cron. If one of the two fields begins with `*`,
a day must match both fields, otherwise either field.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from schedappliance.diagnostics import InvalidValue, Span, did_you_mean, nearest, shortened
from schedappliance.model.calendars.cron_fields import WEEKDAY, YEAR, FieldSet, kinds_of, read_field
from schedappliance.model.calendars.days import EVERY_DAY, Days, days_of_month, weekdays
from schedappliance.model.calendars.expression import Expression
from schedappliance.model.items import read_each
from schedappliance.syntax.expressions import (
    CRON_SHAPE,
    CronField,
    Leaf,
    invalid_expression,
    is_calendar_form,
    parse_cron,
)

MAX_CACHED = 65_536

NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * SUN",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}


_WORD = re.compile(r"[^ \t]+")
# The characters of a field. A path begins with `/`, and no field does.
_FIELD = re.compile(r"(?!/)[0-9A-Za-z*?,/#~+-]+")
# A duration, alone or as in `@every 5m` and in `rate(5 minutes)` of other schedulers.
_PERIOD = re.compile(r"(?:@every[ \t]+)?((?:\d+[dhms])+)|rate\(.*\)|@every.*", re.ASCII | re.IGNORECASE)
_ZONE_AFTER = re.compile(r"[ \t]((?:CRON_)?TZ=[^ \t]+|[A-Z][A-Za-z_]+/[A-Z][A-Za-z_/-]+|UTC|local)[ \t]*$")
# A name in a field. A single letter may be `L` or `W`.
_NAME = re.compile(r"[A-Za-z]{2,}")


class CronFields(NamedTuple):
    """The seven fields of an expression. Seconds and years that are not written are None."""

    second: FieldSet | None
    minute: FieldSet
    hour: FieldSet
    day: FieldSet
    month: FieldSet
    weekday: FieldSet
    year: FieldSet | None
    plus: bool

    @property
    def either_day(self) -> bool:
        """Whether a day is due if it matches one of the two day fields."""
        return not (self.day.begins_with_star or self.weekday.begins_with_star or self.plus)


@lru_cache(maxsize=MAX_CACHED)
def read_cron(text: str, seed: str = "") -> Expression:
    """The meaning of a cron expression. `seed` decides the values of `~`. Raises InvalidValue with a span in the text."""
    try:
        zone, fields = read_cron_fields(text, seed)
    except InvalidValue as invalid:
        raise _better(text, invalid) from None
    return _expression(fields, zone)


def read_cron_fields(text: str, seed: str = "") -> tuple[str | None, CronFields]:
    """The zone and the fields as they are written. Raises InvalidValue with a span in the text."""
    tree = parse_cron(text)
    zone = _zone(tree.zone) if tree.zone else None
    if tree.nickname:
        return zone, read_cron_fields(_nickname(tree.nickname))[1]
    return zone, _fields(text, tree.fields, seed)


def _fields(text: str, fields: tuple[CronField, ...], seed: str) -> CronFields:
    if not 5 <= len(fields) <= 7:
        message = f"a cron expression has 5, 6 or 7 fields, not {len(fields)}"
        whole = Span(fields[0].span.start, fields[-1].span.end)
        raise invalid_expression(
            message, CRON_SHAPE, whole if len(fields) < 5 else Span(fields[7].span.start, whole.end)
        )
    if len(fields) == 6 and (year := _year(fields[5])):
        remedy = f"a year needs seven fields: `0 {text.strip()}`"
        raise invalid_expression(f"day of week {year.text} is out of range", remedy, year.span)
    kinds = kinds_of(len(fields))
    read = read_each(list(zip(fields, kinds, strict=True)), lambda one: read_field(*one, seed))
    sets = {kind.name: field_set for kind, field_set in zip(kinds, read, strict=True)}
    minute, hour, day, month, weekday = (sets[kind.name] for kind in kinds_of(5))
    plus = fields[-2 if len(fields) == 7 else -1].plus is not None
    return CronFields(sets.get("second"), minute, hour, day, month, weekday, sets.get("year"), plus)


def _year(field: CronField) -> Leaf | None:
    first = field.items[0].leaves[0]
    is_year = first.text.isdigit() and len(first.text) == 4 and YEAR.low <= int(first.text)
    return first if is_year else None


def _expression(fields: CronFields, zone: str | None) -> Expression:
    seconds = fields.second.numbers if fields.second else frozenset({0})
    years = fields.year.numbers if fields.year and not fields.year.is_full else None
    return Expression(
        normal=_normal(fields, seconds),
        days=_days(fields),
        months=sum(1 << month for month in fields.month.numbers),
        years=years,
        hours=tuple(sorted(fields.hour.numbers)),
        minutes=tuple(sorted(fields.minute.numbers)),
        seconds=tuple(sorted(seconds)),
        rolling=fields.minute.begins_with_star or fields.hour.begins_with_star,
        zone=zone,
    )


def _days(fields: CronFields) -> Days:
    day = EVERY_DAY if fields.day.is_full else _union(days_of_month(fields.day.numbers), fields.day)
    if fields.weekday.is_full:
        weekday = EVERY_DAY
    else:
        weekday = _union(weekdays(frozenset((number + 6) % 7 for number in fields.weekday.numbers)), fields.weekday)
    return day | weekday if fields.either_day else day & weekday


def _union(days: Days, field: FieldSet) -> Days:
    for special in field.special:
        days |= special
    return days


def _normal(fields: CronFields, seconds: frozenset[int]) -> str:
    plus = "+" if fields.plus and not (fields.day.begins_with_star or fields.weekday.begins_with_star) else ""
    both_roll = fields.minute.begins_with_star and fields.hour.begins_with_star
    minute, hour = fields.minute.single if both_roll else None, fields.hour.text
    five = (minute or fields.minute.text, hour, fields.day.text, fields.month.single or fields.month.text)
    texts = [*five, plus + fields.weekday.text]
    with_year = fields.year is not None and not fields.year.is_full
    if fields.second is not None and (with_year or seconds != {0} or "~" in fields.second.text):
        texts.insert(0, fields.second.single or fields.second.text)
    if fields.year is not None and with_year:
        texts.append(fields.year.text)
    return " ".join(texts)


def _zone(leaf: Leaf) -> str:
    name = leaf.text.partition("=")[2]
    if not name:
        raise invalid_expression("the time zone is missing", "write it as in `TZ=Europe/Berlin`", leaf.span)
    return name


def _nickname(leaf: Leaf) -> str:
    name = leaf.text.lower()
    if name == "@reboot":
        raise invalid_expression("`@reboot` is not a time", "a `job` stanza takes `at = boot`", leaf.span)
    if name not in NICKNAMES:
        listed = ", ".join(f"`{nickname}`" for nickname in NICKNAMES)
        remedy = did_you_mean(name, NICKNAMES, f"write one of {listed}")
        raise invalid_expression(f"unknown nickname `{shortened(leaf.text)}`", remedy, leaf.span)
    return NICKNAMES[name]


def _better(text: str, invalid: InvalidValue) -> InvalidValue:
    """A clearer mistake if the text is meant as something other than a cron expression, else the mistake as it is."""
    stripped = text.strip(" \t")
    begin = text.find(stripped) if stripped else 0
    whole = Span(begin, begin + len(stripped))
    if "@" + stripped.lower() in NICKNAMES:
        return invalid_expression(f"`{stripped}` lacks its `@`", f"write `@{stripped.lower()}`", whole)
    if is_calendar_form(text):
        remedy = "write `calendar` in place of `cron`"
        return invalid_expression("this is a calendar expression, not a cron expression", remedy, whole)
    if period := _PERIOD.fullmatch(stripped):
        message = f"`{shortened(stripped)}` is a period, not a cron expression"
        return invalid_expression(message, f"write `every` with `{period[1] or '5m'}` in place of `cron`", whole)
    if match := _ZONE_AFTER.search(text):
        zone = match[1] if "=" in match[1] else f"TZ={match[1]}"
        remedy = f"write it before them: `{zone} {text[: match.start()].strip()}`"
        return invalid_expression("the time zone stands after the fields", remedy, Span(*match.span(1)))
    if (start := _command_after_fields(text)) is not None:
        try:
            normal = read_cron(text[:start].rstrip(" \t")).normal
        except InvalidValue:
            return invalid
        remedy = f"keep `{normal}` and write the rest as `command` or `argv`"
        return invalid_expression("a command stands after the five fields", remedy, Span(start, whole.end))
    return invalid


def _command_after_fields(text: str) -> int | None:
    """Where a command begins after five fields, as in a line of a crontab; None: nothing that looks like one."""
    words = list(_WORD.finditer(text))
    if len(words) < 6:
        return None
    word = words[5].group()
    is_field = _FIELD.fullmatch(word) and all(nearest(name, WEEKDAY.names) for name in _NAME.findall(word))
    return None if is_field else words[5].start()
