"""Directories watched by watchdog. Its events are hints; whoever uses them looks again by himself, at the audit poll too."""

from __future__ import annotations

import errno
import logging
import os
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from watchdog.observers.api import BaseObserver

AUDIT_MS = 10_000
MOST_LINKS = 200


class Directories:
    """Watches directories and calls from watchdog's thread; the call must only set a flag.

    `mode`: how changes are seen, for people; `failure`: why they are not seen by events.
    """

    def __init__(self, changed: Callable[[], None], log: logging.Logger) -> None:
        self._changed = changed
        self._log = log
        self._observer: BaseObserver | None = None
        self._identities: set[tuple[Path, int, int]] = set()
        self.failure: OSError | None = None
        self.mode = "none"

    def watch(self, directories: set[Path]) -> bool:
        """Watches these directories and no others; true when that is a change.

        Without inotify the audit poll does it alone, and the log says so.
        """
        wanted = {found for directory in directories for found in _to_watch(directory)}
        identities = {(path, *_identity(path)) for path in wanted}
        if identities == self._identities and self._is_well():
            return False
        self._identities = identities
        self.close()
        self.failure = None
        try:
            self._start(wanted)
            self.mode = "events"
        except OSError as error:
            self.close()
            self._tell(error, wanted, "")
        else:
            if closed := sorted(filter(_is_closed, wanted)):
                refused = PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(closed[0]))
                self._tell(refused, closed, "events; ")
        return True

    def _tell(self, error: OSError, unseen: Iterable[Path], seen: str) -> None:
        self.failure = error
        self.mode = f"{seen}poll every {AUDIT_MS // 1000} seconds: {error}"
        message = "cannot watch %s: %s; changes are seen by the audit poll, within %d seconds"
        self._log.warning(message, ", ".join(map(str, sorted(unseen))), error, AUDIT_MS // 1000)

    def _is_well(self) -> bool:
        """A watch ends with its directory, also when another one has its name and number by now; see its emitter."""
        if self._observer is None:
            return self.failure is not None
        return self._observer.is_alive() and all(emitter.is_alive() for emitter in self._observer.emitters)

    def _start(self, wanted: set[Path]) -> None:
        from watchdog import events
        from watchdog.observers import Observer

        changed = self._changed

        class Handler(events.FileSystemEventHandler):
            def on_any_event(self, event: events.FileSystemEvent) -> None:  # noqa: ARG002
                changed()

        filter: list[type[events.FileSystemEvent]] = [
            events.FileCreatedEvent,
            events.FileModifiedEvent,
            events.FileClosedEvent,
            events.FileMovedEvent,
            events.FileDeletedEvent,
            events.DirCreatedEvent,
            events.DirMovedEvent,
            events.DirDeletedEvent,
        ]
        self._observer = Observer()
        for directory in sorted(wanted):
            if stat.S_ISDIR(_mode(directory)):
                self._observer.schedule(Handler(), str(directory), recursive=False, event_filter=filter)
        self._observer.start()

    def close(self) -> None:
        if self._observer is not None and self._observer.is_alive():
            self._observer.stop()
            self._observer.join(2)
        self._observer = None


def _identity(path: Path) -> tuple[int, int]:
    """Device and inode: a directory that was made anew is another one, and must be watched anew."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_dev, status.st_ino


def _mode(path: Path, follow: bool = True) -> int:
    """What stands at a path; 0 when nothing does, or what does is closed to this user."""
    try:
        return path.stat(follow_symlinks=follow).st_mode
    except OSError:
        return 0


def _is_closed(directory: Path) -> bool:
    """To watch a directory is to read it; watchdog is silent about one that may not be read."""
    return stat.S_ISDIR(_mode(directory)) and not os.access(directory, os.R_OK)


def _to_watch(directory: Path) -> set[Path]:
    """A directory, those that hold the symbolic links on the way to it, and the nearest that exists when it does not."""
    found: set[Path] = set()
    resolved = Path(directory.absolute().anchor)
    parts = list(directory.absolute().parts[1:])
    for _ in range(MOST_LINKS):
        if not parts:
            break
        step = resolved / parts.pop(0)
        mode = _mode(step, follow=False)
        if stat.S_ISLNK(mode):
            found.add(resolved)
            target = Path(os.path.normpath(resolved / step.readlink()))
            parts = [*target.parts[1:], *parts]
            resolved = Path(target.anchor)
        elif not stat.S_ISDIR(mode):
            break
        else:
            resolved = step
    return found | {resolved}
