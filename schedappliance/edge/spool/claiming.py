"""Taking: what lies in new/ is claimed by renaming it to work/SEQ~NAME, synced, and only then read."""

from __future__ import annotations

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
from schedappliance.edge.spool.syncing import sync_directories
from schedappliance.edge.spool.writers import look_into, open_drop
from schedappliance.edge.users import user_named
from schedappliance.engine.events import DropClaimed
from schedappliance.engine.intake import (
    FORGOTTEN_MS,
    SETTLED_MS,
    WRITTEN_MS,
    Found,
    Held,
    Leave,
    Look,
    Refuse,
    Rules,
    Waiting,
    is_in_progress,
    judge,
    mark_of,
    mistake,
    split_mark,
)
from schedappliance.engine.records import User

# Files and bytes claimed at one look: they share its syncs, and nobody waits long behind them.
BATCH, BATCH_BYTES = 500, 4 * 1024 * 1024
# Of the files that are left alone so many are told by name.
MOST_TOLD = 100


class _Claim(NamedTuple):
    """A file in work/ that is not read yet. `arrived_ms`: when it came, if that is still known."""

    mark: str
    arrived_ms: int | None = None
    refused: Refuse | None = None


class _Chosen(NamedTuple):
    """A file in new/ that is to be claimed."""

    found: Found
    arrived_ms: int
    refused: Refuse | None


@dataclass(slots=True)
class _Left:
    """A file that is left alone, since when it has been as it is, and since when it is there."""

    found: Found | None
    unchanged_boot: int
    since: Moment
    why: str
    until_boot: int | None = None
    warned: bool = False


@dataclass(slots=True)
class Taker:
    """Runs on the worker. `reached` is told each boundary at which a crash must do no harm.

    `closed`: the files that were written there, and not moved there, since it was asked last.
    """

    path: Path
    rules: Rules
    log: logging.Logger
    reached: Callable[[str], None] = lambda _boundary: None
    closed: Callable[[], set[str]] = set
    _sequence: int = 0
    _names: list[str] = field(default_factory=list)
    _claims: list[_Claim] = field(default_factory=list)
    _unsynced: set[str] = field(default_factory=lambda: {"new", "work", "failed"})
    _left: dict[str, _Left] = field(default_factory=dict)
    _written: dict[str, int] = field(default_factory=dict)
    _counts: Counter[int] = field(default_factory=Counter)
    _users: dict[int, User] = field(default_factory=dict)
    _said: set[str] = field(default_factory=set)

    def resume(self, last_mark: str | None) -> None:
        """Takes up what a crash left in work/, in the order of its claims; raises OSError."""
        claimed = sorted(name for name in os.listdir(self.path / "work") if split_mark(name))
        self._claims = [_Claim(mark) for mark in claimed]
        marks = [last_mark or "", *claimed, *os.listdir(self.path / "failed")]
        self._sequence = max(split[0] if (split := split_mark(mark)) else 0 for mark in marks)

    def look(self, moment: Moment) -> list[DropClaimed]:
        """The next files that are taken; those of earlier looks first that could not be read then."""
        if not self._names:
            self._list(moment)
        chosen: list[_Chosen] = []
        size = 0
        while self._names and len(self._claims) + len(chosen) < BATCH and size < BATCH_BYTES:
            if one := self._consider(self._names.pop(), moment):
                chosen.append(one)
                size += one.found.size
        # After that: nobody had any of them open any more when it was looked at.
        self.written(self.closed(), moment)
        for one in chosen:
            self._claim(one, moment)
        self._warn(moment)
        if not self._claims or not self._synced():
            return []
        claims, self._claims = self._claims[:BATCH], self._claims[BATCH:]
        return list(self._read_all(claims))

    def written(self, names: set[str], moment: Moment) -> None:
        """These files were closed by who wrote them. From any thread."""
        self._written |= dict.fromkeys(names, moment.boot)

    def waiting(self) -> Waiting:
        told: list[Held] = []
        in_progress = 0
        for name, left in self._left.items():
            if left.found is None:
                in_progress += 1
            elif len(told) < MOST_TOLD:
                told.append(Held(name, left.why, left.since.wall))
        waiting = len(self._names) + len(self._claims) + len(self._left) - in_progress
        return Waiting(waiting, in_progress, tuple(sorted(told)))

    def next_look(self, moment: Moment) -> int | None:
        """The boot instant at which something may be decided that is not now; None: when something happens."""
        instants = [left.until_boot for left in self._left.values() if left.until_boot is not None]
        if self._claims:
            instants.append(moment.boot + SETTLED_MS)
        return min(instants, default=None)

    @property
    def has_more(self) -> bool:
        """Files were seen that there was no room for in this look."""
        return bool(self._names) and not self._claims

    def put_back(self, name: str) -> str | None:
        """Claims a failed file again; None, or why that cannot be done."""
        failed = self.path / "failed" / name
        try:
            if not stat.S_ISREG(failed.lstat().st_mode):
                return "it is no regular file"
            failed.rename(self.path / "work" / self._next_mark(name))
        except FileNotFoundError:
            return "its file is not kept"
        except OSError as error:
            return str(error.strerror)
        self._claims.append(_Claim(mark_of(self._sequence, name)))
        self._unsynced |= {"work", "failed"}
        return None

    def _list(self, moment: Moment) -> None:
        """All names at once, the first to be taken last in the list; in order, so that equal drops give equal ids."""
        try:
            self._names = sorted(os.listdir(self.path / "new"), reverse=True)
        except OSError as error:
            self._tell("new", "cannot read %s: %s", self.path / "new", error.strerror)
            return
        self._left = {name: self._left[name] for name in self._names if name in self._left}
        self._said &= {"sync", *self._names, *(claim.mark for claim in self._claims)}
        for name in [name for name, boot in list(self._written.items()) if moment.boot - boot >= WRITTEN_MS]:
            del self._written[name]
        self._counts.clear()
        self._users.clear()

    def _consider(self, name: str, moment: Moment) -> _Chosen | None:
        """A file that is to be claimed; None: it is left alone."""
        path = f"{self.path}/new/{name}"
        left = self._left.get(name)
        if is_in_progress(name):
            self._left[name] = left or _Left(None, moment.boot, moment, "is work in progress")
            return None
        try:
            status = os.lstat(path)
            found = Found(name, *(status.st_mode, status.st_uid, status.st_nlink, status.st_size), *_version(status))
            look = look_into(path, found) if stat.S_ISREG(found.mode) else Look(has_writer=False)
        except FileNotFoundError:
            self._left.pop(name, None)
            return None
        except OSError as error:
            self._tell(name, "cannot look at %s: %s", ascii(name), error.strerror)
            return None
        since = left.unchanged_boot if left and left.found == found else moment.boot
        verdict = judge(found, look, moment.boot - since, self._counts[found.uid], self.rules)
        self._counts[found.uid] += 1
        if isinstance(verdict, Leave):
            self._leave(found, verdict, moment)
            return None
        return _Chosen(found, status.st_ctime_ns // 1_000_000, verdict if isinstance(verdict, Refuse) else None)

    def _leave(self, found: Found, verdict: Leave, moment: Moment) -> None:
        left = self._left.get(found.name)
        unchanged = left.unchanged_boot if left and left.found == found else moment.boot
        until = unchanged + verdict.until_ms if verdict.until_ms is not None else None
        since, warned = (left.since, left.warned) if left else (moment, False)
        self._left[found.name] = _Left(found, unchanged, since, verdict.why, until, warned)

    def _claim(self, chosen: _Chosen, moment: Moment) -> None:
        found = chosen.found
        if (boot := self._written.get(found.name)) is not None and moment.boot - boot < WRITTEN_MS:
            left = self._left.get(found.name)
            age_ms = moment.boot - left.unchanged_boot if left and left.found == found else 0
            return self._leave(found, Leave("was written just now", age_ms + boot + WRITTEN_MS - moment.boot), moment)
        mark = self._next_mark(found.name)
        try:
            os.rename(f"{self.path}/new/{found.name}", f"{self.path}/work/{mark}")  # noqa: PTH104
        except OSError as error:
            self._tell(found.name, "cannot claim %s: %s", ascii(found.name), error.strerror)
            return self._leave(found, Leave(f"cannot be claimed: {error.strerror}"), moment)
        self.reached("claimed")
        self._left.pop(found.name, None)
        self._unsynced |= {"work", "new"}
        self._claims.append(_Claim(mark, chosen.arrived_ms, chosen.refused))
        return None

    def _next_mark(self, name: str) -> str:
        self._sequence += 1
        return mark_of(self._sequence, name)

    def _synced(self) -> bool:
        """Whether every claim stands on the disk; what does not is not read yet."""
        if not self._unsynced:
            return True
        try:
            sync_directories(*(self.path / folder for folder in sorted(self._unsynced)))
        except OSError as error:
            self._tell("sync", "cannot sync %s: %s", self.path, error.strerror)
            return False
        self.reached("synced")
        self._unsynced.clear()
        self._said.discard("sync")
        return True

    def _read_all(self, claims: list[_Claim]) -> Iterator[DropClaimed]:
        for claim in claims:
            try:
                drop = self._read(claim)
            except FileNotFoundError:
                continue
            except OSError as error:
                self._tell(claim.mark, "cannot read work/%s: %s", claim.mark, error.strerror)
                drop = None
            if drop is None:
                self._claims.append(claim)
            else:
                yield drop

    def _read(self, claim: _Claim) -> DropClaimed | None:
        """A claimed file as an event; None while somebody who opened it before the claim still writes."""
        path = f"{self.path}/work/{claim.mark}"
        split = split_mark(claim.mark)
        assert split is not None
        name = split[1]
        status = os.lstat(path)
        arrived_ms = status.st_ctime_ns // 1_000_000 if claim.arrived_ms is None else claim.arrived_ms
        found = Found(name, *(status.st_mode, status.st_uid, status.st_nlink, status.st_size), *_version(status))
        user = self._user(found.uid)
        if refused := claim.refused or mistake(found, self.rules):
            return _refused(claim.mark, name, user, arrived_ms, refused)
        try:
            descriptor = open_drop(path)
        except PermissionError as error:
            refused = Refuse(f"cannot be read: {error.strerror}", "let the appliance's user read it")
            return _refused(claim.mark, name, user, arrived_ms, refused)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            if writer_of(descriptor):
                return None
            data = file.read(self.rules.max_bytes + 1) or b""
        if len(data) > self.rules.max_bytes:
            grown = mistake(found._replace(size=len(data)), self.rules)
            assert grown is not None
            return _refused(claim.mark, name, user, arrived_ms, grown)
        return DropClaimed(claim.mark, name, user, arrived_ms, *read_drop(name, data))

    def _user(self, uid: int) -> User:
        if uid not in self._users:
            self._users[uid] = user_named(uid)
        return self._users[uid]

    def _warn(self, moment: Moment) -> None:
        for name, left in self._left.items():
            if not left.warned and moment.boot - left.since.boot >= FORGOTTEN_MS:
                left.warned = True
                self.log.warning("spool: new/%s is there for an hour and not taken: it %s", ascii(name), left.why)

    def _tell(self, about: str, message: str, *arguments: object) -> None:
        """Once for each file that makes trouble."""
        if about not in self._said:
            self._said.add(about)
            self.log.error(f"spool: {message}", *arguments)


def _version(status: os.stat_result) -> tuple[int, int]:
    return status.st_ino, status.st_mtime_ns


def _refused(mark: str, name: str, user: User, arrived_ms: int, why: Refuse) -> DropClaimed:
    source = Source(name, "")
    said = Diagnostic(why.code, why.message, why.help, source)
    return DropClaimed(mark, name, user, arrived_ms, source, mistakes=(said,))
