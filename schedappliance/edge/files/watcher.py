"""The stanza files: watchdog's events are hints, the digest of their content is the truth, a slow audit poll sees the rest.

Law: what nobody asked for is read when it has been quiet, and waits while it looks as if it were still being written.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from schedappliance.clock import Clock
from schedappliance.edge.files.directories import AUDIT_MS, Directories, places_of
from schedappliance.edge.files.filesystems import on_network
from schedappliance.edge.files.snapshot import RESTLESS, as_event, being_written, contents, inputs, load_stable
from schedappliance.edge.inbox import Inbox
from schedappliance.edge.timers import Alarms
from schedappliance.edge.worker import Worker
from schedappliance.engine.effects import FilesTaken, ReadFiles
from schedappliance.engine.events import WatchChanged
from schedappliance.model.loading import Loaded
from schedappliance.model.unfinished import CUT_MS, UNFINISHED_MS, Doubt, doubt

if TYPE_CHECKING:
    from watchdog.observers.api import BaseObserver

QUIET_MS = 200
LONGEST_WAIT_MS = 2000
# Where events cannot be had, or do not tell what other machines do.
POLL_MS = 2000


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


class Waiting(NamedTuple):
    """Contents that nobody has judged yet, since when they are so, and why."""

    digest: str
    since_ms: int
    reason: str
    warned: bool = False


@dataclass(slots=True)
class Files:
    """The stanza files of one appliance: read at start, on request, after a hint, and by the audit poll.

    What begins with `_on_` runs on the worker, and touches what the worker alone knows.
    """

    root: Path
    inbox: Inbox
    worker: Worker
    alarms: Alarms
    clock: Clock
    log: logging.Logger
    new_observer: Callable[[], BaseObserver] | None = None
    _directories: Directories = field(init=False)
    _window: QuietWindow = field(default_factory=QuietWindow)
    _hinted: bool = False
    _active: dict[str, str] = field(default_factory=dict)
    _guarded: bool = False
    _digest: str = RESTLESS
    _paths: tuple[Path, ...] = ()
    _network: str | None = None
    _waiting: Waiting | None = None
    _told: WatchChanged | None = None

    def __post_init__(self) -> None:
        self._directories = Directories(self._notice, self.log, POLL_MS, self.new_observer)

    def open(self, loaded: Loaded, digest: str, active: FilesTaken) -> None:
        """Begins to watch what was loaded at start. Watching first, then looking again: no change falls in between."""
        self.taken(active)
        self._on_remember(loaded, digest)
        self._audit()

    def taken(self, effect: FilesTaken) -> None:
        """These texts are active now."""
        self._active, self._guarded = dict(effect.texts), effect.guarded

    def _audit(self) -> None:
        polls = self._directories.failure or self._network
        self.alarms.at(self.clock.moment().boot + (POLL_MS if polls else AUDIT_MS), self._audit)
        self.worker.submit(self._on_audit)

    def _look(self) -> None:
        self.worker.submit(self._on_look)

    def _notice(self) -> None:
        """On watchdog's thread, for each of its events: sets a flag, and wakes the deciding thread for the first."""
        if not self._hinted:
            self._hinted = True
            self.inbox.post(self._hint)

    def _hint(self) -> None:
        self._hinted = False
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
            self._look()

    def _look_at(self, boot_ms: int) -> None:
        self.alarms.at(boot_ms, self._look)

    def read(self, effect: ReadFiles) -> None:
        """Whoever asks is not kept waiting."""
        self.worker.submit(partial(self._on_request, effect.requester, effect.typed))

    def _on_request(self, requester: int | None, typed: bool) -> None:
        loaded, digest = load_stable(self.root, self._paths)
        self._on_remember(loaded, digest)
        self.inbox.post(as_event(loaded, requester, typed))
        self._on_tell()

    def _on_audit(self) -> None:
        """What the poll finds is a hint too: it may have come into the middle of many writes."""
        self._on_watch()
        if contents(self._paths) == self._digest:
            self._waiting = None
        else:
            self.inbox.post(self._hint)
        self._on_tell()

    def _on_look(self) -> None:
        """After a hint: nothing happens while the files hold what was read last."""
        self._on_watch()
        if contents(self._paths) == self._digest:
            self._waiting = None
        else:
            self._on_change()
        self._on_tell()

    def _on_change(self) -> None:
        loaded, digest = load_stable(self.root, self._paths)
        if (found := self._doubt(loaded, digest)) and not self._has_waited(digest, found):
            return
        if found and found.patience_ms == CUT_MS:
            remedy = "put the rest back if it was cut"
            self.log.warning("%s, for %d seconds: it is taken so; %s", found.reason, CUT_MS // 1000, remedy)
        self._on_remember(loaded, digest)
        self.inbox.post(as_event(loaded, None, False))

    def _doubt(self, loaded: Loaded, digest: str) -> Doubt | None:
        if path := being_written(loaded, self._active):
            return Doubt(None, f"{path} is open for writing", "it is read when it is closed, or by `config reload`")
        if digest == RESTLESS:
            return Doubt(UNFINISHED_MS, "the files change while they are read")
        opens = self._guarded and loaded.configuration.authorization is None
        return doubt(loaded.closure, self._active, loaded.accepted, opens)

    def _has_waited(self, digest: str, found: Doubt) -> bool:
        """Whether the same contents have been in doubt for as long as they may; if not, there will be another look."""
        now = self.clock.moment().boot
        if self._waiting is None or self._waiting.digest != digest:
            self._waiting = Waiting(digest, now, found.reason)
        since = self._waiting.since_ms
        self._waiting = self._waiting._replace(reason=found.reason)
        if found.patience_ms is None:
            # Its end is told by an event, or seen by the poll.
            self._warn(now, found)
            return False
        if now >= since + found.patience_ms:
            return True
        self.inbox.post(partial(self._look_at, since + found.patience_ms))
        return False

    def _warn(self, now: int, found: Doubt) -> None:
        """Of what may wait for ever; once."""
        assert self._waiting is not None
        if now - self._waiting.since_ms >= AUDIT_MS and not self._waiting.warned:
            self._waiting = self._waiting._replace(warned=True)
            self.log.warning("%s: %s", found.reason, found.remedy)

    def _on_remember(self, loaded: Loaded, digest: str) -> None:
        """What is read is what the next look compares with."""
        self._digest, self._paths, self._waiting = digest, inputs(loaded), None
        if self._on_watch():
            # What happened while nothing was watched is looked for.
            self.inbox.post(self._hint)

    def _on_watch(self) -> bool:
        """Where the links lead may have changed, directories may have been replaced, the observer may have died."""
        places = places_of(self._paths)
        names = (f"{place} is on {name}" for place in sorted(places) if (name := on_network(place)))
        network = next(names, None)
        if network and network != self._network:
            seconds = POLL_MS // 1000
            self.log.warning("%s, where events do not tell all; it is polled every %d seconds", network, seconds)
        self._network = network
        return self._directories.watch(places)

    def _on_tell(self) -> None:
        """How changes are seen from now on, and what waits, for `config status`."""
        mode = self._directories.mode
        if self._network and self._directories.failure is None:
            mode = f"poll every {POLL_MS // 1000} seconds: {self._network}"
        told = WatchChanged(mode, self._waiting.reason if self._waiting else None)
        if told != self._told:
            self._told = told
            self.inbox.post(told)

    def close(self) -> None:
        self._directories.close()
