"""The SQLite connection: runs statements in transactions, and detects that the names of the open files are lost.

Rule: nothing is written to a file that the next start would not find by its name.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schedappliance.engine.records import RunKey
from schedappliance.kinds import not_a_file, unseen
from schedappliance.lockfile import is_in_place
from schedappliance.store.failures import (
    SQLITE_ERRORS,
    Gone,
    StoreFailed,
    is_undecoded,
)
from schedappliance.store.files import (
    HEADER_BYTES,
    INDEX,
    JOURNAL,
    LOG,
    LOG_LIMIT_BYTES,
    WITHOUT_LOG,
    WRITE_VERSION,
    lock_path_of,
    obstacle,
)
from schedappliance.store.loss import remember_loss
from schedappliance.store.queries import queries
from schedappliance.store.room import Full, has_room, open_view

if TYPE_CHECKING:
    from schedappliance.diagnostics import Unusable

# This is long enough for a short write of another process. After a longer wait the write fails, and a timer tries again.
BUSY_TIMEOUT_MS = 50


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
        # How many rows more, or fewer, each user has by this transaction, by the statement that counts them. Only
        # `write_counts` writes these numbers, once for each user.
        self.users: defaultdict[str, Counter[int]] = defaultdict(Counter)

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

    def copy_users(self) -> defaultdict[str, Counter[int]]:
        return defaultdict(Counter, {sql: users.copy() for sql, users in self.users.items()})

    def write_counts(self) -> None:
        """Writes the numbers of the users. Raises sqlite3.Error."""
        by_statement, self.users = self.users, defaultdict(Counter)
        for sql, users in by_statement.items():
            self._connection.executemany(sql, [(uid, change) for uid, change in users.items() if change])

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
        self.users.clear()


def fetch_page(most_characters: int, columns: Sequence[int], cursor: sqlite3.Cursor) -> list[Any]:
    """The first rows, with the row whose texts in these columns exceed this many characters."""
    rows = []
    for row in cursor:
        rows.append(row)
        most_characters -= sum([len(row[column] or "") for column in columns])
        if most_characters < 0:
            break
    return rows


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
        self._files = OpenFiles(path, *locks[1:]) if path and locks and not is_view else None
        # The path of the store as the stanza files name it, if that leads through a link.
        self._link: Path | None = None
        self.is_view = is_view
        self._is_closed = False
        # What `keep_in_place` repaired, for the log of the appliance.
        self.repairs: list[str] = []
        self.batch = WriteBatch(connection)
        # The number of rows of each table that was counted, and the last number of a job; a rollback restores them.
        self.counts: dict[str, int] = {}
        # The jobs and runs that were changed since the last call of `take_changes`. None while nobody watches.
        self.changes: list[int | RunKey] | None = None
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
            self.write_deferred()
            if self._files and self._files.is_log_cut():
                # The log has lost what was committed before, and the COMMIT would hide that: it makes the log long again.
                raise self._damaged_by_others(f"{self.path}{LOG}", "the log of the store")
            self.execute("COMMIT")
        except BaseException:
            self.counts = counts
            if self.changes:
                self.changes.clear()
            self._roll_back()
            raise

    @property
    def is_in_place(self) -> bool:
        """Whether the names of the store's files lead to the open files, and no other program shortened the log."""
        return self._files is None or self._files.fault() is None

    def follow(self, link: Path | None) -> None:
        """From now on, the store is in its place only if this path leads to it too."""
        self._link = link
        if self._files:
            self._files.link = link

    @property
    def is_locked(self) -> bool:
        """Whether the lock file is in its place, so that no other process can lock it. True while the store is gone too."""
        if self.path is None or not self._locks:
            return True
        lock_path = lock_path_of(self.path)
        return is_in_place(self._locks[0], lock_path) or not (lock_path.exists() or self.path.exists())

    def keep_in_place(self) -> None:
        """Saves the content of a log that was removed or replaced. Raises StoreFailed if that is impossible.

        If the store file is gone, its log was shortened, or something other than a file has the name of one of its files,
        it writes nothing, since the next start would not see it.
        It opens a store that was opened on a full disk for writing when there is room.
        """
        if self.is_view:
            self._leave_view()
        files = self._files
        if files is None:
            return
        if self._is_closed:
            self._open_again()
        match files.fault():
            case Fault.STORE_GONE:
                raise StoreFailed(Gone(files.why_gone()))
            case Fault.STORE_OVERWRITTEN:
                raise self._damaged_by_others(f"{self.path}", "the store file")
            case Fault.LOG_GONE:
                self._save_log(f"{self.path}{LOG}")
            case Fault.INDEX_GONE:
                self._save_log(f"{self.path}{INDEX}")
            case Fault.OBSTACLE if unusable := files.obstacle():
                raise StoreFailed(Gone(str(unusable)))
            case Fault.LOG_CUT:
                raise self._damaged_by_others(f"{self.path}{LOG}", "the log of the store")

    def _damaged_by_others(self, file: str, name: str) -> StoreFailed:
        assert self.path is not None
        remember_loss(self.path, f"{name} was shortened or overwritten while the appliance used it")
        return StoreFailed(Gone(f"{file} was shortened or overwritten; stop the appliance and restore a backup"))

    def _save_log(self, lost: str) -> None:
        """Copies the log into the store file through the open descriptors, and opens the files again.

        TRUNCATE also restarts the log, so that SQLite never searches the new file for frames of the lost one.
        """
        assert self.path is not None
        busy, *_ = self.row("PRAGMA wal_checkpoint(TRUNCATE)")
        if busy:
            raise StoreFailed(Gone(f"{lost} was moved or deleted, and another connection reads the store"))
        _check_names(self.path)
        self._connection.close()
        self._is_closed = True
        self._open_again()
        self.repairs.append(f"{lost} was moved or deleted while it was in use; its content was saved to the store file")

    def _leave_view(self) -> None:
        """Opens the store for writing. Raises StoreFailed; the store can still be read then."""
        assert self.path is not None
        _check_names(self.path)
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
        _check_names(self.path)
        try:
            connection = connect_to(self.path)
            write_ahead(connection)
        except SQLITE_ERRORS as error:
            raise StoreFailed(error, self.path) from error
        connection.text_factory = str
        self._connection, self.batch, self._files = (
            connection,
            WriteBatch(connection),
            OpenFiles(self.path, *self._locks[1:]),
        )
        self._files.link = self._link
        self._is_closed = False

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """A part of a transaction that can be undone alone."""
        self.execute("SAVEPOINT part")
        counts, changes, of_users = dict(self.counts), len(self.changes or ()), self.batch.copy_users()
        try:
            yield
        except BaseException:
            self.counts = counts
            if self.changes:
                del self.changes[changes:]
            # Writing the deferred rows only to undo them could fail, so they are dropped.
            self.batch.discard()
            self.batch.users = of_users
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

    def write_deferred(self) -> None:
        """Writes the deferred rows, so that the COMMIT has less to do. Raises StoreFailed."""
        try:
            self.batch.write()
            self.batch.write_counts()
        except SQLITE_ERRORS as error:
            raise StoreFailed(error, self.path) from error

    @property
    def writes(self) -> int:
        """How many rows this connection has written."""
        return self._connection.total_changes

    def note_change(self, key: int | RunKey) -> None:
        """Notes that a job or a run was changed, for those who watch."""
        if self.changes is not None:
            self.changes.append(key)

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> sqlite3.Cursor:
        try:
            if self.batch:
                self.batch.write()
            return self._connection.execute(sql, parameters)
        except SQLITE_ERRORS as error:
            raise StoreFailed(error, self.path) from error

    def rows(
        self,
        sql: str,
        parameters: Sequence[Any] = (),
        fetch: Callable[[sqlite3.Cursor], list[Any]] = sqlite3.Cursor.fetchall,
    ) -> list[Any]:
        """Reads rows. `fetch`: takes the rows that are wanted, for a caller that does not want them all."""
        rows: list[Any] = self._read(sql, parameters, fetch)
        return rows

    def row(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        return self._read(sql, parameters, sqlite3.Cursor.fetchone)

    def stream(self, sql: str, parameters: Sequence[Any] = ()) -> Iterator[Any]:
        """Reads row by row, for a caller that may stop early. Text that is not UTF-8 is shown with replacements."""
        before, self._connection.text_factory = self._connection.text_factory, replace_invalid
        try:
            yield from self.execute(sql, parameters)
        finally:
            self._connection.text_factory = before

    def _read(self, sql: str, parameters: Sequence[Any], fetch: Callable[[sqlite3.Cursor], Any]) -> Any:
        try:
            return fetch(self.execute(sql, parameters))
        except SQLITE_ERRORS as error:
            if not is_undecoded(error) or self._connection.text_factory is replace_invalid:
                raise StoreFailed(error, self.path) from error
        # With replacements, one damaged text spoils one row, not every query that reads it.
        self._connection.text_factory = replace_invalid
        return self._read(sql, parameters, fetch)

    def snapshot(self) -> Database:
        """A second connection for reading, which sees the store as it is now until it is closed.

        Returns itself for a database in memory, and while the names of the files do not lead to the open ones: a new
        connection would read other files, and remove a log beside a store that it finds empty.
        """
        if self.path is None or self.is_view or not self.is_in_place:
            return self
        connection: sqlite3.Connection | None = None
        try:
            connection = connect_to(self.path)
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


def _check_names(path: Path) -> None:
    """Raises StoreFailed if SQLite cannot open the files beside the store."""
    if unusable := obstacle(path):
        raise StoreFailed(Gone(str(unusable)))


class Fault(Enum):
    """What another program has done to the files of an open store."""

    # The store file was moved, deleted or replaced.
    STORE_GONE = auto()
    # It was shortened, or a backup was copied into it.
    STORE_OVERWRITTEN = auto()
    # The log or its index was moved, deleted or replaced. SQLite still has its content.
    LOG_GONE = auto()
    INDEX_GONE = auto()
    # Something other than a file has the name of a journal, which each new connection looks for.
    OBSTACLE = auto()
    # The log was shortened.
    LOG_CUT = auto()


class OpenFiles:
    """The store file, its log (`-wal`) and the index of the log (`-shm`), as they were when they were opened."""

    def __init__(self, path: Path, store: int | None = None) -> None:
        """Call it when SQLite has the files open. SQLite creates the log and its index at the first read.

        `store`: a descriptor of the store file; to close one that is opened later would release SQLite's locks.
        """
        self._path, self._directory = path, _identity(_status(str(path.parent), through_links=True))
        # With a Path in place of a text, a call of stat(2) would take twice as long.
        self._name, self._log, self._index, self._journal = (f"{path}{end}" for end in ("", LOG, INDEX, JOURNAL))
        self._opened = [_identity(_status(file)) for file in (self._name, self._log, self._index)]
        self._descriptor, self._store_bytes, self._log_bytes = store, 0, 0
        # See `follow` of Database.
        self.link: Path | None = None

    def fault(self) -> Fault | None:
        """The first fault; None if the names lead to the open files, and no other program wrote to them. Remembers their sizes.

        It takes five calls of the kernel, about a µs each, since each transaction begins with it.
        """
        store, log = _status(self._name), _status(self._log)
        opened_store, opened_log, opened_index = self._opened
        if store is None or _identity(store) != opened_store:
            return Fault.STORE_GONE
        if self.link and not self._is_linked():
            return Fault.STORE_GONE
        if self._is_overwritten(store.st_size):
            return Fault.STORE_OVERWRITTEN
        if log is None or _identity(log) != opened_log:
            return Fault.LOG_GONE
        if _identity(_status(self._index)) != opened_index:
            return Fault.INDEX_GONE
        if os.access(self._journal, os.F_OK, follow_symlinks=False) and self.obstacle():
            return Fault.OBSTACLE
        return Fault.LOG_CUT if self._is_cut(log.st_size) else None

    def is_log_cut(self) -> bool:
        """Whether the log was shortened since `fault`. It takes one call of the kernel.

        If another file has its name, nothing is lost yet: `fault` tells it at the next transaction.
        """
        log = _status(self._log)
        return log is not None and _identity(log) == self._opened[1] and self._is_cut(log.st_size)

    def _is_linked(self) -> bool:
        return _identity(_status(str(self.link), through_links=True)) == self._opened[0]

    def _is_overwritten(self, size: int) -> bool:
        """Whether another program shortened the store file, or copied a backup into it. Remembers its size.

        If the file shrinks, but to the size that its header names, somebody has given VACUUM. The header of a file that is
        longer may name more than is there: on a full disk, SQLite copies only a part of the log.
        """
        if self._descriptor is None:
            return False
        try:
            head = os.pread(self._descriptor, HEADER_BYTES, 0)
        except OSError:  # The disk has an error. What SQLite reads and writes tells it.
            return False
        if is_shortened := size < self._store_bytes:
            named = int.from_bytes(head[28:32]) * int.from_bytes(head[16:18])
            is_shortened = not 0 < named <= size
        else:
            self._store_bytes = size
        return is_shortened or head[WRITE_VERSION : WRITE_VERSION + 1] == WITHOUT_LOG

    def _is_cut(self, size: int) -> bool:
        """Whether the log is shorter than at the last check. Remembers its size.

        Only another program shortens it: SQLite overwrites the log, and cuts it only to the limit.
        """
        is_cut = size < min(self._log_bytes, LOG_LIMIT_BYTES)
        if not is_cut:
            self._log_bytes = size
        return is_cut

    def why_gone(self) -> str:
        """Why the store file is not in its place, and what to do."""
        directory = self._path.parent
        if why := unseen(self._path):
            return f"{why}; see to the permissions of its directories"
        now = _identity(_status(str(directory), through_links=True))
        if now is None:
            return f"the directory {directory} was moved or deleted; move it back"
        if now != self._directory:
            return f"another directory has the name {directory} now; move the old one back"
        if self.link and _status(self._name) and not self._is_linked():
            return (
                f"the links in {self.link} do not lead to the store {self._path} any more; change them back, or restart"
            )
        return "the store file was moved or deleted; put it back"

    def obstacle(self) -> Unusable | None:
        """The exception about something other than a file that has the name of a journal; None if there is none."""
        return not_a_file(Path(self._journal))


def _status(path: str, through_links: bool = False) -> os.stat_result | None:
    """The status of a file; None if it does not exist or cannot be accessed.

    That of a link itself, since SQLite would not follow it at the next start.
    """
    try:
        return os.stat(path, follow_symlinks=through_links)  # noqa: PTH116
    except OSError:
        return None


def _identity(status: os.stat_result | None) -> tuple[int, int] | None:
    """The device and the inode."""
    return None if status is None else (status.st_dev, status.st_ino)


def connect_to(path: Path) -> sqlite3.Connection:
    """A connection to a store that exists: SQLite does not create a file that is missing. Raises sqlite3.Error."""
    return connect(f"{path.absolute().as_uri()}?mode=rw", is_uri=True)


def connect(name: str, is_uri: bool = False) -> sqlite3.Connection:
    """A connection to a file, which SQLite creates if it is missing. Raises sqlite3.Error."""
    connection = sqlite3.connect(name, isolation_level=None, cached_statements=256, timeout=0, uri=is_uri)
    connection.text_factory = replace_invalid
    try:
        connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        connection.execute("PRAGMA synchronous = FULL")
    except BaseException:
        connection.close()
        raise
    return connection


def replace_invalid(raw: bytes) -> str:
    """Decodes text and replaces bytes that are not UTF-8."""
    return raw.decode(errors="replace")


def write_ahead(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA journal_size_limit = {LOG_LIMIT_BYTES}")
    # A read opens the log and its index.
    connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()


def storable(text: str | None) -> str | None:
    """The text as SQLite can store it. Bytes of a file name that are not UTF-8 are escaped."""
    return text if text is None or text.isascii() else text.encode(errors="backslashreplace").decode()


class Table:
    """A group of queries on one database: the base of Jobs, Runs, Incidents, Settings, Drops and Counters."""

    file = ""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = queries(self.file)
