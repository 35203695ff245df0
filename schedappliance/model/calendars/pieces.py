"""A time zone as pieces of constant offset.

Rule: seconds since 1970, as integers. The rules of a zone are asked once for each piece, not once for each due time.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from datetime import datetime, tzinfo
from typing import NamedTuple

from schedappliance.model.calendars.months import DAY_S

# Instants in whole seconds since 1970. The last day of 9999 is left out, so that its local times have a year, too.
END = 253_402_214_400

# A rule about clock changes repeats with the Gregorian calendar, after 400 years.
CYCLE_SECONDS = 146_097 * 86_400

# Pieces are made for 2 ** 25 seconds (388 days) at a time: 12 us where the changes are listed and 40 us where they follow a
# rule, once for each zone and span. The changes of a rule are at least 126 days apart, so a look each 48 days sees them all.
_SPAN_BITS, _SAMPLE_SECONDS = 25, 1 << 22
# Rules change the clock at a whole quarter of an hour.
_QUARTER = 900


class Piece(NamedTuple):
    """From `start` to before `end` the local time is the instant plus `offset`. All in seconds.

    `before` and `after`: the offsets of the neighbours. They are equal to `offset` where a piece is cut without a change.
    """

    start: int
    end: int
    offset: int
    before: int
    after: int


class Zone:
    """A time zone, from 1970 to 9999. `name`: its name in the time zone data; None for a local time without a name.

    `listed`: the instants up to `listed_to` at which another offset may begin, sorted. Later changes follow a rule. The
    pieces are made when they are first needed. `settled`: from this instant on, they repeat after 400 years.
    """

    def __init__(self, name: str | None, rules: tzinfo, listed: Sequence[int], listed_to: int) -> None:
        self.name = name
        self._rules = rules
        self._listed, self._listed_to = listed, listed_to
        self._pieces: dict[int, tuple[Piece, ...]] = {}
        # A span later, so that no listed change is part of what repeats.
        self.settled = min(max(listed[-1] if listed else 0, 0), END) + (2 << _SPAN_BITS)

    def piece_at(self, instant: int) -> Piece:
        """The piece that contains an instant."""
        if instant >= self.settled + CYCLE_SECONDS:
            return self._repeated(instant)
        span = instant >> _SPAN_BITS
        pieces = self._pieces.get(span)
        if pieces is None:
            pieces = self._pieces[span] = self._pieces_of(span)
        for piece in pieces:
            if instant < piece.end:
                return piece
        return pieces[-1]

    def _repeated(self, instant: int) -> Piece:
        later = (instant - self.settled) // CYCLE_SECONDS * CYCLE_SECONDS
        start, end, offset, before, after = self.piece_at(instant - later)
        if start < self.settled:
            start, before = self.settled, offset
        if end > self.settled + CYCLE_SECONDS:
            end, after = self.settled + CYCLE_SECONDS, offset
        return Piece(start + later, end + later, offset, before, after)

    def offset_at(self, instant: int) -> int:
        """Local time minus UTC, in seconds."""
        return self.piece_at(instant).offset

    def start_of(self, day: int) -> int:
        """The first instant of a day since 1970. A clock change may skip its midnight."""
        local = day * DAY_S
        piece = self.piece_at(max(local - 2 * DAY_S, 0))
        while piece.end + piece.offset <= local:
            piece = self.piece_at(piece.end)
        return max(local - piece.offset, piece.start)

    def _read_offset(self, instant: int) -> int:
        offset = datetime.fromtimestamp(min(instant, END), self._rules).utcoffset()
        assert offset is not None
        return offset.days * 86_400 + offset.seconds

    def _pieces_of(self, span: int) -> tuple[Piece, ...]:
        start, end = span << _SPAN_BITS, (span + 1) << _SPAN_BITS
        starts = [start, *self._changes(start, end), end]
        offsets = [self._read_offset(instant) for instant in (start - 1, *starts)]
        return tuple(
            Piece(starts[n], starts[n + 1], offsets[n + 1], offsets[n], offsets[n + 2]) for n in range(len(starts) - 1)
        )

    def _changes(self, start: int, end: int) -> Iterator[int]:
        """The instants after `start` and before `end` at which another offset begins."""
        for listed in self._listed[bisect_right(self._listed, start) : bisect_left(self._listed, end)]:
            if self._read_offset(listed - 1) != self._read_offset(listed):
                yield listed
        if end > self._listed_to:
            yield from self._changes_of_rule(max(start, self._listed_to), end)

    def _changes_of_rule(self, start: int, end: int) -> Iterator[int]:
        offset = self._read_offset(start)
        for sample in range(start + _SAMPLE_SECONDS, end + _SAMPLE_SECONDS, _SAMPLE_SECONDS):
            sampled = self._read_offset(min(sample, end - 1))
            if sampled != offset:
                yield self._first_second(sample - _SAMPLE_SECONDS, sample, offset)
                offset = sampled

    def _first_second(self, low: int, high: int, offset: int) -> int:
        """The instant between `low` and `high` at which an offset ends."""
        while high - low > 1:
            middle = (low + high) // 2
            # Whole quarters are tried first, which takes fewer questions. The last question is about the second before one.
            if (quarter := middle - middle % _QUARTER) > low:
                middle = quarter
            elif high % _QUARTER == 0:
                middle = high - 1
            if self._read_offset(middle) == offset:
                low = middle
            else:
                high = middle
        return high
