"""The spool directory: watches it, has files claimed and results published, and passes drops to the core.

Rule: everything that touches the directory runs on one worker; drops reach the core through the inbox.
"""

from __future__ import annotations

import logging
import os
import select
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from schedappliance.edge.files.directories import AUDIT_MS
from schedappliance.edge.spool.claiming import Claimer
from schedappliance.edge.spool.folders import lock_spool, make_folders
from schedappliance.edge.spool.inotify import COMES, GOES, Arrivals
from schedappliance.edge.spool.publishing import Publisher
from schedappliance.edge.worker import Worker
from schedappliance.engine.effects import PublishResult, PutBack
from schedappliance.engine.events import DropPutBack, SpoolSeen
from schedappliance.engine.intake import Keep, Rules, SpoolBacklog

if TYPE_CHECKING:
    from schedappliance.edge.loop import Loop


@dataclass(frozen=True, slots=True)
class SpoolSettings:
    """What the appliance file says about the spool. `group` None: only the appliance's user drops files."""

    path: Path
    group: str | None
    max_bytes: int
    max_waiting: int
    keep: Keep


@dataclass(slots=True)
class Spool:
    """One spool directory. Its events are hints; what counts is what lies there."""

    settings: SpoolSettings
    loop: Loop
    worker: Worker
    log: logging.Logger
    reached: Callable[[str], None] = lambda _boundary: None
    _arrivals: Arrivals = field(init=False)
    _claimer: Claimer = field(init=False)
    _publisher: Publisher = field(init=False)
    _effects: deque[PublishResult] = field(default_factory=deque)
    _reported: SpoolBacklog | None = None
    _look_submitted: bool = False
    _alarm: int = 0
    _lock: int | None = None

    def __post_init__(self) -> None:
        path, shared, log = self.settings.path, self.settings.group is not None, self.log
        rules = Rules(os.geteuid(), shared, self.settings.max_bytes, self.settings.max_waiting)
        # In a shared spool a file with two names is rejected: it is claimed when its name in tmp/ is removed.
        watched = {path / "new": COMES, path / "tmp": GOES} if shared else {path / "new": COMES}
        self._arrivals = Arrivals(watched, log)
        self._claimer = Claimer(path, rules, log, self.reached, self._take_closed)
        self._publisher = Publisher(path, shared, self.settings.keep, log, self.reached)

    def make_folders(self) -> None:
        """Makes the directories and locks the spool for this process; raises OSError, Unusable."""
        self._lock = lock_spool(self.settings.path)
        make_folders(self.settings.path, self.settings.group)

    def open(self, last_mark: str | None) -> None:
        """Takes up what a crash left, then watches new/, then looks into it; raises OSError."""
        self._claimer.resume(last_mark)
        self._publisher.resume()
        if self._arrivals.descriptor is not None:
            self.loop.watch(self._arrivals.descriptor, select.EPOLLIN, self._on_arrival)
        self._audit()

    def hint(self) -> None:
        """Has the worker look into new/. May be called from any thread; many hints cause one look."""
        if not self._look_submitted:
            self._look_submitted = True
            self.worker.submit(self._look)

    def _on_arrival(self, _events: int) -> None:
        self._claimer.note_written(self._take_closed(), self.loop.clock.moment())

    def _take_closed(self) -> set[str]:
        """The files that were written in new/. The events are gone then, so the hint that they give is passed on."""
        closed = self._arrivals.acknowledge()
        if closed is None:
            return set()
        self.hint()
        return closed

    def _audit(self) -> None:
        """For what no event reports: a replaced directory, lost events, and results that could not be published."""
        self.loop.alarms.at(self.loop.clock.moment().boot + AUDIT_MS, self._audit)
        self._arrivals.renew()
        self.worker.submit(self._publish)
        self.hint()

    def _look(self) -> None:
        self._look_submitted = False
        moment = self.loop.clock.moment()
        drops = self._claimer.look(moment)
        for drop in drops:
            self.loop.inbox.post(drop)
        if (backlog := self._claimer.backlog()) != self._reported:
            self._reported = backlog
            self.loop.inbox.post(SpoolSeen(backlog))
        if drops or self._claimer.has_more:
            # After the turn of these drops: console lines never wait behind more than one look.
            self.loop.inbox.post(self.hint)
        elif (again := self._claimer.next_look(moment)) is not None and not moment.boot < self._alarm <= again:
            self._alarm = max(again, moment.boot + 1)
            self.loop.alarms.at(self._alarm, self.hint)

    def publish(self, effect: PublishResult) -> None:
        """Has a result written. The results of one turn are written and synced together."""
        self._effects.append(effect)
        if len(self._effects) == 1:
            self.worker.submit(self._publish)

    def _publish(self) -> None:
        effects: list[PublishResult] = []
        while self._effects:
            effects.append(self._effects.popleft())
        self._publisher.publish(effects, self.loop.clock.moment().wall)

    def put_back(self, effect: PutBack) -> None:
        self.worker.submit(partial(self._put_back, effect))

    def _put_back(self, effect: PutBack) -> None:
        self.loop.inbox.post(DropPutBack(effect.reply_to, effect.name, self._claimer.put_back(effect.name)))
        self.hint()

    def close(self) -> None:
        if self._arrivals.descriptor is not None:
            self.loop.unwatch(self._arrivals.descriptor)
        self._arrivals.close()
