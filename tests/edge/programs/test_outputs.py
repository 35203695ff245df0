"""The hole in a long output: it frees disk space and leaves the head and the tail as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from schedappliance.edge.programs.outputs import SPARE_BYTES, punch
from schedappliance.fsync import fsync_path

MEGABYTE = 1024 * 1024


def pattern(size: int) -> bytes:
    return bytes(range(1, 252)) * (size // 251 + 1)


@pytest.mark.parametrize("limit", [0, 1000, 65_536, MEGABYTE, 8 * MEGABYTE, 16 * MEGABYTE])
@pytest.mark.parametrize("more", [-1, 1, MEGABYTE, 8 * MEGABYTE])
def test_a_hole_leaves_the_head_and_the_tail(tmp_path: Path, limit: int, more: int) -> None:
    path = tmp_path / "output"
    size = 2 * limit + SPARE_BYTES + more
    written = pattern(size)[:size]
    path.write_bytes(written)
    fsync_path(path)  # blocks that are only reserved are counted, and given back at any time
    room = path.stat().st_blocks
    punch(path, limit)
    left = path.read_bytes()
    assert len(left) == size
    assert left[: limit // 2] == written[: limit // 2]
    assert left[size - (limit - limit // 2) :] == written[size - (limit - limit // 2) :]
    assert (path.stat().st_blocks < room) is (more > 0)
