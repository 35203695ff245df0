"""Whether somebody has a file open for writing. A read lease is refused meanwhile; see fcntl(2), F_SETLEASE."""

from __future__ import annotations

import errno
import fcntl
import os


def has_writer(descriptor: int) -> bool:
    """Of a descriptor, also one of O_PATH. Where it is not known: false."""
    try:
        readable = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return writer_of(readable) is True
    finally:
        os.close(readable)


def writer_of(descriptor: int) -> bool | None:
    """Of one that is open for reading. None where a lease cannot be had: for files of others without CAP_LEASE, on file
    systems without leases."""
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return True if error.errno == errno.EAGAIN else None
    return False
