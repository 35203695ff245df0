"""The waiting runs, by the cause of the wait: no place, their program's limit, an earlier run, an instant, a user look-up.

Rule: this is a mirror of the queued rows, which are read at start. It decides the order and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import Literal, NamedTuple

from schedappliance.engine.records import RunKey

Where = Literal["ready", "limited", "blocked", "delayed", "unidentified"]


class Waiter(NamedTuple):
    """A run that waits. `sequence`: the order of the claims."""

    sequence: int
    key: RunKey
    program: str


class LineName(NamedTuple):
    """What the runs of a line wait for.

    `ready`: a free place. `limited`: the limit of the program `of`. `blocked`: the earlier runs of the job `of`.
    `delayed`: an instant. `unidentified`: the look-up of the user whose uid is `of`.
    """

    where: Where
    of: int | str | None = None


READY, DELAYED = LineName("ready"), LineName("delayed")


class Place(NamedTuple):
    """The place of a run in a line. A smaller place is nearer to the front, so the instant and the claim come first.

    `not_before`: the boot instant that a delayed run waits for, in milliseconds; 0 in all other lines.
    """

    not_before: int
    waiter: Waiter
    line: LineName


class Delayed(NamedTuple):
    """The run waits for an instant, in boot milliseconds."""

    boot_ms: int


class Behind(NamedTuple):
    """The run waits behind `number` other runs of its line."""

    where: Where
    number: int
    program: str


class Line:
    """A heap. A removed place stays in it until it reaches the front, or until half of the places are removed ones.

    Removing a place from the middle of a heap at once would take a search.
    """

    def __init__(self) -> None:
        self._heap: list[Place] = []
        self._gone: set[Place] = set()

    def __len__(self) -> int:
        return len(self._heap) - len(self._gone)

    def __iter__(self) -> Iterator[Place]:
        return (place for place in self._heap if place not in self._gone)

    def add(self, place: Place) -> None:
        heappush(self._heap, place)

    def first(self) -> Place:
        """The place at the front. Raises IndexError for an empty line."""
        while self._gone and self._heap[0] in self._gone:
            self._gone.remove(heappop(self._heap))
        return self._heap[0]

    def pop(self) -> Place:
        self.first()
        return heappop(self._heap)

    def remove(self, place: Place) -> None:
        self._gone.add(place)
        if 2 * len(self._gone) > len(self._heap):
            self._heap = list(self)
            self._gone.clear()
            heapify(self._heap)


@dataclass(slots=True)
class WaitingRuns:
    """The waiting runs in their lines. A line that becomes empty is removed.

    `number`: how many runs wait. It is a field, since most turns only ask whether any run waits.
    """

    number: int = 0
    lines: dict[LineName, Line] = field(default_factory=dict)
    _places: dict[int, dict[RunKey, Place]] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.number

    @property
    def has_ready(self) -> bool:
        """Whether a run waits for nothing but a place."""
        return READY in self.lines

    def add(self, waiter: Waiter) -> None:
        """Lets a run wait for a place."""
        self._enter(Place(0, waiter, READY))

    def block(self, waiter: Waiter) -> None:
        """Lets a run wait until the job's earlier runs have ended."""
        self._enter(Place(0, waiter, LineName("blocked", waiter.key.job)))

    def delay(self, boot_ms: int, waiter: Waiter) -> None:
        """Lets a run wait for an instant, in boot milliseconds."""
        self._enter(Place(boot_ms, waiter, DELAYED))

    def wait_for_user(self, uid: int, waiter: Waiter) -> None:
        """Lets a run wait until its user has been looked up."""
        self._enter(Place(0, waiter, LineName("unidentified", uid)))

    def _enter(self, place: Place) -> None:
        key = place.waiter.key
        self._places.setdefault(key.job, {})[key] = place
        line = self.lines.get(place.line)
        if line is None:
            line = self.lines[place.line] = Line()
        line.add(place)
        self.number += 1

    def _pop(self, name: LineName) -> Waiter | None:
        """Removes and returns the first run of a line; None if no run waits in it."""
        line = self.lines.get(name)
        if line is None:
            return None
        waiter = line.pop().waiter
        if not line:
            del self.lines[name]
        of_job = self._places[waiter.key.job]
        del of_job[waiter.key]
        if not of_job:
            del self._places[waiter.key.job]
        self.number -= 1
        return waiter

    def blocked_of(self, job: int) -> int:
        return len(self.lines.get(LineName("blocked", job), ()))

    def delays(self) -> dict[RunKey, int]:
        """The instants of all delayed runs, in boot milliseconds."""
        return {place.waiter.key: place.not_before for place in self.lines.get(DELAYED, ())}

    def find(self, key: RunKey) -> Delayed | Behind:
        """What a run waits for. A run that does not wait, since it may start by now, is behind no other."""
        place = self._places.get(key.job, {}).get(key)
        if place is None:
            return Behind("ready", 0, "")
        if place.line is DELAYED:
            return Delayed(place.not_before)
        number = sum(other < place for other in self.lines[place.line])
        return Behind(place.line.where, number, place.waiter.program)

    def next_attempt(self) -> int | None:
        """The boot instant of the next delayed attempt; None if no run is delayed."""
        line = self.lines.get(DELAYED)
        return line.first().not_before if line else None

    def release_delayed(self, boot_ms: int) -> None:
        """Releases the delayed runs whose instant has come: from now on, they wait for a place."""
        while (instant := self.next_attempt()) is not None and instant <= boot_ms:
            self._release(DELAYED)

    def take(self, has_room: Callable[[str], bool]) -> Waiter | None:
        """Removes and returns the next run to start. Runs whose program has no room move to the line of its limit."""
        while waiter := self._pop(READY):
            if has_room(waiter.program):
                return waiter
            self._enter(Place(0, waiter, LineName("limited", waiter.program)))
        return None

    def release_program(self, program: str) -> None:
        """Releases one run that waits for the program's limit, after a run has ended or the limit was raised."""
        self._release(LineName("limited", program))

    def release_job(self, job: int) -> None:
        """Releases the next run that waits for the job's earlier runs, after they have ended."""
        self._release(LineName("blocked", job))

    def awaited_users(self) -> list[int]:
        """The users whose look-up some run waits for."""
        return [name.of for name in self.lines if name.where == "unidentified" and isinstance(name.of, int)]

    def release_user(self, uid: int) -> None:
        """Releases all runs that wait for the look-up of a user."""
        while self._release(LineName("unidentified", uid)):
            pass

    def _release(self, name: LineName) -> bool:
        """Moves the first run of a line to those that wait for a place. Returns False if no run waits in it."""
        waiter = self._pop(name)
        if waiter is None:
            return False
        self.add(waiter)
        return True

    def jobs(self) -> list[int]:
        """The jobs with waiting runs."""
        return list(self._places)

    def remove_job(self, job: int) -> list[RunKey]:
        """Removes every waiting run of a job, and returns them in their order."""
        return self._remove(self._places.get(job, {}).values())

    def remove(self, key: RunKey) -> bool:
        """Removes a run. Returns False if it does not wait."""
        place = self._places.get(key.job, {}).get(key)
        return bool(self._remove([] if place is None else [place]))

    def _remove(self, removed: Iterable[Place]) -> list[RunKey]:
        places = sorted(removed, key=lambda place: place.waiter)
        self.number -= len(places)
        for place in places:
            of_job = self._places[place.waiter.key.job]
            del of_job[place.waiter.key]
            if not of_job:
                del self._places[place.waiter.key.job]
            line = self.lines[place.line]
            line.remove(place)
            if not line:
                del self.lines[place.line]
        # A ready run may hold room that another run of its program waits for.
        for place in places:
            if place.line.where in ("ready", "unidentified"):
                self.release_program(place.waiter.program)
        return [place.waiter.key for place in places]
