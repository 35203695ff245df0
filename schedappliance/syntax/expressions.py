"""Cron and calendar expressions to trees, whose leaves know their places in the text.

Rule: the grammars cron.lark and calendar.lark decide what is well-formed. What a name or a number means is decided in
model/calendars/. Every text that is not well-formed raises InvalidValue with the code E212 and a place inside the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple, cast

from lark import Lark, Token, Transformer
from lark.exceptions import UnexpectedInput, UnexpectedToken

from schedappliance.diagnostics import InvalidValue, Span, shortened
from schedappliance.syntax.grammars import build_parser

MAX_LENGTH = 1000

CRON_SHAPE = "write minute, hour, day of month, month and day of week, as in `30 2 * * MON-FRI`"
CALENDAR_SHAPE = "write weekdays, date and time, as in `Mon..Fri *-*-* 02:30`"
WINDOW_SHAPE = "write weekdays and a range of time, as in `Mon..Fri 08:00..18:00`"
DATES_SHAPE = "write weekdays, or a date as in `2026-12-24`, `*-12-25` or `*-*~1`"

_CRON_HINTS = {
    ":": "write the time as two fields: 02:30 is `30 2`",
    ".": "write a range with `-`, as in `1-5`",
    ";": "separate values by `,`",
    "(": "write `H(0-29)` as `0~29`",
    "@": "write a nickname as `@daily`; `at` takes instants",
}
_CALENDAR_HINTS = {
    ".": "write a date as in `2026-12-24`, and a range as in `1..5`",
    "/": "write a date as in `2026-12-24`, and a single step as in `0/15`",
    "+": "write the name of a time zone, as in `Europe/Berlin`, in place of an offset",
    ";": "separate values by `,`",
    "#": "write the first Friday as `Fri *-*-1..7`, the second one as `Fri *-*-8..14`",
    "?": "write `*`",
}
_QUOTES = "\"'`´‘’“”"
_DASHES = "‐‑‒–—−"
_END = "$END"
# A field of a cron expression, also of one with too few fields. Neither a date nor a time of day looks like one.
_FIELD = re.compile(r"[*?]|(?:\*/)?\d+(?:[,/-]\d+)?|[A-Za-z]{3}(?:[,-][A-Za-z]{3})*", re.ASCII)


class Leaf(NamedTuple):
    """A word, a number or a sign of an expression. `kind`: the name of its terminal in the grammar."""

    kind: str
    text: str
    start: int
    end: int

    @property
    def span(self) -> Span:
        return Span(self.start, self.end)


class Item(NamedTuple):
    """A part of a list: the leaves before the step, and the leaf of the step after `/`."""

    leaves: tuple[Leaf, ...]
    step: Leaf | None

    @property
    def span(self) -> Span:
        return Span(self.leaves[0].start, (self.step or self.leaves[-1]).end)

    def has(self, kind: str) -> bool:
        return any(leaf.kind == kind for leaf in self.leaves)


class CronField(NamedTuple):
    """One field of a cron expression. `plus`: the sign `+` before it."""

    plus: Leaf | None
    items: tuple[Item, ...]

    @property
    def span(self) -> Span:
        return Span((self.plus or self.items[0].leaves[0]).start, self.items[-1].span.end)

    @property
    def has_star(self) -> bool:
        """Whether the field begins with `*` or `?`, also as in `*/2`."""
        return self.items[0].leaves[0].kind in ("STAR", "QUESTION")


class CronTree(NamedTuple):
    """A cron expression: fields, or else a nickname. `zone` includes `TZ=`."""

    zone: Leaf | None
    nickname: Leaf | None
    fields: tuple[CronField, ...]


class Names(NamedTuple):
    """A list of words; each is a range if it has two."""

    ranges: tuple[tuple[Leaf, ...], ...]

    @property
    def span(self) -> Span:
        return Span(self.ranges[0][0].start, self.ranges[-1][-1].end)


class Date(NamedTuple):
    """Lists of years, months and days. `year` None: every year. `from_end`: the days count from the end of the month."""

    year: tuple[Item, ...] | None
    month: tuple[Item, ...]
    day: tuple[Item, ...]
    from_end: bool

    @property
    def span(self) -> Span:
        return Span((self.year or self.month)[0].span.start, self.day[-1].span.end)


class Time(NamedTuple):
    """Lists of hours, minutes and seconds. `second` None: 0."""

    hour: tuple[Item, ...]
    minute: tuple[Item, ...]
    second: tuple[Item, ...] | None

    @property
    def span(self) -> Span:
        return Span(self.hour[0].span.start, (self.second or self.minute)[-1].span.end)


class CalendarTree(NamedTuple):
    """A calendar expression, or the dates of a `days` stanza, which have neither time nor zone."""

    names: Names | None
    date: Date | None
    time: Time | None
    zone: Leaf | None


class WindowTree(NamedTuple):
    """A time range on some weekdays. `clocks`: two lists of hour, minute and perhaps second, or nothing."""

    names: Names | None
    clocks: tuple[tuple[Leaf, ...], ...]


def invalid_expression(message: str, remedy: str, span: Span) -> InvalidValue:
    return InvalidValue(message, remedy, "E212", span)


def parse_cron(text: str) -> CronTree:
    """Raises InvalidValue."""
    return cast("CronTree", _parse(_cron_parser, "start", text, CRON_SHAPE))


def parse_calendar(text: str) -> CalendarTree:
    """Raises InvalidValue."""
    return cast("CalendarTree", _parse(_calendar_parser, "expression", text, CALENDAR_SHAPE))


def parse_window(text: str) -> WindowTree:
    """Raises InvalidValue."""
    return cast("WindowTree", _parse(_calendar_parser, "window", text, WINDOW_SHAPE))


def parse_dates(text: str) -> CalendarTree:
    """Raises InvalidValue."""
    return cast("CalendarTree", _parse(_calendar_parser, "dates", text, DATES_SHAPE))


def is_cron_form(text: str) -> bool:
    """Whether a text, right or wrong, was meant as a cron expression: a calendar expression has at most four parts."""
    words = text.split()
    return bool(words) and (words[0].startswith(("@", "TZ=", "CRON_TZ=")) or len(words) > 4)


def is_calendar_form(text: str) -> bool:
    """Whether a text is well-formed as a calendar expression."""
    return not is_cron_form(text) and _is_well_formed(parse_calendar, text)


def is_complete_cron_form(text: str) -> bool:
    """Whether a text is well-formed as a cron expression with its five fields or more, or a nickname."""
    return is_cron_form(text) and _is_well_formed(parse_cron, text)


def _is_well_formed(parse: Callable[[str], object], text: str) -> bool:
    try:
        parse(text)
    except InvalidValue:
        return False
    return True


def _parse(parser: Any, start: str, text: str, shape: str) -> object:
    if not text.strip(" \t"):
        raise invalid_expression("the expression is empty", shape, Span(0, len(text)))
    if len(text) > MAX_LENGTH:
        message, remedy = f"the expression has {len(text):,} characters", f"the limit is {MAX_LENGTH:,}; give a list"
        raise invalid_expression(message, remedy, Span(MAX_LENGTH, len(text)))
    try:
        return parser().parse(text, start=start)
    except UnexpectedInput as error:
        raise _mistake(text, error, shape) from None


def _mistake(text: str, error: UnexpectedInput, shape: str) -> InvalidValue:
    """Names the sign that lacks a value, or what is not expected at its place."""
    if shape == CALENDAR_SHAPE and len(fields := text.split()) in (3, 4) and all(map(_FIELD.fullmatch, fields)):
        message = f"a cron expression has 5, 6 or 7 fields, not {len(fields)}"
        return invalid_expression(message, CRON_SHAPE, Span(0, len(text)))
    length = len(text.rstrip(" \t"))
    ends = isinstance(error, UnexpectedToken) and error.token.type == _END
    start = length if ends else (error.pos_in_stream or 0)
    before = text[:start].rstrip(" \t")
    sign = ".." if before.endswith("..") else before[-1:]
    is_sign = bool(sign) and not sign.isalnum() and sign not in "*?"
    if is_sign and (ends or text[start] in " \t,"):
        span = Span(len(before) - len(sign), len(before))
        return invalid_expression(f"nothing follows `{sign}`", f"give a value after it, or leave `{sign}` out", span)
    if ends:
        last = re.search(r"(?:[A-Za-z0-9]+|.)$", text[:length], re.DOTALL)
        return invalid_expression("the expression is incomplete", shape, Span(last.start() if last else 0, length))
    end = start + (max(1, len(error.token.rstrip(" \t"))) if isinstance(error, UnexpectedToken) else 1)
    what = "unexpected" if isinstance(error, UnexpectedToken) else "unexpected character"
    remedy = _hint(text[start:end], text[:start], shape)
    return invalid_expression(f"{what} `{shortened(text[start:end])}`", remedy, Span(start, end))


def _hint(wrong: str, before: str, shape: str) -> str:
    """The remedy for a part that is not expected after what stands before it."""
    if wrong[0] in _QUOTES:
        return "leave this quote out"
    if wrong[0] in _DASHES:
        return "write the ASCII character `-`"
    if wrong[0].isspace() and wrong[0] not in " \t":
        return "separate the parts by blanks"
    if shape == CRON_SHAPE and before.startswith("@"):
        return "a nickname such as `@daily` stands alone"
    if shape == CRON_SHAPE:
        return _CRON_HINTS.get(wrong, shape)
    if wrong.lower() == "z" and before[-1:].isdigit():
        return f"write ` UTC` in place of `{wrong}`"
    if wrong.lower() in ("am", "pm"):
        return "write hours from 0 to 23, as in `14:30`"
    if re.match(r"T\d", wrong, re.ASCII | re.IGNORECASE):
        return "write a blank in place of `T`"
    if wrong in "-:" and ":" in before and shape == CALENDAR_SHAPE:
        return "write a range of one part, as in `08..18:00`; `within` takes ranges of times of day"
    if wrong == "." and ":" in before:
        return "due times are whole seconds: leave the fraction out"
    return shape if shape == WINDOW_SHAPE else _CALENDAR_HINTS.get(wrong, shape)


@cache
def _cron_parser() -> Lark:
    return build_parser("cron", _CronBuilder())


@cache
def _calendar_parser() -> Lark:
    return build_parser("calendar", _CalendarBuilder(), start=["expression", "window", "dates"])


def _leaf(token: Token) -> Leaf:
    assert token.start_pos is not None and token.end_pos is not None
    return Leaf(token.type, str(token), token.start_pos, token.end_pos)


def _item(items: list[Token]) -> Item:
    leaves = tuple([_leaf(token) for token in items])
    if len(leaves) > 2 and leaves[-2].kind == "SLASH":
        return Item(leaves[:-2], leaves[-1])
    return Item(leaves, None)


def _without(items: list[Any], *kinds: str) -> list[Any]:
    return [item for item in items if not (isinstance(item, Token) and item.type in kinds)]


class _CronBuilder(Transformer[Token, CronTree]):
    """Builds the tree inside the parser: one method for each rule of the grammar."""

    def start(self, items: list[Any]) -> CronTree:
        parts = _without(items, "BLANK")
        zone = _leaf(parts.pop(0)) if isinstance(parts[0], Token) and parts[0].type == "ZONE" else None
        if isinstance(parts[0], Token):
            return CronTree(zone, _leaf(parts[0]), ())
        return CronTree(zone, None, tuple(parts))

    def field(self, items: list[Any]) -> CronField:
        plus = _leaf(items[0]) if isinstance(items[0], Token) else None
        return CronField(plus, tuple([item for item in items if isinstance(item, Item)]))

    def item(self, items: list[Token]) -> Item:
        return _item(items)


class _CalendarBuilder(Transformer[Token, CalendarTree]):
    """Builds the tree inside the parser: one method for each rule of the grammar."""

    def expression(self, items: list[Any]) -> CalendarTree:
        zone = [_leaf(item) for item in items if isinstance(item, Token) and item.type == "WORD"]
        return CalendarTree(_one(items, Names), _one(items, Date), _one(items, Time), zone[0] if zone else None)

    dates = expression

    def window(self, items: list[Any]) -> WindowTree:
        clocks = [item for item in items if type(item) is tuple]
        return WindowTree(_one(items, Names), tuple(clocks))

    def names(self, items: list[Any]) -> Names:
        return Names(tuple(_without(items, "COMMA")))

    def span(self, items: list[Token]) -> tuple[Leaf, ...]:
        return tuple([_leaf(token) for token in _without(items, "DOTS")])

    def clock(self, items: list[Token]) -> tuple[Leaf, ...]:
        return tuple([_leaf(token) for token in _without(items, "COLON")])

    def date(self, items: list[Any]) -> Date:
        chains = _without(items, "DASH", "TILDE")
        year = chains[0] if len(chains) == 3 else None
        from_end = any(isinstance(item, Token) and item.type == "TILDE" for item in items)
        return Date(year, chains[-2], chains[-1], from_end)

    def time(self, items: list[Any]) -> Time:
        hour, minute, *second = _without(items, "COLON")
        return Time(hour, minute, second[0] if second else None)

    def chain(self, items: list[Any]) -> tuple[Item, ...]:
        return tuple(_without(items, "COMMA"))

    def part(self, items: list[Token]) -> Item:
        return _item(items)


def _one(items: list[Any], kind: type[Any]) -> Any:
    return next((item for item in items if isinstance(item, kind)), None)
