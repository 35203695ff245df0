"""A hint whenever something comes into a directory, by inotify(7); the directory itself is looked at by others.

Not by watchdog: it holds back what follows a file that was moved out, as every claim is, for half a second.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import logging
import os
from pathlib import Path

_ATTRIB, _CLOSE_WRITE, _MOVED_TO, _CREATE = 0x4, 0x8, 0x80, 0x100
_ONLYDIR = 0x1000000
_MASK = _ATTRIB | _CLOSE_WRITE | _MOVED_TO | _CREATE | _ONLYDIR
# So many events are read at once, and forgotten.
_BYTES = 1024 * 1024

_libc = ctypes.CDLL(None, use_errno=True)


class Arrivals:
    """`descriptor` is readable when something has come; None: that cannot be had, and the audit poll does it alone."""

    def __init__(self, directory: Path, log: logging.Logger) -> None:
        self._directory = directory
        self._log = log
        self._is_well = True
        found = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self.descriptor = found if found >= 0 else None
        if found < 0:
            self._tell(ctypes.get_errno())

    def renew(self) -> None:
        """Watches the directory that has the name now; one that was watched before stays as it is."""
        if self.descriptor is None:
            return
        name = os.fsencode(self._directory)
        if _libc.inotify_add_watch(self.descriptor, name, ctypes.c_uint32(_MASK)) < 0:
            self._tell(ctypes.get_errno())
        else:
            self._is_well = True

    def _tell(self, number: int) -> None:
        """Once, until it is well again."""
        if self._is_well:
            help = "; raise fs.inotify.max_user_watches or max_user_instances" if number in _LIMITS else ""
            message = "spool: cannot watch %s: %s; files are found every few seconds%s"
            self._log.warning(message, self._directory, os.strerror(number), help)
        self._is_well = False

    def acknowledge(self) -> None:
        """Which events these are does not matter, nor whether some were lost."""
        assert self.descriptor is not None
        with contextlib.suppress(BlockingIOError):
            os.read(self.descriptor, _BYTES)

    def close(self) -> None:
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None


_LIMITS = (errno.ENOSPC, errno.EMFILE)
