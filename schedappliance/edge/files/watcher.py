"""Decides when the stanza files are read: after a hint and a quiet time, on request, and after an audit poll.

Rule: events are hints, and only the contents count. Without a request, files are not passed on while they look as if an
edit were still in progress.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from schedappliance.clock import Clock
from schedappliance.edge.files.directories import Directories, places_of
from schedappliance.edge.files.filesystems import on_network
from schedappliance.edge.files.snapshot import Content, Reading, digest_of, read_content, read_files
from schedappliance.edge.loop import AUDIT_MS
from schedappliance.edge.threads import Worker
from schedappliance.engine.effects import FilesAccepted, ReadFiles
from schedappliance.engine.events import Event, FilesRead, WatchChanged
from schedappliance.model.unfinished import CUT_MS, UNFINISHED_MS, Doubt, doubt

if TYPE_CHECKING:
    from watchdog.observers.api import BaseObserver

    from schedappliance.edge.loop import Loop

# Editors and tools write several files within moments; after a pause of this length they have probably finished.
QUIET_MS = 200
LONGEST_WAIT_MS = 2000
# The audit interval without events, and on file systems where events do not report the changes of other machines.
POLL_MS = 2000
# Reported while the files are read, so that `config status` says why a change of large files is not active yet.
READING = "the stanza files are being read"


class QuietWindow(NamedTuple):
    """Joins many hints into one check, after a quiet time, but at most LONGEST_WAIT_MS after the first hint."""

    first_ms: int | None = None
    last_ms: int = 0

    def hinted(self, now_ms: int) -> QuietWindow:
        return QuietWindow(now_ms if self.first_ms is None else self.first_ms, now_ms)

    def due(self) -> int | None:
        """The boot instant of the check; None without a hint."""
        if self.first_ms is None:
            return None
        return min(self.last_ms + QUIET_MS, self.first_ms + LONGEST_WAIT_MS)


class Unsettled(NamedTuple):
    """Contents that wait: their digest, since which boot instant they have it, and why they wait."""

    digest: str | None
    since_ms: int
    reason: str
    is_logged: bool = False


class Delay(NamedTuple):
    """The decision about doubtful contents. `look_at`: the boot instant of the next check. `warning`: a line for the log."""

    unsettled: Unsettled
    is_over: bool = False
    look_at: int | None = None
    warning: str | None = None


def delay(before: Unsettled | None, digest: str | None, why: Doubt, now_ms: int) -> Delay:
    """How long doubtful contents still wait. The wait begins at the first check that sees them, and lasts for its patience.

    Without a patience, an event or the audit poll ends the wait; a warning is logged once, after an audit interval.
    """
    since_ms, is_logged = now_ms, False
    if before is not None and before.digest == digest:
        since_ms, is_logged = before.since_ms, before.is_logged
    unsettled = Unsettled(digest, since_ms, why.reason, is_logged)
    if why.patience_ms is not None:
        end_ms = since_ms + why.patience_ms
        return Delay(unsettled, is_over=True) if now_ms >= end_ms else Delay(unsettled, look_at=end_ms)
    if is_logged or now_ms < since_ms + AUDIT_MS:
        return Delay(unsettled)
    return Delay(unsettled._replace(is_logged=True), warning=f"{why.reason}: {why.remedy}")


def doubt_of(reading: Reading, active: Mapping[str, str], guarded: bool) -> Doubt | None:
    """Why a reading may show an unfinished edit; None if it does not. `guarded`: the active texts have `Authorization`."""
    if reading.shortage is not None:
        return Doubt(
            None, f"the stanza files cannot be read now: {reading.shortage}", "they are read when this has passed"
        )
    if reading.open_for_writing is not None:
        reason = f"{reading.open_for_writing} is open for writing"
        return Doubt(None, reason, "it is read when it is closed, or by `config reload`")
    if not reading.is_settled:
        return Doubt(UNFINISHED_MS, "the files change while they are read")
    loaded = reading.loaded
    opens = guarded and loaded.configuration.authorization is None
    return doubt(loaded.closure, active, loaded.accepted, opens)


class Calls(NamedTuple):
    """The calls from the worker to the deciding thread. Any thread may make them, since each only posts to the inbox."""

    hint: Callable[[], None]
    look_at: Callable[[int], None]
    audit_after: Callable[[int], None]
    post: Callable[[Event], None]


class Watcher:
    """The side of the deciding thread: turns hints, requests and polls into tasks for the worker.

    The contents of the last reading belong to a `Lookout`, which only the worker can reach.
    """

    def __init__(
        self,
        root: Path,
        loop: Loop,
        worker: Worker,
        log: logging.Logger,
        new_observer: Callable[[], BaseObserver] | None = None,
    ) -> None:
        self._loop = loop
        self._window = QuietWindow()
        self._hint_is_posted = False
        calls = Calls(
            hint=self._notice,
            look_at=lambda boot_ms: loop.inbox.post(partial(loop.alarms.at, boot_ms, self._look)),
            audit_after=lambda milliseconds: loop.inbox.post(partial(self._audit_after, milliseconds)),
            post=loop.inbox.post,
        )
        lookout = Lookout(root, calls, loop.clock, log, new_observer)
        self._on_worker: Callable[[Callable[[Lookout], None]], None] = lambda task: worker.submit(
            partial(task, lookout)
        )

    def open(self, reading: Reading, active: FilesAccepted) -> None:
        """Begins to watch the files that were read at start. Then it checks them, so that it misses no change."""
        self.note_accepted(active)
        self._on_worker(lambda lookout: lookout.remember(reading))
        self._on_worker(Lookout.audit)

    def close(self) -> None:
        self._on_worker(Lookout.close)

    def note_accepted(self, effect: FilesAccepted) -> None:
        """Performs the effect FilesAccepted: remembers the active texts."""
        self._on_worker(lambda lookout: lookout.set_active(effect))

    def read(self, effect: ReadFiles) -> None:
        """Performs the effect ReadFiles: reads the files at once, even if they look unfinished."""
        self._on_worker(lambda lookout: lookout.read(effect))

    def _audit_after(self, milliseconds: int) -> None:
        self._loop.alarms.at(self._loop.clock.moment().boot + milliseconds, partial(self._on_worker, Lookout.audit))

    def _look(self) -> None:
        self._on_worker(Lookout.look)

    def _notice(self) -> None:
        """Handles an event of watchdog, on any thread: sets a flag, and wakes the deciding thread at the first event."""
        if not self._hint_is_posted:
            self._hint_is_posted = True
            self._loop.inbox.post(self._hint)

    def _hint(self) -> None:
        self._hint_is_posted = False
        now = self._loop.clock.moment().boot
        is_first = self._window.due() is None
        self._window = self._window.hinted(now)
        if is_first:
            self._loop.alarms.at(now + QUIET_MS, self._after_quiet)

    def _after_quiet(self) -> None:
        now, due = self._loop.clock.moment().boot, self._window.due()
        assert due is not None
        if now < due:
            self._loop.alarms.at(due, self._after_quiet)
        else:
            self._window = QuietWindow()
            self._look()


class Lookout:
    """The side of the worker: checks and reads the files, and posts the readings. It is the one owner of the active texts."""

    def __init__(
        self,
        root: Path,
        calls: Calls,
        clock: Clock,
        log: logging.Logger,
        new_observer: Callable[[], BaseObserver] | None,
    ) -> None:
        self._root = root
        self._calls = calls
        self._clock = clock
        self._log = log
        self._directories = Directories(calls.hint, log, POLL_MS, new_observer)
        self._active: dict[str, str] = {}
        self._is_guarded = False
        # Digest and paths of the last reading; no digest if the files changed during it.
        self._digest: str | None = None
        self._paths: tuple[Path, ...] = ()
        self._unsettled: Unsettled | None = None
        self._network: str | None = None
        self._reported: WatchChanged | None = None

    def close(self) -> None:
        self._directories.close()

    def set_active(self, effect: FilesAccepted) -> None:
        self._active, self._is_guarded = dict(effect.texts), effect.guarded

    def read(self, effect: ReadFiles) -> None:
        self._report(READING)
        reading = read_files(self._root)
        self.remember(reading)
        self._calls.post(as_event(reading, effect))
        self._report()

    def audit(self) -> None:
        """Polls the files. A change is only a hint, since more writes may follow the poll."""
        self._watch()
        if self._changed() is not None:
            self._calls.hint()
        self._report()
        self._calls.audit_after(POLL_MS if self._directories.failure or self._network else AUDIT_MS)

    def look(self) -> None:
        """Checks the files after a hint, and reads them if their contents differ from the last reading."""
        self._watch()
        if (contents := self._changed()) is not None:
            self._read_changed(contents)
        self._report()

    def _changed(self) -> dict[Path, Content] | None:
        """The contents, if they differ from the last reading; otherwise nothing waits any more."""
        contents = {path: read_content(path) for path in self._paths}
        if digest_of(contents) != self._digest:
            return contents
        self._unsettled = None
        return None

    def _read_changed(self, contents: dict[Path, Content]) -> None:
        self._report(READING)
        reading = read_files(self._root, contents, self._active)
        if why := doubt_of(reading, self._active, self._is_guarded):
            digest = reading.digest if reading.is_settled else None
            step = delay(self._unsettled, digest, why, self._clock.moment().boot)
            self._unsettled = step.unsettled
            if step.warning is not None:
                self._log.warning(step.warning)
            if step.look_at is not None:
                self._calls.look_at(step.look_at)
            if not step.is_over:
                return
            if why.patience_ms == CUT_MS:
                remedy = "restore the rest if it was cut off"
                self._log.warning("%s for %d seconds, so it is accepted; %s", why.reason, CUT_MS // 1000, remedy)
        self.remember(reading)
        self._calls.post(as_event(reading))

    def remember(self, reading: Reading) -> None:
        """Remembers a reading, with which the next check compares the files."""
        self._digest = reading.digest if reading.is_settled else None
        self._paths, self._unsettled = reading.paths, None
        if self._watch():
            # A change may have happened while its directory was not watched.
            self._calls.hint()

    def _watch(self) -> bool:
        """Updates the watches. Returns True if they are new: a link leads elsewhere, or a directory or observer was replaced."""
        places = places_of(self._paths)
        names = (f"{place} is on {name}" for place in sorted(places) if (name := on_network(place)))
        network = next(names, None)
        if network and network != self._network:
            seconds = POLL_MS // 1000
            self._log.warning(
                "%s, where events do not report all changes; it is polled every %d seconds", network, seconds
            )
        self._network = network
        return self._directories.watch(places)

    def _report(self, waits: str | None = None) -> None:
        """Posts a WatchChanged if its content has changed. `waits`: a reason to wait other than unsettled files."""
        mode = self._directories.mode
        if self._network and self._directories.failure is None:
            mode = f"poll every {POLL_MS // 1000} seconds: {self._network}"
        report = WatchChanged(mode, waits or (self._unsettled.reason if self._unsettled else None))
        if report != self._reported:
            self._reported = report
            self._calls.post(report)


def as_event(reading: Reading, request: ReadFiles | None = None) -> FilesRead:
    """The event of a reading. Without a request, no order waits for it."""
    reply_to, typed = (request.reply_to, request.typed) if request else (None, False)
    loaded = reading.loaded
    configuration = loaded.configuration if loaded.accepted else None
    return FilesRead(reply_to, typed, reading.digest, configuration, tuple(loaded.shown()), loaded.texts)
