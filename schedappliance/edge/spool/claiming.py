"""Claims files: renames them from new/ to work/SEQ~NAME, syncs the new names, and has the files read.

`choosing` decides which files are claimed, `reading` makes events of them.

Rule: a file is read only after its new name is on the disk.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from schedappliance.clock import Moment
from schedappliance.edge.spool.choosing import Chooser, Chosen
from schedappliance.edge.spool.entries import ErrorLog, Owners, is_of_the_spool
from schedappliance.edge.spool.reading import ClaimedFile, Reader
from schedappliance.engine.events import DropClaimed
from schedappliance.engine.intake import SETTLED_MS, Leave, Rules, SpoolBacklog, mark_of, published_name, split_mark
from schedappliance.fsync import fsync_path

# The most files of one batch. `choosing.BATCH_BYTES` limits their size.
BATCH = 500


@dataclass(slots=True)
class Claimer:
    """Claims and reads drops on the worker. `reached`: tests crash the daemon there, at each boundary between two steps.

    `closed`: returns the files in new/ that were closed after writing since its last call.
    """

    path: Path
    rules: Rules
    log: logging.Logger
    reached: Callable[[str], None] = lambda _boundary: None
    closed: Callable[[], set[str]] = set
    _errors: ErrorLog = field(init=False)
    _chooser: Chooser = field(init=False)
    _reader: Reader = field(init=False)
    # Why the last look could not claim files; None if it could.
    _trouble: str | None = None
    _sequence: int = 0
    _unsynced: set[str] = field(default_factory=lambda: {"new", "work", "failed"})

    def __post_init__(self) -> None:
        owners = Owners(self.rules.gid)
        self._errors = ErrorLog(self.log)
        self._chooser = Chooser(self.path, self.rules, self.log, owners, self._errors)
        self._reader = Reader(self.path, self.rules, owners, self._errors)

    def resume(self, last_mark: str | None) -> None:
        """Continues with the files that a crash left in work/, in the order of their claims. Raises OSError."""
        claimed = sorted(name for name in os.listdir(self.path / "work") if split_mark(name))
        self._reader.unread = [ClaimedFile(mark) for mark in claimed]
        marks = [last_mark or "", *claimed, *os.listdir(self.path / "failed")]
        self._sequence = max(split[0] if (split := split_mark(mark)) else 0 for mark in marks)

    def look(self, moment: Moment) -> list[DropClaimed]:
        """Claims and reads the next files. Claimed files that could not be read before come first."""
        unread = self._reader.unread
        self._trouble = None
        if self._chooser.list_files(moment):
            self._errors.forget_others({"sync", *self._chooser.queues, *(file.mark for file in unread)})
        chosen = self._chooser.choose(BATCH - len(unread), moment)
        # After the choice, which found these files closed: the events of their closings have arrived.
        self.note_written(self.closed(), moment)
        for file in chosen:
            self._claim(file, moment)
        self._chooser.warn(moment)
        if not self._reader.count or not self._sync(moment):
            return []
        return self._reader.read(BATCH, moment)

    def note_written(self, names: set[str], moment: Moment) -> None:
        """Remembers that the writers of these files have closed them. May be called from any thread."""
        self._chooser.note_written(names, moment)

    def backlog(self) -> SpoolBacklog:
        """The files in the spool that are not passed to the core yet."""
        alone = self._chooser.count_left_alone()
        held = sorted([*alone.first, *self._reader.waiting_files()])
        number = len(self._chooser.queues) + self._reader.count + alone.number
        return SpoolBacklog(number, alone.in_progress, tuple(held), alone.unfinished)

    def next_look(self, moment: Moment) -> int | None:
        """The boot instant of the next decision about a waiting file; None if only an event can change a decision."""
        instants = list(self._chooser.decision_times())
        if self._reader.count or self._chooser.has_failed:
            instants.append(moment.boot + SETTLED_MS)
        return min(instants, default=None)

    @property
    def trouble(self) -> str | None:
        """Why no drop is taken, whatever file is dropped; None if drops are taken."""
        return self._trouble or self._chooser.trouble

    @property
    def has_more(self) -> bool:
        """Whether some of the listed files had no room in this batch."""
        return bool(self._chooser.queues) and not self._reader.unread

    def put_back(self, name: str, uid: int) -> str | None:
        """Claims a failed file of this user again. Returns why that is impossible, None if it was done."""
        failed = self.path / "failed" / published_name(name, uid if self.rules.gid is not None else None)
        try:
            if not stat.S_ISREG(failed.lstat().st_mode):
                return "it is not a regular file"
            failed.rename(self.path / "work" / self._next_mark(name))
        except FileNotFoundError:
            return "its file was removed"
        except OSError as error:
            return str(error.strerror)
        self._reader.unread.append(ClaimedFile(mark_of(self._sequence, name)))
        self._unsynced |= {"work", "failed"}
        return None

    def _claim(self, file: Chosen, moment: Moment) -> None:
        if self._chooser.leave_if_written(file, moment):
            return
        entry = file.entry
        mark = self._next_mark(file.entry.name)
        try:
            os.rename(f"{self.path}/new/{entry.name}", f"{self.path}/work/{mark}")  # noqa: PTH104
        except OSError as error:
            self._errors.add(entry.name, "cannot claim %s: %s", ascii(entry.name), error.strerror)
            self._chooser.leave(entry, Leave(f"cannot be claimed: {error.strerror}"), moment)
            self._chooser.has_failed = True
            new, work = f"{self.path}/new", f"{self.path}/work"
            if is_of_the_spool(error, new, work):
                self._trouble = f"no drop is taken: files in {new} cannot be moved to {work}: {error.strerror}"
            return
        self.reached("claimed")
        self._chooser.forget(entry.name)
        self._unsynced |= {"work", "new"}
        self._reader.unread.append(ClaimedFile(mark, file.arrived_ms, file.rejected))

    def _next_mark(self, name: str) -> str:
        self._sequence += 1
        return mark_of(self._sequence, name)

    def _sync(self, moment: Moment) -> bool:
        """Syncs all claims to the disk. Returns False if that failed; then no claim may be read yet."""
        if not self._unsynced:
            return True
        try:
            for folder in sorted(self._unsynced):
                fsync_path(self.path / folder, os.O_NOFOLLOW)
        except OSError as error:
            self._errors.add("sync", "cannot sync %s: %s", self.path, error.strerror)
            if is_of_the_spool(error):
                self._trouble = f"no drop is taken: {self.path} cannot be synced: {error.strerror}"
            why = f"cannot be read before its name is on the disk: {error.strerror}"
            self._reader.unread = [file.waiting(why, moment) for file in self._reader.unread]
            return False
        self.reached("synced")
        self._unsynced.clear()
        self._errors.forget("sync")
        return True
