"""The SQLite connection: opening with every precaution, transactions.

Rule: nothing but SQLite opens the store file itself, since closing it would drop SQLite's own locks.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from schedappliance.diagnostics import Unusable
from schedappliance.lockfile import LockHeld, lock_file
from schedappliance.store.damage import Unfinished, find_damage
from schedappliance.store.failures import (
    LOCKED,
    SQLITE_ERRORS,
    Gone,
    StoreFailed,
    is_damage,
    is_undecoded,
    primary_code,
)
from schedappliance.store.queries import queries
from schedappliance.store.schema import APPLICATION_ID, migrate, migrations

MIN_SQLITE = (3, 37, 0)
SQLITE = sqlite3.sqlite_version_info
# Long enough for another process's short write; then it is tried again on a timer.
BUSY_TIMEOUT_MS = 50
# The smallest page of SQLite; a shorter file is none of its.
MIN_DATABASE_BYTES = 512
COPY_IN_MEMORY_KIB = 256 * 1024


Row = Sequence[Any]


class WriteBatch:
    """Writes of a transaction that are put off, so that those with one statement are made together.

    They are made before any other statement and before the commit, so only the time tells. A burn-down of internal
    commands takes 16 % less CPU time (`benchmarks/pricing.py`). Writes to one table keep their order.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._tables: dict[str, list[tuple[str, dict[Hashable, Row]]]] = {}

    def __bool__(self) -> bool:
        return bool(self._tables)

    def add(self, table: str, sql: str, row: Row, key: Hashable = None) -> None:
        """`key`: names the row that is written, if the last write replaces those before it."""
        parts = self._tables.setdefault(table, [])
        if not parts or parts[-1][0] is not sql:
            parts.append((sql, {}))
        rows = parts[-1][1]
        rows[len(rows) if key is None else key] = row

    def write(self) -> None:
        """Raises sqlite3.Error."""
        tables, self._tables = self._tables, {}
        for parts in tables.values():
            for sql, rows in parts:
                self._connection.executemany(sql, rows.values())

    def discard(self) -> None:
        """The transaction is rolled back."""
        self._tables.clear()


class Database:
    """One connection with explicit transactions; used by one thread. `unchecked`: a check would have taken too long.

    `is_upgraded`: it was there, with the schema of an earlier version.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: Path | None,
        lock: int | None,
        unchecked: bool = False,
        is_upgraded: bool = False,
    ) -> None:
        self.path = path
        self.unchecked, self.is_upgraded = unchecked, is_upgraded
        self._connection = connection
        self._lock = lock
        self._inode = path.stat().st_ino if path else None
        self.batch = WriteBatch(connection)
        # The rows of tables that were counted; a rollback restores them.
        self.counts: dict[str, int] = {}
        # Python's own way to make texts, which refuses what is none, takes half the time of one that does not.
        connection.text_factory = str

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """BEGIN IMMEDIATE to COMMIT; any exception rolls back. Raises StoreFailed."""
        self._check_in_place()
        self.execute("BEGIN IMMEDIATE")
        counts = dict(self.counts)
        try:
            yield
            self.execute("COMMIT")
        except BaseException:
            self.counts = counts
            self._roll_back()
            raise

    def _check_in_place(self) -> None:
        """What is written to a file that was moved or deleted would be lost at the next start."""
        try:
            if self.path is None or self.path.stat().st_ino == self._inode:
                return
        except OSError:
            pass
        raise StoreFailed(Gone("the store file was moved or deleted; put it back"))

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """A part of a transaction that can be undone alone."""
        self.execute("SAVEPOINT part")
        counts = dict(self.counts)
        try:
            yield
        except BaseException:
            self.counts = counts
            # The writes of the part need not be made before they are undone; one could fail.
            self.batch.discard()
            if self._connection.in_transaction:
                self.execute("ROLLBACK TO part")
                self.execute("RELEASE part")
            raise
        self.execute("RELEASE part")

    def _roll_back(self) -> None:
        self.batch.discard()
        if self._connection.in_transaction:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        try:
            if self.batch:
                self.batch.write()
            return self._connection.execute(sql, parameters)
        except SQLITE_ERRORS as error:
            raise StoreFailed(error) from error

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Any]:
        rows: list[Any] = self._read(sql, parameters, sqlite3.Cursor.fetchall)
        return rows

    def row(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        return self._read(sql, parameters, sqlite3.Cursor.fetchone)

    def stream(self, sql: str, parameters: Sequence[Any] = ()) -> Iterator[Any]:
        """Row by row, for many of which a few may be enough; what is no text is shown as well as it can be."""
        self._connection.text_factory = _text
        yield from self.execute(sql, parameters)

    def _read(self, sql: str, parameters: Sequence[Any], fetch: Callable[[sqlite3.Cursor], Any]) -> Any:
        try:
            return fetch(self.execute(sql, parameters))
        except SQLITE_ERRORS as error:
            if not is_undecoded(error) or self._connection.text_factory is _text:
                raise StoreFailed(error) from error
        # One damaged text spoils one row, not every query that meets it.
        self._connection.text_factory = _text
        return self._read(sql, parameters, fetch)

    def snapshot(self) -> Database:
        """A second, reading connection that sees the store as it is now until it is closed; itself when in memory."""
        if self.path is None:
            return self
        connection: sqlite3.Connection | None = None
        try:
            connection = _connect(str(self.path))
            connection.execute("PRAGMA query_only = ON")
            connection.execute("BEGIN")
        except sqlite3.Error:
            if connection is not None:
                connection.close()
            # No descriptor left, perhaps: better the rows as they change than none.
            return self
        return Database(connection, self.path, None)

    def close(self) -> None:
        """Closes the connection, then gives up the lock. The lock file stays: removing it would race."""
        self._connection.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def open_database(path: Path | None) -> Database:
    """Opens the database at a path, and creates it if it is missing. None: a database in memory. Raises Unusable."""
    if sqlite3.sqlite_version_info < MIN_SQLITE:
        raise Unusable(f"SQLite {sqlite3.sqlite_version} is too old", "install SQLite 3.37 or newer")
    if path is None:
        connection = _connect(":memory:")
        migrate(connection, 0)
        return Database(connection, None, None)
    check_place(path)
    lock = _lock(path)
    try:
        connection, checked, is_upgraded = _open_file(path)
        return Database(connection, path, lock, not checked, is_upgraded)
    except BaseException:
        os.close(lock)
        raise


def check_place(path: Path) -> None:
    """Raises Unusable if no store can be at this path."""
    directory = path.parent
    if not directory.is_dir():
        raise Unusable(f"the directory of the store is missing: {directory}", f"create it: mkdir -p {directory}")
    if path.exists() and not path.is_file():
        raise Unusable(f"the store is not a file: {path}", "name a file in `backing_store`")
    if path.exists() and path.stat().st_nlink > 1:
        remedy = "remove the other names: an appliance that used one of them would not be recognized"
        raise Unusable(f"the store has more than one name (hard links): {path}", remedy)
    if not os.access(directory, os.W_OK | os.X_OK):
        remedy = "let the appliance's user write there; SQLite keeps its log beside the file"
        raise Unusable(f"the directory of the store is not writable: {directory}", remedy)
    if path.exists() and not os.access(path, os.R_OK | os.W_OK):
        raise Unusable(f"the store is not readable and writable: {path}", "change its owner or permissions")


def _lock(path: Path) -> int:
    """Holds the store for this process. Raises Unusable."""
    lock_path = Path(f"{path}.lock")
    try:
        return lock_file(lock_path)
    except OSError as error:
        raise Unusable(f"cannot create {lock_path}: {error.strerror}", "make the directory writable") from error
    except LockHeld as held:
        message = f"another appliance holds the store {path} (pid {held.holder})"
        raise Unusable(message, "stop it, or give this one a `backing_store` of its own") from None


def _connect(name: str) -> sqlite3.Connection:
    connection = sqlite3.connect(name, isolation_level=None, cached_statements=256, timeout=0)
    connection.text_factory = _text
    try:
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        connection.execute("PRAGMA synchronous = FULL")
    except BaseException:
        connection.close()
        raise
    return connection


def _text(raw: bytes) -> str:
    """What is no text is shown as well as it can be."""
    return raw.decode(errors="replace")


def _open_file(path: Path) -> tuple[sqlite3.Connection, bool, bool]:
    """The connection, whether the file was checked, and whether it was of an earlier version."""
    _check_length(path)
    try:
        checked = _look_at_crashed(path)
        connection = _connect(str(path))
    except SQLITE_ERRORS as error:
        raise unopenable(path, error) from error
    try:
        version = _version(connection, path)
        if checked is None:
            checked = _check(connection, path)
        connection.execute("PRAGMA journal_mode = WAL")
        migrate(connection, version)
    except SQLITE_ERRORS as error:
        connection.close()
        raise unopenable(path, error) from error
    except BaseException:
        connection.close()
        raise
    return connection, checked, 0 < version < migrations()[-1][0]


def copied(source: sqlite3.Connection, path: Path) -> Database:
    """A private copy, which vanishes with its connection: in memory, what has no room there in an unnamed file.

    Raises Unusable as opening does, and sqlite3.Error.
    """
    _check_length(path)
    version = _version(source, path)
    _check(source, path)
    connection = sqlite3.connect("", isolation_level=None, cached_statements=256)
    connection.text_factory = _text
    try:
        connection.execute(f"PRAGMA cache_size = -{COPY_IN_MEMORY_KIB}")
        connection.execute("PRAGMA journal_mode = MEMORY")
        source.backup(connection)
        migrate(connection, version)
    except BaseException:
        connection.close()
        raise
    return Database(connection, None, None)


def _check_length(path: Path) -> None:
    """Raises Unusable for a file that SQLite would take for an empty database, and overwrite."""
    if path.exists() and 0 < path.stat().st_size < MIN_DATABASE_BYTES:
        raise _no_database(path)


def _check(connection: sqlite3.Connection, path: Path) -> bool:
    """Raises Unusable for a damaged store, before anything is written to it. False: the check would take too long."""
    try:
        damage = find_damage(connection, soon=True)
    except Unfinished:
        return False
    if damage:
        remedy = "restore a backup, or recover it with sqlite3; it was not changed"
        raise Unusable(f"the store is damaged: {path}: {damage}", remedy)
    return True


def _look_at_crashed(path: Path) -> bool | None:
    """Checks a store that a crash left with its log, through a connection that only reads.

    A connection that writes would fold the log into a damaged file when it closes. Returns whether the store was
    checked; None when there is no log.
    """
    if not Path(f"{path}-wal").exists():
        return None
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    try:
        _version(connection, path)
        return _check(connection, path)
    finally:
        connection.close()


def _no_database(path: Path) -> Unusable:
    return Unusable(f"not a SQLite database: {path}", "name another file in `backing_store`, or move this one away")


def unopenable(path: Path, error: Exception) -> Unusable:
    """The exception for a file that SQLite cannot open."""
    if primary_code(error) == sqlite3.SQLITE_NOTADB:
        return _no_database(path)
    if is_damage(error):
        return Unusable(
            f"the store is damaged: {path}: {' '.join(str(error).split())}",
            "restore a backup, or recover it with sqlite3",
        )
    remedy = "check that its disk is healthy and writable"
    if primary_code(error) in LOCKED:
        remedy = f"another process is writing to it: `fuser {path}` tells which"
    return Unusable(f"cannot open the store {path}: {error}", remedy)


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """The schema version of a file, 0 for a new one. Raises Unusable for a database of another program, or a newer schema."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if application != APPLICATION_ID and (tables or version or application):
        raise Unusable(f"the database belongs to another program: {path}", "name another file in `backing_store`")
    newest = migrations()[-1][0]
    if version > newest:
        message = f"the store {path} has schema {version}, and this version knows schemas up to {newest}"
        raise Unusable(message, "install the newer version again, or restore a backup")
    return version


def storable(text: str | None) -> str | None:
    """A text that SQLite can store. The name of a file may hold bytes that are not UTF-8; they are escaped."""
    return text if text is None or text.isascii() else text.encode(errors="backslashreplace").decode()


class Table:
    """A group of queries on one database; the base of the stores by noun."""

    file = ""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = queries(self.file)
