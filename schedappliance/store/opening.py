"""Opens the store file after checks, and locks it.

Rule: a store that is rejected is left as it was. Only SQLite opens the store file for reading or writing. Closing another
descriptor of it would release SQLite's locks.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import NamedTuple

from schedappliance.diagnostics import Unusable, as_argument
from schedappliance.kinds import FREE_ROOM, FULL, not_a_directory, uncreatable
from schedappliance.lockfile import LockHeld, lock_descriptor, lock_file
from schedappliance.store.damage import NoMemory, Unfinished, find_damage
from schedappliance.store.database import Database, connect, replace_invalid, write_ahead
from schedappliance.store.failures import LOCKED, SQLITE_ERRORS, is_damage, is_full, primary_code
from schedappliance.store.files import (
    LOG,
    ROOM_BESIDE_BYTES,
    WITHOUT_LOG,
    WRITE_VERSION,
    closed_beside,
    is_mount_point,
    lock_path_of,
    log_bytes,
    obstacle,
    size_limit,
)
from schedappliance.store.loss import cause_of, lost_pages, remember_loss
from schedappliance.store.room import has_room, lacks_room, open_view
from schedappliance.store.schema import check_schema, migrate, migrations

MIN_SQLITE = (3, 37, 0)
SQLITE = sqlite3.sqlite_version_info
# The smallest page of SQLite; a shorter file is not a database.
MIN_DATABASE_BYTES = 512
COPY_IN_MEMORY_KIB = 256 * 1024


def open_database(path: Path | None, is_local: bool = True) -> Database:
    """Opens the database at a path, and creates it if it is missing. None: a database in memory. Raises Unusable.

    `is_local`: the file is not on a network file system, where flock(2) would conflict with SQLite's own locks.
    """
    if sqlite3.sqlite_version_info < MIN_SQLITE:
        raise Unusable(f"SQLite {sqlite3.sqlite_version} is too old", "install SQLite 3.37 or newer")
    if path is None:
        connection = connect(":memory:")
        migrate(connection, 0)
        return Database(connection, None)
    try:
        check_place(path)
    except OSError as error:
        raise Unusable(f"cannot open the store {path}: {error.strerror}", "correct its path or permissions") from error
    is_lock_new = not os.path.lexists(lock_path_of(path))
    locks = [_lock(path)]
    try:
        if is_local:
            locks.append(_lock_content(path))
            _check_log(path, locks[-1])
        # The index of another file tells nothing about a backup.
        if (pages := lost_pages(path)) and not (is_local and _is_without_log(locks[-1])):
            remember_loss(path, cause_of(pages))
        opened = _open_file(path)
        return Database(opened.connection, path, locks, not opened.checked, opened.is_upgraded, opened.is_view)
    except BaseException as error:
        # The file of another program gets no lock file beside it.
        if is_lock_new:
            lock_path_of(path).unlink(missing_ok=True)
        for descriptor in locks:
            os.close(descriptor)
        if isinstance(error, OSError):
            raise unopenable(path, error) from error
        raise


def check_place(path: Path) -> None:
    """Raises Unusable if this process can have no store at this path."""
    check_kind(path)
    directory = path.parent
    if not os.access(directory, os.W_OK | os.X_OK):
        remedy = "let the appliance's user write there; SQLite keeps its log beside the file"
        raise Unusable(f"the directory of the store is not writable: {directory}", remedy)
    if unusable := closed_beside(path):
        raise unusable
    if path.exists() and not os.access(path, os.R_OK | os.W_OK):
        raise Unusable(f"the store is not readable and writable: {path}", "change its owner or permissions")


def check_kind(path: Path) -> None:
    """Raises Unusable if no user can have a store at this path, and OSError if this process cannot see what is there."""
    directory = path.parent
    if unusable := not_a_directory(directory):
        raise unusable
    if not directory.is_dir():
        raise Unusable(f"the directory of the store is missing: {directory}", f"create it: mkdir -p {directory}")
    longest = os.pathconf(directory, "PC_NAME_MAX") - ROOM_BESIDE_BYTES
    if len(os.fsencode(path.name)) > longest:
        remedy = f"at most {longest} bytes leave room for the names of the files beside it"
        raise Unusable(f"the name of the store is too long: {path}", remedy)
    if os.path.lexists(path) and not path.is_file():
        raise Unusable(f"the store is not a file: {path}", "name a file in `backing_store`")
    if unusable := obstacle(path):
        raise unusable
    if is_mount_point(path):
        remedy = "mount its directory instead: SQLite keeps its log beside the file, and all processes must share it"
        raise Unusable(f"the store is a mount of its own: {path}", remedy)
    if path.exists() and path.stat().st_nlink > 1:
        remedy = "remove the other names: an appliance that used one of them would not be recognized"
        raise Unusable(f"the store has more than one name (hard links): {path}", remedy)
    if not path.exists() and (log := Path(f"{path}-wal")).exists():
        remedy = f"put the store file back beside it, or restore a backup; for a new, empty store move {log} away"
        raise Unusable(f"the store is missing, but its log is there: {path}", remedy)


def _lock(path: Path) -> int:
    """Locks the store for this process; returns the descriptor of the lock. Raises Unusable."""
    lock_path = lock_path_of(path)
    try:
        return lock_file(lock_path)
    except OSError as error:
        raise uncreatable(lock_path, error) from error
    except LockHeld as held:
        raise in_use(path, held.holder) from None


def _lock_content(path: Path) -> int:
    """Locks the store file itself, which may have another name too, and creates it if needed. Raises Unusable.

    The descriptor must be opened before SQLite opens the file, and closed after SQLite has closed it.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        remedy = FREE_ROOM if error.errno in FULL else "make it readable and writable"
        raise Unusable(f"cannot open the store {path}: {error.strerror}", remedy) from error
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
    except MemoryError:
        # `sqlite3` raises it for SQLITE_NOMEM.
        raise _unopened(path, NoMemory()) from None
    except SQLITE_ERRORS as error:
        if not (is_complete and lacks_room(error)):
            raise _unopened(path, error) from error
    try:
        return _open_view(path)
    except SQLITE_ERRORS as error:
        raise unopenable(path, error) from error


def _unopened(path: Path, error: Exception) -> Unusable:
    """The exception for a start that failed. A lock, and a lack of memory, end by themselves: systemd tries again."""
    unusable = unopenable(path, error)
    unusable.is_passing = primary_code(error) in (*LOCKED, sqlite3.SQLITE_NOMEM)
    return unusable


def _open_for_writing(path: Path) -> _Opened:
    checked = _look_at_crashed(path)
    connection = connect(str(path))
    try:
        version = check_schema(connection, path)
        if checked is None:
            checked = _check(connection, path)
        write_ahead(connection)
        migrate(connection, version)
    except BaseException:
        connection.close()
        raise
    return _Opened(connection, checked, 0 < version < migrations()[-1][0])


def _open_view(path: Path) -> _Opened:
    """Only a store with the newest schema can be read; any other must be upgraded first. Raises Unusable and sqlite3.Error."""
    connection = open_view(path)
    try:
        if (version := check_schema(connection, path)) < migrations()[-1][0]:
            message = f"cannot upgrade the store {path} from schema {version}, which needs space: its disk is full"
            raise Unusable(message, FREE_ROOM, is_passing=True)
        return _Opened(connection, _check(connection, path), is_upgraded=False, is_view=True)
    except BaseException:
        connection.close()
        raise


def copied(source: sqlite3.Connection, path: Path) -> Database:
    """A private copy that vanishes with its connection. It is in memory; SQLite moves a large one to an unnamed file.

    Raises Unusable for a file that cannot be a store, and sqlite3.Error.
    """
    _check_length(path)
    version = check_schema(source, path)
    _check(source, path)
    connection = sqlite3.connect("", isolation_level=None, cached_statements=256)
    connection.text_factory = replace_invalid
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


def _check_log(path: Path, descriptor: int) -> None:
    """Raises Unusable for a store that was never used, such as a backup, beside a log. `descriptor`: the open store.

    SQLite would copy the log into it all the same, and so mix two stores.
    """
    if log_bytes(path) and _is_without_log(descriptor):
        log = Path(f"{path}{LOG}")
        remedy = f"move {log} away, or put the file to which it belongs back in the place of {path}"
        raise Unusable(f"the store is a backup, but the log of another file is beside it: {log}", remedy)


def _is_without_log(descriptor: int) -> bool:
    """Whether an open store never had a log. The byte is the file format write version: see "Database File Format" of SQLite."""
    return os.pread(descriptor, 1, WRITE_VERSION) == WITHOUT_LOG


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
        check_schema(connection, path)
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
    if primary_code(error) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR) and (limit := size_limit(path)):
        return Unusable(f"cannot open the store {path}", limit)
    if is_full(error):
        remedy = FREE_ROOM
    elif primary_code(error) in LOCKED:
        remedy = f"another process uses it: `fuser {as_argument(path)}` shows which"
    elif primary_code(error) == sqlite3.SQLITE_NOMEM:
        remedy = "give the appliance more memory"
    reason = error.strerror if isinstance(error, OSError) else error
    return Unusable(f"cannot open the store {path}: {reason}", remedy)
