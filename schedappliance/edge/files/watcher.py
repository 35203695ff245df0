"""Decides when the stanza files are read: after a hint and a quiet time, on request, and after an audit poll.

Rule: events are hints, and only the contents count. Files that look half edited wait: some seconds, or as long as the
doubt lasts; see Doubt. `config reload` passes them on at once.
"""

# The way from an event of watchdog to the core. Example: an editor saves sched.conf with two writes, 50 ms apart.
#
#   Watcher.notice        A thread of watchdog posts one hint for both writes.
#   Watcher._hint         The deciding thread begins to wait until it is quiet: until 200 ms after the last write.
#   Watcher._check        It gives the check to the worker, since reading a file may hang.
#   FileChecker.check     The worker reads the files. Their contents differ from those of the last reading.
#   doubt_of              Nothing looks half edited, so the files are passed on.
#   FileChecker._pass_on  The worker applies the overrides and compares the jobs. FilesRead goes to the core, which accepts or
#                         rejects the files.
#
# What can go wrong: the editor was slow, and the last `}` is missing. Then `decide_wait` lets these contents wait, here for
# some seconds. A check after that passes them on, unless the rest has come. A doubt without a patience (a file is still
# open for writing) lasts until a check does not see it any more.

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from schedappliance.clock import Clock
from schedappliance.edge.files.background import free, in_background, make_parsers
from schedappliance.edge.files.directories import Directories, places_of
from schedappliance.edge.files.filesystems import on_network
from schedappliance.edge.files.snapshot import Content, Reading, digest_of, read_content, read_files
from schedappliance.edge.loop import AUDIT_MS
from schedappliance.edge.threads import Worker
from schedappliance.engine.effects import FilesAccepted, ReadFiles
from schedappliance.engine.events import Event, FilesRead, WatchChanged
from schedappliance.engine.reloading import Prepared, is_outdated, prepare, set_since
from schedappliance.model.unfinished import CUT_MS, ONLY_ON_REQUEST, UNFINISHED_MS, Doubt, doubt

if TYPE_CHECKING:
    from watchdog.observers.api import BaseObserver

    from schedappliance.edge.loop import Loop
    from schedappliance.engine.options import Options, Overrides
    from schedappliance.model.configuration import Configuration

# Editors and tools write several files within moments; after a pause of this length they have probably finished.
QUIET_MS = 200
LONGEST_WAIT_MS = 2000
# The audit interval without events, and on file systems where events do not report the changes of other machines.
POLL_MS = 2000
# Reported while the files are read, so that `config status` says why a change of large files is not active yet.
READING = "the stanza files are being read"
# How often a reload is prepared if options are set meanwhile that it counts on.
MOST_PREPARATIONS = 3


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
    """Contents that wait, and why.

    `since_ms`: the boot instant of the first check that saw contents with this digest.
    """

    digest: str | None
    since_ms: int
    reason: str
    is_logged: bool = False


class Decision(NamedTuple):
    """What happens to doubtful contents.

    `check_at`: the boot instant of the next check. `warning`: a line for the log.
    """

    unsettled: Unsettled
    is_over: bool = False
    check_at: int | None = None
    warning: str | None = None


def decide_wait(before: Unsettled | None, digest: str | None, why: Doubt, now_ms: int) -> Decision:
    """Decides how long doubtful contents still wait.

    The wait begins at the first check that sees these contents. It is over after the patience of the doubt. Without a
    patience, it lasts as long as the doubt, and after an audit interval, a warning is logged once.
    """
    since_ms, is_logged = now_ms, False
    if before is not None and before.digest == digest:
        since_ms, is_logged = before.since_ms, before.is_logged
    unsettled = Unsettled(digest, since_ms, why.reason, is_logged)
    if why.patience_ms is not None:
        end_ms = since_ms + why.patience_ms
        return Decision(unsettled, is_over=True) if now_ms >= end_ms else Decision(unsettled, check_at=end_ms)
    if is_logged or now_ms < since_ms + AUDIT_MS:
        return Decision(unsettled)
    return Decision(unsettled._replace(is_logged=True), warning=f"{why.reason}: {why.remedy}")


def doubt_of(reading: Reading, active: Mapping[str, str], guarded: bool) -> Doubt | None:
    """Why a reading may show an unfinished edit; None if it does not.

    `guarded`: the active texts have `Authorization`.
    """
    if reading.shortage is not None:
        return Doubt(
            None, f"the stanza files cannot be read now: {reading.shortage}", "they are read when this has passed"
        )
    if reading.open_for_writing is not None:
        reason = f"{reading.open_for_writing} is open for writing"
        return Doubt(None, reason, "it is read when it is closed, or by `config reload`")
    loaded = reading.loaded
    opens = guarded and loaded.configuration.authorization is None
    why = doubt(loaded.closure, active, loaded.accepted, opens)
    if why is not None and why.patience_ms is None:
        # No other doubt ends this one.
        return why
    if reading.perhaps_open is not None:
        reason = f"{reading.perhaps_open} has been written and not closed"
        return Doubt(None, f"{reason}, without `Authorization`", ONLY_ON_REQUEST) if opens else Doubt(CUT_MS, reason)
    if not reading.is_settled:
        return Doubt(UNFINISHED_MS, "the files change while they are read")
    return why


class Watcher:
    """The side of the deciding thread: turns hints, requests and polls into tasks for the worker."""

    def __init__(
        self,
        root: Path,
        loop: Loop,
        worker: Worker,
        log: logging.Logger,
        active: Callable[[], Options],
        new_observer: Callable[[], BaseObserver] | None = None,
    ) -> None:
        """`active`: the options that are active. Any thread may call it, since options are immutable."""
        self._loop = loop
        self._active = active
        self._worker = worker
        self._window = QuietWindow()
        self._hint_is_posted = False
        # Only the worker calls it.
        self._checker = FileChecker(root, self, loop.clock, log, active, new_observer)

    def open(self, reading: Reading, active: FilesAccepted, is_active: bool = True) -> None:
        """Begins to watch the files that were read at start. Then it checks them, so that it misses no change.

        `is_active`: the start took these files. Otherwise their mistakes are reported; without a mistake, they are doubtful, and
        the check decides about them.

        Its thread also makes the parsers. Otherwise the first line of a client would hold the deciding thread for some 60 ms. It
        does so later, since the jobs that were due before the start need no parser.
        """
        self.note_accepted(active)
        known = reading
        if not is_active and reading.loaded.accepted:
            known = reading._replace(is_settled=False)
        elif not is_active:
            self.post(as_event(reading))
        self._on_worker(lambda checker: checker.remember(known))
        self._on_worker(FileChecker.audit)
        self._loop.alarms.at(self._loop.clock.moment().boot + AUDIT_MS, partial(self._worker.submit, make_parsers))

    def close(self) -> None:
        self._on_worker(FileChecker.close)

    def note_accepted(self, effect: FilesAccepted) -> None:
        """Performs the effect FilesAccepted: remembers the active texts."""
        self._on_worker(lambda checker: checker.set_active(effect))

    def read(self, effect: ReadFiles) -> None:
        """Performs the effect ReadFiles: reads the files at once, even if they look half edited."""
        asked = self._active().overrides if effect.typed else None
        self._on_worker(lambda checker: checker.read(effect, asked))

    def _on_worker(self, task: Callable[[FileChecker], None]) -> None:
        self._worker.submit(partial(task, self._checker))

    def _check(self) -> None:
        self._on_worker(FileChecker.check)

    def _hint(self) -> None:
        self._hint_is_posted = False
        now = self._loop.clock.moment().boot
        is_first = self._window.due() is None
        self._window = self._window.hinted(now)
        if is_first:
            self._loop.alarms.at(now + QUIET_MS, self._after_quiet)

    def _after_quiet(self) -> None:
        now = self._loop.clock.moment().boot
        due = self._window.due()
        assert due is not None
        if now < due:
            self._loop.alarms.at(due, self._after_quiet)
        else:
            self._window = QuietWindow()
            self._check()

    # For all threads: these only post to the inbox.

    def notice(self) -> None:
        """Handles an event of watchdog: sets a flag, and wakes the deciding thread at the first event."""
        if not self._hint_is_posted:
            self._hint_is_posted = True
            self._loop.inbox.post(self._hint)

    def check_at(self, boot_ms: int) -> None:
        self._loop.inbox.post(partial(self._loop.alarms.at, boot_ms, self._check))

    def audit_after(self, milliseconds: int) -> None:
        boot_ms = self._loop.clock.moment().boot + milliseconds
        self._loop.inbox.post(partial(self._loop.alarms.at, boot_ms, partial(self._on_worker, FileChecker.audit)))

    def post(self, event: Event) -> None:
        self._loop.inbox.post(event)


class FileChecker:
    """The side of the worker: checks and reads the files, and posts the readings.

    It needs no lock: only the worker calls it.
    """

    def __init__(
        self,
        root: Path,
        watcher: Watcher,
        clock: Clock,
        log: logging.Logger,
        active: Callable[[], Options],
        new_observer: Callable[[], BaseObserver] | None,
    ) -> None:
        self._root = root
        self._watcher = watcher
        self._clock = clock
        self._log = log
        self._options = active
        self._directories = Directories(watcher.notice, log, POLL_MS, new_observer)
        self._active: dict[str, str] = {}
        self._is_guarded = False
        # Digest and paths of the last reading; no digest if the files changed during it.
        self._digest: str | None = None
        self._paths: tuple[Path, ...] = ()
        # The last reading as an event.
        self._last = FilesRead(None, False, "", None, (), ())
        self._unsettled: Unsettled | None = None
        self._network: str | None = None
        self._reported: WatchChanged | None = None

    def close(self) -> None:
        self._directories.close()

    def set_active(self, effect: FilesAccepted) -> None:
        self._active = dict(effect.texts)
        self._is_guarded = effect.guarded
        if effect.replaced:
            free(effect.replaced)

    def read(self, effect: ReadFiles, asked: Overrides | None) -> None:
        """Reads the files for a user. Contents that were accepted already are not parsed again. `asked`: see `_pass_on`."""
        self._watch()
        contents = self._changed_contents()
        if contents is not None or self._last.configuration is None:
            self._report(READING)
            with in_background():
                self.remember(read_files(self._root, contents))
        self._pass_on(replace(self._last, reply_to=effect.reply_to, typed=effect.typed), asked)
        self._report()

    def _pass_on(self, event: FilesRead, asked: Overrides | None = None) -> None:
        """Passes on files that were read, prepared unless they are rejected.

        `asked`: the overrides when a user typed the reload, which drops them; None: it drops none.
        """
        if event.configuration is not None:
            with in_background():
                event = replace(event, prepared=self._prepare(event.configuration, asked))
        self._watcher.post(event)

    def _prepare(self, files: Configuration, asked: Overrides | None) -> Prepared:
        """Prepares a reload, and does it again if it is outdated then. With 1,000 overrides, this takes 0.2 s each time."""
        for _ in range(MOST_PREPARATIONS):
            active = self._options()
            overrides = active.overrides if asked is None else set_since(asked, active.overrides)
            prepared = prepare(files, active, overrides)
            if not is_outdated(prepared, self._options()):
                break
        return prepared

    def audit(self) -> None:
        """Polls the files. A change is only a hint, since more writes may follow the poll."""
        self._watch()
        if self._changed_contents() is not None:
            self._watcher.notice()
        self._report()
        self._watcher.audit_after(POLL_MS if self._directories.failure or self._network else AUDIT_MS)

    def check(self) -> None:
        """Checks the files after a hint, and reads them if their contents differ from the last reading."""
        self._watch()
        if (contents := self._changed_contents()) is not None:
            self._read_change(contents)
        self._report()

    def _changed_contents(self) -> dict[Path, Content] | None:
        """The contents if they differ from the last reading, else None. If they do not, nothing waits any more."""
        contents = {path: read_content(path) for path in self._paths}
        if digest_of(contents) != self._digest:
            return contents
        self._unsettled = None
        return None

    def _read_change(self, contents: dict[Path, Content]) -> None:
        """Reads the files and passes them on, unless they look half edited."""
        self._report(READING)
        with in_background():
            reading = read_files(self._root, contents, self._active, self._directories.written)
            why = doubt_of(reading, self._active, self._is_guarded)
            if why is None or not self._let_wait(reading, why):
                self.remember(reading)
                self._pass_on(self._last)

    def _let_wait(self, reading: Reading, why: Doubt) -> bool:
        """Lets doubtful contents wait, and plans the next check. Returns False if they have waited long enough."""
        digest = reading.digest if reading.is_settled else None
        decision = decide_wait(self._unsettled, digest, why, self._clock.moment().boot)
        self._unsettled = decision.unsettled
        if decision.warning is not None:
            self._log.warning(decision.warning)
        if decision.check_at is not None:
            self._watcher.check_at(decision.check_at)
        if decision.is_over and why.patience_ms == CUT_MS:
            remedy = "restore the rest if it was cut off"
            self._log.warning("%s for %d seconds, so it is accepted; %s", why.reason, CUT_MS // 1000, remedy)
        return not decision.is_over

    def remember(self, reading: Reading) -> None:
        """Remembers a reading, with which the next check compares the files."""
        self._digest = reading.digest if reading.is_settled else None
        self._paths = reading.paths
        self._unsettled = None
        self._last = as_event(reading)
        if self._watch():
            # A change may have happened while its directory was not watched.
            self._watcher.notice()

    def _watch(self) -> bool:
        """Updates the watches.

        Returns True if they are new: a link leads elsewhere, or a directory or observer was replaced.
        """
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
        """Posts a WatchChanged if its content has changed.

        `waits`: why the files are not active yet, if their contents are not the cause.
        """
        mode = self._directories.mode
        if self._network and self._directories.failure is None:
            mode = f"poll every {POLL_MS // 1000} seconds: {self._network}"
        unsettled = self._unsettled.reason if self._unsettled else None
        report = WatchChanged(mode, waits or unsettled)
        if report != self._reported:
            self._reported = report
            self._watcher.post(report)


def as_event(reading: Reading) -> FilesRead:
    """The event of a reading that no order waits for."""
    loaded = reading.loaded
    configuration = loaded.configuration if loaded.accepted else None
    diagnostics = tuple(loaded.shown())
    for diagnostic in diagnostics:
        # The first place in a long file takes 3 ms, which the deciding thread would need.
        diagnostic.place()
    return FilesRead(None, False, reading.digest, configuration, diagnostics, loaded.texts)
