"""A hint whenever something happens in a directory, by inotify(7); the directory itself is looked at by others.

Not by watchdog: it holds back what follows a file that was moved out, as every claim is, for half a second.
"""

from __future__ import annotations

import errno
import logging
import os
import struct
from pathlib import Path

from schedappliance.edge import linux

_ATTRIB, _CLOSE_WRITE, _MOVED_TO, _CREATE, _DELETE = 0x4, 0x8, 0x80, 0x100, 0x200
_ONLYDIR = 0x1000000
COMES, GOES = _ATTRIB | _CLOSE_WRITE | _MOVED_TO | _CREATE, _DELETE
_EVENT = struct.Struct("iIII")
_BYTES = 1024 * 1024


class Arrivals:
    """Watches each directory for what `COMES` or `GOES` there.

    `descriptor` is readable when something has happened; None: that cannot be had, and the audit poll does it alone.
    """

    def __init__(self, directories: dict[Path, int], log: logging.Logger) -> None:
        self._directories = directories
        self._log = log
        self._is_well = True
        self.descriptor: int | None = None
        try:
            self.descriptor = linux.inotify_init()
        except OSError as error:
            self._tell(next(iter(directories)), error)

    def renew(self) -> None:
        """Watches the directories that have the names now; one that was watched before stays as it is."""
        if self.descriptor is None:
            return
        for directory, mask in self._directories.items():
            try:
                linux.inotify_add_watch(self.descriptor, str(directory), mask | _ONLYDIR)
            except OSError as error:
                self._tell(directory, error)
                return
        self._is_well = True

    def _tell(self, directory: Path, error: OSError) -> None:
        """Once, until it is well again."""
        if self._is_well:
            help = "; raise fs.inotify.max_user_watches or max_user_instances" if error.errno in _LIMITS else ""
            message = "spool: cannot watch %s: %s; files are found every few seconds%s"
            self._log.warning(message, directory, error.strerror, help)
        self._is_well = False

    def acknowledge(self) -> set[str] | None:
        """The files that were closed after they had been written there; None when nothing at all has happened.

        Whether events were lost does not matter. From any thread.
        """
        try:
            events = os.read(self.descriptor, _BYTES) if self.descriptor is not None else b""
        except BlockingIOError:
            return None
        closed: set[str] = set()
        place = 0
        while place < len(events):
            _, mask, _, length = _EVENT.unpack_from(events, place)
            place += _EVENT.size + length
            if mask & _CLOSE_WRITE:
                closed.add(os.fsdecode(events[place - length : place].rstrip(b"\0")))
        return closed if events else None

    def close(self) -> None:
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None


_LIMITS = (errno.ENOSPC, errno.EMFILE)
