"""Checks at each interval that the store, the locks and the socket that the daemon holds are still the files at their paths.

Rule: it runs on the deciding thread, so it makes only calls that cannot block for long.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from schedappliance.edge.loop import AUDIT_MS
from schedappliance.edge.programs.survivors import command_of
from schedappliance.edge.spool.folders import lock_path_in
from schedappliance.engine.events import AuditDue
from schedappliance.kinds import in_words
from schedappliance.lockfile import LockLost
from schedappliance.model.files import real_path
from schedappliance.store.files import LOG_LIMIT_BYTES, lock_path_of, log_bytes, log_readers

if TYPE_CHECKING:
    from schedappliance.boot.opening import Frame
    from schedappliance.edge.console.server import ConsoleServer
    from schedappliance.edge.spool.device import Spool
    from schedappliance.edge.zones import ZoneWatch
    from schedappliance.store.tables import Store


@dataclass(slots=True)
class Audit:
    """`reader`: the last process that a warning about a long log named. `trouble`: why the last audit was incomplete.

    `astray`: the links that led elsewhere then.
    """

    frame: Frame
    store: Store
    spool: Spool | None
    console: ConsoleServer | None
    zones: ZoneWatch
    reader: int | None = None
    trouble: str = ""
    astray: tuple[Path, ...] = ()

    def run(self) -> None:
        """Checks the store's files, the locks and the socket now and at each interval. Raises LockLost.

        An idle appliance commits nothing, so no transaction checks the names. Without its locks, the appliance must not
        write to the store any more: it ends at once, and the next start adopts its programs.
        """
        if self.store.path and not self.store.is_locked:
            raise LockLost(lock_path_of(self.store.path))
        if self.spool and not self.spool.has_its_lock:
            raise LockLost(lock_path_in(self.spool.settings.path))
        checks: list[Callable[[], None]] = [self._name_reader, self._look_at_links, self.zones.check]
        if self.console:
            checks.append(self.console.audit)
        trouble = ""
        for check in checks:
            try:
                check()
            except OSError as error:
                # There may be no free descriptor. The next audit checks again.
                trouble = f"the audit is incomplete: {in_words(error)}"
        if trouble and trouble != self.trouble:
            self.frame.log.logger.warning(trouble)
        self.trouble = trouble
        self.frame.log.audit()
        loop = self.frame.loop
        loop.inbox.post(AuditDue(self.frame.log.trouble or self._log_astray()))
        loop.alarms.at(loop.clock.moment().boot + AUDIT_MS, self.run)

    def _look_at_links(self) -> None:
        """Warns of symbolic links that lead elsewhere now: clients and the next start go there. The store checks its own."""
        links = self.frame.file.links
        astray = tuple(link for link, directory in links.items() if real_path(link) != directory)
        for link in sorted(set(astray) - set(self.astray)):
            message = "the links in %s lead to %s now; until a restart, the appliance uses %s"
            self.frame.log.logger.warning(message, link, real_path(link), links[link])
        self.astray = astray

    def _log_astray(self) -> str | None:
        """Why nobody finds the log, although it is written: a link on the way to it leads elsewhere now."""
        file = self.frame.file
        for link in self.astray:
            if file.log_file and file.links[link] == file.log_file.parent:
                remedy = "restart the appliance, or let them lead back"
                return f"the links in {link} lead to {real_path(link)} now, and the log goes on in {file.links[link]}; {remedy}"
        return None

    def _name_reader(self) -> None:
        """Warns of a process that keeps the log of the store long, once for each process."""
        if (store := self.store.path) is None:
            return
        pids = log_readers(store) if log_bytes(store) > LOG_LIMIT_BYTES else []
        pid = pids[0] if pids else None
        if pid is not None and pid != self.reader:
            who = "a client of this appliance" if pid == os.getpid() else f"pid {pid} ({command_of(pid)})"
            size = log_bytes(store) // 1024**2
            message = "the log %s-wal has %d MiB, and grows while %s reads the store"
            self.frame.log.logger.warning(message, store, size, who)
        self.reader = pid
