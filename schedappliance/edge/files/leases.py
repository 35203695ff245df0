"""Detects whether another process has a file open for writing, for stanza files and drops.

Rule: the kernel denies a read lease while a writer exists; see F_SETLEASE in fcntl(2).
"""

from __future__ import annotations

import errno
import fcntl


def writer_of(descriptor: int) -> bool | None:
    """Whether the file of a descriptor, which is open for reading, has a writer.

    None if leases are unavailable: for files of other users without CAP_LEASE, and on file systems without leases.
    """
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return True if error.errno == errno.EAGAIN else None
    return False
