"""Decides which files in new/ to take, claims them by renaming them to work/SEQ~NAME, and reads them into events.

Rule: a file is read only after its new name is on the disk.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from schedappliance.clock import Moment
from schedappliance.diagnostics import Diagnostic, Source
from schedappliance.edge.files.leases import writer_of
from schedappliance.edge.spool.reading import read_drop
from schedappliance.edge.users import known_after_tries
from schedappliance.engine.events import DropClaimed
from schedappliance.engine.intake import (
    FORGOTTEN_MS,
    SETTLED_MS,
    WRITTEN_MS,
    Leave,
    Look,
    Reject,
    Rules,
    SpoolBacklog,
    SpoolEntry,
    WaitingDrop,
    decide,
    decide_open,
    is_in_progress,
    mark_of,
    mistake,
    published_name,
    split_mark,
)
from schedappliance.engine.records import KnownUser, User
from schedappliance.fsync import fsync_path

# The most files and bytes of one batch. The files share the syncs, and console lines wait for the turn of one batch.
BATCH, BATCH_BYTES = 500, 4 * 1024 * 1024
# The most waiting files that are reported by name.
MOST_NAMED = 100
# Permanent errors of open(2): the path is not a file, or may not be read.
_LASTING = (errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENXIO)


class _Claim(NamedTuple):
    """A file in work/ that is not read yet. `arrived_ms`: when it arrived in new/, None if that is unknown.

    `open_since`: when it was first seen open for writing, None if it was not.
    """

    mark: str
    arrived_ms: int | None = None
    rejected: Reject | None = None
    open_since: Moment | None = None


class _Chosen(NamedTuple):
    """A file in new/ that the next step claims."""

    entry: SpoolEntry
    arrived_ms: int
    rejected: Reject | None


@dataclass(slots=True)
class _Waiting:
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
class Claimer:
    """Claims and reads drops on the worker. `reached`: tests crash the daemon there, at each boundary between two steps.

    `closed`: returns the files in new/ that were closed after writing since its last call.
    """

    path: Path
    rules: Rules
    log: logging.Logger
    reached: Callable[[str], None] = lambda _boundary: None
    closed: Callable[[], set[str]] = set
    _sequence: int = 0
    _names: list[str] = field(default_factory=list)
    _claims: list[_Claim] = field(default_factory=list)
    _open_claims: list[_Claim] = field(default_factory=list)
    _open_counts: Counter[int] = field(default_factory=Counter)
    _unsynced: set[str] = field(default_factory=lambda: {"new", "work", "failed"})
    _waiting: dict[str, _Waiting] = field(default_factory=dict)
    _written: dict[str, int] = field(default_factory=dict)
    _counts: Counter[int] = field(default_factory=Counter)
    _users: dict[int, KnownUser] = field(default_factory=dict)
    _logged: set[str] = field(default_factory=set)

    def resume(self, last_mark: str | None) -> None:
        """Continues with the files that a crash left in work/, in the order of their claims. Raises OSError."""
        claimed = sorted(name for name in os.listdir(self.path / "work") if split_mark(name))
        self._claims = [_Claim(mark) for mark in claimed]
        marks = [last_mark or "", *claimed, *os.listdir(self.path / "failed")]
        self._sequence = max(split[0] if (split := split_mark(mark)) else 0 for mark in marks)

    def look(self, moment: Moment) -> list[DropClaimed]:
        """Claims and reads the next files. Claimed files that could not be read before come first."""
        if not self._names:
            self._list(moment)
        chosen: list[_Chosen] = []
        size = 0
        while self._names and len(self._claims) + len(chosen) < BATCH and size < BATCH_BYTES:
            if file := self._choose(self._names.pop(), moment):
                chosen.append(file)
                size += file.entry.size
        # This follows the choice. No process has a chosen file open any more, so the events of all closings have arrived.
        self.note_written(self.closed(), moment)
        for file in chosen:
            self._claim(file, moment)
        self._warn(moment)
        if not (self._claims or self._open_claims) or not self._sync():
            return []
        # Files that a process keeps open take no place in the batch, or they would stop the drops of everybody.
        claims, self._claims = [*self._open_claims, *self._claims[:BATCH]], self._claims[BATCH:]
        self._open_claims.clear()
        self._open_counts.clear()
        return list(self._read_all(claims, moment))

    def note_written(self, names: set[str], moment: Moment) -> None:
        """Remembers that the writers of these files have closed them. May be called from any thread."""
        self._written |= dict.fromkeys(names, moment.boot)

    def backlog(self) -> SpoolBacklog:
        """The files in the spool that are not passed to the core yet."""
        held: list[WaitingDrop] = []
        in_progress = 0
        for name, file in self._waiting.items():
            if file.entry is None:
                in_progress += 1
            elif len(held) < MOST_NAMED:
                held.append(WaitingDrop(name, file.why, file.since.wall))
        for claim in self._open_claims:
            if claim.open_since is not None and (split := split_mark(claim.mark)):
                held.append(WaitingDrop(split[1], "is being written", claim.open_since.wall))
        number = len(self._names) + len(self._claims) + len(self._open_claims) + len(self._waiting) - in_progress
        return SpoolBacklog(number, in_progress, tuple(sorted(held)))

    def next_look(self, moment: Moment) -> int | None:
        """The boot instant of the next decision about a waiting file; None if only an event can change a decision."""
        instants = [file.until_boot for file in self._waiting.values() if file.until_boot is not None]
        if self._claims or self._open_claims:
            instants.append(moment.boot + SETTLED_MS)
        return min(instants, default=None)

    @property
    def has_more(self) -> bool:
        """Whether some of the listed files had no room in this batch."""
        return bool(self._names) and not self._claims

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
        self._claims.append(_Claim(mark_of(self._sequence, name)))
        self._unsynced |= {"work", "failed"}
        return None

    def _list(self, moment: Moment) -> None:
        """Lists all names, the next one last. They are sorted by their arrival: the last of several commands has to win."""
        try:
            with os.scandir(self.path / "new") as entries:
                self._names = [name for _, name in sorted(map(_arrival, entries), reverse=True)]
        except OSError as error:
            self._log_once("new", "cannot read %s: %s", self.path / "new", error.strerror)
            return
        self._waiting = {name: self._waiting[name] for name in self._names if name in self._waiting}
        self._logged &= {"sync", *self._names, *(claim.mark for claim in self._claims)}
        for name in [name for name, boot in list(self._written.items()) if moment.boot - boot >= WRITTEN_MS]:
            del self._written[name]
        self._counts.clear()
        self._users.clear()

    def _choose(self, name: str, moment: Moment) -> _Chosen | None:
        """Decides about a file: returns it if it is to be claimed, None if it is left alone."""
        path = f"{self.path}/new/{name}"
        waiting = self._waiting.get(name)
        if is_in_progress(name):
            self._waiting[name] = waiting or _Waiting(None, moment.boot, moment, "is work in progress")
            return None
        try:
            status = os.lstat(path)
            entry = self._entry(name, status)
            look = _look_into(path, entry) if stat.S_ISREG(entry.mode) else Look(has_writer=False)
        except FileNotFoundError:
            self._waiting.pop(name, None)
            return None
        except OSError as error:
            self._log_once(name, "cannot access %s: %s", ascii(name), error.strerror)
            return None
        since = waiting.unchanged_boot if waiting and waiting.entry == entry else moment.boot
        decision = decide(entry, look, moment.boot - since, self._counts[entry.uid], self.rules)
        self._counts[entry.uid] += 1
        if isinstance(decision, Leave):
            self._leave(entry, decision, moment)
            return None
        return _Chosen(entry, status.st_ctime_ns // 1_000_000, decision if isinstance(decision, Reject) else None)

    def _leave(self, entry: SpoolEntry, decision: Leave, moment: Moment) -> None:
        before = self._waiting.get(entry.name)
        unchanged = before.unchanged_boot if before and before.entry == entry else moment.boot
        until = unchanged + decision.until_ms if decision.until_ms is not None else None
        since, warned = (before.since, before.warned) if before else (moment, False)
        self._waiting[entry.name] = _Waiting(entry, unchanged, since, decision.why, until, warned)

    def _claim(self, chosen: _Chosen, moment: Moment) -> None:
        entry = chosen.entry
        if (boot := self._written.get(entry.name)) is not None and moment.boot - boot < WRITTEN_MS:
            waiting = self._waiting.get(entry.name)
            age_ms = moment.boot - waiting.unchanged_boot if waiting and waiting.entry == entry else 0
            return self._leave(entry, Leave("was written just now", age_ms + boot + WRITTEN_MS - moment.boot), moment)
        mark = self._next_mark(entry.name)
        try:
            os.rename(f"{self.path}/new/{entry.name}", f"{self.path}/work/{mark}")  # noqa: PTH104
        except OSError as error:
            self._log_once(entry.name, "cannot claim %s: %s", ascii(entry.name), error.strerror)
            return self._leave(entry, Leave(f"cannot be claimed: {error.strerror}"), moment)
        self.reached("claimed")
        self._waiting.pop(entry.name, None)
        self._unsynced |= {"work", "new"}
        self._claims.append(_Claim(mark, chosen.arrived_ms, chosen.rejected))
        return None

    def _next_mark(self, name: str) -> str:
        self._sequence += 1
        return mark_of(self._sequence, name)

    def _sync(self) -> bool:
        """Syncs all claims to the disk. Returns False if that failed; then no claim may be read yet."""
        if not self._unsynced:
            return True
        try:
            for folder in sorted(self._unsynced):
                fsync_path(self.path / folder, os.O_NOFOLLOW)
        except OSError as error:
            self._log_once("sync", "cannot sync %s: %s", self.path, error.strerror)
            return False
        self.reached("synced")
        self._unsynced.clear()
        self._logged.discard("sync")
        return True

    def _read_all(self, claims: list[_Claim], moment: Moment) -> Iterator[DropClaimed]:
        for claim in claims:
            try:
                drop = self._read_claimed(claim, moment)
            except FileNotFoundError:
                continue
            except OSError as error:
                self._log_once(claim.mark, "cannot read work/%s: %s", claim.mark, error.strerror)
                self._claims.append(claim)
                continue
            if drop is not None:
                yield drop

    def _read_claimed(self, claim: _Claim, moment: Moment) -> DropClaimed | None:
        """Reads a claimed file into an event. Returns None while a process writes to it, or its owner is not known."""
        path = f"{self.path}/work/{claim.mark}"
        split = split_mark(claim.mark)
        assert split is not None
        name = split[1]
        status = os.lstat(path)
        arrived_ms = status.st_ctime_ns // 1_000_000 if claim.arrived_ms is None else claim.arrived_ms
        entry = self._entry(name, status)
        if self.rules.gid is not None and entry.is_members is None:
            self._claims.append(claim)
            return None
        user = self._user(entry.uid).user
        content = claim.rejected or mistake(entry, self.rules) or self._content(path)
        if isinstance(content, bytes) and len(content) > self.rules.max_bytes:
            content = mistake(entry._replace(size=len(content)), self.rules)
        if content is None:
            content = self._await_writer(claim, user, moment)
        if content is None:
            return None
        if isinstance(content, Reject):
            return _rejected(claim.mark, name, user, arrived_ms, content)
        return DropClaimed(claim.mark, name, user, arrived_ms, *read_drop(name, content))

    def _content(self, path: str) -> bytes | Reject | None:
        """The content of a claimed file, at most one byte more than the limit; None if a process can write to it."""
        try:
            descriptor = _open(path)
        except BlockingIOError:
            return None
        except PermissionError as error:
            return Reject(f"cannot be read: {error.strerror}", "let the appliance's user read it")
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            return None if writer_of(descriptor) else file.read(self.rules.max_bytes + 1) or b""

    def _await_writer(self, claim: _Claim, user: User, moment: Moment) -> Reject | None:
        """Waits for the writer of a claimed file, unless it is to be rejected."""
        since = claim.open_since or moment
        decision = decide_open(moment.boot - since.boot, self._open_counts[user.uid])
        if isinstance(decision, Reject):
            return decision
        self._open_counts[user.uid] += 1
        self._open_claims.append(claim._replace(open_since=since))
        return None

    def _user(self, uid: int) -> KnownUser:
        """Only a shared spool asks for the groups of a user."""
        if uid not in self._users:
            self._users[uid] = known_after_tries(uid, with_groups=self.rules.gid is not None)
        return self._users[uid]

    def _entry(self, name: str, status: os.stat_result) -> SpoolEntry:
        owner = self._user(status.st_uid)
        return SpoolEntry(
            name,
            status.st_mode,
            status.st_uid,
            status.st_nlink,
            status.st_size,
            status.st_ino,
            status.st_mtime_ns,
            status.st_gid,
            None if owner.problem else self.rules.gid in owner.gids,
        )

    def _warn(self, moment: Moment) -> None:
        for name, file in self._waiting.items():
            if not file.warned and moment.boot - file.since.boot >= FORGOTTEN_MS:
                file.warned = True
                self.log.warning("spool: new/%s has been waiting for an hour: it %s", ascii(name), file.why)

    def _log_once(self, about: str, message: str, *arguments: object) -> None:
        """Logs an error once for each subject."""
        if about not in self._logged:
            self._logged.add(about)
            self.log.error(f"spool: {message}", *arguments)


def _arrival(file: os.DirEntry[str]) -> tuple[int, str]:
    """Renaming and linking set the time of the last change. Files of one instant are sorted by their names."""
    try:
        return file.stat(follow_symlinks=False).st_ctime_ns, file.name
    except FileNotFoundError:
        return 0, file.name


def _look_into(path: str, entry: SpoolEntry) -> Look:
    """Opens a regular file without following links or blocking. Raises OSError for an error that may pass."""
    try:
        descriptor = _open(path)
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


def _open(path: str) -> int:
    return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)


def _rejected(mark: str, name: str, user: User, arrived_ms: int, why: Reject) -> DropClaimed:
    source = Source(name, "")
    diagnostic = Diagnostic(why.code, why.message, why.help, source)
    return DropClaimed(mark, name, user, arrived_ms, source, mistakes=(diagnostic,))
