"""The SQLite connection: opens the file after checks, and runs statements in transactions.

Rule: only SQLite opens the store file. Closing another descriptor of it would release SQLite's locks.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from schedappliance.diagnostics import Unusable
from schedappliance.lockfile import LockHeld, is_in_place, lock_descriptor, lock_file
from schedappliance.store.damage import Unfinished, find_damage
from schedappliance.store.failures import (
    LOCKED,
    SQLITE_ERRORS,
    Gone,
    StoreFailed,
    is_damage,
    is_full,
    is_undecoded,
    primary_code,
)
from schedappliance.store.open_files import LOG_LIMIT_BYTES, OpenFiles, is_mount_point
from schedappliance.store.queries import queries
from schedappliance.store.room import Full, has_room, lacks_room, open_view
from schedappliance.store.schema import APPLICATION_ID, migrate, migrations

MIN_SQLITE = (3, 37, 0)
SQLITE = sqlite3.sqlite_version_info
# This is long enough for a short write of another process. After a longer wait the write fails, and a timer tries again.
BUSY_TIMEOUT_MS = 50
# The smallest page of SQLite; a shorter file is not a database.
MIN_DATABASE_BYTES = 512
COPY_IN_MEMORY_KIB = 256 * 1024


Row = Sequence[Any]


class WriteBatch:
    """The deferred writes of a transaction: rows for the same statement are written together.

    They are written before any other statement and before the commit, so no reader can notice the delay. A burn-down of
    internal commands takes 16 % less CPU time (`benchmarks/pricing.py`). Writes to one table keep their order.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._tables: dict[str, list[tuple[str, list[Row]]]] = {}
        self._last: dict[str, dict[Hashable, Row]] = {}
        self._keys: dict[str, list[int]] = {}

    def __bool__(self) -> bool:
        return bool(self._tables or self._last or self._keys)

    def add(self, table: str, sql: str, row: Row) -> None:
        """Defers a write."""
        parts = self._tables.get(table)
        if parts is None:
            self._tables[table] = [(sql, [row])]
        elif parts[-1][0] is sql:
            parts[-1][1].append(row)
        else:
            parts.append((sql, [row]))

    def add_last(self, sql: str, key: Hashable, row: Row) -> None:
        """Defers a write that replaces an earlier one with the same key. No other statement may write the table."""
        self._last.setdefault(sql, {})[key] = row

    def add_key(self, sql: str, key: int) -> None:
        """Defers a write by a statement that takes a JSON array of keys. A statement for each key takes twice the time."""
        self._keys.setdefault(sql, []).append(key)

    def write(self) -> None:
        """Writes the deferred rows. Raises sqlite3.Error."""
        tables, self._tables = self._tables, {}
        last, self._last = self._last, {}
        keys, self._keys = self._keys, {}
        for parts in tables.values():
            for sql, rows in parts:
                self._connection.executemany(sql, rows)
        for sql, by_key in last.items():
            self._connection.executemany(sql, by_key.values())
        for sql, numbers in keys.items():
            self._connection.execute(sql, (json.dumps(numbers),))

    def discard(self) -> None:
        """Forgets the deferred rows, for a rollback."""
        self._tables.clear()
        self._last.clear()
        self._keys.clear()


class Database:
    """One connection with explicit transactions, for one thread.

    `unchecked`: the check would have taken too long, so the file was not checked. `is_upgraded`: the file had the schema
    of an earlier version. `is_view`: the disk has no room for SQLite's log, so the store can only be read.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: Path | None,
        locks: Sequence[int] = (),
        unchecked: bool = False,
        is_upgraded: bool = False,
        is_view: bool = False,
    ) -> None:
        self.path = path
        self.unchecked, self.is_upgraded = unchecked, is_upgraded
        self._connection = connection
        # The lock file, and the store file itself unless it is on a network file system.
        self._locks = locks
        # Only the writing connection, which holds the locks, checks the names of its files.
        self._files = OpenFiles(path) if path and locks and not is_view else None
        self.is_view = is_view
        self._is_closed = False
        # What `keep_in_place` repaired, for the log of the appliance.
        self.repairs: list[str] = []
        self.batch = WriteBatch(connection)
        # The number of rows of each table that was counted; a rollback restores these numbers.
        self.counts: dict[str, int] = {}
        # `str` rejects text that is not UTF-8. It takes half the time of a function that replaces invalid bytes.
        connection.text_factory = str

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Runs the block between BEGIN IMMEDIATE and COMMIT. Any exception rolls back. Raises StoreFailed."""
        self.keep_in_place()
        self.execute("BEGIN IMMEDIATE")
        counts = dict(self.counts)
        try:
            yield
            self.execute("COMMIT")
        except BaseException:
            self.counts = counts
            self._roll_back()
            raise

    @property
    def is_in_place(self) -> bool:
        """Whether the names of the store's files lead to the open files, and no other program shortened the log."""
        files = self._files
        return files is None or not (files.is_store_gone() or files.lost() or files.is_log_shortened())

    @property
    def is_locked(self) -> bool:
        """Whether the lock file is in its place, so that no other process can lock it. True while the store is gone too."""
        if self.path is None or not self._locks:
            return True
        lock_path = lock_path_of(self.path)
        return is_in_place(self._locks[0], lock_path) or not (lock_path.exists() or self.path.exists())

    def keep_in_place(self) -> None:
        """Saves the content of a log that was removed or replaced. Raises StoreFailed if that is impossible.

        If the store file is gone, or its log was shortened, it writes nothing, since the next start would not see it.
        It opens a store that was opened on a full disk for writing when there is room.
        """
        if self.is_view:
            self._leave_view()
        files = self._files
        if files is None:
            return
        if self._is_closed:
            self._open_again()
        if files.is_store_gone():
            raise StoreFailed(Gone("the store file was moved or deleted; put it back"))
        if (lost := files.lost()) is not None:
            self._save_log(lost)
        elif files.is_log_shortened():
            raise StoreFailed(Gone(f"{self.path}-wal was shortened; stop the appliance and restore a backup"))

    def _save_log(self, lost: Path) -> None:
        """Copies the log into the store file through the open descriptors, and opens the files again.

        TRUNCATE also restarts the log, so that SQLite never searches the new file for frames of the lost one.
        """
        assert self.path is not None
        busy, *_ = self.row("PRAGMA wal_checkpoint(TRUNCATE)")
        if busy:
            raise StoreFailed(Gone(f"{lost} was moved or deleted, and another connection reads the store"))
        self._connection.close()
        self._is_closed = True
        self._open_again()
        self.repairs.append(f"{lost} was moved or deleted while it was in use; its content was saved to the store file")

    def _leave_view(self) -> None:
        """Opens the store for writing. Raises StoreFailed; the store can still be read then."""
        assert self.path is not None
        if not has_room(self.path):
            raise StoreFailed(Full())
        # Closing it later would release the locks of the other connection.
        self._connection.close()
        try:
            self._open_again()
        except StoreFailed:
            with suppress(*SQLITE_ERRORS):
                self._connection = open_view(self.path)
                self._connection.text_factory = str
                self.batch = WriteBatch(self._connection)
            raise
        self.is_view = False

    def _open_again(self) -> None:
        """Opens the files again. Raises StoreFailed; the next transaction then tries it again."""
        assert self.path is not None
        try:
            connection = _connect(str(self.path))
            _write_ahead(connection)
        except SQLITE_ERRORS as error:
            raise StoreFailed(error) from error
        connection.text_factory = str
        self._connection, self.batch, self._files = connection, WriteBatch(connection), OpenFiles(self.path)
        self._is_closed = False

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """A part of a transaction that can be undone alone."""
        self.execute("SAVEPOINT part")
        counts = dict(self.counts)
        try:
            yield
        except BaseException:
            self.counts = counts
            # Writing the deferred rows only to undo them could fail, so they are dropped.
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
        """Reads row by row, for a caller that may stop early. Text that is not UTF-8 is shown with replacements."""
        self._connection.text_factory = _text
        yield from self.execute(sql, parameters)

    def _read(self, sql: str, parameters: Sequence[Any], fetch: Callable[[sqlite3.Cursor], Any]) -> Any:
        try:
            return fetch(self.execute(sql, parameters))
        except SQLITE_ERRORS as error:
            if not is_undecoded(error) or self._connection.text_factory is _text:
                raise StoreFailed(error) from error
        # With replacements, one damaged text spoils one row, not every query that reads it.
        self._connection.text_factory = _text
        return self._read(sql, parameters, fetch)

    def snapshot(self) -> Database:
        """A second connection for reading, which sees the store as it is now until it is closed.

        Returns itself for a database in memory.
        """
        if self.path is None or self.is_view:
            return self
        connection: sqlite3.Connection | None = None
        try:
            connection = _connect(str(self.path))
            connection.execute("PRAGMA query_only = ON")
            connection.execute("BEGIN")
        except sqlite3.Error:
            if connection is not None:
                connection.close()
            # Perhaps no descriptor is left. Then the read may see rows change, which is better than no answer.
            return self
        return Database(connection, self.path)

    def close(self) -> None:
        """Closes the connection, then releases the locks. The lock file stays, since removing it would be a race.

        The order matters: closing any descriptor of the store file would release SQLite's own locks.
        """
        self._connection.close()
        locks, self._locks = self._locks, ()
        for descriptor in locks:
            os.close(descriptor)


def open_database(path: Path | None, is_local: bool = True) -> Database:
    """Opens the database at a path, and creates it if it is missing. None: a database in memory. Raises Unusable.

    `is_local`: the file is not on a network file system, where flock(2) would conflict with SQLite's own locks.
    """
    if sqlite3.sqlite_version_info < MIN_SQLITE:
        raise Unusable(f"SQLite {sqlite3.sqlite_version} is too old", "install SQLite 3.37 or newer")
    if path is None:
        connection = _connect(":memory:")
        migrate(connection, 0)
        return Database(connection, None)
    try:
        check_place(path)
    except OSError as error:
        raise Unusable(f"cannot open the store {path}: {error.strerror}", "correct its path or permissions") from error
    locks = [_lock(path)]
    try:
        if is_local:
            locks.append(_lock_content(path))
        opened = _open_file(path)
        return Database(opened.connection, path, locks, not opened.checked, opened.is_upgraded, opened.is_view)
    except BaseException:
        for descriptor in locks:
            os.close(descriptor)
        raise


def check_place(path: Path) -> None:
    """Raises Unusable if no store can be at this path."""
    directory = path.parent
    if not directory.is_dir():
        raise Unusable(f"the directory of the store is missing: {directory}", f"create it: mkdir -p {directory}")
    if path.exists() and not path.is_file():
        raise Unusable(f"the store is not a file: {path}", "name a file in `backing_store`")
    if is_mount_point(path):
        remedy = "mount its directory instead: SQLite keeps its log beside the file, and all processes must share it"
        raise Unusable(f"the store is a mount of its own: {path}", remedy)
    if path.exists() and path.stat().st_nlink > 1:
        remedy = "remove the other names: an appliance that used one of them would not be recognized"
        raise Unusable(f"the store has more than one name (hard links): {path}", remedy)
    if not path.exists() and (log := Path(f"{path}-wal")).exists():
        remedy = f"put the store file back beside it, or restore a backup; for a new, empty store move {log} away"
        raise Unusable(f"the store is missing, but its log is there: {path}", remedy)
    if not os.access(directory, os.W_OK | os.X_OK):
        remedy = "let the appliance's user write there; SQLite keeps its log beside the file"
        raise Unusable(f"the directory of the store is not writable: {directory}", remedy)
    if path.exists() and not os.access(path, os.R_OK | os.W_OK):
        raise Unusable(f"the store is not readable and writable: {path}", "change its owner or permissions")


def _lock(path: Path) -> int:
    """Locks the store for this process; returns the descriptor of the lock. Raises Unusable."""
    lock_path = lock_path_of(path)
    try:
        return lock_file(lock_path)
    except OSError as error:
        raise Unusable(f"cannot create {lock_path}: {error.strerror}", "make the directory writable") from error
    except LockHeld as held:
        raise in_use(path, held.holder) from None


def _lock_content(path: Path) -> int:
    """Locks the store file itself, which may have another name too, and creates it if needed. Raises Unusable.

    The descriptor must be opened before SQLite opens the file, and closed after SQLite has closed it.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise Unusable(f"cannot open the store {path}: {error.strerror}", "make it readable and writable") from error
    try:
        lock_descriptor(descriptor, path)
    except LockHeld as held:
        os.close(descriptor)
        raise in_use(path, held.holder) from None
    except OSError as error:
        os.close(descriptor)
        raise Unusable(f"cannot lock the store {path}: {error.strerror}", "move it to another file system") from error
    return descriptor


def in_use(path: Path, holder: str) -> Unusable:
    """The exception for a store of another appliance. `holder`: its pid, or `unknown`."""
    message = f"another appliance holds the store {path} (pid {holder})"
    return Unusable(message, "stop it, or give this one a `backing_store` of its own")


def lock_path_of(path: Path) -> Path:
    """The lock file of a store."""
    return Path(f"{path}.lock")


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
    """Decodes text and replaces bytes that are not UTF-8."""
    return raw.decode(errors="replace")


class _Opened(NamedTuple):
    """A connection. `checked`: the file was checked. `is_upgraded`: it had the schema of an earlier version.

    `is_view`: the disk has no room, so the connection only reads.
    """

    connection: sqlite3.Connection
    checked: bool
    is_upgraded: bool
    is_view: bool = False


def _open_file(path: Path) -> _Opened:
    """Opens the store; on a full disk, opens a complete store only for reading. Raises Unusable."""
    _check_length(path)
    is_complete = path.exists() and path.stat().st_size > 0
    try:
        if is_complete and not has_room(path):
            return _open_view(path)
        return _open_for_writing(path)
    except SQLITE_ERRORS as error:
        if not (is_complete and lacks_room(error)):
            raise unopenable(path, error) from error
    try:
        return _open_view(path)
    except SQLITE_ERRORS as error:
        raise unopenable(path, error) from error


def _open_for_writing(path: Path) -> _Opened:
    checked = _look_at_crashed(path)
    connection = _connect(str(path))
    try:
        version = _version(connection, path)
        if checked is None:
            checked = _check(connection, path)
        _write_ahead(connection)
        migrate(connection, version)
    except BaseException:
        connection.close()
        raise
    return _Opened(connection, checked, 0 < version < migrations()[-1][0])


def _open_view(path: Path) -> _Opened:
    """Only a store with the newest schema can be read. Raises Unusable and sqlite3.Error."""
    connection = open_view(path)
    try:
        if _version(connection, path) < migrations()[-1][0]:
            raise Full
        return _Opened(connection, _check(connection, path), is_upgraded=False, is_view=True)
    except BaseException:
        connection.close()
        raise


def _write_ahead(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA journal_size_limit = {LOG_LIMIT_BYTES}")
    # A read opens the log and its index.
    connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()


def copied(source: sqlite3.Connection, path: Path) -> Database:
    """A private copy that vanishes with its connection. It is in memory; SQLite moves a large one to an unnamed file.

    Raises Unusable for a file that cannot be a store, and sqlite3.Error.
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
    return Database(connection, None)


def _check_length(path: Path) -> None:
    """Raises Unusable for a short file, which SQLite would treat as an empty database and overwrite."""
    if path.exists() and 0 < path.stat().st_size < MIN_DATABASE_BYTES:
        raise _no_database(path)


def _check(connection: sqlite3.Connection, path: Path) -> bool:
    """Raises Unusable for a damaged store, before anything is written to it. Returns False if the check takes too long."""
    try:
        damage = find_damage(connection, soon=True)
    except Unfinished:
        return False
    if damage:
        remedy = "restore a backup, or recover it with sqlite3; it was not changed"
        raise Unusable(f"the store is damaged: {path}: {damage}", remedy)
    return True


def _look_at_crashed(path: Path) -> bool | None:
    """Checks a store that a crash left with its log, through a read-only connection.

    A writing connection would copy the log into a damaged file when it closes. Returns whether the store was checked;
    None if there is no log.
    """
    log = Path(f"{path}-wal")
    if not log.exists() or not log.stat().st_size:
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
    if is_full(error):
        remedy = "free some space on its disk"
    elif primary_code(error) in LOCKED:
        remedy = f"another process is writing to it: `fuser {path}` shows which"
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
    """The text as SQLite can store it. Bytes of a file name that are not UTF-8 are escaped."""
    return text if text is None or text.isascii() else text.encode(errors="backslashreplace").decode()


class Table:
    """A group of queries on one database: the base of Jobs, Runs, Settings and Drops."""

    file = ""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = queries(self.file)
