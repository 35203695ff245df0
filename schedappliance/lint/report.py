"""Diagnostics as text: with source lines and carets for people, on one line for editors, and as JSON.

Rule: nothing is printed here, and nothing from a user's file reaches a terminal unescaped.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TextIO

from schedappliance.diagnostics import Diagnostic, Source, Span, as_data, counted
from schedappliance.visible import visible, width_of

TAB_WIDTH = 4
MAX_EXCERPT = 160


@dataclass(frozen=True, slots=True)
class Style:
    """The escape sequences of a terminal, or nothing."""

    error: str = ""
    warning: str = ""
    strong: str = ""
    faint: str = ""
    off: str = ""


PLAIN = Style()
COLOUR = Style("\x1b[1;31m", "\x1b[1;33m", "\x1b[1m", "\x1b[36m", "\x1b[0m")


def style_of(stream: TextIO) -> Style:
    """Colour on a terminal, unless the user has disabled it."""
    colour = stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return COLOUR if colour else PLAIN


def full(diagnostics: Sequence[Diagnostic], style: Style = PLAIN) -> str:
    """For people: cause, place, source line with carets, and remedy."""
    return "\n".join(_one(diagnostic, style) for diagnostic in diagnostics)


def concise(diagnostics: Sequence[Diagnostic]) -> str:
    """For editors, one line for each: `file:line:column: CODE message; remedy`."""
    return "".join(f"{visible(diagnostic.brief())}\n" for diagnostic in diagnostics)


def lines(diagnostics: Sequence[Diagnostic]) -> str:
    """For people, one line for each; a diagnostic about a whole file or path has no line number."""
    return "".join(f"{visible(_line(diagnostic))}\n" for diagnostic in diagnostics)


def _line(diagnostic: Diagnostic) -> str:
    if diagnostic.span is not None:
        return diagnostic.brief()
    return f"{diagnostic.source.name}: {diagnostic.code} {diagnostic.text}"


def github(diagnostics: Sequence[Diagnostic]) -> str:
    """Workflow commands, which GitHub shows beside the lines of a pull request."""
    return "".join(f"{_annotation(diagnostic)}\n" for diagnostic in diagnostics)


def _annotation(diagnostic: Diagnostic) -> str:
    line, column, end_line, end_column = diagnostic.place()
    properties = {
        "file": diagnostic.source.name,
        "line": line,
        "col": column,
        "endLine": end_line,
        "endColumn": end_column,
        "title": diagnostic.code,
    }
    listed = ",".join(f"{name}={_escaped(visible(str(value)), ':,')}" for name, value in properties.items())
    return f"::{diagnostic.severity} {listed}::{_escaped(visible(diagnostic.text))}"


def _escaped(text: str, more: str = "") -> str:
    return "".join(f"%{ord(c):02X}" if c in "%\r\n" or c in more else c for c in text)


def counts(files: int, diagnostics: Sequence[Diagnostic]) -> str:
    """The last line of a report: the numbers of files, errors and warnings."""
    return f"{counted(files, 'file')} checked: {tally(diagnostics)}"


def tally(diagnostics: Sequence[Diagnostic]) -> str:
    """The numbers of errors and warnings."""
    errors = sum(diagnostic.is_error for diagnostic in diagnostics)
    return f"{counted(errors, 'error')}, {counted(len(diagnostics) - errors, 'warning')}"


def as_json(diagnostics: Sequence[Diagnostic]) -> str:
    return json.dumps(as_data(diagnostics), indent=2) + "\n"


def _one(diagnostic: Diagnostic, style: Style) -> str:
    colour = style.error if diagnostic.is_error else style.warning
    title = f"{colour}{diagnostic.severity}[{diagnostic.code}]{style.off}"
    lines = [f"{title}{style.strong}: {visible(diagnostic.message)}{style.off}"]
    if diagnostic.span is None:
        lines.append(f"  --> {visible(diagnostic.source.name)}")
    else:
        lines += _excerpt(diagnostic.source, diagnostic.span, "", "-->", colour, style)
    for related in diagnostic.related:
        lines += _excerpt(related.source, related.span, related.label, ":::", style.faint, style)
    if diagnostic.help:
        lines.append(f"  {style.faint}help{style.off}: {visible(diagnostic.help)}")
    return "\n".join(lines) + "\n"


def _excerpt(source: Source, span: Span, label: str, arrow: str, colour: str, style: Style) -> list[str]:
    line, column = source.position(span.start)
    end_line, end_column = source.position(max(span.start, span.end))
    text = source.line(line)
    last = end_column - 1 if end_line == line else len(text)
    start, text = _window(text, column - 1)
    before, marked = text[: column - 1 - start], text[column - 1 - start : max(last, column) - start]
    gutter = " " * len(str(line))
    caret = ("^" if arrow == "-->" else "-") * max(1, _width(marked, _width(before, 0)))
    label = f" {label}" if label else ""
    faint, off = style.faint, style.off
    return [
        f"  {gutter}{faint}{arrow}{off} {visible(source.name)}:{line}:{column}",
        f"  {gutter} {faint}|{off}",
        f"  {faint}{line} |{off} {_expanded(text)}",
        f"  {gutter} {faint}|{off} {' ' * _width(before, 0)}{colour}{caret}{label}{off if colour else ''}",
    ]


def _window(text: str, column: int) -> tuple[int, str]:
    """The part of a long line around a column, and where that part starts."""
    if len(text) <= MAX_EXCERPT:
        return 0, text
    start = max(0, min(column - MAX_EXCERPT // 2, len(text) - MAX_EXCERPT))
    return start, text[start : start + MAX_EXCERPT]


def _expanded(text: str) -> str:
    out = ""
    for character in text:
        out += " " * (TAB_WIDTH - _width(out, 0) % TAB_WIDTH) if character == "\t" else visible(character)
    return out


def _width(text: str, start: int) -> int:
    """The number of columns that a text takes on a terminal if it begins in column `start`."""
    column = start
    for character in text:
        if character == "\t":
            column += TAB_WIDTH - column % TAB_WIDTH
        elif not character.isprintable():
            column += len(visible(character))
        else:
            column += width_of(character)
    return column - start
