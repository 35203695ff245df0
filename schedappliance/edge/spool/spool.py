"""The spool directory: any program drops a file of commands, they happen once, and it hears the result.

Law: everything that touches the directory runs on one worker; what is decided there goes through the inbox.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from schedappliance.clock import Clock
from schedappliance.edge.files.directories import AUDIT_MS
from schedappliance.edge.inbox import Inbox
from schedappliance.edge.spool.claiming import Taker
from schedappliance.edge.spool.folders import hold, make_folders
from schedappliance.edge.spool.inotify import COMES, GOES, Arrivals
from schedappliance.edge.spool.publishing import Publisher
from schedappliance.edge.timers import Alarms
from schedappliance.edge.worker import Worker
from schedappliance.engine.effects import PublishResult, PutBack
from schedappliance.engine.events import DropPutBack, SpoolSeen
from schedappliance.engine.intake import Keep, Rules, Waiting


@dataclass(frozen=True, slots=True)
class SpoolSettings:
    """What the appliance file says of the spool. `group` None: only the appliance's user drops."""

    path: Path
    group: str | None
    max_bytes: int
    max_waiting: int
    keep: Keep


@dataclass(slots=True)
class Spool:
    """One spool directory. Events of the directory are hints; what counts is what is found there."""

    settings: SpoolSettings
    inbox: Inbox
    worker: Worker
    alarms: Alarms
    clock: Clock
    log: logging.Logger
    watch: Callable[[int, Callable[[], None]], None]
    unwatch: Callable[[int], None]
    reached: Callable[[str], None] = lambda _boundary: None
    _arrivals: Arrivals = field(init=False)
    _taker: Taker = field(init=False)
    _publisher: Publisher = field(init=False)
    _effects: deque[PublishResult] = field(default_factory=deque)
    _told: Waiting | None = None
    _look_submitted: bool = False
    _alarm: int = 0
    _lock: int | None = None

    def __post_init__(self) -> None:
        path, shared, log = self.settings.path, self.settings.group is not None, self.log
        rules = Rules(os.geteuid(), shared, self.settings.max_bytes, self.settings.max_waiting)
        # Where others drop, a file is taken when its name in tmp/ has gone.
        watched = {path / "new": COMES, path / "tmp": GOES} if shared else {path / "new": COMES}
        self._arrivals = Arrivals(watched, log)
        self._taker = Taker(path, rules, log, self.reached, self._closed)
        self._publisher = Publisher(path, shared, self.settings.keep, log, self.reached)

    def make_folders(self) -> None:
        """Makes the directories and takes the spool for this process alone; raises OSError, Unusable."""
        self._lock = hold(self.settings.path)
        make_folders(self.settings.path, self.settings.group)

    def open(self, last_mark: str | None) -> None:
        """Watches first, then takes up what a crash left, then looks into new/; raises OSError."""
        self._taker.resume(last_mark)
        self._publisher.resume()
        if self._arrivals.descriptor is not None:
            self.watch(self._arrivals.descriptor, self._arrived)
        self._audit()

    def hint(self) -> None:
        """Something may be there to be taken. From any thread; many hints are one look."""
        if not self._look_submitted:
            self._look_submitted = True
            self.worker.submit(self._look)

    def _arrived(self) -> None:
        self._taker.written(self._closed(), self.clock.moment())

    def _closed(self) -> set[str]:
        """What was written there. Whoever asks has taken the hint from everybody else, so it is passed on."""
        closed = self._arrivals.acknowledge()
        if closed is None:
            return set()
        self.hint()
        return closed

    def _audit(self) -> None:
        """What no event tells: the directory may be another one by now."""
        self.alarms.at(self.clock.moment().boot + AUDIT_MS, self._audit)
        self._arrivals.renew()
        self.worker.submit(self._publish)
        self.hint()

    def _look(self) -> None:
        self._look_submitted = False
        moment = self.clock.moment()
        drops = self._taker.look(moment)
        for drop in drops:
            self.inbox.post(drop)
        if (waiting := self._taker.waiting()) != self._told:
            self._told = waiting
            self.inbox.post(SpoolSeen(waiting))
        if drops or self._taker.has_more:
            # When these have been taken: nobody else waits behind more of them than that.
            self.inbox.post(self.hint)
        elif (again := self._taker.next_look(moment)) is not None and not moment.boot < self._alarm <= again:
            self._alarm = max(again, moment.boot + 1)
            self.inbox.post(partial(self.alarms.at, self._alarm, self.hint))

    def publish(self, effect: PublishResult) -> None:
        """The results of one turn are written, and synced, together."""
        self._effects.append(effect)
        if len(self._effects) == 1:
            self.worker.submit(self._publish)

    def _publish(self) -> None:
        effects: list[PublishResult] = []
        while self._effects:
            effects.append(self._effects.popleft())
        self._publisher.publish(effects, self.clock.moment().wall)

    def put_back(self, effect: PutBack) -> None:
        self.worker.submit(partial(self._put_back, effect))

    def _put_back(self, effect: PutBack) -> None:
        self.inbox.post(DropPutBack(effect.requester, effect.name, self._taker.put_back(effect.name)))
        self.hint()

    def close(self) -> None:
        if self._arrivals.descriptor is not None:
            self.unwatch(self._arrivals.descriptor)
        self._arrivals.close()
