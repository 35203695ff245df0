"""Checks and backups of a store that may be in use by this process or another. Rule: nothing here changes the store."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

from schedappliance.diagnostics import Unusable
from schedappliance.drafts import name_new
from schedappliance.fsync import fsync_path
from schedappliance.store.damage import find_damage
from schedappliance.store.failures import SQLITE_ERRORS, StoreFailed, is_damage, is_full
from schedappliance.store.files import BESIDE, INDEX, JOURNAL, LOG, size_limit
from schedappliance.store.opening import unopenable
from schedappliance.store.queries import queries
from schedappliance.store.reading import read_only
from schedappliance.store.schema import APPLICATION_ID, check_schema
from schedappliance.store.tables import PLACE, place_of

PAGES_A_STEP = 1000
_FAILED_WRITES = frozenset(
    {
        sqlite3.SQLITE_IOERR_WRITE,
        sqlite3.SQLITE_IOERR_FSYNC,
        sqlite3.SQLITE_IOERR_DIR_FSYNC,
        sqlite3.SQLITE_IOERR_TRUNCATE,
        sqlite3.SQLITE_IOERR_DELETE,
    }
)


def check(path: Path) -> list[str]:
    """The errors that SQLite's integrity check finds. Raises Unusable."""

    def integrity(store: sqlite3.Connection) -> list[str]:
        _check_owner(store, path)
        return [str(row[0]) for row in store.execute("PRAGMA integrity_check")]

    try:
        findings = read_only(path, integrity)
    except SQLITE_ERRORS as error:
        if is_damage(error):
            # The damage makes the check itself fail.
            return [str(error)]
        raise _cannot_read(path, error) from error
    return [] if findings == ["ok"] else findings


def original(path: Path) -> str | None:
    """The path of the store of which this one is a copy, unless it was moved from there; None if it is neither.

    Raises Unusable.
    """
    sql = queries("settings")["get_meta"]
    try:
        row = read_only(path, lambda store: store.execute(sql, (PLACE,)).fetchone())
    except SQLITE_ERRORS as error:
        raise _cannot_read(path, error) from error
    return None if row is None or row[0] == place_of(path) else str(row[0])


def why_unknown(path: Path) -> Unusable | None:
    """Why `serve` rejects a store; None if it knows the schema. Raises Unusable as `serve` for a file that cannot be read."""

    def reason(store: sqlite3.Connection) -> Unusable | None:
        try:
            check_schema(store, path)
        except Unusable as unusable:
            return unusable
        return None

    try:
        return read_only(path, reason)
    except SQLITE_ERRORS as error:
        raise unopenable(path, error) from error


def schema(path: Path) -> int:
    """The version of the schema. Raises Unusable."""

    def version(store: sqlite3.Connection) -> int:
        _check_owner(store, path)
        return int(store.execute("PRAGMA user_version").fetchone()[0])

    try:
        return read_only(path, version)
    except SQLITE_ERRORS as error:
        raise _cannot_read(path, error) from error


def check_in_use(path: Path) -> None:
    """Runs the check that was too slow for the start. Raises Unusable for a damaged store, StoreFailed if it cannot check."""
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
    try:
        damage = find_damage(connection)
    except sqlite3.Error as error:
        failed = StoreFailed(error)
        if failed.passing:
            raise failed from error
        damage = str(error)
    finally:
        connection.close()
    if damage:
        raise Unusable(f"the store is damaged: {path}: {damage}", "restore a backup, or recover it with sqlite3")


def backup(path: Path, target: Path, progress: Callable[[int, int], None]) -> None:
    """Copies the store as of one instant. The target appears as a whole or not at all. Raises Unusable."""
    if os.path.lexists(target):
        raise Unusable(f"{target} already exists", "name a new file")
    if any(os.path.realpath(target) == os.path.realpath(f"{path}{suffix}") for suffix in BESIDE):
        raise Unusable(f"{target} is the name of a file that belongs to the store", "name another file")
    beside = target.with_name(f".{target.name}.{os.getpid()}.tmp")

    def copy(store: sqlite3.Connection) -> None:
        _check_owner(store, path)
        with suppress(FileNotFoundError):
            beside.unlink()
        # The copy holds the content of the store, so only its owner may read it.
        os.close(os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        try:
            with closing(sqlite3.connect(beside)) as copy:
                store.backup(copy, pages=PAGES_A_STEP, progress=lambda _status, left, total: progress(left, total))
                copy.execute("PRAGMA journal_mode = DELETE")
        except sqlite3.Error as error:
            if number := _number_of_write(error, beside):
                raise OSError(number, os.strerror(number)) from error
            raise

    try:
        read_only(path, copy)
        fsync_path(beside)
        name_new(beside, target)
        fsync_path(target.parent)
    except SQLITE_ERRORS as error:
        raise _cannot_read(path, error) from error
    except OSError as error:
        remedy = size_limit(beside) or "name a file in a directory with room"
        raise Unusable(f"cannot write {target}: {error.strerror}", remedy) from error
    finally:
        # They may be missing, or their disk may be read-only.
        for end in ("", LOG, INDEX, JOURNAL):
            with suppress(OSError):
                beside.with_name(f"{beside.name}{end}").unlink()


def _number_of_write(error: sqlite3.Error, beside: Path) -> int | None:
    """The number of the system's error if writing failed: only the copy is written."""
    if not is_full(error) and getattr(error, "sqlite_errorcode", None) not in _FAILED_WRITES:
        return None
    if size_limit(beside):
        return errno.EFBIG
    return errno.ENOSPC if is_full(error) else errno.EIO


def _check_owner(store: sqlite3.Connection, path: Path) -> None:
    if store.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise Unusable(f"the database belongs to another program: {path}", "name the appliance's store")


def _cannot_read(path: Path, error: Exception) -> Unusable:
    return Unusable(f"the store {path} cannot be read: {error}", "restore a backup, or recover it with sqlite3")
