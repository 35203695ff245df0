"""Instants as people read them in a time zone: ISO 8601 with the offset of that instant.

Rule: a text names one instant, also in the hour that a clock change repeats.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from typing import TYPE_CHECKING

from schedappliance.model.calendars.pieces import Zone

if TYPE_CHECKING:
    from schedappliance.model.calendars.calendar import DueTime

EPOCH_DAY = date(1970, 1, 1).toordinal()


def local_datetime(instant_ms: int, zone: Zone) -> datetime:
    """The date and the time of day in a zone, with its offset, in whole seconds."""
    second = instant_ms // 1000
    offset = timezone(timedelta(seconds=zone.offset_at(second)))
    return (datetime.fromtimestamp(0, UTC) + timedelta(seconds=second)).astimezone(offset)


def iso_in(instant_ms: int, zone: Zone) -> str:
    """ISO 8601 with offset: `2027-03-28T03:00:00+02:00`."""
    try:
        return local_datetime(instant_ms, zone).isoformat()
    except (OverflowError, ValueError):
        # `datetime` ends with the year 9999.
        return f"@{instant_ms // 1000}"


def end_notes(due: DueTime) -> list[str]:
    """The lists of dates that end before a due time, so that it may change when later dates are added."""
    return [f"after the last date of `{name}`, {date.fromordinal(EPOCH_DAY + end)}" for name, end in due.ended]
