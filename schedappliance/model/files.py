"""How a file is read that somebody names: never blocked by what it is, never more than the languages take."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

from schedappliance.syntax.text import MAX_BYTES

ReadFile = Callable[[Path], bytes]


def read_regular(path: Path) -> bytes:
    """The bytes of a regular file, at most one more than the limit; raises OSError. A FIFO or device never blocks it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    with os.fdopen(descriptor, "rb") as file:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        return file.read(MAX_BYTES + 1)
