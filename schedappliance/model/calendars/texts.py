"""Notes that stand beside a due time: which lists of `days` end before it.

Rule: a note is a phrase; the caller joins it to others.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from schedappliance.model.calendars.calendar import DueTime

EPOCH_DAY = date(1970, 1, 1).toordinal()


def end_notes(due: DueTime) -> list[str]:
    """The lists of dates that end before a due time, so that it may change when later dates are added."""
    return [f"after the last date of `{name}`, {date.fromordinal(EPOCH_DAY + end)}" for name, end in due.ended]
