"""Sets of days in all years as one integer, for searches that would ask thousands of months one by one.

Rule: bit k is the day `FIRST_DAY + k`. An operation on all 2.9 million bits takes 20 to 120 us, however the days lie.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache

from schedappliance.model.calendars.months import (
    CYCLE_DAYS,
    CYCLE_MONTHS,
    END_DAY,
    END_MONTH,
    FIRST_DAY,
    FIRST_MONTH,
    all_days_in,
    kind_and_name,
)

_DAYS = END_DAY - FIRST_DAY
_BYTES = -(-_DAYS // 8)
_CYCLE = range(FIRST_MONTH, FIRST_MONTH + CYCLE_MONTHS)
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def repeated(days: int, length: int) -> int:
    """The first `length` days again and again."""
    while length < _DAYS:
        days |= days << length
        length *= 2
    return days & (1 << _DAYS) - 1


def each_step(days: int, start: int, step: int) -> int:
    """`days`, as bits from the day `start` on, and the same again each `step` days before and after it."""
    days <<= (start - FIRST_DAY) % step
    return repeated((days | days >> step) & (1 << step) - 1, step)


def by_kind(masks: Sequence[int]) -> int:
    """The days of all months. `masks`: those of each name and kind of month, as `kind_and_name` counts them."""
    texts = [f"{mask >> 1:0{28 + number % 28 // 7}b}" for number, mask in enumerate(masks)]
    return repeated(int("".join(texts[kind_and_name(month)] for month in reversed(_CYCLE)), 2), CYCLE_DAYS)


def whole_months(start: int, step: int, length: int) -> int:
    """All days of `length` months from the month `start` on, and the same again each `step` months before and after it."""
    whole, texts = _texts("1"), _texts("0")
    for month in range(start, start + length):
        chosen = slice((month - FIRST_MONTH) % step, None, step)
        texts[chosen] = whole[chosen]
    return _joined(texts)


def whole_years(years: Iterable[int]) -> int:
    """All days of these years."""
    whole, texts = _texts("1"), _texts("0")
    for year in years:
        chosen = slice(max(year * 12 - FIRST_MONTH, 0), max((year + 1) * 12 - FIRST_MONTH, 0))
        texts[chosen] = whole[chosen]
    return _joined(texts)


def of_months(months: Iterable[tuple[int, int]]) -> int:
    """The days of some months, each given by its number and its days as bits 1 to 31."""
    texts = _texts("0")
    for month, days in months:
        if month >= FIRST_MONTH:
            texts[month - FIRST_MONTH] = f"{days >> 1:0{_length(month)}b}"
    return _joined(texts)


def _texts(digit: str) -> list[str]:
    """For each month of all years, the digit for each day."""
    return ([digit * _length(month) for month in _CYCLE] * 21)[: END_MONTH - FIRST_MONTH]


def _joined(texts: Sequence[str]) -> int:
    return int("".join(reversed(texts)), 2)


def _length(month: int) -> int:
    return all_days_in(month).bit_length() - 1


@cache
def _all() -> int:
    """All days, and those that fill the last byte. It is made when it is first needed, since most processes need none."""
    return (1 << 8 * _BYTES) - 1


def without(days: int, excluded: int) -> int:
    """The days that are not excluded."""
    return days & (_all() ^ excluded)


def first_from(days: int, day: int) -> int | None:
    """The first of the days that is at or after `day`, which counts from 1970."""
    later = days >> (day - FIRST_DAY)
    return day + (later ^ later - 1).bit_length() - 1 if later else None


def last_before(days: int, end: int) -> int | None:
    """The last of the days that is before `end`, which counts from 1970."""
    earlier = days & (1 << (end - FIRST_DAY)) - 1
    return FIRST_DAY + earlier.bit_length() - 1 if earlier else None


def moved_forward(days: int, left: int) -> int:
    """For each of the days, none of them in `left`, the next day of `left`: a carry runs up to it."""
    return (days + (_all() ^ left)) & left


def moved_back(days: int, left: int) -> int:
    """For each of the days, none of them in `left`, the day of `left` before it."""
    return _mirrored(moved_forward(_mirrored(days), _mirrored(left)))


def nearer_to_next(left: int) -> int:
    """The days not in `left` that are not farther from the next day of it than from the one before.

    These are the later half of each run of such days. A run is divided from its ends to its middle, by `size` days at each
    end, and `size` becomes shorter by half: 20 rounds divide runs of all lengths.
    """
    if not left:
        return 0
    ahead = (left & -left) - 1
    rest = (1 << left.bit_length()) - 1 ^ ahead ^ left
    size, runs = 1, rest
    while runs := runs & runs >> size:
        size *= 2
    while size := size // 2:
        starts = _starts_of_runs(rest, 2 * size + 1)
        all_but_last = _runs(starts, size + 1)
        run = all_but_last | all_but_last << size
        ahead |= run ^ all_but_last
        rest = rest ^ run | starts << size
    return ahead | rest & (rest ^ rest >> 1)


def _starts_of_runs(days: int, length: int) -> int:
    """The days that begin `length` days in a row."""
    known = 1
    while known < length:
        step = min(known, length - known)
        days &= days >> step
        known += step
    return days


def _runs(starts: int, length: int) -> int:
    """`length` days from each of the days on."""
    known = 1
    while known < length:
        step = min(known, length - known)
        starts |= starts << step
        known += step
    return starts


def _mirrored(days: int) -> int:
    """The days in reverse order."""
    return int.from_bytes(days.to_bytes(_BYTES, "little").translate(_MIRRORED), "big")


@cache
def _first_days() -> int:
    """The first day of each month."""
    return by_kind((0b10,) * 12 * 28)


def at_positions(days: int, positions: frozenset[int]) -> int:
    """The days at these positions in each month: 1 is the first one, -1 the last one."""
    picked = _from_first(days, _first_days(), {n for n in positions if n > 0})
    last_days = _first_days() >> 1 | 1 << _DAYS - 1
    from_end = {-n for n in positions if n < 0}
    return picked | _mirrored(_from_first(_mirrored(days), _mirrored(last_days), from_end)) if from_end else picked


def _from_first(days: int, first_days: int, positions: set[int]) -> int:
    picked = 0
    for n in range(1, max(positions, default=0) + 1):
        # In a month without days, this is the first one of a later month, which belongs there too.
        first = first_days & days | moved_forward(without(first_days, days), days)
        days ^= first
        if n in positions:
            picked |= first
    return picked
