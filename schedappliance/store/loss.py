"""The loss of a part of a store's log: how it is noticed, and the file `STORE.loss` that remembers it.

Rule: nothing here opens the store file or its log. The index is read only while this process has no connection, since
closing it would release SQLite's locks.
"""

from __future__ import annotations

import os
import struct
from contextlib import suppress
from pathlib import Path

from schedappliance.diagnostics import counted
from schedappliance.kinds import read_head
from schedappliance.store.files import log_bytes

# See "WAL-File Format" and "WAL-Index Header" in SQLite's documentation of its log.
_LOG_HEADER, _FRAME_HEADER = 32, 24
_INDEX_VERSION = 3007000
# Version, change counter, initialized, byte order, size of a page, frames; then the copy of the header; then frames copied.
_INDEX = struct.Struct("=I4xI?BHI28x48sI")
_INDEX_HEADER = 48
_LARGEST_PAGE = 65536
# At most this much of the file is shown.
MOST_BYTES = 1000


def loss_path_of(path: Path) -> Path:
    """The file that remembers the loss."""
    return Path(f"{path}.loss")


def lost_pages(path: Path) -> int:
    """How many pages that were committed are neither in the store file nor in its log, as the index of the log says.

    A killed appliance leaves the index. SQLite writes it again at the next connection. 0 if nothing is lost or known.
    """
    try:
        index = read_head(Path(f"{path}-shm"), _INDEX.size, os.O_NOFOLLOW)
    except OSError:
        return 0
    if len(index) < _INDEX.size:
        return 0
    version, _, is_initialized, _, page, frames, copy, copied = _INDEX.unpack(index)
    if version != _INDEX_VERSION or not is_initialized or copy != index[:_INDEX_HEADER]:
        return 0
    present = (log_bytes(path) - _LOG_HEADER) // (_FRAME_HEADER + (_LARGEST_PAGE if page == 1 else page))
    return max(0, int(frames) - max(present, int(copied)))


def remedy_for(path: Path) -> str:
    return f"restore a backup, or check `sched list` and `sched history`; then remove {loss_path_of(path)}"


def remember_loss(path: Path, text: str) -> None:
    """Writes the file that remembers a loss, unless there is one. Without room for it, only the index tells of the loss."""
    with suppress(OSError):
        descriptor = os.open(loss_path_of(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"{text}\n")
            file.flush()
            os.fsync(descriptor)


def loss_of(path: Path) -> str | None:
    """The loss that is remembered; None if there is none."""
    remembered, cause = loss_path_of(path), b""
    try:
        cause = read_head(remembered, MOST_BYTES, os.O_NOFOLLOW)
    except OSError:
        # A link or a directory of this name would have kept `remember_loss` from writing the cause.
        if not os.path.lexists(remembered):
            return None
    return described(" ".join(cause.decode(errors="replace").split()))


def described(cause: str) -> str:
    return f"jobs, runs and commands that were accepted may be lost: {cause or 'the cause is unknown'}"


def cause_of(pages: int) -> str:
    return f"the log of the store lacks {counted(pages, 'page')}"
