"""The directory in which the appliance makes again what somebody has removed.

Rule: nothing is made in another directory that has its name now. It would be in the way when the old one is moved back, or mounted.
"""

from __future__ import annotations

import errno
from pathlib import Path

from schedappliance.store.files import is_mount_point


class OwnDirectory:
    """A directory as it was when this object was made."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._first = self._identity()
        self._was_mount = is_mount_point(path)

    def _identity(self) -> tuple[int, int] | None:
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def is_other(self) -> bool:
        """Whether another directory has the name now. False if the name leads to nothing now, or led to nothing then."""
        now = self._identity()
        return now is not None and self._first is not None and now != self._first

    def check(self) -> None:
        """Raises OSError if another directory has the name now."""
        if self.is_other():
            raise OSError(errno.ESTALE, f"another directory has the name {self.path} now; move the old one back")

    def check_mounts(self) -> None:
        """Raises OSError if something was mounted over the directory, or if its file system was unmounted."""
        if self.is_other():
            if is_mount_point(self.path):
                raise OSError(errno.ESTALE, "something was mounted over it; unmount it, or restart the appliance")
            if self._was_mount:
                raise OSError(errno.ESTALE, "its file system was unmounted; mount it again, or restart the appliance")
