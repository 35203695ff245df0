"""Users who take turns: next is the one whose last turn is the longest ago.

Rule: however much one user asks for, every other user waits for one of it at a time.
"""

from __future__ import annotations


class Rotation:
    """The last turn of each user, by uid. None: all trusted users, who share their turns."""

    def __init__(self) -> None:
        self._last: dict[int | None, int] = {}
        self._number = 0

    def last(self, uid: int | None) -> int:
        """The number of the last turn of a user; 0 if there was none. The user with the least number is next."""
        return self._last.get(uid, 0)

    def take(self, uid: int | None) -> None:
        """Notes that a user has a turn now."""
        self._number += 1
        self._last[uid] = self._number
