"""The directory in which the appliance makes again what somebody has removed.

Rule: nothing is made in another directory that has its name now. It would be in the way when the old one is moved back, or mounted.
"""

from __future__ import annotations

import errno
from pathlib import Path


class OwnDirectory:
    """A directory as it is now. It may be missing: then the first look at it counts."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._first: tuple[int, int] | None = None
        self.is_other()

    def is_other(self) -> bool:
        """Whether another directory has the name now. False if the name leads to nothing."""
        try:
            status = self.path.stat()
        except OSError:
            return False
        identity = status.st_dev, status.st_ino
        if self._first is None:
            self._first = identity
        return identity != self._first

    def check(self) -> None:
        """Raises OSError if another directory has the name now."""
        if self.is_other():
            raise OSError(errno.ESTALE, f"another directory has the name {self.path} now; move the old one back")
