"""Directories watched by watchdog. Its events are hints; whoever uses them looks again by himself, at the audit poll too."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from watchdog.observers.api import BaseObserver

AUDIT_MS = 10_000


class Directories:
    """Watches directories and calls from watchdog's thread; the call must only set a flag."""

    def __init__(self, changed: Callable[[], None], log: logging.Logger) -> None:
        self._changed = changed
        self._log = log
        self._observer: BaseObserver | None = None
        self._wanted: set[Path] = set()

    def watch(self, directories: set[Path]) -> bool:
        """Watches these directories and no others; true when that is a change.

        Without inotify the audit poll does it alone, and the log says so.
        """
        wanted = {Path(os.path.realpath(directory)) for directory in directories}
        if wanted == self._wanted:
            return False
        self._wanted = wanted
        self.close()
        try:
            self._start(wanted)
        except OSError as error:
            self.close()
            message = "cannot watch %s: %s; changes are seen by the audit poll, within %d seconds"
            self._log.warning(message, ", ".join(map(str, sorted(wanted))), error, AUDIT_MS // 1000)
        return True

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
            if directory.is_dir():
                self._observer.schedule(Handler(), str(directory), recursive=False, event_filter=filter)
        self._observer.start()

    def close(self) -> None:
        if self._observer is not None and self._observer.is_alive():
            self._observer.stop()
            self._observer.join(2)
        self._observer = None
