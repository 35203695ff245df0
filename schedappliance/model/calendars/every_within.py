"""Interval jobs with windows: the due times of `every` at which the local time lies in a window of `within`.

Rule: a window is open at an instant if the clock of the zone shows a time inside it, even while times are repeated.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from schedappliance.model.calendars.clock_changes import Change
from schedappliance.model.calendars.expression import Window
from schedappliance.model.calendars.months import DAY_S, weekday_of
from schedappliance.model.calendars.pieces import CYCLE_SECONDS, END, Piece, Zone
from schedappliance.model.calendars.windows import ranges_by_weekday
from schedappliance.model.schedules import Every, Schedule

_WEEK_MS = 7 * DAY_S * 1000
# Instants from the first second to before the second one.
Span = tuple[int, int]


class OpenTimes:
    """The instants at which the windows are open, in seconds since 1970."""

    def __init__(self, zone: Zone, windows: Iterable[Window]) -> None:
        self.zone = zone
        self.ranges = ranges_by_weekday(windows)

    def spans_from(self, instant: int) -> Iterator[Span]:
        """The open times at or after an instant, in order."""
        while instant < END:
            piece = self.zone.piece_at(instant)
            days = range((instant + piece.offset) // DAY_S, (piece.end - 1 + piece.offset) // DAY_S + 1)
            for start, end in (span for day in days for span in self._spans_of(day, piece)):
                if end > instant:
                    yield max(start, instant), end
            instant = piece.end

    def _spans_of(self, day: int, piece: Piece) -> list[Span]:
        """The open times of a local day inside a piece of constant offset."""
        midnight = day * DAY_S - piece.offset
        spans = [
            (max(midnight + start, piece.start), min(midnight + end, piece.end))
            for start, end in self.ranges[weekday_of(day)]
        ]
        return [(start, end) for start, end in spans if start < end]


class EveryWithin:
    """A schedule: the due times of an interval that lie in open times."""

    def __init__(self, every: Every, open_times: OpenTimes) -> None:
        self._every = every
        self._open = open_times

    def next_after(self, instant_ms: int) -> int | None:
        """The first due time after an instant; None if there is none."""
        return self._search(self._every.next_after(max(instant_ms, -1)), self._every.interval_ms)

    def latest(self, instant_ms: int) -> int | None:
        """The last due time at or before an instant; None if there is none."""
        return self._search(self._every.latest(min(instant_ms, END * 1000 - 1)), -self._every.interval_ms)

    def _search(self, due: int, step: int) -> int | None:
        """The first due time in an open time, from `due` on in steps of the interval or of minus the interval.

        In each piece of the zone it takes one look-up, since a hit for an offset holds until the search has passed it.
        """
        zone, hits = self._open.zone, dict[int, int | None]()
        # An interval that misses the windows at every offset of 400 years misses them forever.
        end = min((max(due // 1000, zone.settled) + CYCLE_SECONDS), END) * 1000
        while 0 <= due < end:
            piece = zone.piece_at(due // 1000)
            hit = hits.get(piece.offset, due - step)
            if hit is not None and (hit - due) * step < 0:
                steps = self._steps(due, piece.offset, step)
                hit = hits[piece.offset] = None if steps is None else due + steps * step
            if hit is not None:
                end = END * 1000
                if max(piece.start, 0) * 1000 <= hit < min(piece.end, END) * 1000:
                    return hit
            due = (
                self._every.next_after(piece.end * 1000 - 1) if step > 0 else self._every.latest(piece.start * 1000 - 1)
            )
        return None

    def count(self, since_ms: int, until_ms: int) -> int:
        """How many due times there are from one instant to another, both included."""
        number = 0
        for start, end in self._open.spans_from(max(since_ms, 0) // 1000):
            if start * 1000 > until_ms:
                break
            number += self._every.count(max(start * 1000, since_ms), min(end * 1000 - 1, until_ms))
        return number

    def _steps(self, due: int, offset: int, step: int) -> int | None:
        """How many steps it takes from a due time into an open time, if the zone keeps an offset; None: it never is in one."""
        # 1970-01-05 is the first Monday.
        place = due + offset * 1000 - 4 * DAY_S * 1000
        fewest: int | None = None
        for weekday, ranges in enumerate(self._open.ranges):
            for start, end in ranges:
                low = ((weekday * DAY_S + start) * 1000 - place) % _WEEK_MS
                steps = steps_into(step % _WEEK_MS, _WEEK_MS, low, low + (end - start) * 1000 - 1)
                if steps is not None and (fewest is None or steps < fewest):
                    fewest = steps
        return fewest


def steps_into(step: int, modulus: int, low: int, high: int) -> int | None:
    """The least number whose product with `step` is from `low` to `high` modulo `modulus`; None: no product is.

    Each call is about the remainder of a division, as in Euclid's algorithm, so there are at most some dozens.
    """
    if low == 0 or high >= modulus:
        return 0
    if step == 0:
        return None
    turns = -(-low // step)
    if turns * step <= high:
        return turns
    # No product in the first round is in the range. In which later one does a product come next after `low`?
    rounds = steps_into(modulus % step, step, -high % step, -low % step)
    return None if rounds is None else -(-(low + modulus * rounds) // step)


class EveryInstants:
    """The due times of an interval in whole seconds, for a calendar. `open_times` None: at all times."""

    def __init__(self, every: Every, zone: Zone, open_times: OpenTimes | None) -> None:
        self._zone = zone
        self._due: Schedule = EveryWithin(every, open_times) if open_times else every

    def first_from(self, instant: int) -> int | None:
        due = self._due.next_after(instant * 1000 - 1)
        return None if due is None or due >= END * 1000 else due // 1000

    def last_to(self, instant: int) -> int | None:
        due = self._due.latest(instant * 1000)
        return None if due is None or due < 0 else due // 1000

    def count(self, start: int, end: int) -> int:
        return self._due.count(max(start, 0) * 1000, min(end, END) * 1000 - 1)

    def seconds(self, start: int, end: int) -> int:
        bits, due = 0, self.first_from(start)
        while due is not None and due < end:
            bits |= 1 << (due - start)
            due = self.first_from(due + 1)
        return bits

    def local_time_of(self, instant: int) -> tuple[int, Change | None] | None:
        """The local time of a due time. An interval takes no notice of clock changes."""
        return (instant + self._zone.offset_at(instant), None) if self.first_from(instant) == instant else None
