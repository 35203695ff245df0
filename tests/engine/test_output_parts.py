"""Parts of an output: read one after another, they show the whole output, from a file as from the store."""

from __future__ import annotations

import pytest

from schedappliance.engine.output_parts import OutputPart, cut, cut_stored, left_out

WRITTEN = bytes(range(256)) * 4
SIZE = len(WRITTEN)


def stored(limit: int) -> bytes:
    """As edge/programs/outputs.py keeps an output that is longer than the limit."""
    return WRITTEN[: limit // 2] + left_out(SIZE - limit) + WRITTEN[SIZE - (limit - limit // 2) :]


def from_file(begin: int, most: int, gap: tuple[int, int]) -> OutputPart:
    return cut(lambda place, count: WRITTEN[place : place + count], SIZE, gap, begin, most)


@pytest.mark.parametrize("most", [1, 7, 100, 5000])
@pytest.mark.parametrize("limit", [0, 1, 2, 101, 1000, SIZE])
def test_the_parts_make_the_whole(limit: int, most: int) -> None:
    kept = WRITTEN if limit == SIZE else stored(limit)
    gap = (limit // 2, SIZE - (limit - limit // 2))
    place, content, lost = 0, b"", 0
    while place < SIZE:
        part = cut_stored(kept, SIZE, place, most)
        assert part == from_file(place, most, gap if limit < SIZE else (SIZE, SIZE))
        assert (part.begin, part.size) == (place, SIZE) and part.next > place
        content, place, lost = content + part.content, part.next, lost + part.lost
    assert (content, place, lost) == (kept, SIZE, SIZE - limit)


def test_a_part_can_begin_anywhere() -> None:
    for begin in range(SIZE + 10):
        part = cut_stored(stored(100), SIZE, begin, 10_000)
        lost = max(0, SIZE - 50 - max(begin, 50))
        head = WRITTEN[begin:50] if begin < 50 else b""
        tail = WRITTEN[max(begin, SIZE - 50) :]
        lost_line = left_out(lost) if begin < SIZE - 50 else b""
        assert part == OutputPart(head + lost_line + tail, min(begin, SIZE), SIZE, SIZE, lost)


def test_a_line_that_a_program_wrote_itself_is_no_gap() -> None:
    text = b"a" + left_out(5) + b"b"
    assert cut_stored(text, len(text), 0, 100).content == text
    kept = text + b"c" * 100 + left_out(1000) + b"d" * (len(text) + 100)
    assert cut_stored(kept, 1000 + 2 * (len(text) + 100), 0, 5000).lost == 1000


def test_an_output_that_the_store_had_no_room_for_is_lost() -> None:
    assert cut_stored(b"", 9, 0, 100) == OutputPart(left_out(9), 0, 9, 9, 9)


def test_the_place_of_a_file_that_was_emptied_is_its_end() -> None:
    assert cut_stored(b"abc", 3, 10, 100) == OutputPart(b"", 3, 3, 3)
