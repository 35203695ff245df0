"""Stanza files to trees. Law: the tree is built while parsing, bottom-up, so no depth of nesting can exhaust the stack."""

from __future__ import annotations

from functools import cache
from typing import TypeVar, cast

from lark import Lark, Token, Transformer
from lark.exceptions import UnexpectedInput

from schedappliance.diagnostics import Diagnostic, Source, Span, in_order
from schedappliance.syntax.grammars import build_parser
from schedappliance.syntax.text import MAX_FAULTS
from schedappliance.syntax.tree import Dictionary, Entry, Include, ListValue, Option, Scalar, Stanza, Statement, Value

MAX_DEPTH = 32
MAX_TOKENS = 1_000_000

Node = TypeVar("Node")
_Item = Token | Scalar | ListValue | Dictionary | Entry | Statement


def parse_stanzas(source: Source) -> tuple[tuple[Statement, ...], list[Diagnostic]]:
    """The statements of a stanza file; with an error those that could be understood, to be checked but never loaded."""
    if too_many := _too_many_tokens(source):
        return (), [too_many]
    try:
        return _bounded(source, _parser().parse(source.text))  # type: ignore[arg-type]
    except UnexpectedInput as error:
        # Only files with faults pay for the import.
        from schedappliance.syntax.recovery.repair import recover

        statements, diagnostics = recover(source, _parser())
        assert diagnostics, f"rejected without a reason: {error}"
    statements, too_deep = _bounded(source, statements)
    return statements, in_order(diagnostics + too_deep)[:MAX_FAULTS]


def parse_value(text: str) -> Value | None:
    """The one value that a text is; None when it is none, or more. Spans count from the start of the text."""
    before = "v="
    try:
        statements = cast(tuple[Statement, ...], _parser().parse(before + text))
    except UnexpectedInput:
        return None
    if len(statements) != 1 or not isinstance(statements[0], Option):
        return None
    return statements[0].value.shifted(-len(before))


def _too_many_tokens(source: Source) -> Diagnostic | None:
    """Counted only where a text is long enough to hold so many."""
    if len(source.text) < MAX_TOKENS:
        return None
    from schedappliance.syntax.recovery.lexer import count_lexemes

    if count_lexemes(source, _parser()) <= MAX_TOKENS:
        return None
    remedy = f"at most {MAX_TOKENS:,} words and signs are read; split the file"
    return Diagnostic("E108", "the file is too large", remedy, source)


def _bounded(source: Source, statements: tuple[Statement, ...]) -> tuple[tuple[Statement, ...], list[Diagnostic]]:
    too_deep = [s for s in statements if isinstance(s, Stanza) and s.depth > MAX_DEPTH]
    if not too_deep:
        return statements, []
    found = f"stanzas are nested {too_deep[0].depth} deep"
    help = f"at most {MAX_DEPTH} levels are read"
    return (), [Diagnostic("E108", found, help, source, too_deep[0].head)]


@cache
def _parser() -> Lark:
    return build_parser("stanza", _Builder())


def _span(token: Token) -> Span:
    assert token.start_pos is not None and token.end_pos is not None
    return Span(token.start_pos, token.end_pos)


def _scalar(token: Token) -> Scalar:
    text = str(token)
    if token.type in ("WORD", "REGEX", "INCLUDE"):
        return Scalar(text, _span(token))
    raw = text[1:-1]
    value = raw
    if text[0] == '"' and "\\" in raw:
        value = _unescape(raw)
    return Scalar(value, _span(token), text[0], raw)


def _unescape(raw: str) -> str:
    r"""`\"` and `\\` are undone, any other backslash is kept: Momentum's `\d` and `\r` survive."""
    pieces = raw.split("\\\\")
    return "\\".join(piece.replace('\\"', '"') for piece in pieces)


class _Builder(Transformer[Token, tuple[Statement, ...]]):
    """One method per grammar rule; runs inside the parser."""

    def start(self, items: list[Statement]) -> tuple[Statement, ...]:
        return tuple(items)

    body = start

    def include(self, items: list[Token]) -> Include:
        return Include(_scalar(items[0]), _scalar(items[1]))

    def braces(self, items: list[_Item]) -> Stanza:
        heads = [
            item for item in items[:3] if isinstance(item, Token) and item.type not in ("EQUALS", "LBRACE", "LANGLE")
        ]
        body, closing = items[-2], items[-1]
        assert isinstance(body, tuple) and isinstance(closing, Token)
        depth = 1 + max((s.depth for s in body if isinstance(s, Stanza)), default=0)
        name = _scalar(heads[1]) if len(heads) > 1 else None
        return Stanza(_scalar(heads[0]), name, body, Span(_span(heads[0]).start, _span(closing).end), depth)

    angles = braces

    def option(self, items: list[Token | Value]) -> Option:
        key, value = items[0], items[-1]
        assert isinstance(key, Token) and isinstance(value, Scalar | ListValue | Dictionary)
        return Option(_scalar(key), value)

    option_without_equals = option

    def scalar(self, items: list[Token]) -> Scalar:
        return _scalar(items[0])

    def array(self, items: list[_Item]) -> ListValue:
        return ListValue(tuple(item for item in items if isinstance(item, Scalar)), _enclosing(items))

    def dictionary(self, items: list[_Item]) -> Dictionary:
        return Dictionary(tuple(item for item in items if isinstance(item, Entry)), _enclosing(items))

    def entry(self, items: list[Token | Scalar | ListValue]) -> Entry:
        key, value = items[0], items[-1]
        assert isinstance(key, Token) and isinstance(value, Scalar | ListValue)
        return Entry(_scalar(key), value)


def _enclosing(items: list[_Item]) -> Span:
    first, last = items[0], items[-1]
    assert isinstance(first, Token) and isinstance(last, Token)
    return Span(_span(first).start, _span(last).end)
