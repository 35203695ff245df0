"""Whether another process has a file open for writing. A read lease is denied meanwhile; see fcntl(2), F_SETLEASE."""

from __future__ import annotations

import errno
import fcntl


def writer_of(descriptor: int) -> bool | None:
    """For a descriptor that is open for reading. None where no lease can be had: for files of other users without
    CAP_LEASE, and on file systems without leases."""
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return True if error.errno == errno.EAGAIN else None
    return False
