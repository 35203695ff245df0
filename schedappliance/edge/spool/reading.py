"""Reads the text of a drop: its commands, and its mistakes. Rule: nothing here needs the configuration."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from schedappliance.diagnostics import Diagnostic, Source, Span, has_errors
from schedappliance.engine.events import DropLine
from schedappliance.model.command_file import command_lines, read_drop_line, token_mistakes, token_of, wrong_number
from schedappliance.syntax.text import MAX_FAULTS, decode


class DropText(NamedTuple):
    """The commands and the mistakes of a drop. `token`: the id that its author gave it, None without one."""

    source: Source
    lines: tuple[DropLine, ...]
    mistakes: tuple[Diagnostic, ...]
    token: str | None = None


def read_drop(name: str, data: bytes) -> DropText:
    source, mistakes = decode(name, data)
    if has_errors(mistakes):
        return DropText(source, (), tuple(mistakes))
    numbered = list(command_lines(source))
    if wrong := wrong_number(source, len(numbered)):
        return DropText(source, (), (wrong,))
    mistakes += token_mistakes(source)
    lines: list[DropLine] = []
    for offset, text in numbered:
        read = read_drop_line(text)
        if read.tree is not None and read.command is not None:
            lines.append(DropLine(offset, text, read.tree, read.command))
        mistakes += [d.moved(source, partial(Span.shifted, by=offset)) for d in read.diagnostics]
        if len(mistakes) >= MAX_FAULTS:
            break
    return DropText(source, tuple(lines), tuple(mistakes), token_of(source))
