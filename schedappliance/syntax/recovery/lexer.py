"""A lexer for stanza files that accepts any text and reports what no grammar could accept.

Rule: the patterns of valid text are the terminals of the grammar; only invalid text is described here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice

from lark import Lark

from schedappliance.diagnostics import Diagnostic, Source, Span
from schedappliance.syntax.text import name_of

# Limits the diagnostics for a file such as 200 kB of `;`, which has one kind of fault, not 100,000 faults.
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

_VALID = ("COMMENT", *STRINGS, "REGEX", "INCLUDE", "WORD", "EQUALS", "COMMA", *SYMBOLS)
_INVALID = r"""
  (?P<OPEN_COMMENT>/\*[\s\S]*)
| (?P<CURLY>[“”„‟][^“”„‟"\r\n]*[“”„‟"]|[‘’‚‛][^‘’‚‛'\r\n]*[‘’‚‛'])
| (?P<OPEN_STRING>["'][^\r\n]*)
| (?P<FOREIGN>[^\s"'\#{}<>()\[\]=,;`\x00-\x7f“”„‟‘’‚‛][^\s"'\#{}<>()\[\]=,;`]*)
| (?P<JUNK>[\s\S])
"""
# The probable content of a string that is not closed and took the rest of its line: up to a bracket or an option.
# It and the next pattern look at each run of blanks once. Looking at each blank took 13 s for 40,000 blanks.
_MEANT = re.compile(r'"(?:[^" \t]++|[ \t]++(?![][(){}<>]|[\w-]+[ \t]*=|"))*+')
# Brackets at the end of a line are probably not part of a string that is not closed, without an opener after a word.
_TRAILING_BRACKETS = re.compile(
    r"(?<![(){}\[\]<> \t])[{<(\[>]*+(?P<brackets>[ \t]*+[(){}\[\]<>][(){}\[\]<> \t]*+)(?=#|\Z)"
)
_TAB_WIDTH = 8


@dataclass(slots=True)
class Lexeme:
    """One token with its layout. `indent`: the column, from 0, of the first token on its line. `first`: it is that token.

    A lexeme without length stands for text that is missing from the file.
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
    regexps = {terminal.name: terminal.pattern.to_regexp() for terminal in parser.terminals}
    valid = "|".join(f"(?P<{name}>{regexps[name]})" for name in _VALID)
    return re.compile(rf"(?P<BLANK>{regexps['WHITE_SPACE']})|{valid}|(?x:{_INVALID})")


def has_more_lexemes(source: Source, parser: Lark, most: int) -> bool:
    """Whether a file has more words and symbols than `most`; comments do not count. It reads no further than necessary."""
    matches = _pattern(parser).finditer(source.text)
    lexemes = (match for match in matches if match.lastgroup not in ("BLANK", "COMMENT"))
    return next(islice(lexemes, most, None), None) is not None


def scan(source: Source, parser: Lark) -> tuple[list[Lexeme], list[Diagnostic]]:
    """The lexemes of a file without comments, and a diagnostic for each text that no grammar could accept."""
    lexemes: list[Lexeme] = []
    diagnostics: list[Diagnostic] = []
    text, match_at = source.text, _pattern(parser).match
    position, line_start, indent, first = 0, 0, -1, True
    while position < len(text):
        match = match_at(text, position)
        assert match is not None, "JUNK matches every character"
        kind, part, position = match.lastgroup or "", match.group(), match.end()
        if kind == "BLANK":
            if (newline := part.rfind("\n")) >= 0:
                line_start, indent, first = match.start() + newline + 1, -1, True
            continue
        if kind == "COMMENT":
            continue
        if indent < 0:
            indent = len(text[line_start : match.start()].expandtabs(_TAB_WIDTH))
        if kind == "DOUBLE_QUOTED" and (meant := _meant(text, match)) is not None:
            kind, part, position = "OPEN_STRING", meant, match.start() + len(meant)
        for lexeme in _lexemes(kind, part, match.start(), source, diagnostics):
            lexemes.append(Lexeme(*lexeme, first=first, indent=indent))
            first = False
        del diagnostics[MAX_JUNK:]
    return lexemes, diagnostics


def _meant(text: str, match: re.Match[str]) -> str | None:
    """The probable text of a string that ends at the opening quote of the next string on its line; else None."""
    if match.group()[-2] not in " \t=([,{<":
        return None
    start = text.rfind("\n", 0, match.start()) + 1
    end = text.find("\n", match.end())
    line = text[start : end if end >= 0 else len(text)]
    if (line.count('"') - line.count('\\"')) % 2 == 0:
        return None
    meant = _MEANT.match(match.group())
    return meant.group() if meant else None


def _lexemes(
    kind: str, text: str, start: int, source: Source, diagnostics: list[Diagnostic]
) -> Iterator[tuple[str, str, int, int]]:
    """Type, text and place of the lexeme for a match; adds a diagnostic if it is invalid."""
    end = start + len(text)
    if kind in _VALID:
        yield kind, text, start, end
    elif kind == "OPEN_COMMENT":
        diagnostics.append(
            Diagnostic("E107", "unterminated comment", "end it with `*/`", source, Span(start, start + 2))
        )
    elif kind == "OPEN_STRING":
        remedy = f"add the closing `{text[0]}`"
        diagnostics.append(Diagnostic("E103", "unterminated string", remedy, source, Span(start, start + 1)))
        body, brackets = _without_brackets(text)
        yield "SINGLE_QUOTED" if text[0] == "'" else "DOUBLE_QUOTED", body + text[0], start, start + len(body)
        names = {symbol: name for name, symbol in SYMBOLS.items()}
        for offset, bracket in enumerate(brackets, start + len(body)):
            if bracket in names:
                yield names[bracket], bracket, offset, offset + 1
    elif kind == "CURLY":
        message = f"typographic quotes around `{text[1:-1]}`"
        diagnostics.append(Diagnostic("E106", message, "use straight quotes", source, Span(start, end)))
        yield "SINGLE_QUOTED", f"'{text[1:-1]}'", start, end
    elif kind == "FOREIGN":
        message = f"{name_of(text[0])} in an unquoted word"
        diagnostics.append(Diagnostic("E106", message, "quote the word", source, Span(start, end)))
        yield "WORD", text, start, end
    elif len(diagnostics) < MAX_JUNK:
        remedy = "remove it; no separator is needed" if text == ";" else "remove it, or quote the value"
        diagnostics.append(Diagnostic("E101", f"unexpected {name_of(text)}", remedy, source, Span(start, end)))


def _without_brackets(text: str) -> tuple[str, str]:
    """The text of a string that is not closed, and the brackets at the end of its line that are not part of it."""
    brackets = _TRAILING_BRACKETS.search(text, 1)
    if brackets is None:
        return text, ""
    body = text[: brackets.start("brackets")]
    if any(body.count(opener) > body.count(closer) for opener, closer in ("()", "[]", "{}")):
        return text, ""
    return body, brackets.group("brackets")
