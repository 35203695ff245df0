"""The spool directory: any program drops a file of commands, they happen once, and it hears the result.

A claim is a rename from new/ to work/SEQ~NAME, with both directories synced before anything is committed under that
name. Results are copies of rows: whatever is found in work/ at start is finished, or answered again, never repeated.
"""

from __future__ import annotations

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
from schedappliance.diagnostics import Diagnostic, Source, has_errors
from schedappliance.edge.directories import AUDIT_MS, Directories
from schedappliance.edge.inbox import Inbox
from schedappliance.edge.leases import has_writer
from schedappliance.edge.timers import Alarms
from schedappliance.edge.users import user_named
from schedappliance.edge.worker import Worker
from schedappliance.engine.effects import PublishResult
from schedappliance.engine.events import DropClaimed, DropLine
from schedappliance.linter import command_lines, lint_commands
from schedappliance.model.commands import read_command
from schedappliance.report import as_data
from schedappliance.syntax.text import decode

MAX_DROP_BYTES = 1024 * 1024
MAX_DROP_LINES = 20_000
# Hints that come closer together than this are one look.
QUIET_MS = 5
# Files claimed at one look; each look shares its syncs.
BATCH = 500

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,120}\.cmd", re.ASCII)
_IN_PROGRESS = re.compile(r"\..*|.*~|#.*|.*\.(tmp|part|swp|filepart)", re.DOTALL)
_MARK = re.compile(r"(\d{12,})~(.+)", re.DOTALL)

FOLDERS = {"tmp": 0o700, "new": 0o700, "work": 0o700, "done": 0o755, "failed": 0o755}


class SpoolRefused(Exception):
    """The spool directory cannot be used; the message says why in one line, `help` what to do."""

    def __init__(self, message: str, help: str) -> None:
        super().__init__(message)
        self.message = message
        self.help = help


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
    _unpublished: dict[str, PublishResult] = field(default_factory=dict)
    _lock: int | None = None

    def __post_init__(self) -> None:
        self._directories = Directories(lambda: self.inbox.post(self._hint), self.log)

    def make_folders(self) -> None:
        """Makes the directories and takes the spool for this process alone; raises OSError, SpoolRefused."""
        self.path.mkdir(mode=0o755, parents=True, exist_ok=True)
        self._lock = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(self._lock, 32).decode(errors="replace").strip() or "unknown"
            found = f"another appliance takes from the spool {self.path} (pid {holder})"
            raise SpoolRefused(found, "stop it, or give this one a `spool.path` of its own") from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)
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
            if _MARK.fullmatch(path.name) and (drop := self._read(path)):
                self.inbox.post(drop)

    def _look(self) -> None:
        """Claims the files that wait. Their names are in order, so equal drops give equal ids."""
        self._publish_again()
        try:
            paths = self._in("new")
        except OSError as error:
            self.log.error("spool: cannot read %s: %s", self.path / "new", error.strerror)
            return
        claimed: list[Path] = []
        for path in paths:
            if len(claimed) >= BATCH:
                self.inbox.post(self._hint)
                break
            if not _IN_PROGRESS.fullmatch(path.name) and (one := self._claim(path)):
                claimed.append(one)
        if claimed and not self._synced("work", "new"):
            # Not safe yet: they are taken up like those of a crash, at the next start.
            return
        for one in claimed:
            if drop := self._read(one):
                self.inbox.post(drop)

    def _synced(self, *folders: str) -> bool:
        try:
            for folder in folders:
                _sync(self.path / folder)
        except OSError as error:
            self.log.error("spool: cannot sync %s: %s; try a restart", self.path, error.strerror)
            return False
        return True

    def _claim(self, path: Path) -> Path | None:
        """Takes one file by renaming it; what is no regular file is refused unopened, what is being written is left."""
        if not _NAME.fullmatch(path.name):
            help = "use letters, digits, `.`, `_`, `-`, and end in `.cmd`"
            return self._refuse(path, "the name is not one of a drop", help)
        try:
            descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            return self._refuse(path, f"cannot be read: {error.strerror}", "let the appliance's user read it")
        try:
            mode = os.fstat(descriptor).st_mode
            if stat.S_ISLNK(mode):
                return self._refuse(path, "a symbolic link is not followed", "drop the file itself")
            if not stat.S_ISREG(mode):
                return self._refuse(path, "not a regular file", "drop a regular file")
            if has_writer(descriptor):
                return None
        finally:
            os.close(descriptor)
        claimed = self.path / "work" / self._next_mark(path.name)
        try:
            path.rename(claimed)
        except OSError as error:
            self.log.error("spool: cannot claim %s: %s", path, error.strerror)
            return None
        return claimed

    def _read(self, path: Path) -> DropClaimed | None:
        """A claimed file with everything in it that can be judged without the configuration."""
        match = _MARK.fullmatch(path.name)
        assert match is not None
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as file:
                status = os.fstat(descriptor)
                data = file.read(MAX_DROP_BYTES + 1)
        except OSError as error:
            self.log.error("spool: cannot read %s: %s", path, error.strerror)
            return None
        user = user_named(status.st_uid)
        arrived_ms = status.st_ctime_ns // 1_000_000
        source, lines, mistakes = read_drop(match.group(2), data)
        return DropClaimed(path.name, match.group(2), user, arrived_ms, source, lines, mistakes)

    def _next_mark(self, name: str) -> str:
        self._sequence += 1
        return f"{self._sequence:012d}~{name}"

    def _refuse(self, path: Path, message: str, help: str) -> Path | None:
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
            if effect.mark not in self._unpublished:
                self.log.error("spool: cannot publish the result of %s: %s", effect.name, error.strerror)
            self._unpublished[effect.mark] = effect
        else:
            self._unpublished.pop(effect.mark, None)

    def _publish_again(self) -> None:
        for effect in list(self._unpublished.values()):
            self._publish(effect)

    def close(self) -> None:
        self._directories.close()


def read_drop(name: str, data: bytes) -> tuple[Source, tuple[DropLine, ...], tuple[Diagnostic, ...]]:
    """The commands of a drop, and every mistake that can be seen without the configuration."""
    if len(data) > MAX_DROP_BYTES:
        help = f"at most {MAX_DROP_BYTES:,} bytes are read; split it"
        source = Source(name, "")
        return source, (), (Diagnostic("E108", "the file is too large", help, source),)
    source, mistakes = decode(name, data)
    if has_errors(mistakes):
        return source, (), tuple(mistakes)
    numbered = list(command_lines(source))
    if len(numbered) > MAX_DROP_LINES:
        help = f"at most {MAX_DROP_LINES:,} commands are taken at once; split it"
        return source, (), (Diagnostic("E108", f"the file holds {len(numbered):,} commands", help, source),)
    mistakes += list(lint_commands(source, None))
    lines: list[DropLine] = []
    for offset, text in numbered:
        read = read_command(text)
        if read.tree is not None and read.command is not None:
            lines.append(DropLine(offset, text, read.tree, read.command))
    return source, tuple(lines), tuple(mistakes)


def _sequence(mark: str) -> int:
    match = _MARK.fullmatch(mark)
    return int(match.group(1)) if match else 0


def _write(path: Path, text: str) -> None:
    """Written beside, then renamed: a reader finds a whole result or none."""
    beside = path.with_name(f".{path.name}.tmp")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fchmod(descriptor, 0o644)
        os.fsync(descriptor)
    beside.rename(path)
    _sync(path.parent)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
