"""The lines of a command file: which of them are commands, and what each means as part of a drop."""

from __future__ import annotations

import re
from collections.abc import Iterator

from schedappliance.diagnostics import Diagnostic, Source, Span
from schedappliance.model.commands import MAX_LINE_BYTES, ReadCommand, drop_mistakes, read_command


def command_lines(source: Source) -> Iterator[tuple[int, str]]:
    """The commands of a file with the offset of each: no blank lines, no `#` comments."""
    offset = 0
    for line in source.text.split("\n"):
        text = line.removesuffix("\r")
        if text.strip(" \t") and not text.startswith("#"):
            yield offset, text
        offset += len(line) + 1


def read_drop_line(line: str) -> ReadCommand:
    """What one line of a command file means, with every mistake that can be seen without the configuration."""
    own = Source("<command>", line)
    if len(line) > MAX_LINE_BYTES // 4 and len(line.encode()) > MAX_LINE_BYTES:
        help = f"a line has at most {MAX_LINE_BYTES:,} bytes"
        return ReadCommand(None, None, (Diagnostic("E108", "the line is too long", help, own, Span(0, 1)),))
    read = read_command(line)
    if read.tree is None or not (wrong := tuple(drop_mistakes(read.tree, own))):
        return read
    return ReadCommand(read.tree, None, (*read.diagnostics, *wrong))


_LINE = re.compile(r"#id:[ \t]*(.*?)[ \t]*\r?$", re.MULTILINE)
_TOKEN = re.compile(r"[!-~]{1,128}")


def token_of(source: Source) -> str | None:
    """The token of a command file, None when it has none, or one that is none."""
    match = _LINE.match(source.text)
    return match.group(1) if match and _TOKEN.fullmatch(match.group(1)) else None


def token_mistakes(source: Source) -> Iterator[Diagnostic]:
    """A token that is none, and one where nobody looks for it."""
    for match in _LINE.finditer(source.text):
        span = Span(match.start(), match.end(1) if match.group(1) else match.start() + len("#id:"))
        if match.start() and source.text[match.start() - 1] == "\n":
            help = "put it into the first line, or write `# id`"
            yield Diagnostic("W410", "only the first line can hold the id of a file", help, source, span)
        elif not match.start() and not _TOKEN.fullmatch(match.group(1)):
            help = "give 1 to 128 visible ASCII characters without blanks: `#id: deploy-4711`"
            yield Diagnostic("E208", "not an id of a file", help, source, span)
