"""Checks and copies of a store that may be in use, from this process or another. Nothing here changes the store."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

from schedappliance.store.damage import find_damage
from schedappliance.store.database import APPLICATION_ID, StoreFailed, StoreRefused

PAGES_A_STEP = 1000


def check(path: Path) -> list[str]:
    """What SQLite's integrity check finds wrong, nothing when the store is well. Raises StoreRefused."""
    connection = _read_only(path)
    try:
        found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check")]
    except sqlite3.Error as error:
        raise _refused(path, error) from error
    finally:
        connection.close()
    return [] if found == ["ok"] else found


def check_in_use(path: Path) -> None:
    """What was not done before its first use because it takes long. Raises StoreRefused when it is damaged, else StoreFailed."""
    connection = _read_only(path)
    try:
        found = find_damage(connection)
    except sqlite3.Error as error:
        failed = StoreFailed(error)
        if failed.passing:
            raise failed from error
        found = str(error)
    finally:
        connection.close()
    if found:
        raise StoreRefused(f"the store is damaged: {path}: {found}", "restore a backup, or recover it with sqlite3")


def backup(path: Path, target: Path, progress: Callable[[int, int], None]) -> None:
    """Copies the store as it is at one instant; the target appears whole or not at all. Raises StoreRefused."""
    if target.exists():
        raise StoreRefused(f"{target} exists already", "name a new file")
    beside = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    source = _read_only(path)
    try:
        # The copy holds what the store holds, so it is as private.
        os.close(os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        copy = sqlite3.connect(beside)
        try:
            source.backup(copy, pages=PAGES_A_STEP, progress=lambda _status, left, total: progress(left, total))
            copy.execute("PRAGMA journal_mode = DELETE")
        finally:
            copy.close()
        _sync(beside)
        os.link(beside, target)
        _sync(target.parent)
    except sqlite3.Error as error:
        raise _refused(path, error) from error
    except OSError as error:
        raise StoreRefused(
            f"cannot write {target}: {error.strerror}", "name a file in a directory with room"
        ) from error
    finally:
        source.close()
        beside.unlink(missing_ok=True)


def _read_only(path: Path) -> sqlite3.Connection:
    if not path.is_file():
        raise StoreRefused(f"there is no store at {path}", "start the appliance once, or correct `backing_store`")
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10)
        ours = connection.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID
    except sqlite3.Error as error:
        raise _refused(path, error) from error
    if not ours:
        connection.close()
        raise StoreRefused(f"the database belongs to another program: {path}", "name the appliance's store")
    return connection


def _refused(path: Path, error: sqlite3.Error) -> StoreRefused:
    return StoreRefused(f"the store {path} cannot be read: {error}", "restore a backup, or recover it with sqlite3")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
