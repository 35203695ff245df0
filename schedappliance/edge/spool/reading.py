"""Reads claimed files into events: the commands of each drop, and its mistakes.

Rule: a file that a process can still write to is not read. Nothing here needs the configuration.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

from schedappliance.clock import Moment
from schedappliance.diagnostics import Diagnostic, Source, Span, has_errors
from schedappliance.edge.files.leases import writer_of
from schedappliance.edge.spool.entries import ErrorLog, Owners, open_drop
from schedappliance.engine.events import DropClaimed, DropLine
from schedappliance.engine.intake import Reject, Rules, SpoolEntry, WaitingDrop, decide_open, mistake, split_mark
from schedappliance.engine.records import User
from schedappliance.model.command_file import (
    command_lines,
    cost_of,
    read_drop_line,
    token_mistakes,
    token_of,
    too_costly,
    wrong_number,
)
from schedappliance.syntax.text import MAX_FAULTS, decode


class ClaimedFile(NamedTuple):
    """A file in work/ that is not read yet. `arrived_ms`: when it arrived in new/, None if that is unknown.

    `open_since`: when it was first seen open for writing, None if it was not. `waits`: why it could not be read, and since
    when.
    """

    mark: str
    arrived_ms: int | None = None
    rejected: Reject | None = None
    open_since: Moment | None = None
    waits: WaitingDrop | None = None

    def waiting(self, why: str, moment: Moment) -> ClaimedFile:
        """The file, which waits from this moment on unless it waited before."""
        split = split_mark(self.mark)
        since_ms = self.waits.since_ms if self.waits else moment.wall
        return self._replace(waits=WaitingDrop(split[1], why, since_ms) if split else None)


class DropText(NamedTuple):
    """The commands and the mistakes of a drop. `token`: the id that its author gave it, None without one."""

    source: Source
    lines: tuple[DropLine, ...]
    mistakes: tuple[Diagnostic, ...]
    token: str | None = None
    costly: int = 0


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
    costly = sum(cost_of(line.command) for line in lines)
    if wrong := too_costly(source, costly):
        mistakes.append(wrong)
    return DropText(source, tuple(lines), tuple(mistakes), token_of(source), costly)


@dataclass(slots=True)
class Reader:
    """Reads the files in work/. `unread`: those that are not read yet, without those that a process has open."""

    path: Path
    rules: Rules
    owners: Owners
    errors: ErrorLog
    unread: list[ClaimedFile] = field(default_factory=list)
    _open: list[ClaimedFile] = field(default_factory=list)
    _open_counts: Counter[int] = field(default_factory=Counter)

    @property
    def count(self) -> int:
        """How many claimed files are not read yet."""
        return len(self.unread) + len(self._open)

    def waiting_files(self) -> Iterator[WaitingDrop]:
        """The claimed files that wait for something: to be closed, or to be readable."""
        return (file.waits for file in (*self._open, *self.unread) if file.waits is not None)

    def read(self, most: int, moment: Moment) -> list[DropClaimed]:
        """Reads the next files, at most `most`, and those that a process had open before.

        The latter do not count, or they would stop the drops of everybody.
        """
        files = [*self._open, *self.unread[:most]]
        self.unread = self.unread[most:]
        self._open.clear()
        self._open_counts.clear()
        return list(self._read_all(files, moment))

    def _read_all(self, files: list[ClaimedFile], moment: Moment) -> Iterator[DropClaimed]:
        for file in files:
            try:
                drop = self._read_file(file, moment)
            except FileNotFoundError:
                continue
            except OSError as error:
                self.errors.add(file.mark, "cannot read work/%s: %s", file.mark, error.strerror)
                self.unread.append(file.waiting(f"cannot be read: {error.strerror}", moment))
                continue
            if drop is not None:
                yield drop

    def _read_file(self, file: ClaimedFile, moment: Moment) -> DropClaimed | None:
        """Reads a claimed file into an event. Returns None while a process writes to it, or its owner is not known."""
        path = f"{self.path}/work/{file.mark}"
        split = split_mark(file.mark)
        assert split is not None
        name = split[1]
        status = os.lstat(path)
        arrived_ms = status.st_ctime_ns // 1_000_000 if file.arrived_ms is None else file.arrived_ms
        entry = self.owners.entry(name, status)
        if self.rules.gid is not None and entry.is_members is None:
            self.unread.append(file.waiting("cannot be taken: the look-up of its owner failed", moment))
            return None
        user = self.owners.look_up(entry.uid).user
        content = file.rejected or self._content_or_mistake(path, entry)
        if content is None:
            content = self._await_writer(file, user, moment)
        if content is None:
            return None
        if isinstance(content, Reject):
            return _rejected(file.mark, name, user, arrived_ms, content)
        return DropClaimed(file.mark, name, user, arrived_ms, *read_drop(name, content))

    def _content_or_mistake(self, path: str, entry: SpoolEntry) -> bytes | Reject | None:
        """The content of a claimed file, or why it is rejected; None if a process can write to it."""
        content = mistake(entry, self.rules) or self._content(path)
        if isinstance(content, bytes) and len(content) > self.rules.max_bytes:
            return mistake(entry._replace(size=len(content)), self.rules)
        return content

    def _content(self, path: str) -> bytes | Reject | None:
        """The content of a claimed file, at most one byte more than the limit; None if a process can write to it."""
        try:
            descriptor = open_drop(path)
        except BlockingIOError:
            return None
        except PermissionError as error:
            return Reject(f"cannot be read: {error.strerror}", "let the appliance's user read it")
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            # A raw read may return None.
            return None if writer_of(descriptor) else file.read(self.rules.max_bytes + 1) or b""

    def _await_writer(self, file: ClaimedFile, user: User, moment: Moment) -> Reject | None:
        """Waits for the writer of a claimed file, unless it is to be rejected."""
        since = file.open_since or moment
        decision = decide_open(moment.boot - since.boot, self._open_counts[user.uid])
        if isinstance(decision, Reject):
            return decision
        self._open_counts[user.uid] += 1
        self._open.append(file._replace(open_since=since).waiting("is being written", moment))
        return None


def _rejected(mark: str, name: str, user: User, arrived_ms: int, why: Reject) -> DropClaimed:
    source = Source(name, "")
    diagnostic = Diagnostic(why.code, why.message, why.help, source)
    return DropClaimed(mark, name, user, arrived_ms, source, mistakes=(diagnostic,))
