"""The agenda of planned items, and the steps of a simulated clock. Preview and tests/simulation share it.

Rule: the clock moves to the next instant at which something happens, and never past it.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from schedappliance.clock import ManualClock, Moment
    from schedappliance.core.turn import Core

Item = TypeVar("Item")


class Agenda(Generic[Item]):
    """Planned items in the order of their times. Items of the same time are in the order in which they were planned."""

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
        """The items that are due by now, including items that are added for now meanwhile."""
        while self._planned and self._planned[0][0] <= now_ms:
            yield heapq.heappop(self._planned)[2]

    def keep(self, wanted: Callable[[Item], bool]) -> None:
        """Forgets every other item."""
        self._planned = [planned for planned in self._planned if wanted(planned[2])]
        heapq.heapify(self._planned)


def milliseconds_to_wake(core: Core, now: Moment) -> int | None:
    """The time that the core sleeps without an event; 0 or less if its next turn is due, None if it never wakes."""
    wall, boot = core.wake()
    waits = [None if wall is None else wall - now.wall, None if boot is None else boot - now.boot]
    return min((wait for wait in waits if wait is not None), default=None)


def wakes(core: Core, clock: ManualClock, agenda: Agenda[Item], end_ms: int) -> Iterator[list[Item]]:
    """Moves the clock from wake to wake, and yields the items of each wake; the caller lets the core take a turn.

    The times of the agenda and `end_ms`, the last instant at which the core may wake, are boot times.
    """
    while (wake := _next_wake(core, clock.moment(), agenda)) is not None and wake <= end_ms:
        clock.advance(max(0, wake - clock.moment().boot))
        yield list(agenda.take(clock.moment().boot))


def _next_wake(core: Core, now: Moment, agenda: Agenda[Item]) -> int | None:
    wait = milliseconds_to_wake(core, now)
    times = [agenda.next(), None if wait is None else now.boot + wait]
    return min((at for at in times if at is not None), default=None)
