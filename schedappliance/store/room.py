"""Reads a store whose disk has no room for SQLite's log and its index.

SQLite maps the index into memory. A disk that is full when a page of it is first used ends the process (SIGBUS).

Rule: nothing here writes.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from schedappliance.store.failures import is_full
from schedappliance.store.files import INDEX, LOG

# The index takes 32 KiB, and the log of a small turn about as much.
ROOM_BYTES = 256 * 1024


class Full(sqlite3.OperationalError):
    """The disk has no room for the log and its index."""

    sqlite_errorcode = sqlite3.SQLITE_FULL

    def __init__(self) -> None:
        super().__init__("database or disk is full")


def has_room(path: Path) -> bool:
    """Whether SQLite has room for its log and index beside a file: space, and inodes. True if that cannot be known."""
    try:
        system = os.statvfs(path.parent)
    except OSError:
        return True
    is_root = os.geteuid() == 0
    blocks, inodes = (system.f_bfree, system.f_ffree) if is_root else (system.f_bavail, system.f_favail)
    missing = sum(not os.path.lexists(f"{path}{suffix}") for suffix in (LOG, INDEX))
    has_space = system.f_blocks == 0 or blocks * system.f_frsize >= ROOM_BYTES
    return has_space and (system.f_files == 0 or inodes >= missing)


def lacks_room(error: Exception) -> bool:
    """Whether SQLite could not open a store because the disk has no room."""
    return is_full(error) or getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_IOERR_SHMSIZE


def open_view(path: Path) -> sqlite3.Connection:
    """A connection that reads the store, with an index of its own in memory. Raises sqlite3.Error.

    It takes none of SQLite's locks, and closing it releases those of the process. So no other connection may be open.
    """
    log = Path(f"{path}-wal")
    # Without frames in the log, SQLite would still create one, unless the file counts as immutable.
    how = "vfs=unix-none" if log.exists() and log.stat().st_size else "immutable=1"
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro&{how}", uri=True, isolation_level=None, cached_statements=256
    )
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection
