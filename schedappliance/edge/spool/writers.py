"""What can be seen of a file that waits before it is taken: whether somebody still writes it, and whether it ends."""

from __future__ import annotations

import errno
import os

from schedappliance.edge.files.leases import writer_of
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
