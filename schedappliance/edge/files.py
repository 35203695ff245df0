"""The stanza files: watchdog's events are hints, the content digest is the truth, a slow audit poll sees what no event tells."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from schedappliance.clock import Clock
from schedappliance.edge.directories import AUDIT_MS, Directories
from schedappliance.edge.inbox import Inbox
from schedappliance.edge.timers import Alarms
from schedappliance.edge.worker import Worker
from schedappliance.engine.effects import ReadFiles
from schedappliance.engine.events import FilesRead, WatchChanged
from schedappliance.linter import Loaded, load

QUIET_MS = 200
LONGEST_WAIT_MS = 2000

Fingerprint = tuple[tuple[str, int, int, int, int], ...]


@dataclass(slots=True)
class QuietWindow:
    """Many hints, one reading: after a quiet time, but never later than the longest wait after the first hint."""

    first_ms: int | None = None
    last_ms: int = 0

    def hint(self, now_ms: int) -> None:
        self.first_ms = now_ms if self.first_ms is None else self.first_ms
        self.last_ms = now_ms

    def due(self) -> int | None:
        """When to read, None when there was no hint."""
        if self.first_ms is None:
            return None
        return min(self.last_ms + QUIET_MS, self.first_ms + LONGEST_WAIT_MS)


@dataclass(slots=True)
class Files:
    """The stanza files of one appliance: read at start, on request, after a hint, and by the audit poll."""

    root: Path
    inbox: Inbox
    worker: Worker
    alarms: Alarms
    clock: Clock
    log: logging.Logger
    _directories: Directories = field(init=False)
    _window: QuietWindow = field(default_factory=QuietWindow)
    _fingerprint: Fingerprint = ()
    _paths: tuple[Path, ...] = ()
    _loaded: Loaded | None = None

    def __post_init__(self) -> None:
        self._directories = Directories(lambda: self.inbox.post(self._hint), self.log)

    def open(self, loaded: Loaded, at_load: Fingerprint) -> None:
        """Begins to watch what was loaded at start. Watching first, then looking again: no change falls in between."""
        self._fingerprint = at_load
        self._remember(loaded)
        self._audit()

    def _audit(self) -> None:
        self.alarms.at(self.clock.moment().boot + AUDIT_MS, self._audit)
        self.worker.submit(self._read_if_changed)

    def _hint(self) -> None:
        now = self.clock.moment().boot
        asleep = self._window.due() is None
        self._window.hint(now)
        if asleep:
            self.alarms.at(now + QUIET_MS, self._after_quiet)

    def _after_quiet(self) -> None:
        now, due = self.clock.moment().boot, self._window.due()
        assert due is not None
        if now < due:
            self.alarms.at(due, self._after_quiet)
        else:
            self._window = QuietWindow()
            self.worker.submit(self._read_if_changed)

    def _read_if_changed(self) -> None:
        if self._loaded is not None:
            # A directory may have been made anew.
            self._watch(self._loaded)
        if fingerprint(self._paths) != self._fingerprint:
            self._read(None, False)

    def read(self, effect: ReadFiles) -> None:
        self.worker.submit(partial(self._read, effect.requester, effect.typed))

    def _read(self, requester: int | None, typed: bool) -> None:
        loaded, self._fingerprint = load_stable(self.root, self._paths)
        self._remember(loaded)
        self.inbox.post(as_event(loaded, requester, typed))

    def _remember(self, loaded: Loaded) -> None:
        """Touched only at start and by the worker."""
        self._paths = inputs(loaded)
        self._loaded = loaded
        self._watch(loaded)

    def _watch(self, loaded: Loaded) -> None:
        """What happened while nothing was watched is looked for at once."""
        if self._directories.watch(places(loaded)):
            self.inbox.post(WatchChanged(self._directories.mode))
            self.inbox.post(self._hint)

    def close(self) -> None:
        self._directories.close()


def inputs(loaded: Loaded) -> tuple[Path, ...]:
    """Every path whose change may change what was loaded."""
    closure = loaded.closure
    return (*closure.texts, *closure.missing, *closure.listed)


def places(loaded: Loaded) -> set[Path]:
    """The directories in which something may happen to the files: also those of the targets of symbolic links."""
    beyond = {(path.parent / path.readlink()).parent for path in loaded.closure.texts if os.path.islink(path)}  # noqa: PTH114
    return loaded.closure.directories | {Path(os.path.realpath(path)).parent for path in loaded.closure.texts} | beyond


def load_stable(root: Path, paths: tuple[Path, ...] = ()) -> tuple[Loaded, Fingerprint]:
    """Loads the files so that nothing changed meanwhile; after some tries as they are, to be looked at again."""
    for _ in range(4):
        before = fingerprint(paths)
        loaded = load(root)
        if inputs(loaded) == paths and fingerprint(paths) == before:
            return loaded, before
        paths = inputs(loaded)
    return loaded, ()


def as_event(loaded: Loaded, requester: int | None, typed: bool) -> FilesRead:
    texts = tuple((str(path), source.text) for path, source in loaded.closure.texts.items())
    configuration = loaded.configuration if loaded.accepted else None
    return FilesRead(requester, typed, loaded.closure.digest, configuration, tuple(loaded.shown()), texts)


def fingerprint(paths: tuple[Path, ...]) -> Fingerprint:
    """What tells that files may have changed: inode, size and times of each. The time of change cannot be set back."""
    found = []
    for path in paths:
        try:
            status = path.stat()
        except OSError as error:
            found.append((str(path), -(error.errno or 1), 0, 0, 0))
        else:
            found.append((str(path), status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns))
    return tuple(found)
