"""Sets of days, asked month by month, and the rules that make one set of another.

Rule: a month's days are the bits 1 to 31 of an integer, so every rule is arithmetic with whole months.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from schedappliance.model.calendars.days import Days
from schedappliance.model.calendars.months import kind_and_name


class DaySet(Protocol):
    """A set of days. `dated`: it depends on more than the name and the kind of a month, for example on the year."""

    @property
    def dated(self) -> bool: ...

    def days_in(self, month: int) -> int:
        """The days of the set in a month, as bits 1 to 31."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """The days of an expression: those of `days` in the months and years. `months`: bits 1 to 12; `years` None: all."""

    days: Days
    months: int
    years: frozenset[int] | None

    @property
    def dated(self) -> bool:
        return self.years is not None

    def days_in(self, month: int) -> int:
        if self.years is not None and month // 12 not in self.years:
            return 0
        name, kind = divmod(kind_and_name(month), 28)
        return self.days.masks[kind] if self.months >> (name + 1) & 1 else 0
