"""`# lint: ignore[W…] reason`: a comment that silences warnings on its own line, or on the line below when it stands alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from schedappliance.diagnostics import Diagnostic, Source, Span

_COMMENT = re.compile(r"#[ \t]*lint:[ \t]*ignore\[([^\]\r\n]*)\]")
_CODE = re.compile(r"W\d{3}", re.ASCII)


@dataclass(slots=True)
class _Ignore:
    source: Source
    span: Span
    line: int
    codes: tuple[str, ...]
    used: set[str] = field(default_factory=set)


def apply_ignores(
    diagnostics: Iterable[Diagnostic], sources: Iterable[Source], judged: Callable[[str], bool] = lambda _code: True
) -> list[Diagnostic]:
    """The diagnostics without those that are ignored, and a warning for each code that ignores nothing.

    `judged`: whether a code was looked for at all; one that was not cannot be called unused.
    """
    ignores = [ignore for source in sources for ignore in _ignores(source)]
    if not ignores:
        return list(diagnostics)
    by_place: dict[tuple[str, int], list[_Ignore]] = {}
    for ignore in ignores:
        by_place.setdefault((ignore.source.name, ignore.line), []).append(ignore)
    kept = [d for d in diagnostics if not _ignored(d, by_place)]
    return kept + [_unused(ignore, code) for ignore in ignores for code in _useless(ignore, judged)]


def _ignored(diagnostic: Diagnostic, by_place: dict[tuple[str, int], list[_Ignore]]) -> bool:
    here = by_place.get((diagnostic.source.name, diagnostic.place()[0]), [])
    ignores = [ignore for ignore in here if not diagnostic.is_error and diagnostic.code in ignore.codes]
    for ignore in ignores:
        ignore.used.add(diagnostic.code)
    return bool(ignores)


def _useless(ignore: _Ignore, judged: Callable[[str], bool]) -> list[str]:
    return [code for code in ignore.codes if code not in ignore.used and (judged(code) or not _CODE.fullmatch(code))]


def _ignores(source: Source) -> Iterable[_Ignore]:
    if "lint:" not in source.text:
        return
    for match in _COMMENT.finditer(source.text):
        line, column = source.position(match.start())
        if source.line(line)[: column - 1].count('"') % 2:
            # Inside a string: no comment.
            continue
        alone = not source.line(line)[: column - 1].strip(" \t")
        codes = tuple(code.strip() for code in match.group(1).split(","))
        yield _Ignore(source, Span(match.start(), match.end()), line + alone, codes)


def _unused(ignore: _Ignore, code: str) -> Diagnostic:
    if not _CODE.fullmatch(code):
        help = "name the code of a warning, such as `W402`; errors cannot be ignored"
        return Diagnostic("W405", f"`{code}` is no code of a warning", help, ignore.source, ignore.span)
    return Diagnostic("W405", f"`{code}` is ignored but not found here", "remove it", ignore.source, ignore.span)
