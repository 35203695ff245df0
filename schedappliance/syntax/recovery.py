"""A stanza file that the parser has refused, read again: one diagnostic per fault, and a tree of what can be understood.

The cheapest single repair near the failing token is taken, looking some tokens ahead, as often as the file needs one.
The repaired tree is checked for names and values too; it is never loaded.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from lark import Lark, Token
from lark.exceptions import UnexpectedToken

from schedappliance.diagnostics import Diagnostic, Source, Span, shortened
from schedappliance.syntax.layout import (
    Balanced,
    balance,
    closes_nothing,
    not_closed,
    not_opened,
    put_in,
    surplus_of,
    wrong_closing,
)
from schedappliance.syntax.pieces import CLOSERS, OPENERS, STRINGS, SYMBOLS, Piece, cut
from schedappliance.syntax.text import MAX_FAULTS

if TYPE_CHECKING:
    from lark.parsers.lalr_interactive_parser import InteractiveParser

LOOK_BACK = 5
LOOK_AHEAD = 10
# A file with a fault in every few tokens is not one of ours with mistakes in it.
FOREIGN_FAULTS = 6
FOREIGN_PIECES_PER_FAULT = 9

END = "$END"

_SCALARS = ("WORD", *STRINGS)


@dataclass(frozen=True, slots=True)
class _Edit:
    """One repair: at a position, how many pieces go and which come, what it costs, and what is said of it."""

    position: int
    removed: int
    inserted: tuple[str, ...]
    cost: float


@dataclass(slots=True)
class Recovered:
    pieces: list[Piece]
    diagnostics: list[Diagnostic]
    foreign: bool


def recover(source: Source, parser: Lark) -> Recovered:
    """The pieces of the file, repaired until the grammar accepts them, with one diagnostic for each repair."""
    pieces, said = cut(source, parser)
    if old := _old_syntax(source, pieces):
        return Recovered([], [old], True)
    repair = _Repair(source, parser, balance(source, pieces), said)
    repair.run()
    count = len(repair.said)
    if count >= MAX_FAULTS or (count >= FOREIGN_FAULTS and len(pieces) < count * FOREIGN_PIECES_PER_FAULT):
        first = min(repair.said, key=lambda d: d.span.start if d.span else 0)
        message = f"this does not look like a stanza file: {count} faults, the first is: {first.message}"
        help = "an option is written `Name = value`, a stanza `name { ... }`"
        return Recovered([], [Diagnostic(first.code, message, help, source, first.span)], True)
    return Recovered(repair.pieces, repair.said, False)


def tokens(pieces: list[Piece]) -> Iterator[Token]:
    """The pieces as the parser takes them."""
    for piece in pieces:
        yield Token(piece.type, piece.text, start_pos=piece.start, end_pos=piece.end)


class _Repair:
    """Reads the pieces with two parsers: one reads ahead, `behind` stays up to LOOK_BACK pieces behind it.

    A parser that rejects a token has already reduced its stack, so it cannot go on. Repairs are tried on copies of
    `behind` instead. A copy at every piece would cost the square of the depth of nesting.

    `first`: the piece that `behind` reads next. `floor`: no repair is made before it, so that no repair undoes another.
    """

    def __init__(self, source: Source, parser: Lark, balanced: Balanced, said: list[Diagnostic]) -> None:
        self.source = source
        self.parser = parser
        self.pieces = balanced.pieces
        self.said = said + balanced.said
        self.surplus: Counter[str] = Counter()
        self.brackets: list[int] = []
        self._count()
        self.unclosed = {opener.start for opener in balanced.unclosed}
        self.floor = 0
        self.behind = parser.parse_interactive("")
        self.first = 0

    def _count(self) -> None:
        self.surplus = surplus_of(self.pieces)
        self.brackets = [n for n, piece in enumerate(self.pieces) if piece.type in CLOSERS or piece.type in OPENERS]

    def run(self) -> None:
        """Reads the pieces; where the grammar refuses one, edits them and goes on from there."""
        ahead = self.parser.parse_interactive("")
        position = 0
        while position <= len(self.pieces) and len(self.said) < MAX_FAULTS:
            if self._read(ahead, position):
                position += 1
                if position - self.first > LOOK_BACK:
                    self._read(self.behind, self.first)
                    self.first += 1
                continue
            parsers = self._parsers(position)
            edit = self._best(parsers, position)
            # At the end of a file the last piece is left out; a statement without an end has at most three.
            assert edit.position >= self.first
            self.said.append(self._say(edit))
            self._apply(edit)
            position = edit.position
            ahead = parsers[position - self.first]

    def _parsers(self, failed: int) -> list[InteractiveParser]:
        """A parser for each position from the one behind to the one where a piece was refused."""
        parsers = [_copy(self.behind)]
        for position in range(self.first, failed):
            parsers.append(_copy(parsers[-1]))
            self._read(parsers[-1], position)
        return parsers

    def _type(self, position: int) -> str:
        return self.pieces[position].type if position < len(self.pieces) else END

    def _read(self, parser: InteractiveParser, position: int) -> bool:
        return _feed(parser, self._type(position))

    def _best(self, parsers: list[InteractiveParser], failed: int) -> _Edit:
        """The cheapest edit that gets past the failing piece; if there is none, that piece is left out."""
        best, best_score = _Edit(min(failed, len(self.pieces) - 1), 1, (), 0), float("inf")
        opener = self._open_at(failed) if failed == len(self.pieces) else None
        if opener and _feed(_copy(parsers[-1]), OPENERS[opener.type]):
            best = _Edit(failed, 0, (OPENERS[opener.type],), 0)
        for back in range(min(LOOK_BACK, failed - self.floor) + 1):
            position = failed - back
            for edit in self._edits(position):
                reach = self._reach(parsers[position - self.first], edit, failed)
                score = 3 * edit.cost - reach + back * 0.25
                if reach > 0 and score < best_score:
                    best, best_score = edit, score
        return best

    def _reach(self, parser: InteractiveParser, edit: _Edit, failed: int) -> int:
        """How many pieces beyond the failing one are accepted after the edit; 0 when it does not help."""
        resumed = edit.position + edit.removed
        types = [*edit.inserted, *(self._type(position) for position in range(resumed, failed + 1))]
        if types and not _may_accept(parser, types[0]):
            return 0
        parser = _copy(parser)
        for type in edit.inserted:
            if not _feed(parser, type):
                return 0
        for position in range(resumed, failed + LOOK_AHEAD):
            if position > len(self.pieces):
                return LOOK_AHEAD
            if not self._read(parser, position):
                return max(0, position - failed)
        return LOOK_AHEAD

    def _edits(self, position: int) -> Iterator[_Edit]:
        """What could be put in before, left out at, or put in place of a piece, with its cost."""
        before = self._type(position - 1) if position else ""
        at = self._type(position)
        fresh = position >= len(self.pieces) or self.pieces[position].first
        if before in ("WORD", *STRINGS) and not fresh:
            yield _Edit(position, 0, ("EQUALS",), 1)
        if before == "EQUALS":
            next_option = at == "WORD" and self._type(position + 1) == "EQUALS"
            yield _Edit(position, 0, ("WORD",), 1 if fresh or next_option or at in CLOSERS else 3)
        if before == "INCLUDE":
            yield _Edit(position, 0, ("WORD",), 1)
        if at == "EQUALS":
            yield _Edit(position, 0, ("WORD",), 1 if fresh else 3)
        inner = self._open_at(position)
        known = inner is not None and inner.start in self.unclosed
        for closer in ("RPAR", "RSQB"):
            lacking = 0 if known or self.surplus[CLOSERS[closer]] > 0 else 3
            yield _Edit(position, 0, (closer,), lacking + (1 if fresh or at in CLOSERS else 2))
        for closer in ("RBRACE", "RANGLE"):
            yield _Edit(position, 0, (closer,), 2 if fresh else 4)
        if before in ("WORD", *STRINGS, "REGEX"):
            yield _Edit(position, 0, ("LBRACE",), 1 if self.surplus["LBRACE"] < 0 else 3)
            yield _Edit(position, 0, ("LANGLE",), 1 if self.surplus["LANGLE"] < 0 else 4)
        if before == "EQUALS":
            for opener in ("LPAR", "LSQB"):
                yield _Edit(position, 0, (opener,), 0.5 if self.surplus[opener] < 0 else 4)
        if position < len(self.pieces):
            yield _Edit(position, 1, (), self._cost_of_leaving_out(position, before, at))
            if at in CLOSERS and inner and OPENERS[inner.type] != at:
                yield _Edit(position, 1, (OPENERS[inner.type],), 3)
            for opener in OPENERS:
                if at in OPENERS and at != opener and self.surplus[opener] < 0 < self.surplus[at]:
                    yield _Edit(position, 1, (opener,), 2)

    def _cost_of_leaving_out(self, position: int, before: str, at: str) -> float:
        if at == "COMMA" or (at == before == "EQUALS"):
            return 1
        after_value = position > 1 and before in _SCALARS and self._type(position - 2) == "EQUALS"
        alone = (
            at == "WORD"
            and self.pieces[position].first
            and (position + 1 >= len(self.pieces) or self.pieces[position + 1].first)
        )
        if alone:
            return 1.5
        if at in _SCALARS and after_value and not self.pieces[position].first:
            return 1.5
        return 3

    def _open_at(self, position: int) -> Piece | None:
        """The innermost bracket that is open before a position."""
        depth = 0
        for number in reversed(self.brackets[: bisect_left(self.brackets, position)]):
            piece = self.pieces[number]
            if piece.type in CLOSERS:
                depth += 1
            elif depth == 0:
                return piece
            else:
                depth -= 1
        return None

    def _apply(self, edit: _Edit) -> None:
        previous = self.pieces[edit.position - 1].end if edit.position else 0
        if edit.removed:
            previous = self.pieces[edit.position].start
        near = self.pieces[min(edit.position, len(self.pieces) - 1)]
        new = [
            put_in(type, SYMBOLS.get(type, "=" if type == "EQUALS" else ""), near, previous) for type in edit.inserted
        ]
        self.pieces[edit.position : edit.position + edit.removed] = new
        self.floor = edit.position + len(new)
        self._count()

    def _say(self, edit: _Edit) -> Diagnostic:
        if edit.removed and edit.inserted:
            return self._say_replaced(edit)
        if edit.removed:
            return self._say_removed(self.pieces[edit.position])
        return self._say_missing(edit)

    def _say_replaced(self, edit: _Edit) -> Diagnostic:
        found, wanted = self.pieces[edit.position], SYMBOLS[edit.inserted[0]]
        if found.type in OPENERS:
            help = f"write `{wanted}`"
            return Diagnostic("E113", f"`{found.text}` stands where `{wanted}` is meant", help, self.source, found.span)
        opener = self._open_at(edit.position)
        assert opener is not None, "only what closes something else is replaced"
        return wrong_closing(self.source, opener, found)

    def _say_removed(self, piece: Piece) -> Diagnostic:
        text = shortened(piece.text)
        if piece.type in CLOSERS:
            return closes_nothing(self.source, piece)
        help = {
            "COMMA": "options need no comma between them; remove it",
            "EQUALS": "remove it",
        }.get(
            piece.type,
            "an option is written `Name = value`, a stanza `name { ... }`; put a value with blanks in quotes",
        )
        return Diagnostic("E101", f"unexpected `{text}`", help, self.source, piece.span)

    def _say_missing(self, edit: _Edit) -> Diagnostic:
        type = edit.inserted[0]
        before = self.pieces[edit.position - 1] if edit.position else None
        at = self.pieces[edit.position] if edit.position < len(self.pieces) else before
        assert at is not None
        if type in CLOSERS:
            opener = self._open_at(edit.position)
            return not_closed(self.source, opener or at)
        if type == "EQUALS" and before:
            help = f"write `{before.text} = {at.text}`" if len(at.text) < 40 else "write it between name and value"
            return Diagnostic("E115", f"`=` is missing after `{before.text}`", help, self.source, before.span)
        if type == "WORD" and before and before.type in ("EQUALS", "INCLUDE"):
            return self._say_no_value(edit.position)
        if type == "WORD":
            return Diagnostic("E115", "the name before `=` is missing", "write `Name = value`", self.source, at.span)
        if type in ("LBRACE", "LANGLE"):
            return not_opened(self.source, self._head(edit.position), SYMBOLS[type])
        assert before is not None, "opening brackets are put in only after something"
        message = f"`{SYMBOLS[type]}` is missing after `{before.text}`"
        return Diagnostic("E113", message, "add it", self.source, before.span)

    def _head(self, position: int) -> list[Piece]:
        start = position - 1
        while start > 0 and position - start < 2 and not self.pieces[start].first:
            start -= 1
        return self.pieces[start:position]

    def _say_no_value(self, position: int) -> Diagnostic:
        sign = self.pieces[position - 1]
        key = self.pieces[position - 2] if position > 1 and sign.type == "EQUALS" else sign
        span = Span(key.start, sign.end)
        return Diagnostic("E116", f"`{key.text}` has no value", "write one after it", self.source, span)


_SLASHED = re.compile(r"[a-z0-9_]+/[a-z0-9_]+", re.IGNORECASE)


def _old_syntax(source: Source, pieces: list[Piece]) -> Diagnostic | None:
    """Momentum 2.x: `Module generic/sched sched {`, and listeners as lists that hold dictionaries."""
    plain_list = False
    for number, piece in enumerate(pieces):
        head = pieces[number : number + 3]
        types = [p.type for p in head]
        old_head = piece.first and types == ["WORD"] * 3 and _SLASHED.fullmatch(head[1].text)
        plain_list = piece.type == "LPAR" or (plain_list and piece.type in (*_SCALARS, "COMMA", "LSQB", "LANGLE"))
        if old_head or (plain_list and piece.type in ("LSQB", "LANGLE")):
            end = head[2].end if old_head else piece.end
            help = "write `name { ... }`, as Momentum 3 and 4 do: options in braces, values in quotes"
            message = "this is the configuration syntax of Momentum 2.x"
            return Diagnostic("E114", message, help, source, Span(piece.start, end))
    return None


def _copy(parser: InteractiveParser) -> InteractiveParser:
    """An independent parser in the same state. Both share the lists in their values, so neither may build a tree."""
    copy: InteractiveParser = parser.copy(deepcopy_values=False)  # type: ignore[no-untyped-call]
    return copy


def _may_accept(parser: InteractiveParser, type: str) -> bool:
    """False if the parser certainly rejects a token of this type. Saves most copies: a copy costs 5 µs, this 0.3."""
    choices = parser.choices()  # type: ignore[no-untyped-call]
    return type in choices or (type == "INCLUDE" and "WORD" in choices)


def _feed(parser: InteractiveParser, type: str) -> bool:
    """Feeds a token; false if the parser rejects it. `include` is a keyword only where the grammar allows it."""
    if type == "INCLUDE" and type not in parser.choices():  # type: ignore[no-untyped-call]
        type = "WORD"
    try:
        parser.feed_token(_token(type))
    except UnexpectedToken:
        return False
    return True


@cache
def _token(type: str) -> Token:
    """A token of which only the type matters."""
    return Token(type, "x", start_pos=0, end_pos=0)
