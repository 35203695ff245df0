"""Due instants: a set of local times in a zone, with a rule for the times that a clock change skips or repeats.

Rule: instants are seconds since 1970. At each change the offset of the zone goes from `before` to `offset`: local times
between are skipped if it grows, and repeated if it shrinks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from schedappliance.model.calendars.months import DAY_S
from schedappliance.model.calendars.pieces import END, Piece, Zone
from schedappliance.model.calendars.questions import Bounded

if TYPE_CHECKING:
    from schedappliance.model.calendars.local_times import LocalTimes

Skipped = Literal["run", "shift", "omit"]
Repeated = Literal["first", "last", "both"]
# What a clock change did to a local time: it was skipped, or this is the first or the last time that the clock shows it.
Change = Literal["skipped", "first", "last"]


@dataclass(frozen=True, slots=True)
class ClockRule:
    """What becomes of local times at a clock change.

    `skipped`: `run` once at the first instant after them, `shift` each by the length of the gap, or `omit` them.
    `repeated`: due the `first` time, the `last` time, or `both` times.
    """

    skipped: Skipped
    repeated: Repeated


# A rolling expression goes on by the clock's own minutes; any other is due once a day. Debian's cron does the same.
ROLLING = ClockRule("omit", "both")
FIXED = ClockRule("run", "first")

# All seconds of a day, as bits.
EACH_SECOND = (1 << DAY_S) - 1

# Offsets are smaller than this, so a local time and its instant are never farther apart.
_NEAR = 3 * DAY_S


def change_of(local: int, instant: int, zone: Zone) -> Change | None:
    """What a clock change did to one local time that is due at an instant by the rule FIXED.

    None if there was no change, and if it is not due then.
    """
    piece = zone.piece_at(instant)
    if instant + piece.offset == local:
        return "first" if local >= piece.end + piece.after else None
    is_in_gap = piece.start + piece.before <= local < piece.start + piece.offset
    return "skipped" if is_in_gap and instant == piece.start else None


class Instants:
    """The due instants of one set of local times in one zone."""

    def __init__(self, zone: Zone, times: LocalTimes, rule: ClockRule) -> None:
        self._zone = zone
        self._times = times
        self._rule = rule

    def first_from(self, instant: int) -> int | None:
        """The first due instant at or after an instant; None: there is none before the year 10000."""
        first = instant = max(instant, 0)
        while instant < END:
            piece = self._zone.piece_at(instant)
            low, high = self._local_times_of(piece)
            start = max(instant + piece.offset, low)
            local = self._times.first_from(start)
            own = local - piece.offset if local is not None and local < high else None
            made_up = self._first_made_up(piece, instant) if piece.before < piece.offset else None
            if own is not None or made_up is not None:
                due = min(due for due in (own, made_up) if due is not None)
                return due if due < END else None
            instant = piece.end
            if piece.after >= piece.offset or self._rule.repeated == "first":
                # The clock does not show again what it showed, so nothing is due before `local`.
                if local is None:
                    return None
                instant = max(instant, local - _NEAR)
            # What every clock change of 400 years omits is omitted forever.
            if instant >= self._times.end_of_search(max(first, self._zone.settled)):
                return None
        return None

    def last_to(self, instant: int) -> int | None:
        """The last due instant at or before an instant; None: there is none since 1970."""
        instant = min(instant, END - 1)
        while instant >= 0:
            piece = self._zone.piece_at(instant)
            low, high = self._local_times_of(piece)
            end = min(instant + piece.offset, high - 1)
            local = self._times.last_to(end)
            own = local - piece.offset if local is not None and local >= low else None
            made_up = self._last_made_up(piece, instant) if piece.before < piece.offset else None
            if own is not None or made_up is not None:
                due = max(due for due in (own, made_up) if due is not None)
                return due if due >= 0 else None
            instant = piece.start - 1
            if piece.before <= piece.offset or self._rule.repeated == "last":
                if local is None:
                    return None
                instant = min(instant, local + _NEAR)
        return None

    def count(self, start: int, end: int) -> int:
        """How many due instants there are from an instant to before another one."""
        start, end = max(start, 0), min(end, END)
        number = 0
        while start < end:
            piece = self._zone.piece_at(start)
            low, high = self._local_times_of(piece)
            stop = min(end, piece.end)
            number += self._times.count(max(start + piece.offset, low), min(stop + piece.offset, high))
            if piece.before < piece.offset:
                number += self._only_made_up(piece, start, stop)
            start = piece.end
        return number

    def seconds(self, start: int, end: int) -> int:
        """The due instants from `start` to before `end` as bits: bit k is `start + k`."""
        seconds, instant = 0, max(start, 0)
        while instant < min(end, END):
            piece = self._zone.piece_at(instant)
            stop = min(end, piece.end)
            due = self._own(piece, instant, stop)
            if piece.before < piece.offset:
                due |= self._made_up(piece, instant, stop)
            seconds |= due << (instant - start)
            instant = piece.end
        return seconds

    @property
    def is_daily(self) -> bool:
        return self._rule == ROLLING and self._times.is_daily

    def times_in_utc(self, instant: int) -> tuple[int, int]:
        """An end, and seconds of a day of UTC as bits: from `instant` to before the end, no other seconds are due."""
        piece = self._zone.piece_at(instant)
        made_up = piece.start + piece.offset - piece.before
        if instant < made_up and self._rule.skipped != "omit":
            return made_up, EACH_SECOND
        times, offset = self._times.times_of_day(), piece.offset % DAY_S
        return piece.end, (times >> offset | times << DAY_S - offset) & EACH_SECOND

    def local_time_of(self, instant: int) -> tuple[int, Change | None] | None:
        """The local time that is due at an instant, and what a clock change did to it; None: nothing is due."""
        piece = self._zone.piece_at(instant)
        if self._own(piece, instant, instant + 1):
            local = instant + piece.offset
            if local < piece.start + piece.before:
                return local, "last"
            return local, "first" if local >= piece.end + piece.after else None
        if piece.before >= piece.offset or self._first_made_up(piece, instant) != instant:
            return None
        local = instant + piece.before
        return (local if self._rule.skipped == "shift" else self._times.first_from(local) or local), "skipped"

    def _local_times_of(self, piece: Piece) -> tuple[int, int]:
        """The local times that count in a piece, from the first to before the second."""
        low, high = piece.start + piece.offset, piece.end + piece.offset
        if piece.before > piece.offset and self._rule.repeated == "first":
            low = piece.start + piece.before
        if piece.after < piece.offset and self._rule.repeated == "last":
            high = piece.end + piece.after
        return low, high

    def _first_made_up(self, piece: Piece, instant: int) -> int | None:
        """The first due instant that makes up for a time that was skipped at the start of a piece."""
        if self._rule.skipped == "omit":
            return None
        skipped, end = piece.start + piece.before, piece.start + piece.offset
        if self._rule.skipped == "run":
            local = self._times.first_from(skipped) if instant <= piece.start else None
            return piece.start if local is not None and local < end else None
        local = self._times.first_from(max(skipped, instant + piece.before))
        return local - piece.before if local is not None and local < end else None

    def _last_made_up(self, piece: Piece, instant: int) -> int | None:
        """The last due instant that makes up for a time that was skipped at the start of a piece."""
        if self._rule.skipped == "omit":
            return None
        skipped, end = piece.start + piece.before, piece.start + piece.offset
        if self._rule.skipped == "run":
            local = self._times.last_to(end - 1)
            return piece.start if local is not None and local >= skipped else None
        local = self._times.last_to(min(end - 1, instant + piece.before))
        return local - piece.before if local is not None and local >= skipped else None

    def _only_made_up(self, piece: Piece, start: int, end: int) -> int:
        """How many instants of a piece are due only because they make up for a time that was skipped at its start."""
        end = min(end, piece.start + piece.offset - piece.before)
        made_up = self._made_up(piece, start, end) if start < end else 0
        return (made_up & ~self._own(piece, start, end)).bit_count() if made_up else 0

    def _made_up(self, piece: Piece, start: int, end: int) -> int:
        """The instants of a piece that make up for a time that was skipped at its start, as bits from `start`."""
        if self._rule.skipped == "shift":
            last = min(end + piece.before, piece.start + piece.offset)
            return self._times.seconds(start + piece.before, last)
        return int(start == piece.start and self._first_made_up(piece, start) is not None)

    def _own(self, piece: Piece, start: int, end: int) -> int:
        """The instants of a piece whose own local time is due, as bits from `start`."""
        low, high = self._local_times_of(piece)
        first = max(start + piece.offset, low)
        return self._times.seconds(first, min(end + piece.offset, high)) << (first - piece.offset - start)


class DaysInZone(Bounded):
    """The due instants in one zone from one of its days to another one, both included. None: no bound."""

    def __init__(self, instants: Instants, zone: Zone, first: int | None, last: int | None) -> None:
        start = None if first is None else zone.start_of(first)
        super().__init__(instants, start, None if last is None else zone.start_of(last + 1) - 1)
        self._instants = instants

    @property
    def is_daily(self) -> bool:
        return self._instants.is_daily

    def times_in_utc(self, instant: int) -> tuple[int, int]:
        """As `Instants.times_in_utc`: none outside the bounds."""
        if instant < self._first:
            return self._first, 0
        if self._last is not None and instant > self._last:
            return END, 0
        end, times = self._instants.times_in_utc(instant)
        return end if self._last is None else min(end, self._last + 1), times

    def local_time_of(self, instant: int) -> tuple[int, Change | None] | None:
        is_inside = self._first <= instant and (self._last is None or instant <= self._last)
        return self._instants.local_time_of(instant) if is_inside else None
