"""Whether somebody has a file open for writing. A read lease is refused meanwhile; see fcntl(2), F_SETLEASE."""

from __future__ import annotations

import errno
import fcntl
import os


def has_writer(descriptor: int) -> bool:
    """Of a descriptor, also one of O_PATH. Where leases cannot be had it is not known: false."""
    try:
        readable = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.fcntl(readable, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(readable, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    finally:
        os.close(readable)
    return False
