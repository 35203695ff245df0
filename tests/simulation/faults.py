"""Faults of a real database: crashes around a commit, and failing commits, locks and statements."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from schedappliance.engine.events import Remains
from schedappliance.engine.intake import Keep
from schedappliance.model.calendars.zones import Zones
from schedappliance.store.database import Database
from tests.simulation.dice import Dice
from tests.simulation.journal import install
from tests.simulation.zones import SimulatedZones
from tests.support.core import DISK_FULL, Appliance, FragileDatabase, failure

# Only one of the first statements of a turn can fail.
STATEMENTS = 30


class Crash(BaseException):
    """The daemon is killed at this point. This is not a failure of the store: the core must not catch it."""


class FaultyDatabase(FragileDatabase):
    """A transaction has one fault at times, by dice. While `full`, every write fails.

    `calm`: whether the dice are calm from the next transaction on; None: as before.
    """

    def __init__(self, database: Database, dice: Dice) -> None:
        super().__init__(database._connection, database.path, database._locks)
        self._dice = dice
        self._until_failure: int | None = None
        self._code = 0
        self.calm: bool | None = None
        # How many transactions were begun.
        self.begun = 0

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        if sql == "BEGIN IMMEDIATE":
            return self._begin()
        if sql == "COMMIT":
            return self._commit()
        self._statement()
        return super().execute(sql, parameters)

    def rows(self, sql: str, parameters: Sequence[Any] = (), fetch: Any = sqlite3.Cursor.fetchall) -> list[Any]:
        self._statement()
        return super().rows(sql, parameters, fetch)

    def row(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        self._statement()
        return super().row(sql, parameters)

    def _begin(self) -> Any:
        if self.calm is not None:
            self._dice.calm = self.calm
        self.begun += 1
        if self._dice.happens("store is locked"):
            raise failure("database is locked", sqlite3.SQLITE_BUSY)
        result = super().execute("BEGIN IMMEDIATE")
        if self._dice.happens("statement fails"):
            self._until_failure, self._code = self._dice.randrange(STATEMENTS), sqlite3.SQLITE_IOERR
        elif self._dice.happens("statement can never be done"):
            self._until_failure, self._code = self._dice.randrange(STATEMENTS), sqlite3.SQLITE_TOOBIG
        return result

    def _statement(self) -> None:
        if not self._connection.in_transaction:
            if self._dice.happens("read fails"):
                raise failure("disk I/O error", sqlite3.SQLITE_IOERR)
        elif self._until_failure is not None:
            self._until_failure -= 1
            if self._until_failure < 0:
                self._until_failure = None
                self._may_roll_back()
                raise failure("a statement failed", self._code)

    def _may_roll_back(self) -> None:
        """SQLite rolls back the whole transaction itself after some errors."""
        if self._code != sqlite3.SQLITE_TOOBIG and self._dice.maybe(0.5):
            self._connection.execute("ROLLBACK")

    def _commit(self) -> Any:
        self._until_failure = None
        if self._dice.happens("crash before commit"):
            raise Crash("before a commit")
        if self._dice.happens("commit fails"):
            raise failure(DISK_FULL, sqlite3.SQLITE_FULL)
        result = super().execute("COMMIT")
        if self._dice.happens("crash after commit"):
            raise Crash("after a commit")
        return result


class FaultyAppliance(Appliance):
    """An appliance on a faulty database. Its first start has no faults. `full`: nothing can be written."""

    database: FaultyDatabase
    full = False
    hides_boot = False
    recognize: Callable[[Remains], Remains] | None = None

    # Committed rows must stay for a whole history.
    keep = Keep(10**15, 10**9)

    def __init__(self, path: Path, stanzas: str, dice: Dice, zones: SimulatedZones | None = None) -> None:
        self.dice, self.simulated_zones = dice, zones
        dice.calm = True
        super().__init__(path, stanzas)
        dice.calm = False

    def read_zones(self) -> Zones | None:
        return self.simulated_zones.zones if self.simulated_zones else None

    def shown_boot_id(self) -> str:
        self.hides_boot = self.dice.hides_boot()
        return "" if self.hides_boot else self.boot_id

    def recognized(self, left: Remains) -> Remains:
        return self.recognize(left) if self.recognize else left

    def _fragile(self, plain: Database) -> FaultyDatabase:
        install(plain._connection)
        database = FaultyDatabase(plain, self.dice)
        database.full = self.full
        return database

    def fill(self, full: bool) -> None:
        """Fills the disk, or frees it again."""
        self.full = self.database.full = full
