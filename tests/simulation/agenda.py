"""What is planned to happen, in the order of its time; of one time, in the order in which it was planned."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Agenda(Generic[Item]):
    def __init__(self) -> None:
        self._planned: list[tuple[int, int, Item]] = []
        self._order = 0

    def add(self, at_ms: int, item: Item) -> None:
        self._order += 1
        heapq.heappush(self._planned, (at_ms, self._order, item))

    def next(self) -> int | None:
        """The time of the next item, None when nothing is planned."""
        return self._planned[0][0] if self._planned else None

    def take(self, now_ms: int) -> Iterator[Item]:
        """What is due by now, also what is planned for now meanwhile."""
        while self._planned and self._planned[0][0] <= now_ms:
            yield heapq.heappop(self._planned)[2]

    def keep(self, wanted: Callable[[Item], bool]) -> None:
        """Forgets everything else."""
        self._planned = [planned for planned in self._planned if wanted(planned[2])]
        heapq.heapify(self._planned)
