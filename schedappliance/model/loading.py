"""Loads stanza files into a checked configuration. Rule: daemon, linter, doctor and preview all use this module."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from schedappliance.diagnostics import Diagnostic, Span, has_errors, shortened
from schedappliance.model.closure import Closure, read_closure
from schedappliance.model.configuration import Configuration
from schedappliance.model.files import DISK, Folders, ReadFile, read_regular
from schedappliance.model.ignores import apply_ignores
from schedappliance.model.references import configuration_mistakes
from schedappliance.model.stanzas import read_configuration

# Warnings that only the linter looks for, W404 for calendars. In other places their ignores do not count as unused.
BY_LINTER = frozenset({"W404", "W414", "W415", "W416", "W417", "W418", "W419", "W420", "W421", "W423", "W424"}) | {
    "W426",
    "W427",
}
# Names of copies that editors, sed -i, patch, rpm, dpkg, ucf, pacman and people leave behind.
_LEFT_OVER = re.compile(
    r".*(~|\.(bak|backup|old|orig|rej|save|saved|disabled|off|copy|tmp|part|sw[a-z]"
    r"|rpm(save|new|orig)|dpkg-.+|ucf-.+|pac(new|save|orig))[.~\d]*)|\#.*\#",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(slots=True)
class Loaded:
    """The stanza files as the appliance would load them; `configuration` counts only when no diagnostic is an error.

    `is_parsed`: all files could be parsed, so that references were checked.
    """

    closure: Closure
    configuration: Configuration
    diagnostics: list[Diagnostic]
    is_parsed: bool = False

    @property
    def accepted(self) -> bool:
        return not has_errors(self.diagnostics)

    @property
    def texts(self) -> tuple[tuple[str, str], ...]:
        """The text of each file by its path, in the order in which they were read."""
        return tuple((str(path), source.text) for path, source in self.closure.texts.items())

    def shown(self) -> list[Diagnostic]:
        """The diagnostics without the warnings that comments in the files ignore."""
        return apply_ignores(self.diagnostics, self.closure.texts.values(), lambda code: code not in BY_LINTER)


def load(root: Path, read_file: ReadFile = read_regular, folders: Folders = DISK, *, is_whole: bool = True) -> Loaded:
    """Reads and checks the files; every mistake is in `diagnostics`, none is raised.

    `is_whole` False: other files, which are not known, may hold `sched` with the zone of calendars.
    """
    closure = read_closure(root, read_file, folders)
    configuration, mistakes = read_configuration(closure)
    # An unknown name without `=` after it is one mistake: the name.
    names = {(d.source, d.span) for d in mistakes}
    faults = [d for d in closure.diagnostics if d.code != "E115" or (d.source, d.span) not in names]
    faults = [d for d in faults if d.code not in ("E101", "E115") or not _is_in_expression(d, mistakes)]
    diagnostics = [*faults, *mistakes, *leftover_doubts(closure)]
    # An expression without quotes leaves the rest of its file readable.
    is_parsed = all(_is_in_expression(fault, mistakes) for fault in closure.diagnostics)
    if is_parsed:
        diagnostics += configuration_mistakes(configuration, is_whole=is_whole)
    # A file that is included several times has each mistake once.
    return Loaded(closure, configuration, list(dict.fromkeys(diagnostics)), is_parsed)


def _is_in_expression(fault: Diagnostic, mistakes: list[Diagnostic]) -> bool:
    """Whether a fault stands in an expression without quotes, which is one mistake."""
    return any(
        d.code == "E212" and d.source is fault.source and d.span.start <= fault.span.start < d.span.end
        for d in mistakes
        if d.span and fault.span
    )


def leftover_doubts(closure: Closure) -> Iterator[Diagnostic]:
    """Files of an included directory whose names look like left-over copies. They are read like all others."""
    listed = set(closure.listed)
    for path, source in closure.texts.items():
        if path.parent in listed and _LEFT_OVER.fullmatch(path.name):
            name = shortened(path.name)
            message = f"`{name}` looks like a left-over copy, and is read like every file of a directory"
            remedy = "move it away, or let its name begin with a dot"
            yield Diagnostic("W409", message, remedy, source, Span(0, len(source.line(1))))
