"""Decides which files in new/ to take: lists them, looks into them, and remembers the files that are left alone.

Rule: nothing here changes a file.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

from schedappliance.clock import Moment
from schedappliance.edge.files.leases import writer_of
from schedappliance.edge.spool.entries import ErrorLog, Owners, is_of_the_spool, open_drop
from schedappliance.engine.intake import (
    FORGOTTEN_MS,
    MOST_NAMED,
    WRITTEN_MS,
    Leave,
    Look,
    Reject,
    Rules,
    SpoolEntry,
    WaitingDrop,
    decide,
    is_in_progress,
    too_many,
)

# The most bytes of one batch. The files share the syncs, and console lines wait for the turn of one batch.
BATCH_BYTES = 4 * 1024 * 1024
# The most names that one listing keeps. Further ones are listed later, when the drops of these have been carried out.
MOST_LISTED = 100_000
# Of how much work in progress the names are remembered, to mention them in the log.
MOST_REMEMBERED = 1000
# How much work in progress is rejected after one listing. Other drops wait for about a second meanwhile.
MOST_SURPLUS = 1000
# Permanent errors of open(2): the path is not a file, or may not be read.
_LASTING = (errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENXIO)


class Chosen(NamedTuple):
    """A file in new/ that the next step claims."""

    entry: SpoolEntry
    arrived_ms: int
    rejected: Reject | None


class LeftAlone(NamedTuple):
    """How many files are left alone, how many others are work in progress, and the first of each."""

    number: int
    in_progress: int
    first: list[WaitingDrop]
    unfinished: tuple[WaitingDrop, ...]


@dataclass(slots=True)
class _AloneFile:
    """A file that is left alone. `since`: when it was first seen. `unchanged_boot`: the boot time of its last change.

    `entry`: None for a file whose name means work in progress.
    """

    entry: SpoolEntry | None
    unchanged_boot: int
    since: Moment
    why: str
    until_boot: int | None = None
    warned: bool = False


@dataclass(slots=True)
class _InProgress:
    """The files whose names mean work in progress: their number, and the first of them.

    Somebody who wants to delay the other files may make many of them. So they are not looked into, and few are remembered.
    """

    number: int = 0
    first: dict[str, _AloneFile] = field(default_factory=dict)

    def add(self, name: str, before: _InProgress, moment: Moment) -> None:
        """Adds a file. `before`: those of the last listing."""
        self.number += 1
        if name in before.first:
            self.first[name] = before.first[name]
        elif len(self.first) < MOST_REMEMBERED:
            self.first[name] = _AloneFile(
                None, moment.boot, moment, "is ignored, since its name means work in progress"
            )


@dataclass(slots=True)
class Chooser:
    """Chooses the files in new/ that are claimed next."""

    path: Path
    rules: Rules
    log: logging.Logger
    owners: Owners
    errors: ErrorLog
    # The listed files that were not decided about yet.
    names: list[str] = field(default_factory=list)
    # Whether the last listing, or a look at one of its files, has failed.
    has_failed: bool = False
    # Why the last listing has failed; None if it has not.
    trouble: str | None = None
    _alone: dict[str, _AloneFile] = field(default_factory=dict)
    _in_progress: _InProgress = field(default_factory=lambda: _InProgress())
    # The listed work in progress that is too much for one owner.
    _surplus: set[str] = field(default_factory=set)
    # The boot instants at which writers have closed files.
    _closed_at: dict[str, int] = field(default_factory=dict)
    # How many files of each user were looked at since the last listing.
    _counts: Counter[int] = field(default_factory=Counter)

    def list_files(self, moment: Moment) -> bool:
        """Lists new/. Returns False if it cannot be read.

        The names are sorted, so that commands are carried out in the order of their arrival: the oldest file is the last name,
        which `pop` takes first.
        """
        arrivals: list[tuple[int, str]] = []
        in_progress = _InProgress()
        self._counts.clear()
        try:
            with os.scandir(self.path / "new") as entries:
                for file in entries:
                    if is_in_progress(file.name):
                        in_progress.add(file.name, self._in_progress, moment)
                    else:
                        arrivals.append(_arrival(file))
                        _keep_oldest(arrivals, 2 * MOST_LISTED)
            has_surplus = len(arrivals) + in_progress.number > self.rules.max_waiting
            self._surplus = self._find_surplus() if has_surplus else set()
        except OSError as error:
            self.errors.add("new", "cannot read %s: %s", self.path / "new", error.strerror)
            self.has_failed = True
            if is_of_the_spool(error, f"{self.path}/new"):
                self.trouble = f"no drop is taken: {self.path}/new cannot be read: {error.strerror}"
            return False
        _keep_oldest(arrivals, MOST_LISTED)
        self.names = [*self._surplus, *(name for _, name in sorted(arrivals, reverse=True))]
        self.has_failed = False
        self.trouble = None
        self._in_progress = in_progress
        self._alone = {name: self._alone[name] for name in self.names if name in self._alone}
        # Copied, since the deciding thread may add names meanwhile.
        for name in [name for name, boot in list(self._closed_at.items()) if moment.boot - boot >= WRITTEN_MS]:
            del self._closed_at[name]
        self.owners.forget()
        return True

    def _find_surplus(self) -> set[str]:
        """Counts the work in progress of each owner. Returns the first files above the limit, which are rejected last."""
        surplus: set[str] = set()
        with os.scandir(self.path / "new") as entries:
            for file in entries:
                if not is_in_progress(file.name):
                    continue
                with contextlib.suppress(FileNotFoundError):
                    uid = file.stat(follow_symlinks=False).st_uid
                    self._counts[uid] += 1
                    if self._counts[uid] > self.rules.max_waiting and len(surplus) < MOST_SURPLUS:
                        surplus.add(file.name)
        return surplus

    def choose(self, places: int, moment: Moment) -> list[Chosen]:
        """The next files to claim, as many as there are places, and not much more than BATCH_BYTES."""
        chosen: list[Chosen] = []
        size = 0
        while self.names and len(chosen) < places and size < BATCH_BYTES:
            if file := self._choose_file(self.names.pop(), moment):
                chosen.append(file)
                size += file.entry.size
        return chosen

    def note_written(self, names: set[str], moment: Moment) -> None:
        """Remembers that the writers of these files have closed them. May be called from any thread."""
        self._closed_at |= dict.fromkeys((name for name in names if not is_in_progress(name)), moment.boot)

    def _choose_file(self, name: str, moment: Moment) -> Chosen | None:
        """Decides about a file: returns it if it is to be claimed, None if it is left alone."""
        path = f"{self.path}/new/{name}"
        waiting = self._alone.get(name)
        try:
            status = os.lstat(path)
            entry = self.owners.entry(name, status)
            if name in self._surplus:
                return Chosen(entry, status.st_ctime_ns // 1_000_000, too_many(self.rules))
            look = _look_into(path, entry) if stat.S_ISREG(entry.mode) else Look(has_writer=False)
        except FileNotFoundError:
            self._alone.pop(name, None)
            return None
        except OSError as error:
            self.errors.add(name, "cannot access %s: %s", ascii(name), error.strerror)
            self.has_failed = True
            return None
        since = waiting.unchanged_boot if waiting and waiting.entry == entry else moment.boot
        decision = decide(entry, look, moment.boot - since, self._counts[entry.uid], self.rules)
        self._counts[entry.uid] += 1
        if isinstance(decision, Leave):
            self.leave(entry, decision, moment)
            return None
        return Chosen(entry, status.st_ctime_ns // 1_000_000, decision if isinstance(decision, Reject) else None)

    def leave(self, entry: SpoolEntry, decision: Leave, moment: Moment) -> None:
        """Leaves a file alone, until a later look."""
        before = self._alone.get(entry.name)
        unchanged = before.unchanged_boot if before and before.entry == entry else moment.boot
        until = unchanged + decision.until_ms if decision.until_ms is not None else None
        since, warned = (before.since, before.warned) if before else (moment, False)
        self._alone[entry.name] = _AloneFile(entry, unchanged, since, decision.why, until, warned)

    def leave_if_written(self, file: Chosen, moment: Moment) -> bool:
        """Leaves a chosen file alone if it was written just now. Returns whether it was."""
        boot = self._closed_at.get(file.entry.name)
        entry = file.entry
        if boot is None or moment.boot - boot >= WRITTEN_MS:
            return False
        waiting = self._alone.get(entry.name)
        age_ms = moment.boot - waiting.unchanged_boot if waiting and waiting.entry == entry else 0
        rest_ms = boot + WRITTEN_MS - moment.boot
        # The time of a Leave counts from the last change of the file, so its present age is added.
        self.leave(entry, Leave("was written just now", age_ms + rest_ms), moment)
        return True

    def forget(self, name: str) -> None:
        """Forgets a file that was claimed."""
        self._alone.pop(name, None)

    def warn(self, moment: Moment) -> None:
        """Logs each file once that has been left alone for an hour. Of many, it names the first."""
        number = 0
        for name, file in chain(self._alone.items(), self._in_progress.first.items()):
            if not file.warned and moment.boot - file.since.boot >= FORGOTTEN_MS:
                file.warned = True
                number += 1
                if number <= MOST_NAMED:
                    self.log.warning("spool: new/%s has been waiting for an hour: it %s", ascii(name), file.why)
        if number > MOST_NAMED:
            self.log.warning("spool: %d more files in new/ have been waiting for an hour", number - MOST_NAMED)

    def count_left_alone(self) -> LeftAlone:
        first, unfinished = map(_first_drops, (self._alone, self._in_progress.first))
        return LeftAlone(len(self._alone), self._in_progress.number, first, tuple(unfinished))

    def decision_times(self) -> Iterator[int]:
        """The boot instants at which the decisions about files change without an event."""
        return (file.until_boot for file in self._alone.values() if file.until_boot is not None)


def _first_drops(files: Mapping[str, _AloneFile]) -> list[WaitingDrop]:
    return [WaitingDrop(name, file.why, file.since.wall) for name, file in islice(files.items(), MOST_NAMED)]


def _arrival(file: os.DirEntry[str]) -> tuple[int, str]:
    """Renaming and linking set the time of the last change. Files of one instant are sorted by their names."""
    try:
        return file.stat(follow_symlinks=False).st_ctime_ns, file.name
    except FileNotFoundError:
        return 0, file.name


def _keep_oldest(arrivals: list[tuple[int, str]], most: int) -> None:
    """Removes the latest arrivals if there are more than this, down to MOST_LISTED."""
    if len(arrivals) > most:
        arrivals.sort()
        del arrivals[MOST_LISTED:]


def _look_into(path: str, entry: SpoolEntry) -> Look:
    """Opens a regular file without following links or blocking. Raises OSError for an error that may pass."""
    try:
        descriptor = open_drop(path)
    except BlockingIOError:
        # A process holds a write lease, which only somebody who has the file open can take.
        return Look(has_writer=True)
    except OSError as error:
        if error.errno not in _LASTING:
            raise
        return Look(has_writer=False, unreadable=error.strerror)
    try:
        has_writer = writer_of(descriptor)
        is_ended = has_writer is None and entry.size > 0 and os.pread(descriptor, 1, entry.size - 1) == b"\n"
        return Look(has_writer, is_ended)
    finally:
        os.close(descriptor)
