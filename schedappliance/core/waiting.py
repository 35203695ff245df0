"""The runs that wait: for a place, for their program's limit, for an earlier run of their job, or for their next attempt.

A mirror of the queued rows, made from them at start; it decides nothing but the order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Literal

from schedappliance.engine.records import RunKey

# Order of the claim, run, program.
Waiter = tuple[int, RunKey, str]
Where = Literal["ready", "parked", "held", "delayed", "unknown"]


@dataclass(slots=True)
class WaitingRuns:
    """`ready`: for a place; `parked`: by program, for its own limit; `held`: by job; `delayed`: with a boot instant;
    `unknown`: by user, until it is known who that is now."""

    ready: list[Waiter] = field(default_factory=list)
    parked: dict[str, list[Waiter]] = field(default_factory=dict)
    held: dict[int, list[Waiter]] = field(default_factory=dict)
    delayed: list[tuple[int, Waiter]] = field(default_factory=list)
    unknown: dict[int, list[Waiter]] = field(default_factory=dict)

    def __len__(self) -> int:
        apart = [*self.parked.values(), *self.held.values(), *self.unknown.values()]
        return len(self.ready) + len(self.delayed) + sum(map(len, apart))

    def add(self, waiter: Waiter) -> None:
        heappush(self.ready, waiter)

    def hold(self, waiter: Waiter) -> None:
        """Waits until the job's earlier runs have ended."""
        heappush(self.held.setdefault(waiter[1].job, []), waiter)

    def delay(self, boot_ms: int, waiter: Waiter) -> None:
        """Waits for an instant."""
        heappush(self.delayed, (boot_ms, waiter))

    def wait_for_user(self, uid: int, waiter: Waiter) -> None:
        """Waits until the user has been looked up."""
        self.unknown.setdefault(uid, []).append(waiter)

    def user_is_known(self, uid: int) -> None:
        for waiter in self.unknown.pop(uid, []):
            self.add(waiter)

    def held_of(self, job: int) -> int:
        return len(self.held.get(job, ()))

    def find(self, key: RunKey) -> tuple[Where, int, str]:
        """Where a run waits; until which boot instant if that delays it, else after how many others; and its program."""
        for boot_ms, (_, other, program) in self.delayed:
            if other == key:
                return "delayed", boot_ms, program
        lists: list[tuple[Where, list[Waiter]]] = [("held", self.held.get(key.job, [])), ("ready", self.ready)]
        lists += [("parked", waiters) for waiters in self.parked.values()]
        lists += [("unknown", waiters) for waiters in self.unknown.values()]
        for where, waiters in lists:
            for waiter in waiters:
                if waiter[1] == key:
                    return where, sum(other < waiter for other in waiters), waiter[2]
        return "ready", 0, ""

    def wake(self) -> int | None:
        """The boot instant of the next attempt."""
        return self.delayed[0][0] if self.delayed else None

    def awake(self, boot_ms: int) -> None:
        """The runs whose instant has come wait for a place from now on."""
        while self.delayed and self.delayed[0][0] <= boot_ms:
            self.add(heappop(self.delayed)[1])

    def take(self, has_room: Callable[[str], bool]) -> Waiter | None:
        """The next run to start; those whose program has no room are put aside."""
        while self.ready:
            waiter = heappop(self.ready)
            if has_room(waiter[2]):
                return waiter
            heappush(self.parked.setdefault(waiter[2], []), waiter)
        return None

    def program_has_room(self, program: str) -> None:
        """A run of the program has ended, or its limit was raised."""
        if parked := self.parked.get(program):
            self.add(heappop(parked))
            if not parked:
                del self.parked[program]

    def job_has_ended(self, job: int) -> None:
        """The job's run has ended: the next of those that waited for it."""
        if held := self.held.get(job):
            self.add(heappop(held))
            if not held:
                del self.held[job]

    def remove_job(self, job: int) -> list[RunKey]:
        """Takes every waiting run of a job away, and returns them."""
        held = [waiter[1] for waiter in self.held.pop(job, [])]
        ready = [waiter for waiter in self.ready if waiter[1].job == job]
        delayed = [item for item in self.delayed if item[1][1].job == job]
        parked = [waiter for waiters in self.parked.values() for waiter in waiters if waiter[1].job == job]
        unknown = [waiter for waiters in self.unknown.values() for waiter in waiters if waiter[1].job == job]
        if ready or delayed or parked or unknown:
            self.ready = sorted(waiter for waiter in self.ready if waiter[1].job != job)
            self.delayed = sorted(item for item in self.delayed if item[1][1].job != job)
            left = {name: sorted(w for w in waiters if w[1].job != job) for name, waiters in self.parked.items()}
            self.parked = {name: waiters for name, waiters in left.items() if waiters}
            self.unknown = {uid: [w for w in them if w[1].job != job] for uid, them in self.unknown.items()}
        return held + [w[1] for w in (*ready, *(item[1] for item in delayed), *parked, *unknown)]
