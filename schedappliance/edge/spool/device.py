"""The device of the spool: watches the directory, lets Claimer take files and Publisher write results, and passes drops on.

Rule: everything that touches the directory runs on one worker, and drops reach the core through the inbox.
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

from schedappliance.diagnostics import Unusable
from schedappliance.edge.loop import AUDIT_MS
from schedappliance.edge.own_directory import OwnDirectory
from schedappliance.edge.spool.claiming import Claimer
from schedappliance.edge.spool.folders import (
    folder_problem,
    lock_path_in,
    lock_spool,
    make_folders,
    make_spool_again,
    missing_folders,
    mount_problem,
    without_spool,
)
from schedappliance.edge.spool.inotify import COMES, GOES, Arrivals
from schedappliance.edge.spool.publishing import Publisher
from schedappliance.edge.threads import Worker
from schedappliance.edge.user_namespace import stranger_uid
from schedappliance.edge.users import group_number
from schedappliance.engine.effects import PublishResult, PutBack
from schedappliance.engine.events import DropPutBack, SpoolSeen
from schedappliance.engine.intake import Keep, Rules, SpoolBacklog
from schedappliance.kinds import unseen
from schedappliance.lockfile import is_in_place

if TYPE_CHECKING:
    from schedappliance.edge.loop import Loop


@dataclass(frozen=True, slots=True)
class SpoolSettings:
    """The settings of the spool in the appliance file. `group`: None if only the appliance's user drops files.

    `is_beside_store`: it lies in the directory of the store, which may have been moved by mistake.
    """

    path: Path
    group: str | None
    max_bytes: int
    max_waiting: int
    keep: Keep
    is_beside_store: bool = False


@dataclass(slots=True)
class Spool:
    """One spool directory. Events are hints; only the files in the directory count.

    Raises Unusable if there is no group of the name in the settings.
    """

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
    # Why the spool must not be touched, and the trouble that the core was told last.
    _problem: str | None = None
    _told: str | None = None
    _look_submitted: bool = False
    _alarm: int = 0
    _lock: int | None = None
    # The status of the spool's directory at the start, which a new one gets too, and the directory above.
    _first_status: os.stat_result | None = None
    _above: OwnDirectory | None = None
    _is_making: bool = False
    # Why the last audit could not make missing directories again; None if it could, or none was missing.
    _why_not_mended: str | None = None

    def __post_init__(self) -> None:
        path = self.settings.path
        log = self.log
        shared = self.settings.group is not None
        gid = group_number(self.settings.group, "spool.group") if self.settings.group is not None else None
        own = os.geteuid()
        rules = Rules(own, gid, self.settings.max_bytes, self.settings.max_waiting, stranger_uid())
        # A shared spool rejects a file that still has two names after a moment. The removal of the name in tmp/ is an
        # event, so that the file is claimed at once.
        watched = {path / "new": COMES, path / "tmp": GOES} if shared else {path / "new": COMES}
        self._arrivals = Arrivals(watched, log)
        self._claimer = Claimer(path, rules, log, self.reached, self._take_closed)
        self._publisher = Publisher(path, shared, self.settings.keep, log, self.reached)

    def make_folders(self) -> None:
        """Creates the directories and locks the spool for this process. Raises OSError, Unusable."""
        self._lock = lock_spool(self.settings.path)
        make_folders(self.settings.path, self.settings.group)
        self._first_status = self.settings.path.stat()
        if self.settings.is_beside_store:
            self._above = OwnDirectory(self.settings.path.parent)

    @property
    def has_its_lock(self) -> bool:
        """False only if somebody has removed or replaced the lock file of a spool that is there."""
        path = self.settings.path
        if self._lock is None or self._is_making:
            return True
        return is_in_place(self._lock, lock_path_in(path)) or not path.exists()

    def open(self, last_mark: str | None) -> None:
        """Continues with the files that a crash left, then watches new/, then lists it. Raises OSError."""
        self._claimer.resume(last_mark)
        self._publisher.list_published()
        if self._arrivals.descriptor is not None:
            self.loop.watch(self._arrivals.descriptor, select.EPOLLIN, self._on_arrival)
        self._audit()

    def hint(self) -> None:
        """Makes the worker list new/ soon. May be called from any thread; many hints cause one listing."""
        if not self._look_submitted:
            self._look_submitted = True
            self.worker.submit(self._look)

    def _on_arrival(self, _events: int) -> None:
        self._claimer.note_written(self._take_closed(), self.loop.clock.moment())

    def _take_closed(self) -> set[str]:
        """The files that were written in new/. Reading the events consumes them, so this method also calls `hint`."""
        closed = self._arrivals.acknowledge()
        if closed is None:
            return set()
        self.hint()
        return closed

    def _audit(self) -> None:
        """Handles what no event reports: removed or replaced directories, lost events, results that were not published."""
        self.loop.alarms.at(self.loop.clock.moment().boot + AUDIT_MS, self._audit)
        self.worker.submit(self._watch)
        self.worker.submit(self._publish)
        self.hint()

    def _watch(self) -> None:
        # Only the audit mends. Somebody may be removing the whole spool now: a directory that is made again at once would be in
        # the way.
        path = self.settings.path
        self._why_not_mended = None if folder_problem(path) else mount_problem(path) or self._mend()
        if not self._check_folders():
            self._arrivals.renew()

    def _check_folders(self) -> str | None:
        """Finds out whether the spool may be touched. Returns the problem, if there is one."""
        self._problem = folder_problem(self.settings.path) or self._why_not_mended
        self._tell_trouble()
        return self._problem

    def _tell_trouble(self) -> None:
        """Reports why the spool cannot be used, when that changes."""
        before = self._told
        self._told = self._problem or self._claimer.trouble or self._publisher.trouble
        if self._told == before:
            return
        if self._told is not None:
            self.log.error("degraded: %s", self._told)
        else:
            self.log.info("spool: it can be used again")
        self.loop.inbox.post(SpoolSeen(self._reported or SpoolBacklog(), self._told))

    def _mend(self) -> str | None:
        """Makes the directories that were removed again, as at start. Returns why that is impossible."""
        missing = missing_folders(self.settings.path)
        if not missing or self._first_status is None:
            return None
        self._is_making = True
        try:
            if self._above:
                self._above.check()
            if missing == [self.settings.path]:
                lock, self._lock = self._lock, make_spool_again(self.settings.path, self._first_status)
                if lock is not None:
                    os.close(lock)
            make_folders(self.settings.path, self.settings.group)
        except OSError as error:
            why = unseen(missing[0]) or f"{missing[0]} is missing and cannot be made again: {error.strerror}"
            return without_spool(why)
        except Unusable as unusable:
            return without_spool(f"{missing[0]} is missing and cannot be made again: {unusable.message}")
        finally:
            self._is_making = False
        names = ", ".join(map(str, missing))
        self.log.warning("spool: %s was removed and is made again; drops that were in it are lost", names)
        return None

    def _look(self) -> None:
        self._look_submitted = False
        if self._check_folders():
            return
        moment = self.loop.clock.moment()
        drops = self._claimer.look(moment)
        self._tell_trouble()
        for drop in drops:
            self.loop.inbox.post(drop)
        if (backlog := self._claimer.backlog()) != self._reported:
            self._reported = backlog
            self.loop.inbox.post(SpoolSeen(backlog, self._told))
        if drops or self._claimer.has_more:
            # The next listing follows the turn of these drops, so that console lines wait for at most one batch of drops.
            self.loop.inbox.post(self.hint)
        elif (again := self._claimer.next_look(moment)) is not None and not moment.boot < self._alarm <= again:
            # No alarm is set that rings by then.
            self._alarm = max(again, moment.boot + 1)
            self.loop.alarms.at(self._alarm, self.hint)

    def publish(self, effect: PublishResult) -> None:
        """Performs the effect PublishResult. The results of one turn are written and synced together."""
        self._effects.append(effect)
        if len(self._effects) == 1:
            self.worker.submit(self._publish)

    def _publish(self) -> None:
        effects: list[PublishResult] = []
        if self._check_folders():
            # The effects stay in the queue. The audit submits this task again.
            return
        while self._effects:
            effects.append(self._effects.popleft())
        self._publisher.publish(effects, self.loop.clock.moment().wall)
        self._tell_trouble()

    def put_back(self, effect: PutBack) -> None:
        """Performs the effect PutBack."""
        self.worker.submit(partial(self._put_back, effect))

    def _put_back(self, effect: PutBack) -> None:
        problem = self._check_folders() or self._claimer.put_back(effect.name, effect.uid)
        self.loop.inbox.post(DropPutBack(effect.reply_to, effect.name, problem))
        self.hint()

    def close(self) -> None:
        if self._arrivals.descriptor is not None:
            self.loop.unwatch(self._arrivals.descriptor)
        self._arrivals.close()
