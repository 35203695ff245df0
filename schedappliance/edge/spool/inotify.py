"""Watches the directories of the spool with inotify(7). Rule: an event is only a hint to check the directory.

watchdog is not used here: it delays all events by half a second after a file was moved out, and every claim moves one.
"""

from __future__ import annotations

import errno
import logging
import os
import struct
from pathlib import Path

from schedappliance.edge import linux

_ATTRIB, _CLOSE_WRITE, _MOVED_TO, _CREATE, _DELETE = 0x4, 0x8, 0x80, 0x100, 0x200
_ONLYDIR, _DONT_FOLLOW = 0x1000000, 0x2000000
COMES, GOES = _ATTRIB | _CLOSE_WRITE | _MOVED_TO | _CREATE, _DELETE
_EVENT = struct.Struct("iIII")
_BYTES = 1024 * 1024
_LIMITS = (errno.ENOSPC, errno.EMFILE)


class Arrivals:
    """Watches directories, each for a mask of events: `COMES` or `GOES`.

    `descriptor`: readable after an event; None without inotify, and then only the audit poll finds changes.
    """

    def __init__(self, directories: dict[Path, int], log: logging.Logger) -> None:
        self._directories = directories
        self._log = log
        self._is_watching = True
        self.descriptor: int | None = None
        try:
            self.descriptor = linux.inotify_init()
        except OSError as error:
            self._warn(next(iter(directories)), error)

    def renew(self) -> None:
        """Watches the directories that have these names now. A watch of the same directory stays as it is."""
        if self.descriptor is None:
            return
        for directory, mask in self._directories.items():
            try:
                linux.inotify_add_watch(self.descriptor, str(directory), mask | _ONLYDIR | _DONT_FOLLOW)
            except OSError as error:
                self._warn(directory, error)
                return
        self._is_watching = True

    def _warn(self, directory: Path, error: OSError) -> None:
        """Logs a warning once, until all directories are watched again."""
        if self._is_watching:
            remedy = "; raise fs.inotify.max_user_watches or max_user_instances" if error.errno in _LIMITS else ""
            message = "spool: cannot watch %s: %s; files are found every few seconds%s"
            self._log.warning(message, directory, error.strerror, remedy)
        self._is_watching = False

    def acknowledge(self) -> set[str] | None:
        """Reads the events. Returns the files that were closed after writing, None if there was no event.

        Lost events do not matter, since the caller lists the directory. May be called from any thread.
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
