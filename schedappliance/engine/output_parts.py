"""Parts of the output of an attempt, cut from its file or from the store.

Rule: a place counts the bytes that the program wrote before it, wherever they are kept, so that a place in the file of a
running program means the same in the stored output. A line stands for bytes that are not kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

PART_BYTES = 256 * 1024
# The most bytes of all parts that are being read at once, and the size that each part may have at least.
READ_BYTES, LEAST_BYTES = 1024 * 1024, 1024

LONGEST_LINE = 64
_LEFT_OUT = re.compile(rb"\n\[\.\.\. ([0-9]{1,18}) bytes left out \.\.\.\]\n")


class OutputPart(NamedTuple):
    """`begin`, `next`: the places of its first byte, and after its last. `size`: of the whole output. `lost`: see `cut`."""

    content: bytes
    begin: int
    next: int
    size: int
    lost: int = 0


NOTHING = OutputPart(b"", 0, 0, 0)


def left_out(count: int) -> bytes:
    """The line that stands for bytes that are not kept."""
    return b"\n[... %d bytes left out ...]\n" % count


def cut(read: Callable[[int, int], bytes], size: int, gap: tuple[int, int], begin: int, most: int) -> OutputPart:
    """The part that begins at a place. `read` returns the bytes at a place, at most this many.

    `gap`: the bytes that are not kept; `lost` is how many of them the part contains. `most`: how many others.
    """
    begin = min(begin, size)
    head = read(begin, min(most, gap[0] - begin)) if begin < gap[0] else b""
    place = begin + len(head)
    if place < gap[0]:
        return OutputPart(head, begin, place, size)
    after = max(place, gap[1])
    tail = read(after, min(most - len(head), size - after))
    lost = after - place
    return OutputPart(head + (left_out(lost) if lost else b"") + tail, begin, after + len(tail), size, lost)


def cut_stored(stored: bytes, size: int, begin: int, most: int) -> OutputPart:
    """A part of an output as the store has it: whole, or with a line in place of its middle. `size`: of the whole output."""
    first, last = gap = _gap(stored, size)
    skipped = last - first - len(left_out(last - first))

    def read(place: int, count: int) -> bytes:
        at = place if place < first else place - skipped
        return stored[at : at + count]

    return cut(read, size, gap, begin, most)


def _gap(stored: bytes, size: int) -> tuple[int, int]:
    # The line follows the head, which is as long as the tail: a search of the whole would take 10 ms for 16 MiB.
    middle = len(stored) // 2
    for line in _LEFT_OUT.finditer(stored, max(0, middle - LONGEST_LINE), middle + LONGEST_LINE):
        limit = size - int(line[1])
        if line.start() == limit // 2 and len(stored) == limit + len(line[0]):
            return line.start(), line.start() + int(line[1])
    # A store without room keeps nothing of an output but its size.
    return len(stored), size
