"""Watches the directories of files. `walk_to` follows a path link by link; doctor/paths.py uses it too.

Rule: events are hints; the caller reads the files itself, and polls too.
"""

from __future__ import annotations

import errno
import logging
import os
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from schedappliance.edge.loop import AUDIT_MS
from schedappliance.edge.threads import NO_THREAD
from schedappliance.model.files import MOST_LINKS

if TYPE_CHECKING:
    from watchdog.observers.api import BaseObserver

# The limits that these errors of inotify report; see inotify(7).
_REMEDIES = {errno.ENOSPC: "fs.inotify.max_user_watches", errno.EMFILE: "fs.inotify.max_user_instances"}


class Directories:
    """Watches directories with watchdog. `changed`: called on watchdog's thread at each event; it may only set a flag.

    `failure`: why events do not report all changes; None if events report all changes. `new_observer`: makes the observer.
    `written`: the real paths of files that were changed and not closed since, as far as events report it.
    """

    def __init__(
        self,
        changed: Callable[[], None],
        log: logging.Logger,
        poll_ms: int = AUDIT_MS,
        new_observer: Callable[[], BaseObserver] | None = None,
    ) -> None:
        self._changed = changed
        self._log = log
        self._poll_ms = poll_ms
        self._new_observer = new_observer or _inotify
        self._observer: BaseObserver | None = None
        self._identities: set[tuple[Path, int, int]] = set()
        self.failure: OSError | None = None
        # Threads of watchdog change it. Others may only ask whether it contains a path.
        self.written: set[str] = set()

    @property
    def mode(self) -> str:
        """How changes are noticed, as `config status` shows it."""
        if self.failure is None:
            return "events"
        poll = f"poll every {self._poll_ms // 1000} seconds: {_with_remedy(self.failure)}"
        return f"events; {poll}" if self._observer else poll

    def watch(self, directories: set[Path]) -> bool:
        """Watches these directories and no others. Returns True if the watches are new: a change may have been missed.

        It keeps a working observer of the same directories. It replaces an observer that died, or whose directory was
        replaced. Without inotify, only the caller's poll finds changes, and the log says so once.
        """
        wanted = {place for directory in directories for place in on_the_way(directory)}
        identities = {(path, *_identity(path)) for path in wanted}
        changed = identities != self._identities
        if not changed and self._is_working():
            return False
        self._identities = identities
        self.close()
        before = self.failure
        self.failure, unseen = self._start_observer(wanted)
        self._log_mode(before, unseen)
        return changed or self._observer is not None

    def _log_mode(self, before: OSError | None, unseen: Iterable[Path]) -> None:
        if self.failure is not None and str(self.failure) != str(before):
            message = "cannot watch %s: %s; changes are found by polling, within %d seconds"
            places = ", ".join(map(str, sorted(unseen)))
            self._log.warning(message, places, _with_remedy(self.failure), self._poll_ms // 1000)
        elif before is not None and self.failure is None:
            self._log.info("events report all changes again")

    def _is_working(self) -> bool:
        """Whether the observer and all its emitters are alive.

        An emitter ends when its directory is removed, even if a new directory has the same name and inode.
        """
        if self._observer is None:
            return False
        return self._observer.is_alive() and all(emitter.is_alive() for emitter in self._observer.emitters)

    def _start_observer(self, wanted: set[Path]) -> tuple[OSError | None, set[Path]]:
        """Starts a new observer. Returns why events will be missing, and for which directories."""
        try:
            self._observer = self._new_observer()
            self._schedule(self._observer, wanted)
            self._observer.start()
        except OSError as error:
            self.close()
            return error, wanted
        except RuntimeError:
            # The machine has no thread left. Python has no exception of its own for that.
            self.close()
            return OSError(errno.EAGAIN, NO_THREAD), wanted
        closed = set(filter(_is_unreadable, wanted))
        if not closed:
            return None, closed
        return PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(min(closed))), closed

    def _schedule(self, observer: BaseObserver, directories: set[Path]) -> None:
        """Adds the watches. Those of parent directories show that a directory is moved, removed or replaced."""
        from watchdog import events

        changed, written = self._changed, self.written

        class Handler(events.FileSystemEventHandler):
            def on_any_event(self, event: events.FileSystemEvent) -> None:
                if isinstance(event, events.FileModifiedEvent):
                    written.add(os.fsdecode(event.src_path))
                else:
                    written.difference_update(map(os.fsdecode, (event.src_path, event.dest_path)))
                changed()

        moves: list[type[events.FileSystemEvent]] = [
            events.DirCreatedEvent,
            events.DirMovedEvent,
            events.DirDeletedEvent,
        ]
        writes: list[type[events.FileSystemEvent]] = [
            events.FileCreatedEvent,
            events.FileModifiedEvent,
            events.FileClosedEvent,
            events.FileMovedEvent,
            events.FileDeletedEvent,
        ]
        above = {directory.parent for directory in directories} - directories
        for directory in sorted(directories | above):
            if _is_directory(directory):
                kinds = moves if directory in above else moves + writes
                observer.schedule(Handler(), str(directory), recursive=False, event_filter=kinds)

    def close(self) -> None:
        """Stops the observer, even a dead one: its emitters and its descriptor outlive its thread."""
        if self._observer is not None:
            self._observer.stop()
            if self._observer.is_alive():
                self._observer.join(2)
        self._observer = None


def _inotify() -> BaseObserver:
    from watchdog.observers import Observer

    logging.getLogger("watchdog.observers.inotify").addFilter(_is_news)
    return Observer()


def _is_news(record: logging.LogRecord) -> bool:
    """False for the line of an emitter that is closed before its thread has begun. Nobody can do anything about it."""
    return "when the thread is inactive" not in record.getMessage()


def _identity(path: Path) -> tuple[int, int]:
    """Device and inode. A directory with the same name and another inode needs a new watch."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_dev, status.st_ino


def _with_remedy(error: OSError) -> str:
    # An EMFILE with the name of a file is about open files, not about inotify.
    remedy = None if error.filename and error.errno == errno.EMFILE else _REMEDIES.get(error.errno or 0)
    where = f": {error.filename}" if error.filename else ""
    return f"{error.strerror}{where}; raise {remedy}" if remedy else f"{error.strerror}{where}"


def _is_unreadable(directory: Path) -> bool:
    """Whether a directory is unreadable and therefore cannot be watched. watchdog does not report this failure."""
    return _is_directory(directory) and not os.access(directory, os.R_OK)


def places_of(paths: Iterable[Path]) -> set[Path]:
    """The directories in which a change may affect any of these paths."""
    paths = set(paths)
    ends = {path.parent for path in paths} | {path for path in paths if _link(path) or _is_directory(path)}
    return {place for end in ends for place in on_the_way(end)}


def on_the_way(path: Path) -> set[Path]:
    """The directories in which a change may affect a path: its own, and those of all symbolic links on the way to it.

    For a path that does not exist, its own directory is the nearest one that exists.
    """
    walk = walk_to(path)
    end = walk.end if stat.S_ISDIR(walk.passed[walk.end].st_mode) else walk.end.parent
    return {link.path.parent for link in walk.links} | {end}


class SymbolicLink(NamedTuple):
    """A symbolic link on the way. `in_directory`: the link is in the directory part of the path, not its last part."""

    path: Path
    target: Path
    in_directory: bool


@dataclass(slots=True)
class Walk:
    """The way from the root directory to a path. `passed`: the status of each real path on it. `end`: the last real path.

    `exists`: whether the path leads to `end`, and not to something that is missing or cannot be accessed.
    """

    end: Path = Path("/")
    passed: dict[Path, os.stat_result] = field(default_factory=lambda: {Path("/"): Path("/").lstat()})
    links: list[SymbolicLink] = field(default_factory=list)
    exists: bool = True


def walk_to(path: Path) -> Walk:
    """Follows each directory and symbolic link on the way to a path, as the kernel does; see path_resolution(7)."""
    walk = Walk()
    names = path.absolute().parts[1:]
    parts = [(name, number < len(names)) for number, name in enumerate(names, 1)]
    while parts:
        (name, in_directory), *parts = parts
        if name == "..":
            walk.end = walk.end.parent
            continue
        step = walk.end / name
        try:
            status = step.lstat()
            target = step.readlink() if stat.S_ISLNK(status.st_mode) else None
        except OSError:
            walk.exists = False
            break
        if target is None:
            walk.end = step
            walk.passed[step] = status
        elif len(walk.links) == MOST_LINKS:
            walk.exists = False
            break
        else:
            walk.links.append(SymbolicLink(step, target, in_directory))
            walk.end = Path("/") if target.is_absolute() else walk.end
            parts = [(part, in_directory) for part in target.parts if part != "/"] + parts
    return walk


def _link(path: Path) -> Path | None:
    """The target of a symbolic link; None for anything else."""
    try:
        return path.readlink()
    except OSError:
        return None


def _is_directory(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False
