"""Missing braces by indentation: what the brackets alone cannot tell, the way the file is laid out often does."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from schedappliance.diagnostics import Diagnostic, Related, Source, Span
from schedappliance.syntax.pieces import CLOSERS, OPENERS, STRINGS, SYMBOLS, Piece

_BLOCK_OPENERS, _BLOCK_CLOSERS = ("LBRACE", "LANGLE"), ("RBRACE", "RANGLE")


@dataclass(slots=True)
class _Open:
    """A stanza that is open: its bracket, the indentation of its head and, once known, of its body."""

    opener: Piece
    head: int
    body: int | None = None


@dataclass(frozen=True, slots=True)
class Balanced:
    """`unclosed`: lists and dictionaries that were not closed before the end of their stanza."""

    pieces: list[Piece]
    said: list[Diagnostic]
    unclosed: list[Piece]


def balance(source: Source, pieces: list[Piece]) -> Balanced:
    """The pieces with braces put in where layout shows that they are missing, and only as many as are missing."""
    unclosed: list[Piece] = []
    pieces, said = _open_lines(source, pieces)
    pieces, more = _match(source, pieces, unclosed)
    said += more
    opened = sum(piece.type in _BLOCK_OPENERS for piece in pieces)
    closed = sum(piece.type in _BLOCK_CLOSERS for piece in pieces)
    if opened > closed:
        pieces, more = _close(source, pieces, opened - closed)
        said += more
    elif closed > opened:
        pieces, more = _open(source, pieces, closed - opened)
        said += more
        if closed - opened > len(more):
            pieces, more = _leave_out(source, pieces, closed - opened - len(more))
            said += more
    return Balanced(pieces, said, unclosed)


def _open_lines(source: Source, pieces: list[Piece]) -> tuple[list[Piece], list[Diagnostic]]:
    """Lines such as `job "x" every = 60 }`: a stanza on one line that is closed and was never opened."""
    out: list[Piece] = []
    said: list[Diagnostic] = []
    number = 0
    while number < len(pieces):
        line = [pieces[number], *_rest_of_line(pieces, number)]
        number += len(line)
        types = [piece.type for piece in line]
        for opener in _BLOCK_OPENERS:
            if types.count(OPENERS[opener]) > types.count(opener) and (length := _head_length(line, types)):
                said.append(not_opened(source, line[:length], SYMBOLS[opener]))
                line.insert(length, put_in(opener, SYMBOLS[opener], line[length], line[length - 1].end))
                break
        out += line
    return out, said


def _head_length(line: list[Piece], types: list[str]) -> int:
    """How many pieces of a line are the head of a stanza whose body follows at once; 0 when it is none."""
    if types[:1] != ["WORD"]:
        return 0
    if types[1:2] and types[1] in STRINGS and types[2:4] == ["WORD", "EQUALS"]:
        return 2
    if types[1:4] == ["WORD", "WORD", "EQUALS"]:
        return 2
    return 1 if types[1:3] == ["WORD", "EQUALS"] and line[0].indent == 0 else 0


def surplus_of(pieces: list[Piece]) -> Counter[str]:
    """By kind of opening bracket: how many more are opened than closed."""
    surplus = Counter(piece.type for piece in pieces if piece.type in OPENERS)
    surplus.subtract(CLOSERS[piece.type] for piece in pieces if piece.type in CLOSERS)
    return surplus


def _match(source: Source, pieces: list[Piece], unclosed: list[Piece]) -> tuple[list[Piece], list[Diagnostic]]:
    """Closing brackets that do not fit the innermost open one: mistyped, or that one was never closed."""
    out: list[Piece] = []
    said: list[Diagnostic] = []
    stack: list[Piece] = []
    for number, piece in enumerate(pieces):
        if piece.type in CLOSERS and stack and stack[-1].type != CLOSERS[piece.type]:
            rest = _rest_of_line(pieces, number)
            if _is_mistyped(source, stack, piece, rest):
                said.append(wrong_closing(source, stack[-1], piece))
                piece = replace(piece, type=OPENERS[stack[-1].type])
            elif _closes_outer(stack, piece):
                while stack[-1].type != CLOSERS[piece.type]:
                    unclosed.append(stack.pop())
        if piece.type in OPENERS:
            stack.append(piece)
        elif piece.type in CLOSERS and stack and stack[-1].type == CLOSERS[piece.type]:
            stack.pop()
        out.append(piece)
    return out, said


def _is_mistyped(source: Source, stack: list[Piece], piece: Piece, rest: list[Piece]) -> bool:
    """Whether a bracket of another kind was meant: by what is open, and by what else closes on its line."""
    inner = stack[-1]
    outer = next((opener for opener in reversed(stack) if opener.type == CLOSERS[piece.type]), None)
    if outer is None:
        if inner.type not in _BLOCK_OPENERS:
            return True
        closes_line = not rest and _same_line(source, inner, piece)
        return closes_line or (piece.first and piece.indent == inner.indent)
    if inner.type in _BLOCK_OPENERS:
        return False
    if _same_line(source, outer, piece):
        return any(other.type == piece.type for other in rest)
    return not piece.first or piece.indent == inner.indent != outer.indent


def _closes_outer(stack: list[Piece], piece: Piece) -> bool:
    """Whether a list or dictionary was left open before the end of its stanza."""
    return stack[-1].type not in _BLOCK_OPENERS and any(o.type == CLOSERS[piece.type] for o in stack)


def _same_line(source: Source, opener: Piece, piece: Piece) -> bool:
    return source.text.find("\n", opener.start, piece.start) < 0


def _rest_of_line(pieces: list[Piece], number: int) -> list[Piece]:
    end = number + 1
    while end < len(pieces) and not pieces[end].first:
        end += 1
    return pieces[number + 1 : end]


def wrong_closing(source: Source, opener: Piece, closer: Piece) -> Diagnostic:
    related = (Related(source, opener.span, "opened here"),)
    message = f"`{closer.text}` does not close `{opener.text}`"
    return Diagnostic("E104", message, f"write `{SYMBOLS[OPENERS[opener.type]]}`", source, closer.span, related)


def closes_nothing(source: Source, closer: Piece) -> Diagnostic:
    help = "remove it, or open what it is to close"
    return Diagnostic("E104", f"`{closer.text}` closes nothing", help, source, closer.span)


def _leave_out(source: Source, pieces: list[Piece], surplus: int) -> tuple[list[Piece], list[Diagnostic]]:
    """Closing braces that do not stand where the stanza that they would close begins."""
    out: list[Piece] = []
    said: list[Diagnostic] = []
    stack: list[Piece] = []
    for piece in pieces:
        if piece.type in _BLOCK_OPENERS:
            stack.append(piece)
        elif piece.type in _BLOCK_CLOSERS:
            opener = stack[-1] if stack else None
            fits = opener and (_same_line(source, opener, piece) or piece.indent == opener.indent)
            if len(said) < surplus and not fits:
                said.append(closes_nothing(source, piece))
                continue
            if stack:
                stack.pop()
        out.append(piece)
    return out, said


def not_closed(source: Source, opener: Piece) -> Diagnostic:
    wanted = SYMBOLS[OPENERS[opener.type]]
    return Diagnostic("E102", f"`{opener.text}` is not closed", f"add `{wanted}`", source, opener.span)


def not_opened(source: Source, head: list[Piece], bracket: str = "{") -> Diagnostic:
    title = source.text[head[0].start : head[-1].end]
    span = Span(head[0].start, head[-1].end)
    return Diagnostic("E113", f"`{bracket}` is missing after `{title}`", "add it", source, span)


def put_in(type: str, text: str, before: Piece, after: int) -> Piece:
    """A piece that the file does not have, standing between two that it has."""
    return Piece(type, text, after, after, False, before.indent)


def _close(source: Source, pieces: list[Piece], missing: int) -> tuple[list[Piece], list[Diagnostic]]:
    out: list[Piece] = []
    said: list[Diagnostic] = []
    stack: list[_Open] = []
    inner = 0
    for piece in pieces:
        while stack and missing and piece.first and not inner and _has_left(stack[-1], piece):
            opener = stack.pop().opener
            closer = OPENERS[opener.type]
            out.append(put_in(closer, SYMBOLS[closer], piece, out[-1].end))
            said.append(not_closed(source, opener))
            missing -= 1
        if piece.type in _BLOCK_OPENERS:
            stack.append(_Open(piece, piece.indent))
        elif piece.type in _BLOCK_CLOSERS and stack:
            stack.pop()
        elif piece.first and stack and stack[-1].body is None and not inner:
            stack[-1].body = piece.indent
        inner += (piece.type in ("LPAR", "LSQB")) - (piece.type in ("RPAR", "RSQB") and inner > 0)
        out.append(piece)
    return out, said


def _has_left(block: _Open, piece: Piece) -> bool:
    """Whether a line can no longer belong to the block."""
    if piece.type in _BLOCK_CLOSERS:
        return piece.indent < block.head
    if piece.type in _BLOCK_OPENERS:
        return False
    return piece.indent <= block.head and (block.body is None or piece.indent < block.body)


def _open(source: Source, pieces: list[Piece], missing: int) -> tuple[list[Piece], list[Diagnostic]]:
    opener = "LANGLE" if surplus_of(pieces)["LANGLE"] < 0 else "LBRACE"
    out: list[Piece] = []
    said: list[Diagnostic] = []
    line: list[Piece] = []
    for piece in pieces:
        closes = piece.type in _BLOCK_CLOSERS
        if piece.first or closes:
            deeper = closes or piece.indent > line[0].indent if line else False
            if missing and deeper and _is_head(line) and piece.type not in _BLOCK_OPENERS:
                out.append(put_in(opener, SYMBOLS[opener], piece, line[-1].end))
                said.append(not_opened(source, line, SYMBOLS[opener]))
                missing -= 1
            line = []
        line.append(piece)
        out.append(piece)
    return out, said


def _is_head(line: list[Piece]) -> bool:
    """A line that is nothing but the head of a stanza."""
    if not line or line[0].type != "WORD" or len(line) > 2:
        return False
    return len(line) == 1 or line[1].type in (*STRINGS, "WORD", "REGEX")
