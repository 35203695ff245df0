"""Missing, mistyped and surplus brackets, found by the layout of the file.

Rule: a brace is added or left out only if the file has too few or too many. The indentation then decides where.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from schedappliance.diagnostics import Diagnostic, Related, Source, Span
from schedappliance.syntax.recovery.lexer import CLOSERS, OPENERS, STRINGS, SYMBOLS, Lexeme
from schedappliance.syntax.text import MAX_FAULTS

_BLOCK_OPENERS, _BLOCK_CLOSERS = ("LBRACE", "LANGLE"), ("RBRACE", "RANGLE")

_Corrected = tuple[list[Lexeme], list[Diagnostic]]


@dataclass(frozen=True, slots=True)
class Balanced:
    """Lexemes with as many opening as closing braces.

    `unclosed`: the brackets of lists and dictionaries that are not closed before the end of their stanza.
    """

    lexemes: list[Lexeme]
    diagnostics: list[Diagnostic]
    unclosed: list[Lexeme]


def balance(source: Source, lexemes: list[Lexeme]) -> Balanced:
    """Corrects the brackets of a file as far as its layout shows the intention.

    Each step ends at MAX_FAULTS diagnostics, where the rest of the lexemes is missing: the file is not read further then.
    """
    unclosed: list[Lexeme] = []
    lexemes, diagnostics = _open_single_lines(source, lexemes)
    lexemes, more = _correct_closers(source, lexemes, unclosed)
    diagnostics += more
    opened = sum(lexeme.type in _BLOCK_OPENERS for lexeme in lexemes)
    closed = sum(lexeme.type in _BLOCK_CLOSERS for lexeme in lexemes)
    if opened > closed:
        lexemes, more = _add_closers(source, lexemes, opened - closed)
        diagnostics += more
    elif closed > opened:
        lexemes, more = _add_openers(source, lexemes, closed - opened)
        diagnostics += more
        if closed - opened > len(more):
            lexemes, more = _drop_closers(source, lexemes, closed - opened - len(more))
            diagnostics += more
    return Balanced(lexemes, diagnostics, unclosed)


def surplus_of(lexemes: list[Lexeme]) -> Counter[str]:
    """For each type of opening bracket: how many more are opened than closed."""
    surplus = Counter(lexeme.type for lexeme in lexemes if lexeme.type in OPENERS)
    surplus.subtract(CLOSERS[lexeme.type] for lexeme in lexemes if lexeme.type in CLOSERS)
    return surplus


def absent(kind: str, text: str, after: int, near: Lexeme) -> Lexeme:
    """A lexeme for text that is missing from the file after an offset, on the line of another lexeme."""
    return Lexeme(kind, text, after, after, False, near.indent)


def wrong_closing(source: Source, opener: Lexeme, closer: Lexeme) -> Diagnostic:
    related = (Related(source, opener.span, "opened here"),)
    message = f"`{closer.text}` does not close `{opener.text}`"
    return Diagnostic("E104", message, f"write `{SYMBOLS[OPENERS[opener.type]]}`", source, closer.span, related)


def unmatched(source: Source, closer: Lexeme) -> Diagnostic:
    remedy = "remove it, or add the opening bracket"
    return Diagnostic("E104", f"unmatched `{closer.text}`", remedy, source, closer.span)


def not_closed(source: Source, opener: Lexeme) -> Diagnostic:
    remedy = f"add `{SYMBOLS[OPENERS[opener.type]]}`"
    return Diagnostic("E102", f"`{opener.text}` is not closed", remedy, source, opener.span)


def not_opened(source: Source, head: list[Lexeme], bracket: str) -> Diagnostic:
    span = Span(head[0].start, head[-1].end)
    title = source.text[span.start : span.end]
    return Diagnostic("E113", f"`{bracket}` is missing after `{title}`", "add it", source, span)


def _open_single_lines(source: Source, lexemes: list[Lexeme]) -> _Corrected:
    """Adds the brace to lines such as `job "x" every = 60 }`: a stanza on one line that is closed but not opened."""
    corrected: list[Lexeme] = []
    diagnostics: list[Diagnostic] = []
    number = 0
    while number < len(lexemes) and len(diagnostics) < MAX_FAULTS:
        line = [lexemes[number], *_rest_of_line(lexemes, number)]
        number += len(line)
        types = [lexeme.type for lexeme in line]
        for opener in _BLOCK_OPENERS:
            if types.count(OPENERS[opener]) > types.count(opener) and (length := _head_length(line, types)):
                diagnostics.append(not_opened(source, line[:length], SYMBOLS[opener]))
                line.insert(length, absent(opener, SYMBOLS[opener], line[length - 1].end, line[length]))
                break
        corrected += line
    return corrected, diagnostics


def _head_length(line: list[Lexeme], types: list[str]) -> int:
    """The number of lexemes that form the head of a stanza whose body follows on the line; 0 if there is none."""
    if types[:1] != ["WORD"]:
        return 0
    if types[1:2] and types[1] in STRINGS and types[2:4] == ["WORD", "EQUALS"]:
        return 2
    if types[1:4] == ["WORD", "WORD", "EQUALS"]:
        return 2
    return 1 if types[1:3] == ["WORD", "EQUALS"] and line[0].indent == 0 else 0


def _correct_closers(source: Source, lexemes: list[Lexeme], unclosed: list[Lexeme]) -> _Corrected:
    """Corrects closing brackets that do not match the innermost open one: one of the two is mistyped or missing."""
    corrected: list[Lexeme] = []
    diagnostics: list[Diagnostic] = []
    stack: list[Lexeme] = []
    for number, lexeme in enumerate(lexemes):
        if len(diagnostics) >= MAX_FAULTS:
            break
        if lexeme.type in CLOSERS and stack and stack[-1].type != CLOSERS[lexeme.type]:
            if _is_mistyped(source, stack, lexeme, _rest_of_line(lexemes, number)):
                diagnostics.append(wrong_closing(source, stack[-1], lexeme))
                lexeme = replace(lexeme, type=OPENERS[stack[-1].type])
            elif _closes_outer(stack, lexeme):
                while stack[-1].type != CLOSERS[lexeme.type]:
                    unclosed.append(stack.pop())
        if lexeme.type in OPENERS:
            stack.append(lexeme)
        elif lexeme.type in CLOSERS and stack and stack[-1].type == CLOSERS[lexeme.type]:
            stack.pop()
        corrected.append(lexeme)
    return corrected, diagnostics


def _is_mistyped(source: Source, stack: list[Lexeme], closer: Lexeme, rest: list[Lexeme]) -> bool:
    """Whether another bracket was meant, judged by the open brackets and the rest of the line."""
    inner = stack[-1]
    outer = next((opener for opener in reversed(stack) if opener.type == CLOSERS[closer.type]), None)
    if outer is None:
        if inner.type not in _BLOCK_OPENERS:
            return True
        closes_line = not rest and _same_line(source, inner, closer)
        return closes_line or (closer.first and closer.indent == inner.indent)
    if inner.type in _BLOCK_OPENERS:
        return False
    if _same_line(source, outer, closer):
        return any(other.type == closer.type for other in rest)
    return not closer.first or closer.indent == inner.indent != outer.indent


def _closes_outer(stack: list[Lexeme], closer: Lexeme) -> bool:
    """Whether a list or dictionary is still open at the end of its stanza."""
    return stack[-1].type not in _BLOCK_OPENERS and any(o.type == CLOSERS[closer.type] for o in stack)


def _same_line(source: Source, opener: Lexeme, closer: Lexeme) -> bool:
    return source.text.find("\n", opener.start, closer.start) < 0


def _rest_of_line(lexemes: list[Lexeme], number: int) -> list[Lexeme]:
    end = number + 1
    while end < len(lexemes) and not lexemes[end].first:
        end += 1
    return lexemes[number + 1 : end]


@dataclass(slots=True)
class _Block:
    """An open stanza: its bracket, the indentation of its head and, once known, of its body."""

    opener: Lexeme
    head: int
    body: int | None = None

    def ends_before(self, lexeme: Lexeme) -> bool:
        """Whether a line can no longer belong to the stanza, judged by its first lexeme."""
        if lexeme.type in _BLOCK_CLOSERS:
            return lexeme.indent < self.head
        if lexeme.type in _BLOCK_OPENERS:
            return False
        return lexeme.indent <= self.head and (self.body is None or lexeme.indent < self.body)


def _add_closers(source: Source, lexemes: list[Lexeme], missing: int) -> _Corrected:
    """Closes stanzas before the first line that is indented too little for them."""
    corrected: list[Lexeme] = []
    diagnostics: list[Diagnostic] = []
    stack: list[_Block] = []
    depth = 0
    for lexeme in lexemes:
        if len(diagnostics) >= MAX_FAULTS:
            break
        while stack and missing and lexeme.first and not depth and stack[-1].ends_before(lexeme):
            opener = stack.pop().opener
            closer = OPENERS[opener.type]
            corrected.append(absent(closer, SYMBOLS[closer], corrected[-1].end, lexeme))
            diagnostics.append(not_closed(source, opener))
            missing -= 1
        if lexeme.type in _BLOCK_OPENERS:
            stack.append(_Block(lexeme, lexeme.indent))
        elif lexeme.type in _BLOCK_CLOSERS and stack:
            stack.pop()
        elif lexeme.first and stack and stack[-1].body is None and not depth:
            stack[-1].body = lexeme.indent
        depth += (lexeme.type in ("LPAR", "LSQB")) - (lexeme.type in ("RPAR", "RSQB") and depth > 0)
        corrected.append(lexeme)
    return corrected, diagnostics


def _add_openers(source: Source, lexemes: list[Lexeme], missing: int) -> _Corrected:
    """Opens stanzas after a line that is only a head and is followed by a deeper line or a closing brace."""
    opener = "LANGLE" if surplus_of(lexemes)["LANGLE"] < 0 else "LBRACE"
    corrected: list[Lexeme] = []
    diagnostics: list[Diagnostic] = []
    line: list[Lexeme] = []
    for lexeme in lexemes:
        if len(diagnostics) >= MAX_FAULTS:
            break
        closes = lexeme.type in _BLOCK_CLOSERS
        if lexeme.first or closes:
            deeper = closes or lexeme.indent > line[0].indent if line else False
            if missing and deeper and _is_head(line) and lexeme.type not in _BLOCK_OPENERS:
                corrected.append(absent(opener, SYMBOLS[opener], line[-1].end, lexeme))
                diagnostics.append(not_opened(source, line, SYMBOLS[opener]))
                missing -= 1
            line = []
        line.append(lexeme)
        corrected.append(lexeme)
    return corrected, diagnostics


def _is_head(line: list[Lexeme]) -> bool:
    """Whether a line is nothing but the head of a stanza."""
    if not line or line[0].type != "WORD" or len(line) > 2:
        return False
    return len(line) == 1 or line[1].type in (*STRINGS, "WORD", "REGEX")


def _drop_closers(source: Source, lexemes: list[Lexeme], surplus: int) -> _Corrected:
    """Leaves out closing braces that are not indented like the stanza that they would close."""
    corrected: list[Lexeme] = []
    diagnostics: list[Diagnostic] = []
    stack: list[Lexeme] = []
    for lexeme in lexemes:
        if len(diagnostics) >= MAX_FAULTS:
            break
        if lexeme.type in _BLOCK_OPENERS:
            stack.append(lexeme)
        elif lexeme.type in _BLOCK_CLOSERS:
            opener = stack[-1] if stack else None
            fits = opener and (_same_line(source, opener, lexeme) or lexeme.indent == opener.indent)
            if len(diagnostics) < surplus and not fits:
                diagnostics.append(unmatched(source, lexeme))
                continue
            if stack:
                stack.pop()
        corrected.append(lexeme)
    return corrected, diagnostics
