"""`%{option}` in a program's arguments and environment. `%%{` is a literal `%{`; a value never splits an argument."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from schedappliance.diagnostics import Span
from schedappliance.model.values import Unfit

_REFERENCE = re.compile(r"%%\{|%\{([^{}]*)\}|%\{")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*", re.ASCII)


class Unset(Exception):
    """An option that a template names has no value; the launch fails for this reason."""

    def __init__(self, name: str) -> None:
        super().__init__(f"option `{name}` is not set")
        self.name = name


def references(text: str) -> Iterator[tuple[str, Span]]:
    """The options that a template names, with their places in it; raises Unfit for a broken one."""
    for match in _REFERENCE.finditer(text):
        if match.group() == "%%{":
            continue
        name = match.group(1)
        if name is None or not _NAME.fullmatch(name):
            help = "write `%{option_name}`, or `%%{` for the characters themselves"
            raise Unfit(f"`{match.group()}` names no option", help, "E208", Span(match.start(), match.end()))
        yield name, Span(match.start(), match.end())


def expand(text: str, lookup: Callable[[str], str | None]) -> str:
    """The template with the values in place; raises Unset. Values are not expanded again."""

    def value(match: re.Match[str]) -> str:
        if match.group() == "%%{":
            return "%{"
        found = lookup(match.group(1))
        if found is None:
            raise Unset(match.group(1))
        return found

    return _REFERENCE.sub(value, text) if "%" in text else text
