"""The spool directory: any program drops a file of commands, they happen once, and it hears the result.

A claim is a rename from new/ to work/SEQ~NAME, with both directories synced before anything is committed under that
name. Results are copies of rows: whatever is found in work/ at start is finished, or answered again, never repeated.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import re
import stat
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from schedappliance.clock import Clock
from schedappliance.diagnostics import Diagnostic, Source
from schedappliance.edge.console import user_named
from schedappliance.edge.files import Directories
from schedappliance.edge.inbox import Inbox
from schedappliance.edge.timers import Alarms
from schedappliance.edge.worker import Worker
from schedappliance.engine.effects import PublishResult
from schedappliance.engine.events import DropClaimed
from schedappliance.report import as_data
from schedappliance.syntax.text import decode

MAX_DROP_BYTES = 1024 * 1024
AUDIT_MS = 10_000
# Hints that come closer together than this are one look.
QUIET_MS = 5
# Files claimed at one look; each look shares its syncs.
BATCH = 500

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}\.cmd", re.ASCII)
_IN_PROGRESS = re.compile(r"\..*|.*~|#.*|.*\.(tmp|part|swp|filepart)", re.DOTALL)
_MARK = re.compile(r"(\d{12,})~(.+)", re.DOTALL)

FOLDERS = {"tmp": 0o700, "new": 0o700, "work": 0o700, "done": 0o755, "failed": 0o755}


@dataclass(frozen=True, slots=True)
class _Claimed:
    mark: str
    name: str
    data: bytes
    uid: int
    arrived_ms: int


@dataclass(slots=True)
class Spool:
    """One spool directory. Everything that touches it runs on the worker."""

    path: Path
    inbox: Inbox
    worker: Worker
    alarms: Alarms
    clock: Clock
    log: logging.Logger
    _directories: Directories = field(init=False)
    _sequence: int = 0
    _looking: bool = False
    _told: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._directories = Directories(lambda: self.inbox.post(self._hint), self.log)

    def make_folders(self) -> None:
        """Raises OSError."""
        self.path.mkdir(mode=0o755, parents=True, exist_ok=True)
        for name, mode in FOLDERS.items():
            folder = self.path / name
            folder.mkdir(mode=mode, exist_ok=True)
            folder.chmod(mode)

    def open(self, last_mark: str | None) -> None:
        """Watches first, then takes up what a crash left in work/, then looks into new/."""
        left = [path.name for folder in ("work", "failed") for path in self._in(folder)]
        self._sequence = max(_sequence(mark) for mark in (last_mark or "", *left))
        self._directories.watch({self.path / "new"})
        self.worker.submit(self._resume)
        self._audit()

    def _in(self, folder: str) -> list[Path]:
        return sorted((self.path / folder).iterdir())

    def _audit(self) -> None:
        self.alarms.at(self.clock.moment().boot + AUDIT_MS, self._audit)
        self._look_soon()

    def _hint(self) -> None:
        if not self._looking:
            self._looking = True
            self.alarms.at(self.clock.moment().boot + QUIET_MS, self._look_soon)

    def _look_soon(self) -> None:
        self._looking = False
        self.worker.submit(self._look)

    def _resume(self) -> None:
        """Files that were claimed before a crash, in the order of their claims."""
        for path in self._in("work"):
            if match := _MARK.fullmatch(path.name):
                try:
                    status = path.lstat()
                    data = _read(path)
                except OSError as error:
                    self.log.error("spool: cannot read %s: %s", path, error.strerror)
                    continue
                claimed = _Claimed(path.name, match.group(2), data, status.st_uid, status.st_ctime_ns // 1_000_000)
                self.inbox.post(_event(claimed))

    def _look(self) -> None:
        """Claims the files that wait. Their names are in order, so equal drops give equal ids."""
        claimed: list[_Claimed] = []
        try:
            paths = self._in("new")
        except OSError as error:
            self.log.error("spool: cannot read %s: %s", self.path / "new", error.strerror)
            return
        for path in paths:
            if len(claimed) >= BATCH:
                self.inbox.post(self._hint)
                break
            if not _IN_PROGRESS.fullmatch(path.name) and (one := self._claim(path)):
                claimed.append(one)
        if claimed:
            _sync(self.path / "work")
            _sync(self.path / "new")
        for one in claimed:
            self.inbox.post(_event(one))

    def _claim(self, path: Path) -> _Claimed | None:
        """Takes one file; one that is still being written is left, one that is no regular file is refused unopened."""
        if not _NAME.fullmatch(path.name):
            return self._refuse(
                path, "the name is not one of a drop", "use letters, digits, `.`, `_`, `-`, and end in `.cmd`"
            )
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno == errno.ELOOP:
                return self._refuse(path, "a symbolic link is not followed", "drop the file itself")
            if error.errno == errno.ENXIO:
                return self._refuse(path, "not a regular file", "drop a regular file")
            return self._refuse(path, f"cannot be read: {error.strerror}", "let the appliance's user read it")
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return self._refuse(path, "not a regular file", "drop a regular file")
            if _has_writer(descriptor):
                return None
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                data = file.read(MAX_DROP_BYTES + 1)
        finally:
            os.close(descriptor)
        mark = self._next_mark(path.name)
        try:
            path.rename(self.path / "work" / mark)
        except OSError as error:
            self.log.error("spool: cannot claim %s: %s", path, error.strerror)
            return None
        return _Claimed(mark, path.name, data, status.st_uid, status.st_ctime_ns // 1_000_000)

    def _next_mark(self, name: str) -> str:
        self._sequence += 1
        return f"{self._sequence:012d}~{name}"

    def _refuse(self, path: Path, message: str, help: str) -> _Claimed | None:
        """Moves what can never be a drop out of the way, with a result; there is nothing to take."""
        try:
            user = user_named(path.lstat().st_uid)
            safe = re.sub(r"[^A-Za-z0-9._-]", "_", path.name, flags=re.ASCII)[:120]
            diagnostic = Diagnostic("E307", message, help, Source(path.name, ""))
            result = {"file": path.name, "accepted": False, "user": user.name, "results": []}
            text = json.dumps({**result, "diagnostics": as_data([diagnostic])}, indent=2) + "\n"
            _write(self.path / "failed" / f"{safe.removesuffix('.cmd')}.result", text)
            # Under a name of its own: it may be a directory, or bear the name of a result.
            path.rename(self.path / "failed" / self._next_mark(safe))
            self.log.warning("spool: %s refused: %s; %s", safe, message, help)
        except OSError as error:
            if path.name not in self._told:
                self._told.add(path.name)
                self.log.error("spool: cannot refuse %s: %s", path, error.strerror)
        return None

    def publish(self, effect: PublishResult) -> None:
        self.worker.submit(partial(self._publish, effect))

    def _publish(self, effect: PublishResult) -> None:
        """The result first, the claimed file last: a crash between them is mended at the next start."""
        folder = self.path / ("done" if effect.accepted else "failed")
        try:
            _write(folder / f"{effect.name.removesuffix('.cmd')}.result", effect.result)
            (self.path / "work" / effect.mark).rename(folder / effect.name)
        except OSError as error:
            self.log.error("spool: cannot publish the result of %s: %s", effect.name, error.strerror)

    def close(self) -> None:
        self._directories.close()


def _event(claimed: _Claimed) -> DropClaimed:
    source = Source(claimed.name, "")
    mistakes: list[Diagnostic]
    if len(claimed.data) > MAX_DROP_BYTES:
        help = f"at most {MAX_DROP_BYTES:,} bytes are read; split it"
        mistakes = [Diagnostic("E108", "the file is too large", help, source)]
    else:
        source, mistakes = decode(claimed.name, claimed.data)
    user = user_named(claimed.uid)
    return DropClaimed(claimed.mark, claimed.name, user, claimed.arrived_ms, source.text, tuple(mistakes))


def _sequence(mark: str) -> int:
    match = _MARK.fullmatch(mark)
    return int(match.group(1)) if match else 0


def _has_writer(descriptor: int) -> bool:
    """A read lease is refused while somebody has the file open for writing. Where leases cannot be had: not known."""
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def _read(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        return file.read(MAX_DROP_BYTES + 1)


def _write(path: Path, text: str) -> None:
    """Written beside, then renamed: a reader finds a whole result or none."""
    beside = path.with_name(f".{path.name}.tmp")
    beside.write_text(text, encoding="utf-8")
    beside.rename(path)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
