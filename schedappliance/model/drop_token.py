"""`#id: TOKEN`, the first line of a command file: the dropper's own id for the work, so that it happens once."""

from __future__ import annotations

import re
from collections.abc import Iterator

from schedappliance.diagnostics import Diagnostic, Source, Span

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
