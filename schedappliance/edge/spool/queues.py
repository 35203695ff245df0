"""The listed files that are not decided about yet, in the order in which they are.

Rule: owners take turns, and the files of one owner keep the order of their arrival. What is too much for one owner comes last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from schedappliance.engine.rotation import Rotation


class Arrival(NamedTuple):
    """A listed file. `arrived_ns`: its last change of status. `before`: how many files of its owner were waiting before it."""

    arrived_ns: int
    name: str
    before: int = 0


@dataclass(slots=True)
class Queues:
    """A queue of files for each owner, the oldest at its end."""

    _files: dict[int, list[Arrival]] = field(default_factory=dict)
    _names: set[str] = field(default_factory=set)
    _turns: Rotation = field(default_factory=Rotation)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def counts(self) -> Counter[int]:
        """How many files of each owner are in the queues."""
        return Counter({owner: len(files) for owner, files in self._files.items()})

    def add(self, owner: int, files: Sequence[Arrival]) -> None:
        """Adds files that are not in the queues."""
        if not files:
            return
        queue = self._files.setdefault(owner, [])
        queue += files
        queue.sort(reverse=True)
        self._names.update(file.name for file in files)

    def take(self, max_waiting: int) -> Arrival | None:
        """Removes the next file and returns it; None if there is none."""
        if not self._files:
            return None
        owner = min(self._files, key=lambda one: (self._files[one][-1].before >= max_waiting, self._turns.last(one)))
        self._turns.take(owner)
        queue = self._files[owner]
        file = queue.pop()
        self._names.discard(file.name)
        if not queue:
            del self._files[owner]
        return file
