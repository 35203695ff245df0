"""Whether somebody still writes a file. A read lease is refused meanwhile; see fcntl(2), F_SETLEASE."""

from __future__ import annotations

import errno
import fcntl
import os

from schedappliance.engine.intake import Found, Look

# Neither what is no file nor what nobody may read gets better by waiting.
_LASTING = (errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENXIO)


def look_into(path: str, found: Found) -> Look:
    """Opens a regular file without following links and without blocking; raises OSError when that fails for now."""
    try:
        descriptor = open_drop(path)
    except OSError as error:
        if error.errno not in _LASTING:
            raise
        return Look(has_writer=False, unreadable=error.strerror)
    try:
        has_writer = writer_of(descriptor)
        ended = has_writer is None and found.size > 0 and os.pread(descriptor, 1, found.size - 1) == b"\n"
        return Look(has_writer, ended)
    finally:
        os.close(descriptor)


def open_drop(path: str) -> int:
    return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)


def writer_of(descriptor: int) -> bool | None:
    """None where a lease cannot be had: for files of others without CAP_LEASE, on file systems without leases."""
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return True if error.errno == errno.EAGAIN else None
    return False
