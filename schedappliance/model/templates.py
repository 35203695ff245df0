"""`%{option}` in the arguments and environment of a program. `%%{` stands for the characters `%{`.

Rule: a value never splits an argument, and is never expanded again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from schedappliance.diagnostics import InvalidValue, Span

_REFERENCE = re.compile(r"%%\{|%\{([^{}]*)\}|%\{")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*", re.ASCII)


class Unset(Exception):
    """An option that a template names has no value, so the program cannot be started."""

    def __init__(self, name: str) -> None:
        super().__init__(f"option `{name}` is not set")
        self.name = name


def references(text: str) -> Iterator[tuple[str, Span]]:
    """The options that a template names, each with its place in it; raises InvalidValue for a malformed reference."""
    for match in _REFERENCE.finditer(text):
        if match.group() == "%%{":
            continue
        name = match.group(1)
        if name is None or not _NAME.fullmatch(name):
            remedy = "write `%{option_name}`, or `%%{` for the characters themselves"
            span = Span(match.start(), match.end())
            raise InvalidValue(f"invalid option reference `{match.group()}`", remedy, "E208", span)
        yield name, Span(match.start(), match.end())


def expand(text: str, lookup: Callable[[str], str | None]) -> str:
    """The template with the values of its options in place; raises Unset."""

    def value(match: re.Match[str]) -> str:
        if match.group() == "%%{":
            return "%{"
        option = lookup(match.group(1))
        if option is None:
            raise Unset(match.group(1))
        return option

    return _REFERENCE.sub(value, text)
