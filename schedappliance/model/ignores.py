"""`# lint: ignore[W…] reason`: silences warnings on its own line, or on the next line if it is alone on its line.

Rule: an ignore that silences nothing is reported as a warning, so that no ignore remains without a reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from schedappliance.diagnostics import Diagnostic, Source, Span

_COMMENT = re.compile(r"#[ \t]*lint:[ \t]*ignore\[([^\]\r\n]*)\]")
_CODE = re.compile(r"W\d{3}", re.ASCII)


@dataclass(slots=True)
class _Ignore:
    """One comment. `line`: the line on which it silences warnings. `used`: the codes that it has silenced."""

    source: Source
    span: Span
    line: int
    codes: tuple[str, ...]
    used: set[str] = field(default_factory=set)


def apply_ignores(
    diagnostics: Iterable[Diagnostic], sources: Iterable[Source], checked: Callable[[str], bool] = lambda _code: True
) -> list[Diagnostic]:
    """The diagnostics without those that are ignored, and a warning for each code that silences nothing.

    `checked`: whether a code was checked at all; an ignore of any other code is never reported as unused.
    """
    ignores = [ignore for source in sources for ignore in _ignores(source)]
    if not ignores:
        return list(diagnostics)
    by_place: dict[tuple[str, int], list[_Ignore]] = {}
    for ignore in ignores:
        by_place.setdefault((ignore.source.name, ignore.line), []).append(ignore)
    remaining: list[Diagnostic] = []
    for diagnostic in diagnostics:
        matching = _matching(diagnostic, by_place)
        for ignore in matching:
            ignore.used.add(diagnostic.code)
        if not matching:
            remaining.append(diagnostic)
    return remaining + [_warning(ignore, code) for ignore in ignores for code in _unused(ignore, checked)]


def _matching(diagnostic: Diagnostic, by_place: dict[tuple[str, int], list[_Ignore]]) -> list[_Ignore]:
    """The ignores that silence a diagnostic; errors cannot be silenced."""
    if diagnostic.is_error:
        return []
    here = by_place.get((diagnostic.source.name, diagnostic.place()[0]), [])
    return [ignore for ignore in here if diagnostic.code in ignore.codes]


def _unused(ignore: _Ignore, checked: Callable[[str], bool]) -> list[str]:
    return [code for code in ignore.codes if code not in ignore.used and (checked(code) or not _CODE.fullmatch(code))]


def _ignores(source: Source) -> Iterator[_Ignore]:
    if "lint:" not in source.text:
        return
    for match in _COMMENT.finditer(source.text):
        line, column = source.position(match.start())
        before = source.line(line)[: column - 1]
        if before.count('"') % 2:
            # The match is inside a string, so it is not a comment.
            continue
        stands_alone = not before.strip(" \t")
        codes = tuple(code.strip() for code in match.group(1).split(","))
        yield _Ignore(source, Span(match.start(), match.end()), line + stands_alone, codes)


def _warning(ignore: _Ignore, code: str) -> Diagnostic:
    if not _CODE.fullmatch(code):
        remedy = "name the code of a warning, such as `W402`; errors cannot be ignored"
        return Diagnostic("W405", f"`{code}` is not the code of a warning", remedy, ignore.source, ignore.span)
    return Diagnostic("W405", f"`{code}` is ignored but does not occur here", "remove it", ignore.source, ignore.span)
