"""The hole in a long output: it gives its room back, and what will be kept of the output is not touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from schedappliance.edge.programs.outputs import SPARE_BYTES, punch

MEGABYTE = 1024 * 1024


def pattern(size: int) -> bytes:
    return bytes(range(1, 252)) * (size // 251 + 1)


@pytest.mark.parametrize("limit", [0, 1000, 65_536, MEGABYTE, 8 * MEGABYTE, 16 * MEGABYTE])
@pytest.mark.parametrize("more", [-1, 1, MEGABYTE, 8 * MEGABYTE])
def test_the_head_and_the_tail_that_will_be_kept_stay_as_they_were(tmp_path: Path, limit: int, more: int) -> None:
    path = tmp_path / "output"
    size = 2 * limit + SPARE_BYTES + more
    written = pattern(size)[:size]
    path.write_bytes(written)
    room = path.stat().st_blocks
    punch(path, limit)
    left = path.read_bytes()
    assert len(left) == size
    assert left[: limit // 2] == written[: limit // 2]
    assert left[size - (limit - limit // 2) :] == written[size - (limit - limit // 2) :]
    assert (path.stat().st_blocks < room) is (more > 0)
