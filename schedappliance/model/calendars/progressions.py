"""Lists of numbers with equal steps, such as the minutes `0-30/10,45`, and their one normal order.

Rule: two lists that are written in another order, or with duplicates, become equal here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Progression(NamedTuple):
    """The numbers from `first` to `last`, which is one of them."""

    first: int
    last: int
    step: int = 1

    @property
    def numbers(self) -> range:
        return range(self.first, self.last + 1, self.step)

    @property
    def repeats(self) -> bool:
        """Whether it leaves numbers out."""
        return self.step > 1 and self.last > self.first


def progression(first: int, last: int, step: int = 1) -> Progression:
    """The numbers first, first + step, ..., up to `last`, which need not be one of them."""
    return Progression(first, last - (last - first) % step, step if first + step <= last else 1)


def numbers_of(progressions: Iterable[Progression]) -> frozenset[int]:
    return frozenset(number for one in progressions for number in one.numbers)


def normalized(progressions: Iterable[Progression]) -> list[Progression]:
    """The same numbers: first the progressions that leave numbers out, then what they do not cover, as runs."""
    progressions = list(progressions)
    repeating: list[Progression] = []
    for one in sorted({p for p in progressions if p.repeats}, key=lambda p: (-len(p.numbers), p)):
        if not any(set(one.numbers) <= set(larger.numbers) for larger in repeating):
            repeating.append(one)
    rest = numbers_of(progressions) - numbers_of(repeating)
    return sorted([*repeating, *runs(rest)])


def runs(numbers: Iterable[int]) -> list[Progression]:
    """Each run of at least three consecutive numbers, and each other number by itself."""
    result: list[Progression] = []
    for number in sorted(set(numbers)):
        if result and number == result[-1].last + 1:
            result[-1] = Progression(result[-1].first, number)
        else:
            result.append(Progression(number, number))
    return [part for run in result for part in (_apart(run) if len(run.numbers) < 3 else [run])]


def _apart(run: Progression) -> list[Progression]:
    return [Progression(number, number) for number in run.numbers]
