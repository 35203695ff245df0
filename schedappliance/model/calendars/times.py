"""Sets of times of day, as the bits of one integer.

Rule: a set knows nothing of days and zones. Searching is shifting, counting is counting bits.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from math import gcd

from schedappliance.model.calendars.days import bits
from schedappliance.model.calendars.months import DAY_S


@dataclass(frozen=True, slots=True)
class Times:
    """The times `phase + k * step`, in seconds since midnight, for each bit k of `mask`.

    The step keeps the integer short: `0 9,17 * * *` needs 2 bits, `* * * * *` 1,440, and only `* * * * * *` 86,400.
    `first` and `last`: the first and the last time, if there is any. `total`: how many there are. `dense`: all bits are
    set, as for most expressions, so that the answers need no bits.
    """

    phase: int
    step: int
    mask: int
    total: int = field(init=False)
    first: int = field(init=False)
    last: int = field(init=False)
    dense: bool = field(init=False)

    def __post_init__(self) -> None:
        lowest, highest = (self.mask & -self.mask).bit_length() - 1, self.mask.bit_length() - 1
        object.__setattr__(self, "total", self.mask.bit_count())
        object.__setattr__(self, "first", self.phase + self.step * lowest)
        object.__setattr__(self, "last", self.phase + self.step * highest)
        object.__setattr__(self, "dense", self.mask & (self.mask + 1) == 0)

    def first_from(self, second: int) -> int | None:
        """The first time at or after a second of the day."""
        if second <= self.first:
            return self.first if self.mask else None
        if second > self.last:
            return None
        bit = -((self.phase - second) // self.step)
        if self.dense:
            return self.phase + self.step * bit
        rest = self.mask >> bit
        return self.phase + self.step * (bit + (rest & -rest).bit_length() - 1)

    def last_to(self, second: int) -> int | None:
        """The last time at or before a second of the day."""
        if second >= self.last:
            return self.last if self.mask else None
        if second < self.first:
            return None
        bit = (second - self.phase) // self.step
        if self.dense:
            return self.phase + self.step * bit
        return self.phase + self.step * ((self.mask & ((2 << bit) - 1)).bit_length() - 1)

    def count_before(self, second: int) -> int:
        """How many times are before a second of the day."""
        end = self._bit_from(second)
        return min(end, self.total) if self.dense else (self.mask & ((1 << end) - 1)).bit_count()

    def each_second(self) -> int:
        """The same set with one bit for each second of the day."""
        return _spread_out(self.mask, self.step) << self.phase

    def within(self, ranges: Iterable[tuple[int, int]]) -> Times:
        """The times in any of these ranges, each from the first second to before the second one."""
        mask = 0
        for start, end in ranges:
            mask |= (1 << self._bit_from(end)) - (1 << self._bit_from(start))
        return Times(self.phase, self.step, self.mask & mask)

    def _bit_from(self, second: int) -> int:
        """The first bit whose time is at or after a second of the day."""
        return max(-((self.phase - second) // self.step), 0)


@lru_cache(maxsize=256)
def _spread_out(mask: int, step: int) -> int:
    """The bits of a mask, each `step` times as far up."""
    if step == 1:
        return mask
    return sum(1 << step * bit for bit in bits(mask))


NO_TIMES = Times(0, DAY_S, 0)


@lru_cache(maxsize=4096)
def times_of_day(hours: tuple[int, ...], minutes: tuple[int, ...], seconds: tuple[int, ...]) -> Times:
    """Every combination of these hours, minutes and seconds. 10,000 jobs share few of them."""
    units = ((hours, 3600), (minutes, 60), (seconds, 1))
    step = gcd(*((value - values[0]) * unit for values, unit in units for value in values)) or DAY_S
    mask = 1
    for values, unit in reversed(units):
        smaller, mask = mask, 0
        for value in values:
            mask |= smaller << (value - values[0]) * unit // step
    return Times(sum(values[0] * unit for values, unit in units), step, mask)


def union(left: Times, right: Times) -> Times:
    """The times that are in either set."""
    if left.step == right.step and (left.phase - right.phase) % left.step == 0:
        phase = min(left.phase, right.phase)
        masks = [times.mask << (times.phase - phase) // times.step for times in (left, right)]
        return Times(phase, left.step, masks[0] | masks[1])
    if not left.mask or not right.mask:
        return left if left.mask else right
    return Times(0, 1, left.each_second() | right.each_second())
