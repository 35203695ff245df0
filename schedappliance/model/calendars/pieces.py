"""A time zone as pieces of constant offset.

Rule: seconds since 1970, as integers. The rules of a zone are asked once for each piece, not once for each due time.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, tzinfo
from typing import NamedTuple

# Instants in whole seconds since 1970. The last day of 9999 is left out, so that its local times have a year, too.
END = 253_402_214_400

# From 2040 on all zones follow rules of their data, which repeat with the Gregorian calendar after 400 years.
LAST_DECREE, CYCLE_SECONDS = 2_208_988_800, 146_097 * 86_400

# Pieces are made for 2 ** 25 seconds (388 days) at a time: 0.1 ms, once for each zone and time. Two changes of an offset are
# at least 167 hours apart in the data from 1970 on, so a look each 73 hours sees them all.
_SPAN_BITS, _SAMPLE_SECONDS = 25, 262_144


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

    Its pieces are made when they are first needed.
    """

    def __init__(self, name: str | None, rules: tzinfo) -> None:
        self.name = name
        self._rules = rules
        self._pieces: dict[int, tuple[Piece, ...]] = {}

    def piece_at(self, instant: int) -> Piece:
        """The piece that contains an instant."""
        span = instant >> _SPAN_BITS
        pieces = self._pieces.get(span)
        if pieces is None:
            pieces = self._pieces[span] = self._pieces_of(span)
        for piece in pieces:
            if instant < piece.end:
                return piece
        return pieces[-1]

    def offset_at(self, instant: int) -> int:
        """Local time minus UTC, in seconds."""
        return self.piece_at(instant).offset

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
            if self._read_offset(middle) == offset:
                low = middle
            else:
                high = middle
        return high
