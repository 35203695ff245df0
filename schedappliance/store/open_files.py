"""Whether the names of the store's files still lead to the files that SQLite holds open.

SQLite looks at the names only when it opens. A commit to a file without its name succeeds, and is missing at the next
start. Rule: nothing here writes.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

# A longer log is cut to this size when it begins anew; a reader that stays for long makes it grow.
LOG_LIMIT_BYTES = 64 * 1024 * 1024


class _File(NamedTuple):
    device: int
    inode: int


class OpenFiles:
    """The store file, its log (`-wal`) and the index of the log (`-shm`), as they were when they were opened.

    One look takes three calls of stat(2), 3 µs.
    """

    def __init__(self, path: Path) -> None:
        """The files must be open: the log and its index exist once something was read."""
        self._path, self._log, self._index = path, Path(f"{path}-wal"), Path(f"{path}-shm")
        self._store = _identity(path)
        self._beside = {file: _identity(file) for file in (self._log, self._index)}
        self._log_bytes = 0

    def is_store_gone(self) -> bool:
        """Whether the store file was moved, deleted or replaced."""
        return _identity(self._path) != self._store

    def lost(self) -> Path | None:
        """The file beside the store that was removed or replaced, if one was. SQLite still has its content."""
        return next((file for file, identity in self._beside.items() if _identity(file) != identity), None)

    def is_log_shortened(self) -> bool:
        """Whether somebody else cut the log. SQLite only writes over it, or cuts it to the limit when it begins anew."""
        try:
            size = self._log.stat().st_size
        except OSError:
            return False
        is_shortened = size < min(self._log_bytes, LOG_LIMIT_BYTES)
        if not is_shortened:
            self._log_bytes = size
        return is_shortened


def _identity(path: Path) -> _File | None:
    """None: there is no such file, or it cannot be seen."""
    try:
        status = path.stat()
    except OSError:
        return None
    return _File(status.st_dev, status.st_ino)
