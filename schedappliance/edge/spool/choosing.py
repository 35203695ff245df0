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
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import NamedTuple

from schedappliance.clock import Moment
from schedappliance.edge.files.leases import writer_of
from schedappliance.edge.spool.entries import ErrorLog, Owners, is_of_the_spool, open_drop
from schedappliance.edge.spool.queues import Arrival, Queues
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
    from_the_largest,
    is_in_progress,
    too_many,
)

# The most bytes of one batch. The files share the syncs, and console lines wait for the turn of one batch.
BATCH_BYTES = 4 * 1024 * 1024
# The most names that one listing keeps. Further ones are listed later, when the drops of these have been carried out.
MOST_LISTED = 100_000
# The most files that one look decides about. It opens them, and other owners wait for its end.
MOST_DECIDED = 2000
# How many files may be listed again for each file that was decided about. So the listings cost less than the decisions.
MOST_LISTED_AGAIN = 200
# After all files that were listed.
_LAST_NS = 1 << 64
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
    queues: Queues = field(default_factory=Queues)
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
    # The names in _closed_at that no listing has seen since.
    _closed: set[str] = field(default_factory=set)
    # How much work in progress each user has.
    _unfinished: Counter[int] = field(default_factory=Counter)
    # How many files the last listing has seen, and how many were decided about since.
    _listed: int = 0
    _decided: int = 0

    def list_files(self, moment: Moment) -> bool:
        """Lists new/ if no listed file is left. Returns False if one is, or if new/ cannot be read."""
        if self.queues:
            if self.rules.gid is not None and self._decided * MOST_LISTED_AGAIN >= self._listed:
                self._list_arrivals(moment)
            return False
        in_progress = _InProgress()
        self._take_closed()
        self._unfinished.clear()
        try:
            arrivals = self._scan(frozenset(), moment, in_progress)
            has_surplus = sum(map(len, arrivals.values())) + in_progress.number > self.rules.max_waiting
            surplus = self._find_surplus() if has_surplus else {}
        except OSError as error:
            self._note_failure(error)
            return False
        self._in_progress = in_progress
        self._surplus = {name for names in surplus.values() for name in names}
        self._add(arrivals, self._unfinished)
        for uid, names in surplus.items():
            last = [Arrival(_LAST_NS, name, self.rules.max_waiting) for name in names]
            self.queues.add(self._queue_of(uid), last)
        self._alone = {name: file for name, file in self._alone.items() if name in self.queues}
        self.has_failed = False
        # Copied, since the deciding thread may add names meanwhile.
        for name in [name for name, boot in list(self._closed_at.items()) if moment.boot - boot >= WRITTEN_MS]:
            del self._closed_at[name]
        return True

    def _list_arrivals(self, moment: Moment) -> None:
        """Adds the files that have arrived since the last listing, although files of that one are left.

        The files of one owner may be many. Those of others do not wait until all of them have been decided about.
        """
        closed = self._take_closed()
        again = {name for name, file in self._alone.items() if _is_due(file, moment) or name in closed}
        try:
            arrivals = self._scan(self._alone.keys() - again, moment, None)
        except OSError as error:
            self._note_failure(error)
            return
        waiting = self.queues.counts() + self._unfinished
        waiting.update(file.entry.uid for name, file in self._alone.items() if file.entry and name not in again)
        self._add(arrivals, waiting)

    def _take_closed(self) -> set[str]:
        """The files that were closed since the last listing."""
        closed = set(self._closed)
        # The deciding thread may add names meanwhile.
        self._closed.difference_update(closed)
        return closed

    def _note_failure(self, error: OSError) -> None:
        self.errors.add("new", "cannot read %s: %s", self.path / "new", error.strerror)
        self.has_failed = True
        if is_of_the_spool(error, f"{self.path}/new"):
            self.trouble = f"no drop is taken: {self.path}/new cannot be read: {error.strerror}"

    def _scan(
        self, others: Set[str], moment: Moment, in_progress: _InProgress | None
    ) -> dict[int, list[tuple[int, str]]]:
        """The files of each owner that are neither in the queues nor in `others`. Adds the work in progress. Raises OSError."""
        arrivals: dict[int, list[tuple[int, str]]] = {}
        number = total = 0
        with os.scandir(self.path / "new") as entries:
            for file in entries:
                total += 1
                if file.name in self.queues or file.name in others:
                    continue
                if is_in_progress(file.name):
                    if in_progress is not None:
                        in_progress.add(file.name, self._in_progress, moment)
                    continue
                with contextlib.suppress(FileNotFoundError):
                    arrivals.setdefault(file.stat(follow_symlinks=False).st_uid, []).append(_arrival(file))
                    number += 1
                if number >= 2 * MOST_LISTED:
                    number -= self._keep_oldest(arrivals)
        self._keep_oldest(arrivals)
        self._listed, self._decided = total, 0
        self.trouble = None
        self.owners.forget()
        return arrivals

    def _keep_oldest(self, arrivals: dict[int, list[tuple[int, str]]]) -> int:
        """Removes the latest files of the owners with the most, so that the queues get at most MOST_LISTED. Returns how many."""
        counts = Counter({uid: len(files) for uid, files in arrivals.items()})
        queued = self.queues.counts()
        removed = 0
        surplus = from_the_largest(counts + queued, max(0, counts.total() + queued.total() - MOST_LISTED))
        for uid, number in surplus.items():
            files = arrivals.get(uid, [])
            files.sort()
            removed += min(number, len(files))
            del files[max(0, len(files) - number) :]
        return removed

    def _add(self, arrivals: Mapping[int, list[tuple[int, str]]], waiting: Counter[int]) -> None:
        """Adds files to the queues. `waiting`: how many other files of each owner are waiting."""
        for uid, files in arrivals.items():
            files.sort()
            numbered = [Arrival(*file, number) for number, file in enumerate(files, waiting[uid])]
            self.queues.add(self._queue_of(uid), numbered)

    def _queue_of(self, uid: int) -> int:
        """In whose queue the files of a user are. Only one user drops files into a private spool."""
        return uid if self.rules.gid is not None else self.rules.own_uid

    def _find_surplus(self) -> dict[int, list[str]]:
        """Counts the work in progress of each owner. Returns the first files above the limit, which are rejected last."""
        surplus: dict[int, list[str]] = {}
        number = 0
        with os.scandir(self.path / "new") as entries:
            for file in entries:
                if not is_in_progress(file.name):
                    continue
                with contextlib.suppress(FileNotFoundError):
                    uid = file.stat(follow_symlinks=False).st_uid
                    self._unfinished[uid] += 1
                    if self._unfinished[uid] > self.rules.max_waiting and number < MOST_SURPLUS:
                        surplus.setdefault(uid, []).append(file.name)
                        number += 1
        return surplus

    def choose(self, places: int, moment: Moment) -> list[Chosen]:
        """The next files to claim, as many as there are places, and not much more than BATCH_BYTES."""
        chosen: list[Chosen] = []
        size = decided = 0
        while len(chosen) < places and size < BATCH_BYTES and decided < MOST_DECIDED:
            arrival = self.queues.take(self.rules.max_waiting)
            if arrival is None:
                break
            decided += 1
            if file := self._choose_file(arrival, moment):
                chosen.append(file)
                size += file.entry.size
        self._decided += decided
        return chosen

    def note_written(self, names: set[str], moment: Moment) -> None:
        """Remembers that the writers of these files have closed them. May be called from any thread."""
        closed = {name for name in names if not is_in_progress(name)}
        self._closed_at |= dict.fromkeys(closed, moment.boot)
        self._closed.update(closed)

    def _choose_file(self, arrival: Arrival, moment: Moment) -> Chosen | None:
        """Decides about a file: returns it if it is to be claimed, None if it is left alone."""
        name = arrival.name
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
        decision = decide(entry, look, moment.boot - since, arrival.before, self.rules)
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
        number = sum(name not in self.queues for name in self._alone)
        return LeftAlone(number, self._in_progress.number, first, tuple(unfinished))

    def decision_times(self) -> Iterator[int]:
        """The boot instants at which the decisions about files change without an event."""
        return (file.until_boot for file in self._alone.values() if file.until_boot is not None)


def _first_drops(files: Mapping[str, _AloneFile]) -> list[WaitingDrop]:
    return [WaitingDrop(name, file.why, file.since.wall) for name, file in islice(files.items(), MOST_NAMED)]


def _arrival(file: os.DirEntry[str]) -> tuple[int, str]:
    """Renaming and linking set the time of the last change. Files of one instant are sorted by their names."""
    return file.stat(follow_symlinks=False).st_ctime_ns, file.name


def _is_due(file: _AloneFile, moment: Moment) -> bool:
    """Whether the time has come for another decision about a file that is left alone."""
    return file.until_boot is not None and file.until_boot <= moment.boot


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
