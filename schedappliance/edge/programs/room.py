"""A place among the descriptors that is kept for one that must be had later."""

from __future__ import annotations

import os


class Room:
    """Kept for the descriptor of a process: one that was started and cannot be watched would have to be killed.

    Raises OSError when there is none. Given back at the latest when it is forgotten.
    """

    def __init__(self, descriptor: int) -> None:
        self._kept: int | None = None
        self._kept = os.dup(descriptor)

    def clear(self) -> None:
        """The place is free for whatever is opened next."""
        if self._kept is not None:
            os.close(self._kept)
            self._kept = None

    __del__ = clear
