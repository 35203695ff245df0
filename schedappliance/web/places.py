"""How many requests the page carries out at once. Rule: one viewer cannot take the places of all others."""

from __future__ import annotations

from collections import Counter

# One owner gets at most this part of the places, as at the console of the appliance.
SHARE = 4


class Places:
    """A number of places. An owner is the name of a viewer, or what everybody may ask for without a name."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: Counter[str] = Counter()

    def take(self, owner: str) -> bool:
        """Whether there is a place for the owner. If so, it is taken until the owner leaves it."""
        if self._taken.total() >= self._most or self._taken[owner] >= self._most // SHARE:
            return False
        self._taken[owner] += 1
        return True

    def leave(self, owner: str) -> None:
        self._taken[owner] -= 1
        if self._taken[owner] == 0:
            del self._taken[owner]
