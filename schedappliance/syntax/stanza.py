"""Stanza files to trees.

Rule: the tree is built bottom-up inside the parser, so no depth of nesting can exhaust the stack.
"""

from __future__ import annotations

from functools import cache
from typing import cast

from lark import Lark, Token, Transformer
from lark.exceptions import UnexpectedInput

from schedappliance.diagnostics import Diagnostic, Source, Span, in_order
from schedappliance.syntax.grammars import build_parser
from schedappliance.syntax.text import MAX_FAULTS
from schedappliance.syntax.tree import Dictionary, Entry, Include, ListValue, Option, Scalar, Stanza, Statement, Value

MAX_DEPTH = 32
MAX_TOKENS = 1_000_000
# Each escape in a string is a step of a pattern, and other threads stand still until the whole string is matched: 7
# million escapes took 0.3 s.
MAX_BACKSLASHES = 1_000_000

_Item = Token | Scalar | ListValue | Dictionary | Entry | Statement


def parse_stanzas(source: Source) -> tuple[tuple[Statement, ...], list[Diagnostic]]:
    """The statements of a stanza file and a diagnostic for each fault.

    If there is a fault, the statements are those that could be understood: they are checked further, but never loaded.
    """
    if too_large := _too_large(source):
        return (), [too_large]
    try:
        return _limit_depth(source, _statements(source.text))
    except UnexpectedInput as error:
        from schedappliance.syntax.recovery.repair import recover

        statements, diagnostics = recover(source, _parser())
        assert diagnostics, f"rejected without a reason: {error}"
    statements, too_deep = _limit_depth(source, statements)
    return statements, in_order(diagnostics + too_deep)[:MAX_FAULTS]


def parse_value(text: str) -> Value | None:
    """The value that a text consists of, with places from the start of the text; None if it is not exactly one."""
    before = "v="
    try:
        statements = _statements(before + text)
    except UnexpectedInput:
        return None
    if len(statements) != 1 or not isinstance(statements[0], Option):
        return None
    return statements[0].value.shifted(-len(before))


def has_more_words(text: str, most: int) -> bool:
    """Whether a value has more words and symbols than `most`; it need not be right. Parsing takes 20 µs for each of them."""
    from schedappliance.syntax.recovery.lexer import has_more_lexemes

    return len(text) > most and has_more_lexemes(Source("", text), _parser(), most)


def _statements(text: str) -> tuple[Statement, ...]:
    """Raises UnexpectedInput."""
    return cast("tuple[Statement, ...]", _parser().parse(text))


def _too_large(source: Source) -> Diagnostic | None:
    """A text that is shorter than the limit need not be counted."""
    if len(source.text) < MAX_TOKENS:
        return None
    from schedappliance.syntax.recovery.lexer import has_more_lexemes

    if source.text.count("\\") > MAX_BACKSLASHES:
        remedy = f"split it; the limit is {MAX_BACKSLASHES:,} backslashes"
    elif has_more_lexemes(source, _parser(), MAX_TOKENS):
        remedy = f"split it; the limit is {MAX_TOKENS:,} words and symbols"
    else:
        return None
    return Diagnostic("E108", "the file is too large", remedy, source)


def _limit_depth(source: Source, statements: tuple[Statement, ...]) -> tuple[tuple[Statement, ...], list[Diagnostic]]:
    too_deep = [s for s in statements if isinstance(s, Stanza) and s.depth > MAX_DEPTH]
    if not too_deep:
        return statements, []
    message, remedy = f"stanzas are nested {too_deep[0].depth} levels deep", f"the limit is {MAX_DEPTH} levels"
    return (), [Diagnostic("E108", message, remedy, source, too_deep[0].head)]


@cache
def _parser() -> Lark:
    return build_parser("stanza", _Builder())


def _span(first: Token, last: Token) -> Span:
    assert first.start_pos is not None and last.end_pos is not None
    return Span(first.start_pos, last.end_pos)


def _scalar(token: Token) -> Scalar:
    text = str(token)
    if token.type in ("WORD", "REGEX", "INCLUDE"):
        return Scalar(text, _span(token, token))
    raw = text[1:-1]
    value = raw
    if text[0] == '"' and "\\" in raw:
        value = _unescape(raw)
    return Scalar(value, _span(token, token), text[0], raw)


def _unescape(raw: str) -> str:
    r"""Replaces `\"` and `\\` and keeps any other backslash, as Momentum does with `\d` and `\r`."""
    parts = raw.split("\\\\")
    return "\\".join(part.replace('\\"', '"') for part in parts)


class _Builder(Transformer[Token, tuple[Statement, ...]]):
    """Builds the tree inside the parser: one method for each rule of the grammar."""

    def start(self, items: list[Statement]) -> tuple[Statement, ...]:
        return tuple(items)

    body = start

    def include(self, items: list[Token]) -> Include:
        return Include(_scalar(items[0]), _scalar(items[1]))

    def stanza(self, items: list[_Item]) -> Stanza:
        heads = [
            item for item in items[:3] if isinstance(item, Token) and item.type not in ("EQUALS", "LBRACE", "LANGLE")
        ]
        body, closing = items[-2], items[-1]
        assert isinstance(body, tuple) and isinstance(closing, Token)
        depth = 1 + max((s.depth for s in body if isinstance(s, Stanza)), default=0)
        name = _scalar(heads[1]) if len(heads) > 1 else None
        return Stanza(_scalar(heads[0]), name, body, _span(heads[0], closing), depth)

    def option(self, items: list[Token | Value]) -> Option:
        key, value = items[0], items[-1]
        assert isinstance(key, Token) and isinstance(value, Scalar | ListValue | Dictionary)
        return Option(_scalar(key), value)

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
    return _span(first, last)
