"""The dice of one history. They make every random decision, so that a seed fixes the history."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import TypeVar

Value = TypeVar("Value")

SECOND = 1000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
YEAR = 365 * DAY

# Each kind of event is absent, rare or frequent in a history, so that histories differ: as a share of the occasions ...
SHARES = {
    # of the transactions
    "crash before commit": (0, 0.002, 0.008),
    "crash after commit": (0, 0.002, 0.008),
    "commit fails": (0, 0.005, 0.05),
    "store is locked": (0, 0.005, 0.05),
    "statement fails": (0, 0.005, 0.05),
    "statement can never be done": (0, 0.002, 0.01),
    # of the effects
    "crash before effect": (0, 0.002, 0.008),
    "crash after effect": (0, 0.002, 0.008),
    # of the starts
    "clock set while down": (0, 0.1, 0.3),
    # of the results of drops
    "crash before result": (0, 0.05, 0.3),
    # of the clock steps
    "step not committed": (0, 0.3, 0.6),
    # of the reads between two turns
    "read fails": (0, 0.001, 0.01),
    # of the wakes
    "late": (0.01, 0.1, 0.3),
    # of the starts of programs
    "not started": (0, 0.02, 0.1),
    "exhausted": (0, 0.02, 0.1),
    "slow start": (0, 0.05, 0.3),
    # of the programs
    "fails": (0, 0.1, 0.5),
    "deaf": (0, 0.1, 0.5),
    "long": (0, 0.2, 0.6),
    "end reported twice": (0, 0.05, 0.3),
    "survives": (0, 0.5, 1),
    # of the files
    "bad file": (0, 0.1, 0.3),
}
# These have dice of their own, so that they leave everything else in the history of a seed as it is until they happen.
APART = {
    "no output": (0, 0.01, 0.05),
    "user not looked up": (0, 0.02, 0.1),
    "stopped": (0, 0.02, 0.2),
    # of the starts that could not be stored
    "degraded start lives": (0.2, 0.5, 1),
    # of the starts of programs
    "held": (0, 0, 0.02),
}
# This has dice of its own too, of the starts.
BOOTS = {"boot id hidden": (0, 0, 0.5, 1)}
# These have dice of their own too: of the wakes at a due time, and of the look-aheads.
AHEAD = {"looked ahead": (0, 0.2, 1), "look-ahead abandoned": (0.1, 0.5)}
# ... or so many times a day.
PER_DAY = {
    "kill": (0, 0.2, 0.6),
    "reboot": (0, 0.05, 0.2),
    "stop": (0, 0.05, 0.3),
    "clock step": (0, 0.1, 0.5),
    "suspend": (0, 0.1, 0.3),
    "outage": (0, 0.1, 0.5),
    "edit": (0, 0.3, 1),
    "hangup": (0, 0.1, 0.3),
    "line": (0.5, 1, 3),
    "burst": (0, 0.2, 0.5),
    "drop": (0, 0.2, 1),
}


class Dice(Random):
    """`counts`: how often each event happened. `calm`: no more faults. `fast`: runs of a job often overlap."""

    calm = False

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.fast = seed % 4 == 1
        self.counts: Counter[str] = Counter()
        self.rates = {name: self.choice(rates) for name, rates in (SHARES | PER_DAY).items()}
        self._apart = Random(f"{seed} apart")
        self.rates |= {name: self._apart.choice(rates) for name, rates in APART.items()}
        self._boots = Random(f"{seed} boots")
        self.rates |= {name: self._boots.choice(rates) for name, rates in BOOTS.items()}
        self._ahead = Random(f"{seed} ahead")
        self.rates |= {name: self._ahead.choice(rates) for name, rates in AHEAD.items()}

    def happens(self, what: str) -> bool:
        dice = self._apart if what in APART else self._ahead if what in AHEAD else self
        happens = not self.calm and dice.random() < self.rates[what]
        self.counts[what] += happens
        return happens

    def hides_boot(self) -> bool:
        """Whether a daemon that starts cannot see the id of the boot. This is no fault, so it happens while `calm` too."""
        hidden = self._boots.random() < self.rates["boot id hidden"]
        self.counts["boot id hidden"] += hidden
        return hidden

    def part_of(self, milliseconds: int) -> int:
        """A time shorter than this one, by the dice of look-aheads."""
        return self._ahead.randrange(milliseconds)

    def until_next(self, what: str) -> int | None:
        """The time until an event happens again, None if it never does."""
        rate = self.rates[what]
        return int(self.expovariate(rate / DAY)) if rate else None

    def time(self, shortest_ms: int, longest_ms: int) -> int:
        """A duration. Short and long ones are equally likely."""
        return int(math.exp(self.uniform(math.log(shortest_ms), math.log(longest_ms))))

    def clock_step(self) -> int:
        """The size of a clock step; sometimes it is years."""
        size = 10 * YEAR if self.maybe(0.02) else self.time(100, 3 * DAY)
        return self.choice((-size, size))

    def apart(self, share: float) -> bool:
        """As `maybe`, by the dice of events that are added to histories."""
        return self._apart.random() < share

    def picked(self, values: Sequence[Value]) -> Value:
        """One of the values, by the same dice."""
        return self._apart.choice(values)

    def waits(self, per_day: float) -> int:
        """The time until an event of this rate, by the same dice."""
        return int(self._apart.expovariate(per_day / DAY))

    def maybe(self, share: float) -> bool:
        """A random choice that is not a fault."""
        return self.random() < share
