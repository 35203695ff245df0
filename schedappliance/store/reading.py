"""Reads a store that belongs to another process.

Rule: no file is created or changed, and the appliance is not delayed. A plain read-only connection would create a log
and an index beside a store in WAL mode.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

from schedappliance.diagnostics import Unusable
from schedappliance.store.database import Database
from schedappliance.store.files import INDEX, JOURNAL, LOG, obstacle
from schedappliance.store.opening import copied, unopenable

TRIES = 5
BUSY_SECONDS = 10

Result = TypeVar("Result")
# Job, occurrence, attempt, and when it began in wall milliseconds.
StartedAttempt = tuple[int, int, int, int]
# Its job has a later number than any, its occurrence or its attempt has not begun, or another attempt has its numbers. A row
# that is missing makes a comparison NULL, which counts as false.
_IS_UNKNOWN = """
SELECT ?1 > coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'jobs'), 0)
  OR ?2 > (SELECT occurrence FROM jobs WHERE number = ?1)
  OR ?3 > (SELECT attempts FROM runs WHERE job = ?1 AND occurrence = ?2)
  OR ?4 <> (SELECT started_ms FROM attempts WHERE job = ?1 AND occurrence = ?2 AND attempt = ?3)
"""
# For each suffix: inode, size, and the times of modification and change; None for a missing file.
_Files = dict[str, tuple[int, int, int, int] | None]


def read_only(path: Path, read: Callable[[sqlite3.Connection], Result]) -> Result:
    """Returns what `read` returns for the store as of one instant. Calls `read` again if the files change meanwhile.

    Raises Unusable and sqlite3.Error.
    """
    try:
        is_file = stat.S_ISREG(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        remedy = "start the appliance once, or correct `backing_store`"
        raise Unusable(f"there is no store at {path}", remedy) from None
    except OSError as error:
        remedy = "correct its path or its permissions"
        raise Unusable(f"cannot read the store {path}: {error.strerror}", remedy) from error
    if not is_file:
        raise Unusable(f"the store is not a file: {path}", "name a file in `backing_store`")
    if not os.access(path, os.R_OK):
        raise Unusable(f"cannot read the store {path}: permission denied", "run this as the appliance's user")
    if unusable := obstacle(path):
        raise unusable
    for tries_left in reversed(range(TRIES)):
        files = _files(path)
        try:
            with _connection(path, files) as connection:
                connection.execute("BEGIN")
                # BEGIN alone reads nothing: the first read sets the instant.
                connection.execute("SELECT count(*) FROM sqlite_schema")
                content = read(connection)
        except (sqlite3.Error, UnicodeDecodeError, Unusable):
            if not tries_left or not (_in_use(files) or _files(path) != files):
                raise
        else:
            if _in_use(files) or _files(path) == files:
                return content
    raise Unusable(f"the store {path} changes while it is read", "try again")


def private_copy(path: Path) -> Database:
    """A copy of the store as of one instant; the caller may change it. Raises Unusable."""
    try:
        return read_only(path, lambda source: copied(source, path))
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise unopenable(path, error) from error


def unknown_attempts(path: Path, attempts: Collection[StartedAttempt]) -> list[StartedAttempt]:
    """Those of the attempts that a store has never known. Raises Unusable.

    Missing rows alone do not show it, since they may have been pruned.
    """

    def unknown(connection: sqlite3.Connection) -> list[StartedAttempt]:
        return [attempt for attempt in attempts if connection.execute(_IS_UNKNOWN, attempt).fetchone()[0]]

    try:
        return read_only(path, unknown)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise unopenable(path, error) from error


def _files(path: Path) -> _Files:
    return {suffix: _file(Path(f"{path}{suffix}")) for suffix in ("", LOG, INDEX, JOURNAL)}


def _file(path: Path) -> tuple[int, int, int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _in_use(files: _Files) -> bool:
    """Whether log and index exist, as after a kill. Then SQLite's locks keep the content steady during a read."""
    return files[LOG] is not None and files[INDEX] is not None


@contextmanager
def _connection(path: Path, files: _Files) -> Iterator[sqlite3.Connection]:
    log, journal = files[LOG], files[JOURNAL]
    if _in_use(files):
        # SQLite would rebuild an index that no process uses. With this option it keeps its own index in memory.
        with closing(_connect(path, "mode=ro&readonly_shm=1")) as connection:
            yield connection
    elif not (log and log[1]) and not (journal and journal[1]):
        # The log and the journal are empty, so the file holds everything, and SQLite needs no locks.
        with closing(_connect(path, "mode=ro&immutable=1")) as connection:
            yield connection
    else:
        with (
            _temporary_directory(path) as directory,
            closing(_connect(_copied(path, files, directory), "mode=rw")) as connection,
        ):
            yield connection


@contextmanager
def _temporary_directory(path: Path) -> Iterator[Path]:
    try:
        directory = tempfile.TemporaryDirectory(prefix="schedappliance-")
    except OSError as error:
        raise Unusable(f"the store {path} cannot be copied: {error.strerror}", "set TMPDIR to a directory") from error
    with directory as name:
        yield Path(name)


def _copied(path: Path, files: _Files, directory: Path) -> Path:
    """Copies the files of a store to a directory, where SQLite may create an index. Returns the path of the copy."""
    try:
        for suffix in (suffix for suffix, file in files.items() if file):
            shutil.copyfile(f"{path}{suffix}", directory / f"{path.name}{suffix}")
    except OSError as error:
        raise Unusable(f"the store {path} cannot be copied to {directory}: {error.strerror}", "make room") from error
    return directory / path.name


def _connect(path: Path, how: str) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True, timeout=BUSY_SECONDS, isolation_level=None)
