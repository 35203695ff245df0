"""A stanza file cut into pieces, whatever it holds: the lexer of the recovering pass. It never fails, it says what is wrong.

The patterns are those of the grammar's own terminals; only what the grammar refuses is added here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from lark import Lark

from schedappliance.diagnostics import Diagnostic, Source, Span
from schedappliance.syntax.text import name_of

# What an unexpected character may cost: a file of 200 kB of `;` is one kind of mistake, not 100,000.
MAX_JUNK = 50

STRINGS = ("DOUBLE_QUOTED", "SINGLE_QUOTED", "MULTI_LINE")
OPENERS = {"LBRACE": "RBRACE", "LANGLE": "RANGLE", "LPAR": "RPAR", "LSQB": "RSQB"}
CLOSERS = {closer: opener for opener, closer in OPENERS.items()}
SYMBOLS = {
    "LBRACE": "{",
    "RBRACE": "}",
    "LANGLE": "<",
    "RANGLE": ">",
    "LPAR": "(",
    "RPAR": ")",
    "LSQB": "[",
    "RSQB": "]",
}

_IN_ORDER = ("COMMENT", *STRINGS, "REGEX", "INCLUDE", "WORD", "EQUALS", "COMMA", *SYMBOLS)
_JUNK = r"""
  (?P<OPEN_COMMENT>/\*[\s\S]*)
| (?P<CURLY>[“”„‟][^“”„‟"\r\n]*[“”„‟"]|[‘’‚‛][^‘’‚‛'\r\n]*[‘’‚‛'])
| (?P<OPEN_STRING>["'][^\r\n]*)
| (?P<FOREIGN>[^\s"'\#{}<>()\[\]=,;`\x00-\x7f“”„‟‘’‚‛][^\s"'\#{}<>()\[\]=,;`]*)
| (?P<JUNK>[\s\S])
"""
# Brackets at the end of the line were hardly meant to be part of a string that was not closed.
# Where a string that swallowed the rest of its line was meant to end: before a bracket, an option, or a blank at its end.
_MEANT = re.compile(r'"(?:(?![ \t]+(?:[][(){}<>]|[\w-]+[ \t]*=|"))[^"])*')
_TRAILING_BRACKETS = re.compile(r"(?:[ \t]*[)\]}]|[ \t]+[{<(\[>])[(){}\[\]<> \t]*(?=#.*$|$)")


@dataclass(slots=True)
class Piece:
    """One token. `indent`: the column of the first token of its line, from 0; `first`: whether it is that token.

    A piece without length was put in by the repair; a WORD without text stands for a word that is missing.
    """

    type: str
    text: str
    start: int
    end: int
    first: bool
    indent: int

    @property
    def span(self) -> Span:
        return Span(self.start, self.end)


@cache
def _pattern(parser: Lark) -> re.Pattern[str]:
    found = {terminal.name: terminal.pattern.to_regexp() for terminal in parser.terminals}
    known = "|".join(f"(?P<{name}>{found[name]})" for name in _IN_ORDER)
    return re.compile(rf"(?P<BLANK>{found['WHITE_SPACE']})|{known}|(?x:{_JUNK})")


def count_pieces(source: Source, parser: Lark) -> int:
    """How many words and signs a file has."""
    return sum(match.lastgroup not in ("BLANK", "COMMENT") for match in _pattern(parser).finditer(source.text))


def cut(source: Source, parser: Lark) -> tuple[list[Piece], list[Diagnostic]]:
    """The pieces of a file without comments, and what no grammar could accept."""
    pieces: list[Piece] = []
    junk: list[Diagnostic] = []
    text, match_at = source.text, _pattern(parser).match
    position, indent, measured, first = 0, 0, False, True
    line_start = 0
    while position < len(text):
        match = match_at(text, position)
        assert match is not None, "every character is junk at least"
        kind, found, position = match.lastgroup or "", match.group(), match.end()
        if kind == "BLANK":
            if (newline := found.rfind("\n")) >= 0:
                line_start, measured, first = match.start() + newline + 1, False, True
            continue
        if kind == "COMMENT":
            continue
        if not measured:
            indent, measured = len(text[line_start : match.start()].expandtabs(8)), True
        if kind == "DOUBLE_QUOTED" and (body := _swallowed(text, match)) is not None:
            kind, found, position = "OPEN_STRING", body, match.start() + len(body)
        for piece in _made(kind, found, match.start(), source, junk):
            pieces.append(Piece(*piece, first=first, indent=indent))
            first = False
    return pieces, junk[:MAX_JUNK]


def _swallowed(text: str, match: re.Match[str]) -> str | None:
    """The part of a string that was meant, when it reaches to the opening quote of the next one on its line."""
    if match.group()[-2] not in " \t=([,{<":
        return None
    start = text.rfind("\n", 0, match.start()) + 1
    end = text.find("\n", match.end())
    line = text[start : end if end >= 0 else len(text)]
    if (line.count('"') - line.count('\\"')) % 2 == 0:
        return None
    meant = _MEANT.match(match.group())
    return meant.group() if meant else None


def _made(
    kind: str, text: str, start: int, source: Source, junk: list[Diagnostic]
) -> Iterator[tuple[str, str, int, int]]:
    end = start + len(text)
    if kind in _IN_ORDER:
        yield kind, text, start, end
    elif kind == "OPEN_COMMENT":
        junk.append(
            Diagnostic("E107", "this comment is not closed", "end it with `*/`", source, Span(start, start + 2))
        )
    elif kind == "OPEN_STRING":
        help = f"add the closing `{text[0]}`"
        junk.append(Diagnostic("E103", "this string is not closed", help, source, Span(start, start + 1)))
        body, brackets = _without_brackets(text)
        yield "SINGLE_QUOTED" if text[0] == "'" else "DOUBLE_QUOTED", body + text[0], start, start + len(body)
        names = {symbol: name for name, symbol in SYMBOLS.items()}
        for offset, bracket in enumerate(brackets, start + len(body)):
            if bracket in names:
                yield names[bracket], bracket, offset, offset + 1
    elif kind == "CURLY":
        found = f"typographic quotes around `{text[1:-1]}`"
        junk.append(Diagnostic("E106", found, "use straight quotes", source, Span(start, end)))
        yield "SINGLE_QUOTED", f"'{text[1:-1]}'", start, end
    elif kind == "FOREIGN":
        found = f"{name_of(text[0])} in a word without quotes"
        junk.append(Diagnostic("E106", found, "put the word in quotes", source, Span(start, end)))
        yield "WORD", text, start, end
    elif len(junk) < MAX_JUNK:
        help = "no separator is needed; remove it" if text == ";" else "remove it, or put the value in quotes"
        junk.append(Diagnostic("E101", f"unexpected {name_of(text)}", help, source, Span(start, end)))


def _without_brackets(text: str) -> tuple[str, str]:
    """The text of a string that was not closed, and the brackets at the end of its line that are not its own."""
    found = _TRAILING_BRACKETS.search(text, 1)
    if found is None:
        return text, ""
    body = text[: found.start()]
    if any(body.count(opener) > body.count(closer) for opener, closer in ("()", "[]", "{}")):
        return text, ""
    return body, found.group()
