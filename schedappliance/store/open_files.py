"""Detects that the names of the store's files no longer lead to the files that SQLite holds open.

SQLite uses the names only when it opens the files. A commit to a file that has lost its name succeeds, but is missing at
the next start.

Rule: nothing here writes.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from schedappliance.lockfile import holders

# When SQLite restarts the log, it cuts a longer one to this size. The log grows during a long read.
LOG_LIMIT_BYTES = 64 * 1024 * 1024

# A reader locks one of these bytes of the index; see walIndex in SQLite's documentation of its log.
READER_BYTES = range(123, 128)


class _File(NamedTuple):
    device: int
    inode: int


class OpenFiles:
    """The store file, its log (`-wal`) and the index of the log (`-shm`), as they were when they were opened.

    A check takes three calls of stat(2), 3 µs.
    """

    def __init__(self, path: Path) -> None:
        """Call it when SQLite has the files open. SQLite creates the log and its index at the first read."""
        self._path, self._log, self._index = path, Path(f"{path}-wal"), Path(f"{path}-shm")
        self._store = _identity(path)
        self._beside = {file: _identity(file) for file in (self._log, self._index)}
        self._log_bytes = 0

    def is_store_gone(self) -> bool:
        """Whether the store file was moved, deleted or replaced."""
        return _identity(self._path) != self._store

    def lost(self) -> Path | None:
        """The log or the index, if it was removed or replaced; SQLite still has its content. None if both are in place."""
        return next((file for file, identity in self._beside.items() if _identity(file) != identity), None)

    def is_log_shortened(self) -> bool:
        """Whether another program cut the log. SQLite overwrites the log, and cuts it only to the limit."""
        try:
            size = self._log.stat().st_size
        except OSError:
            return False
        is_shortened = size < min(self._log_bytes, LOG_LIMIT_BYTES)
        if not is_shortened:
            self._log_bytes = size
        return is_shortened


def _identity(path: Path) -> _File | None:
    """Device and inode of a file; None if it does not exist or cannot be accessed."""
    try:
        status = path.stat()
    except OSError:
        return None
    return _File(status.st_dev, status.st_ino)


def log_bytes(path: Path) -> int:
    """The size of the log of a store; 0 if there is none."""
    try:
        return Path(f"{path}-wal").stat().st_size
    except OSError:
        return 0


def log_readers(path: Path) -> list[int]:
    """The visible processes that read a store now. SQLite does not restart the log while one reads an old part of it."""
    try:
        return holders("POSIX", "READ", Path(f"{path}-shm").stat(), READER_BYTES)
    except OSError:
        return []


def is_mount_point(path: Path) -> bool:
    """Whether a file is a mount of its own, as of `mount --bind` or `docker -v FILE`. False if that cannot be seen."""
    real = path.resolve()
    own, around = _mount_number(real), _mount_number(real.parent)
    return own is not None and around is not None and own != around


def _mount_number(path: Path) -> bytes | None:
    """The number of the mount that holds a file. The descriptor opens no content, so closing it releases no lock."""
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        text = Path(f"/proc/self/fdinfo/{descriptor}").read_bytes()
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return text.partition(b"mnt_id:")[2].split(b"\n")[0].strip() or None
