"""How many requests the page carries out at once. Rule: one viewer leaves room for the others."""

from __future__ import annotations

from collections import Counter

# One owner gets at most this part, as at the console of the appliance.
SHARE = 4


class Capacity:
    """Room for a number of requests. An owner is a viewer, or the other end of a connection without a viewer."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: Counter[str] = Counter()

    def take(self, owner: str) -> bool:
        """Whether there is room for a request of the owner. If so, the owner gives it back at the end."""
        if self._taken.total() >= self._most or self._taken[owner] >= self._most // SHARE:
            return False
        self._taken[owner] += 1
        return True

    def give_back(self, owner: str) -> None:
        self._taken[owner] -= 1
        if self._taken[owner] == 0:
            del self._taken[owner]
