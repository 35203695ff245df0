"""Store: opens the database, and groups the tables Jobs, Runs, Incidents, Drops, Settings and Counters.

Rule: the name and the identity of a store are set when it is created, and never change.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from heapq import merge
from pathlib import Path
from sqlite3 import sqlite_version

from schedappliance.engine.records import RunKey
from schedappliance.store.database import Database
from schedappliance.store.drops import Drops
from schedappliance.store.files import LOG
from schedappliance.store.history import FoundRuns, PastRun, RunFilter
from schedappliance.store.incidents import Incidents
from schedappliance.store.jobs import BEFORE_ALL, Jobs, ListedJob, Place
from schedappliance.store.loss import loss_of, remedy_for
from schedappliance.store.opening import open_database
from schedappliance.store.runs import Runs
from schedappliance.store.settings import Counters, Settings

# The keys of `meta` that each start sets: the path of the store, and the daemon that uses it.
PLACE, DAEMON = "place", "daemon"
# The most characters of commands that a page of the list keeps in memory; one row may exceed them. Each client that
# reads a list slowly keeps a page.
PAGE_CHARACTERS = 64 * 1024
# The most rows of a page: reading a page takes 1 ms, in which the deciding thread does nothing else.
LISTED_AT_ONCE = 100


class Store:
    """The rows of one appliance. `node`: its name. `identity`: distinguishes stores whose nodes have the same name."""

    def __init__(self, database: Database, runs: Runs | None = None) -> None:
        """`runs`: the table of runs on the same database, for a caller that observes what is written to it."""
        self._database = database
        # By the names of `metrics`; none for a store in memory.
        path = database.path
        self._sized = {"store_bytes": path, "store_log_bytes": Path(f"{path}{LOG}")} if path else {}
        self.transaction, self.savepoint = database.transaction, database.savepoint
        self.write_deferred = database.write_deferred
        # The repairs of the last transactions, until they are logged: see Database.
        self.repairs = database.repairs
        self.jobs = Jobs(database)
        self.runs = Runs(database) if runs is None else runs
        self.incidents = Incidents(database)
        self.settings = Settings(database)
        self.drops = Drops(database)
        self.counters = Counters(database)
        self.node = str(self.settings.meta("node") or "")
        self.identity = str(self.settings.meta("identity") or "")

    @property
    def path(self) -> Path | None:
        return self._database.path

    def original(self, path: Path) -> str | None:
        """The path of the store of which the file `path` is a copy, unless it was moved from there; None if it is neither."""
        place = self.settings.meta(PLACE)
        return None if place in (None, place_of(path)) else str(place)

    @property
    def loss(self) -> str | None:
        """What may have been lost with a part of the log, and what to do; None if nothing, or if somebody has seen to it."""
        loss = loss_of(self.path) if self.path else None
        return f"{loss}; {remedy_for(self.path)}" if self.path and loss else None

    @property
    def is_upgraded(self) -> bool:
        """Whether the file existed with the schema of an earlier version."""
        return self._database.is_upgraded

    @property
    def is_view(self) -> bool:
        """Whether the disk has no room, so that the store can only be read until the next transaction."""
        return self._database.is_view

    @property
    def writes(self) -> int:
        """How many rows were written since the start: another number means that something has changed."""
        return self._database.writes

    @property
    def sqlite_version(self) -> str:
        return sqlite_version

    def sizes(self) -> dict[str, int]:
        """The bytes of the store file and of its log, by the names of `metrics`; none for a store in memory."""
        sizes = {}
        for name, path in self._sized.items():
            with suppress(OSError):
                sizes[name] = path.stat().st_size
        return sizes

    @property
    def unchecked(self) -> bool:
        """Whether the check at start was skipped, since it would have taken too long."""
        return self._database.unchecked

    @property
    def is_in_place(self) -> bool:
        """Whether the names of the store's files still lead to the open files."""
        return self._database.is_in_place

    def follow(self, link: Path | None) -> None:
        """From now on, the store is in its place only if this path leads to it too."""
        self._database.follow(link)

    @property
    def is_locked(self) -> bool:
        """Whether the lock file is in its place, so that no other process can lock the store."""
        return self._database.is_locked

    def listed(self, page: int = LISTED_AT_ONCE, after: Place = BEFORE_ALL) -> Iterator[ListedJob]:
        """The rows of `sched list` after a place, read while they are sent. Later commits do not appear in them."""
        with self._present() as database:
            jobs = Jobs(database)
            waiting, paused = (_pages(jobs, after, page, paused) for paused in (False, True))
            yield from merge(waiting, paused, key=lambda job: job.place)

    def history(self, wanted: RunFilter, before: PastRun | None, limit: int) -> FoundRuns:
        """The rows of `sched history`, read while they are sent. Later commits do not appear in them."""
        return FoundRuns(self._present, wanted, before, limit)

    def history_here(self, wanted: RunFilter, before: PastRun | None, limit: int) -> FoundRuns:
        """As `history`, but including the changes of the open transaction."""
        return FoundRuns(lambda: nullcontext(self._database), wanted, before, limit)

    @contextmanager
    def _present(self) -> Iterator[Database]:
        """The rows of this moment, until the end of the block."""
        database = self._database.snapshot()
        try:
            yield database
        finally:
            if database is not self._database:
                database.close()

    def listed_here(self, limit: int, after: Place = BEFORE_ALL) -> list[ListedJob]:
        """The next rows of `sched list` after a place, including the changes of the open transaction."""
        rows = self.jobs.page(after, limit) + self.jobs.page(after, limit, paused=True)
        return sorted(rows, key=lambda job: job.place)[:limit]

    def watch(self, is_watched: bool) -> None:
        """Begins or ends to note the changes of jobs and runs."""
        if is_watched != (self._database.changes is not None):
            self._database.changes = [] if is_watched else None

    def take_changes(self) -> list[int | RunKey]:
        """The jobs and runs that were changed since the last call, each once, in the order of their last changes."""
        changes = self._database.changes
        if not changes:
            return []
        self._database.changes = []
        return list(dict.fromkeys(reversed(changes)))[::-1]

    def close(self) -> None:
        self._database.close()


def _pages(jobs: Jobs, after: Place, page: int, paused: bool) -> Iterator[ListedJob]:
    while rows := jobs.page(after, page, paused, PAGE_CHARACTERS):
        yield from rows
        after = rows[-1].place


def place_of(path: Path) -> str:
    """The name by which a store recognizes that it was copied or moved."""
    return os.path.realpath(path).encode(errors="backslashreplace").decode()


def open_store(path: Path | None, node: str, identity: str, now_ms: int, is_local: bool = True) -> Store:
    """Opens or creates a store. `node` and `identity` apply only to a new one. Raises Unusable, StoreFailed.

    `is_local`: as for `open_database`.
    """
    return name_store(Store(open_database(path, is_local)), node, identity, now_ms)


def name_store(store: Store, node: str, identity: str, now_ms: int) -> Store:
    """Sets the name and the identity of a new store; any other keeps its own. Raises StoreFailed."""
    if not store.node:
        with store.transaction():
            store.settings.set_meta("node", node)
            store.settings.set_meta("identity", identity)
            store.settings.set_meta("created_ms", now_ms)
        store.node, store.identity = node, identity
    return store
