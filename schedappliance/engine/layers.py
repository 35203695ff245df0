"""A mapping that never changes, and of which another with one more entry is made in little time.

Law: nothing that two of them share is ever written to.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

Key = TypeVar("Key")
Kept = TypeVar("Kept")

# The upper layer is copied for each entry, the lower one when the upper is full: of 100,000 entries 400 times.
MOST_ABOVE = 256


class Layers(Mapping[Key, Kept]):
    """Many entries below, few above, which count more. Entries stand in the order in which their keys first came."""

    __slots__ = ("_above", "_below", "_more")

    def __init__(self, entries: Mapping[Key, Kept] | None = None) -> None:
        self._below = dict(entries or {})
        self._above: dict[Key, Kept] = {}
        self._more = 0

    def put(self, key: Key, value: Kept) -> Layers[Key, Kept]:
        """The same with one more entry, or another value of one."""
        new: Layers[Key, Kept] = Layers.__new__(Layers)
        above, below = self._above, self._below
        if len(above) >= MOST_ABOVE:
            new._below, new._above, new._more = {**below, **above, key: value}, {}, 0
            return new
        new._below, new._above = below, {**above, key: value}
        new._more = self._more if key in above or key in below else self._more + 1
        return new

    def __contains__(self, key: object) -> bool:
        return key in self._above or key in self._below

    def find(self, key: Key) -> Kept | None:
        """As `get`, without the exception by which that finds out that there is none."""
        found = self._above.get(key)
        return self._below.get(key) if found is None else found

    def __getitem__(self, key: Key) -> Kept:
        return self._above[key] if key in self._above else self._below[key]

    def __len__(self) -> int:
        return len(self._below) + self._more

    def __iter__(self) -> Iterator[Key]:
        yield from self._below
        yield from (key for key in self._above if key not in self._below)

    def __repr__(self) -> str:
        return f"Layers({dict(self)!r})"
