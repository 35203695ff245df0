"""Repairs a stanza file that the parser has rejected: one diagnostic for each repair, and the tree of the repaired file.

Rule: where the parser rejects a token, it applies the cheapest single edit near the token that lets the parser continue.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from lark import Lark, Token
from lark.exceptions import UnexpectedToken

from schedappliance.diagnostics import Diagnostic, Source, Span, shortened
from schedappliance.syntax.recovery.brackets import (
    Balanced,
    absent,
    balance,
    not_closed,
    not_opened,
    surplus_of,
    unmatched,
    wrong_closing,
)
from schedappliance.syntax.recovery.lexer import CLOSERS, OPENERS, STRINGS, SYMBOLS, Lexeme, scan
from schedappliance.syntax.text import MAX_FAULTS

if TYPE_CHECKING:
    from lark.parsers.lalr_interactive_parser import InteractiveParser

    from schedappliance.syntax.tree import Statement

# Measured with `python -m tests.faults`: looking further back or ahead finds no more faults, looking 5 ahead fewer.
LOOK_BACK = 5
LOOK_AHEAD = 10
# A file with at least this many faults, and fewer lexemes for each fault than this, is probably not a stanza file.
FOREIGN_FAULTS = 6
FOREIGN_LEXEMES_PER_FAULT = 9

END = "$END"

_SCALARS = ("WORD", *STRINGS)
_HOW_TO_WRITE = "an option is written `Name = value`, a stanza `name { ... }`"


def recover(source: Source, parser: Lark) -> tuple[tuple[Statement, ...], list[Diagnostic]]:
    """The statements of a file as far as they can be understood, and a diagnostic for each fault.

    `parser` is the parser that has rejected the file. A file in another language has no statements and one diagnostic.
    """
    lexemes, diagnostics = scan(source, parser)
    if old := _old_syntax(source, lexemes):
        return (), [old]
    repair = _Repair(source, parser, balance(source, lexemes), diagnostics)
    repair.run()
    count = len(repair.diagnostics)
    if count >= MAX_FAULTS or (count >= FOREIGN_FAULTS and len(lexemes) < count * FOREIGN_LEXEMES_PER_FAULT):
        first = min(repair.diagnostics, key=lambda d: d.span.start if d.span else 0)
        message = f"this does not look like a stanza file: {count} errors, the first one: {first.message}"
        return (), [Diagnostic(first.code, message, _HOW_TO_WRITE, source, first.span)]
    return _tree(parser, repair.lexemes), repair.diagnostics


def _tree(parser: Lark, lexemes: list[Lexeme]) -> tuple[Statement, ...]:
    """The statements that the repaired lexemes form; read by a new parser, as copied parsers share their lists."""
    reader = parser.parse_interactive("")
    for lexeme in lexemes:
        kind = _type_here(reader, lexeme.type)
        reader.feed_token(Token(kind, lexeme.text, start_pos=lexeme.start, end_pos=lexeme.end))
    statements: tuple[Statement, ...] = reader.feed_eof()  # type: ignore[no-untyped-call]
    return statements


def _copy(parser: InteractiveParser) -> InteractiveParser:
    """An independent parser in the same state. Both share the lists in their values, so neither may build a tree."""
    copy: InteractiveParser = parser.copy(deepcopy_values=False)  # type: ignore[no-untyped-call]
    return copy


def _may_accept(parser: InteractiveParser, kind: str) -> bool:
    """False if the parser certainly rejects a token of this type. Saves most copies: a copy takes 6 µs, this 0.4."""
    return _type_here(parser, kind) in parser.choices()  # type: ignore[no-untyped-call]


def _accepts(parser: InteractiveParser, kind: str) -> bool:
    """Feeds a token and returns whether the parser accepts it; if not, the parser cannot be used any more."""
    try:
        parser.feed_token(_token(_type_here(parser, kind)))
    except UnexpectedToken:
        return False
    return True


def _type_here(parser: InteractiveParser, kind: str) -> str:
    """`include` is a keyword only where the grammar allows it."""
    return "WORD" if kind == "INCLUDE" and kind not in parser.choices() else kind  # type: ignore[no-untyped-call]


@cache
def _token(kind: str) -> Token:
    """A token for parsers that build no tree, so only its type matters."""
    return Token(kind, "x", start_pos=0, end_pos=0)


@dataclass(frozen=True, slots=True)
class _Edit:
    """One repair: at a position, leave out `removed` lexemes and put in one of the type `inserted`, if not empty."""

    position: int
    removed: int
    inserted: str
    cost: float = 0


class _Repair:
    """Reads the lexemes with two parsers: `ahead` reads on, `behind` stays up to LOOK_BACK lexemes behind it.

    A parser that rejects a token has already reduced its stack, so it cannot go on. Repairs are tried on copies of
    `behind` instead. A copy at every lexeme would cost the square of the depth of nesting.

    `first`: the lexeme that `behind` reads next. `open`: the brackets that are open before it. `floor`: no repair is made
    before it, so that no repair undoes another.
    """

    def __init__(self, source: Source, parser: Lark, balanced: Balanced, diagnostics: list[Diagnostic]) -> None:
        self.source = source
        self.lexemes = balanced.lexemes
        self.diagnostics = diagnostics + balanced.diagnostics
        self.unclosed = {opener.start for opener in balanced.unclosed}
        self.ahead = parser.parse_interactive("")
        self.behind = parser.parse_interactive("")
        self.first = 0
        self.floor = 0
        self.surplus = surplus_of(self.lexemes)
        self.open: list[Lexeme] = []

    def run(self) -> None:
        """Reads the lexemes; where the parser rejects one, edits them and goes on from there."""
        position = 0
        while position <= len(self.lexemes) and len(self.diagnostics) < MAX_FAULTS:
            if self._reads(self.ahead, position):
                position += 1
                if position - self.first > LOOK_BACK:
                    self._pass_first()
                continue
            parsers = self._parsers(position)
            edit = self._best(parsers, position)
            # At the end of the file, the last lexeme is removed, and an unfinished statement has at most three lexemes.
            assert edit.position >= self.first
            self.diagnostics.append(self._diagnostic(edit))
            self._apply(edit)
            position = edit.position
            self.ahead = parsers[position - self.first]

    def _pass_first(self) -> None:
        """Lets `behind` read its next lexeme. From then on, no repair changes the lexeme."""
        self._reads(self.behind, self.first)
        lexeme = self.lexemes[self.first]
        if lexeme.type in OPENERS:
            self.open.append(lexeme)
        elif lexeme.type in CLOSERS and self.open:
            self.open.pop()
        self.first += 1

    def _parsers(self, failed: int) -> list[InteractiveParser]:
        """A parser before each lexeme, from the one that `behind` reads next to the rejected one."""
        parsers = [_copy(self.behind)]
        for position in range(self.first, failed):
            parsers.append(_copy(parsers[-1]))
            self._reads(parsers[-1], position)
        return parsers

    def _reads(self, parser: InteractiveParser, position: int) -> bool:
        return _accepts(parser, self._type(position))

    def _type(self, position: int) -> str:
        return self.lexemes[position].type if position < len(self.lexemes) else END

    def _best(self, parsers: list[InteractiveParser], failed: int) -> _Edit:
        """The cheapest edit that gets past the rejected lexeme; without any, leave that lexeme out."""
        best, best_score = _Edit(min(failed, len(self.lexemes) - 1), 1, ""), float("inf")
        opener = self._open_at(failed) if failed == len(self.lexemes) else None
        if opener and _accepts(_copy(parsers[-1]), OPENERS[opener.type]):
            best = _Edit(failed, 0, OPENERS[opener.type])
        for back in range(min(LOOK_BACK, failed - self.floor) + 1):
            position = failed - back
            for edit in self._edits(position):
                reach = self._reach(parsers[position - self.first], edit, failed)
                score = 3 * edit.cost - reach + back * 0.25
                if reach > 0 and score < best_score:
                    best, best_score = edit, score
        return best

    def _reach(self, parser: InteractiveParser, edit: _Edit, failed: int) -> int:
        """How many lexemes after the rejected one are accepted after the edit; 0 if it does not help."""
        resumed = edit.position + edit.removed
        if (edit.inserted or resumed <= failed) and not _may_accept(parser, edit.inserted or self._type(resumed)):
            return 0
        parser = _copy(parser)
        if edit.inserted and not _accepts(parser, edit.inserted):
            return 0
        for position in range(resumed, failed + LOOK_AHEAD):
            if position > len(self.lexemes):
                return LOOK_AHEAD
            if not self._reads(parser, position):
                return max(0, position - failed)
        return LOOK_AHEAD

    def _edits(self, position: int) -> Iterator[_Edit]:
        """The edits that may be meant at a position, each with its cost."""
        yield from self._insertions(position)
        yield from self._bracket_insertions(position)
        if position < len(self.lexemes):
            yield from self._removals(position)

    def _insertions(self, position: int) -> Iterator[_Edit]:
        """A missing `=`, name or value."""
        before, at = self._type(position - 1) if position else "", self._type(position)
        fresh = self._begins_line(position)
        if before in _SCALARS and not fresh:
            yield _Edit(position, 0, "EQUALS", 1)
        if before == "EQUALS":
            next_option = at == "WORD" and self._type(position + 1) == "EQUALS"
            yield _Edit(position, 0, "WORD", 1 if fresh or next_option or at in CLOSERS else 3)
        if before == "INCLUDE":
            yield _Edit(position, 0, "WORD", 1)
        if at == "EQUALS":
            yield _Edit(position, 0, "WORD", 1 if fresh else 3)

    def _bracket_insertions(self, position: int) -> Iterator[_Edit]:
        """A missing bracket; it is cheap if the file has fewer of its kind than of its counterpart."""
        before, at = self._type(position - 1) if position else "", self._type(position)
        fresh = self._begins_line(position)
        inner = self._open_at(position)
        known = inner is not None and inner.start in self.unclosed
        for closer in ("RPAR", "RSQB"):
            lacking = 0 if known or self.surplus[CLOSERS[closer]] > 0 else 3
            yield _Edit(position, 0, closer, lacking + (1 if fresh or at in CLOSERS else 2))
        for closer in ("RBRACE", "RANGLE"):
            yield _Edit(position, 0, closer, 2 if fresh else 4)
        if before in (*_SCALARS, "REGEX"):
            yield _Edit(position, 0, "LBRACE", 1 if self.surplus["LBRACE"] < 0 else 3)
            yield _Edit(position, 0, "LANGLE", 1 if self.surplus["LANGLE"] < 0 else 4)
        if before == "EQUALS":
            for opener in ("LPAR", "LSQB"):
                yield _Edit(position, 0, opener, 0.5 if self.surplus[opener] < 0 else 4)

    def _removals(self, position: int) -> Iterator[_Edit]:
        """A surplus lexeme, or a bracket of the wrong kind."""
        at, inner = self._type(position), self._open_at(position)
        yield _Edit(position, 1, "", self._cost_of_removal(position))
        if at in CLOSERS and inner and OPENERS[inner.type] != at:
            yield _Edit(position, 1, OPENERS[inner.type], 3)
        for opener in OPENERS:
            if at in OPENERS and at != opener and self.surplus[opener] < 0 < self.surplus[at]:
                yield _Edit(position, 1, opener, 2)

    def _cost_of_removal(self, position: int) -> float:
        before, at = self._type(position - 1) if position else "", self._type(position)
        if at == "COMMA" or (at == before == "EQUALS"):
            return 1
        fresh = self._begins_line(position)
        if at == "WORD" and fresh and self._begins_line(position + 1):
            return 1.5
        after_value = position > 1 and before in _SCALARS and self._type(position - 2) == "EQUALS"
        return 1.5 if at in _SCALARS and after_value and not fresh else 3

    def _begins_line(self, position: int) -> bool:
        return position >= len(self.lexemes) or self.lexemes[position].first

    def _open_at(self, position: int) -> Lexeme | None:
        """The innermost bracket that is open before a position."""
        depth = 0
        for lexeme in reversed(self.lexemes[self.first : position]):
            if lexeme.type in CLOSERS:
                depth += 1
            elif lexeme.type in OPENERS and depth == 0:
                return lexeme
            elif lexeme.type in OPENERS:
                depth -= 1
        return self.open[-1 - depth] if depth < len(self.open) else None

    def _apply(self, edit: _Edit) -> None:
        after = self.lexemes[edit.position - 1].end if edit.position else 0
        if edit.removed:
            after = self.lexemes[edit.position].start
        near = self.lexemes[min(edit.position, len(self.lexemes) - 1)]
        text = SYMBOLS.get(edit.inserted, "=" if edit.inserted == "EQUALS" else "")
        new = [absent(edit.inserted, text, after, near)] if edit.inserted else []
        # Counting again would visit all lexemes at each fault.
        self.surplus.subtract(surplus_of(self.lexemes[edit.position : edit.position + edit.removed]))
        self.surplus.update(surplus_of(new))
        self.lexemes[edit.position : edit.position + edit.removed] = new
        self.floor = edit.position + len(new)

    def _diagnostic(self, edit: _Edit) -> Diagnostic:
        if edit.removed and edit.inserted:
            return self._replaced(edit)
        if edit.removed:
            return self._removed(self.lexemes[edit.position])
        return self._inserted(edit)

    def _replaced(self, edit: _Edit) -> Diagnostic:
        lexeme, wanted = self.lexemes[edit.position], SYMBOLS[edit.inserted]
        if lexeme.type in OPENERS:
            message = f"wrong opening bracket `{lexeme.text}`"
            return Diagnostic("E113", message, f"write `{wanted}`", self.source, lexeme.span)
        opener = self._open_at(edit.position)
        assert opener is not None, "a closing bracket is replaced only inside brackets"
        return wrong_closing(self.source, opener, lexeme)

    def _removed(self, lexeme: Lexeme) -> Diagnostic:
        if lexeme.type in CLOSERS:
            return unmatched(self.source, lexeme)
        remedies = {"COMMA": "remove it; options need no comma between them", "EQUALS": "remove it"}
        remedy = remedies.get(lexeme.type, f"{_HOW_TO_WRITE}; quote a value that contains blanks")
        return Diagnostic("E101", f"unexpected `{shortened(lexeme.text)}`", remedy, self.source, lexeme.span)

    def _inserted(self, edit: _Edit) -> Diagnostic:
        kind = edit.inserted
        before = self.lexemes[edit.position - 1] if edit.position else None
        at = self.lexemes[edit.position] if edit.position < len(self.lexemes) else before
        assert at is not None
        if kind in CLOSERS:
            return not_closed(self.source, self._open_at(edit.position) or at)
        if kind == "EQUALS" and before:
            remedy = f"write `{before.text} = {at.text}`" if len(at.text) < 40 else "write it between name and value"
            return Diagnostic("E115", f"`=` is missing after `{before.text}`", remedy, self.source, before.span)
        if kind == "WORD" and before and before.type in ("EQUALS", "INCLUDE"):
            return self._without_value(edit.position)
        if kind == "WORD":
            return Diagnostic("E115", "the name before `=` is missing", "write `Name = value`", self.source, at.span)
        if kind in ("LBRACE", "LANGLE"):
            return not_opened(self.source, self._head(edit.position), SYMBOLS[kind])
        assert before is not None, "an opening bracket is inserted only after a lexeme"
        message = f"`{SYMBOLS[kind]}` is missing after `{before.text}`"
        return Diagnostic("E113", message, "add it", self.source, before.span)

    def _head(self, position: int) -> list[Lexeme]:
        """The one or two lexemes on a line before a position."""
        start = position - 1
        while start > 0 and position - start < 2 and not self.lexemes[start].first:
            start -= 1
        return self.lexemes[start:position]

    def _without_value(self, position: int) -> Diagnostic:
        sign = self.lexemes[position - 1]
        if sign.type == "INCLUDE":
            return Diagnostic("E116", f"`{sign.text}` has no path", "add a path", self.source, sign.span)
        key = self.lexemes[position - 2] if position > 1 else sign
        span = Span(key.start, sign.end)
        return Diagnostic("E116", f"`{key.text}` has no value", "add a value", self.source, span)


_SLASHED = re.compile(r"[a-z0-9_]+/[a-z0-9_]+", re.IGNORECASE)


def _old_syntax(source: Source, lexemes: list[Lexeme]) -> Diagnostic | None:
    """Momentum 2.x: `Module generic/sched sched {`, and listeners as lists that hold dictionaries."""
    plain_list = False
    for number, lexeme in enumerate(lexemes):
        head = lexemes[number : number + 3]
        types = [part.type for part in head]
        old_head = lexeme.first and types == ["WORD"] * 3 and _SLASHED.fullmatch(head[1].text)
        plain_list = lexeme.type == "LPAR" or (plain_list and lexeme.type in (*_SCALARS, "COMMA", "LSQB", "LANGLE"))
        if old_head or (plain_list and lexeme.type in ("LSQB", "LANGLE")):
            end = head[2].end if old_head else lexeme.end
            remedy = "write `name { ... }`, as Momentum 3 and 4 do: options in braces, values in quotes"
            message = "this is the configuration syntax of Momentum 2.x"
            return Diagnostic("E114", message, remedy, source, Span(lexeme.start, end))
    return None
