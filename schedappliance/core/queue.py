"""The waiting runs, by the cause of the wait: no place, their program's limit, an earlier run, an instant, a user look-up.

Rule: this is a mirror of the queued rows, which are read at start. It decides the order and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import Generic, Literal, TypeVar

from schedappliance.engine.records import RunKey

# Order of the claim, run, program.
Waiter = tuple[int, RunKey, str]
# A boot instant, or the uid of the user who is looked up, followed by the waiter.
Delayed = tuple[int, Waiter]
Where = Literal["ready", "limited", "blocked", "delayed", "unidentified"]
Item = TypeVar("Item", Waiter, Delayed)
Key = TypeVar("Key", int, str)


class Line(Generic[Item]):
    """A heap. A removed item stays in it until it reaches the front, or until half of the items are removed ones.

    Removing an item from the middle of a heap at once would take a search.
    """

    def __init__(self) -> None:
        self._heap: list[Item] = []
        self._gone: set[Item] = set()

    def __len__(self) -> int:
        return len(self._heap) - len(self._gone)

    def __iter__(self) -> Iterator[Item]:
        return (item for item in self._heap if item not in self._gone)

    def add(self, item: Item) -> None:
        heappush(self._heap, item)

    def first(self) -> Item | None:
        while self._heap and self._heap[0] in self._gone:
            self._gone.remove(heappop(self._heap))
        return self._heap[0] if self._heap else None

    def pop(self) -> Item | None:
        return heappop(self._heap) if self.first() is not None else None

    def remove(self, item: Item) -> None:
        self._gone.add(item)
        if 2 * len(self._gone) > len(self._heap):
            self._heap = list(self)
            self._gone.clear()
            heapify(self._heap)


@dataclass(slots=True)
class WaitingRuns:
    """The waiting runs, by the thing that they wait for.

    `ready`: a free place. `limited`: the limit of their program, by program. `blocked`: an earlier run, by job.
    `delayed`: a boot instant. `unidentified`: the look-up of their user, by uid.
    """

    ready: Line[Waiter] = field(default_factory=Line)
    limited: dict[str, Line[Waiter]] = field(default_factory=dict)
    blocked: dict[int, Line[Waiter]] = field(default_factory=dict)
    delayed: Line[Delayed] = field(default_factory=Line)
    unidentified: dict[int, Line[Waiter]] = field(default_factory=dict)
    _of_job: dict[int, dict[RunKey, tuple[Where, Delayed]]] = field(default_factory=dict)
    number: int = 0

    def __len__(self) -> int:
        return self.number

    def add(self, waiter: Waiter) -> None:
        self._enter("ready", (0, waiter))
        self.ready.add(waiter)

    def block(self, waiter: Waiter) -> None:
        """Lets a run wait until the job's earlier runs have ended."""
        self._enter("blocked", (0, waiter))
        self.blocked.setdefault(waiter[1].job, Line()).add(waiter)

    def delay(self, boot_ms: int, waiter: Waiter) -> None:
        """Lets a run wait for an instant, in boot milliseconds."""
        self._enter("delayed", (boot_ms, waiter))
        self.delayed.add((boot_ms, waiter))

    def wait_for_user(self, uid: int, waiter: Waiter) -> None:
        """Lets a run wait until its user has been looked up."""
        self._enter("unidentified", (uid, waiter))
        self.unidentified.setdefault(uid, Line()).add(waiter)

    def release_user(self, uid: int) -> None:
        line = self.unidentified.pop(uid, Line())
        while waiter := line.pop():
            self._leave(waiter[1])
            self.add(waiter)

    def _limit(self, waiter: Waiter) -> None:
        self._enter("limited", (0, waiter))
        self.limited.setdefault(waiter[2], Line()).add(waiter)

    def _enter(self, where: Where, place: Delayed) -> None:
        self._of_job.setdefault(place[1][1].job, {})[place[1][1]] = where, place
        self.number += 1

    def _leave(self, key: RunKey) -> None:
        of_job = self._of_job[key.job]
        del of_job[key]
        if not of_job:
            del self._of_job[key.job]
        self.number -= 1

    def blocked_of(self, job: int) -> int:
        return len(self.blocked.get(job, ()))

    def find(self, key: RunKey) -> tuple[Where, int, str]:
        """Where a run waits, a number, and its program.

        The number is the boot instant for a delayed run, and the count of runs before it for any other.
        """
        if key not in (of_job := self._of_job.get(key.job, {})):
            return "ready", 0, ""
        where, (boot_ms, waiter) = of_job[key]
        if where == "delayed":
            return where, boot_ms, waiter[2]
        return where, sum(other < waiter for other in self._line_of(where, of_job[key][1])), waiter[2]

    def _line_of(self, where: Where, place: Delayed) -> Line[Waiter]:
        uid, waiter = place
        if where == "limited":
            return self.limited[waiter[2]]
        if where == "unidentified":
            return self.unidentified[uid]
        return self.blocked[waiter[1].job] if where == "blocked" else self.ready

    def wake(self) -> int | None:
        """The boot instant of the next delayed attempt; None if no run is delayed."""
        first = self.delayed.first()
        return first[0] if first else None

    def awake(self, boot_ms: int) -> None:
        """Moves the delayed runs whose instant has come to those that wait for a place."""
        while (first := self.delayed.first()) and first[0] <= boot_ms:
            self.delayed.pop()
            self._leave(first[1][1])
            self.add(first[1])

    def take(self, has_room: Callable[[str], bool]) -> Waiter | None:
        """Removes and returns the next run to start. Runs whose program has no room move to `limited`."""
        while waiter := self.ready.pop():
            self._leave(waiter[1])
            if has_room(waiter[2]):
                return waiter
            self._limit(waiter)
        return None

    def release_program(self, program: str) -> None:
        """Releases one run that waits for the program's limit, after a run has ended or the limit was raised."""
        self._one_goes_on(self.limited, program)

    def release_job(self, job: int) -> None:
        """Releases the next run that waits for the job's earlier runs, after they have ended."""
        self._one_goes_on(self.blocked, job)

    def _one_goes_on(self, lines: dict[Key, Line[Waiter]], name: Key) -> None:
        line = lines.get(name)
        if line is not None and (waiter := line.pop()):
            self._leave(waiter[1])
            self.add(waiter)
            if not line:
                del lines[name]

    def remove_job(self, job: int) -> list[RunKey]:
        """Removes every waiting run of a job, and returns them in their order."""
        places = sorted(self._of_job.pop(job, {}).values(), key=lambda place: place[1][1])
        self.number -= len(places)
        self.blocked.pop(job, None)
        for where, (boot_ms, waiter) in places:
            if where == "delayed":
                self.delayed.remove((boot_ms, waiter))
            elif where != "blocked":
                self._line_of(where, (boot_ms, waiter)).remove(waiter)
                if where == "limited" and not self.limited[waiter[2]]:
                    del self.limited[waiter[2]]
        # A ready run may hold room that another run of its program waits for.
        for where, (_, waiter) in places:
            if where in ("ready", "unidentified"):
                self.release_program(waiter[2])
        return [waiter[1] for _, (_, waiter) in places]
