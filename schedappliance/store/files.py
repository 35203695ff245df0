"""The names of the files of a store, and what /proc and stat(2) show of them: the size of its log, its readers, a mount of its own.

Rule: nothing here opens the content of a file.
"""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path

from schedappliance.diagnostics import Unusable
from schedappliance.kinds import closed, not_a_file, read_head
from schedappliance.lockfile import holders

# SQLite opens these files beside the store.
LOG, INDEX, JOURNAL = "-wal", "-shm", "-journal"
# All files beside the store that belong to it.
BESIDE = (LOG, INDEX, JOURNAL, ".lock", ".loss", ".output")

# The longest name of a file beside a store is that of an output directory that was moved away: `STORE.output.INODE`.
ROOM_BESIDE_BYTES = len(".output.") + 20

# The header of a store file, the place of the file format write version in it, and its value without a write-ahead log.
HEADER_BYTES, WRITE_VERSION, WITHOUT_LOG = 100, 18, b"\x01"

# When SQLite restarts the log, it cuts a longer one to this size. The log grows during a long read.
LOG_LIMIT_BYTES = 64 * 1024 * 1024

# A write that fails at a limit is not longer than this.
LAST_BYTES = 256 * 1024

# A reader locks one of these bytes of the index; see walIndex in SQLite's documentation of its log.
READER_BYTES = range(123, 128)


def lock_path_of(path: Path) -> Path:
    """The lock file of a store."""
    return Path(f"{path}.lock")


def obstacle(path: Path) -> Unusable | None:
    """The exception for something other than a file that has the name of a file which SQLite opens; None if there is none.

    SQLite waits forever when it opens a FIFO, and its errors do not name the file.
    """
    return next(filter(None, (not_a_file(Path(f"{path}{suffix}")) for suffix in (LOG, INDEX, JOURNAL))), None)


def closed_beside(path: Path) -> Unusable | None:
    """The exception for a file beside a store that this user may not use: SQLite's errors name only the store."""
    error = PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    files = [Path(f"{path}{suffix}") for suffix in (LOG, INDEX, JOURNAL)]
    return next(
        (closed(file, error) for file in files if file.exists() and not os.access(file, os.R_OK | os.W_OK)), None
    )


def log_bytes(path: Path) -> int:
    """The size of the log of a store; 0 if there is none."""
    return _size(Path(f"{path}{LOG}"))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def size_limit(path: Path) -> str | None:
    """The limit on the size of files under which this process runs, if a file of a store has nearly reached it."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if limit == resource.RLIM_INFINITY or max(_size(path), log_bytes(path)) + LAST_BYTES < limit:
        return None
    return f"the limit on the size of files is {limit:,} bytes: raise `ulimit -f`, or `LimitFSIZE=` of systemd"


def log_readers(path: Path) -> list[int]:
    """The visible processes that read a store now. SQLite does not restart the log while one reads an old part of it."""
    try:
        return holders("POSIX", "READ", Path(f"{path}-shm").stat(), READER_BYTES)
    except OSError:
        return []


def is_mount_point(path: Path) -> bool:
    """Whether a file is a mount of its own, as of `mount --bind` or `docker -v FILE`. False if that cannot be seen."""
    real = Path(os.path.realpath(path))
    own, around = _mount_number(real), _mount_number(real.parent)
    return own is not None and around is not None and own != around


def _mount_number(path: Path) -> bytes | None:
    """The number of the mount that holds a file. The descriptor opens no content, so closing it releases no lock."""
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        text = read_head(Path(f"/proc/self/fdinfo/{descriptor}"), 4096)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return text.partition(b"mnt_id:")[2].split(b"\n")[0].strip() or None
