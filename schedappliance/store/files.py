"""The names of the files of a store, and what /proc and stat(2) show of them: the size of its log, its readers, a mount of its own.

Rule: nothing here opens the content of a file.
"""

from __future__ import annotations

import os
from pathlib import Path

from schedappliance.lockfile import holders

# When SQLite restarts the log, it cuts a longer one to this size. The log grows during a long read.
LOG_LIMIT_BYTES = 64 * 1024 * 1024

# A reader locks one of these bytes of the index; see walIndex in SQLite's documentation of its log.
READER_BYTES = range(123, 128)


def lock_path_of(path: Path) -> Path:
    """The lock file of a store."""
    return Path(f"{path}.lock")


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
