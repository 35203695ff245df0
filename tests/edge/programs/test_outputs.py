"""The files of outputs: the hole in a long one leaves its head and its tail as they are, and parts are read beside it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from schedappliance.edge.programs.outputs import REPLACED, SPARE_BYTES, Outputs, punch
from schedappliance.engine.output_parts import OutputPart, left_out
from schedappliance.engine.records import AttemptKey, RunKey
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


KEY, OTHER = AttemptKey(RunKey(1, 1), 1), AttemptKey(RunKey(2, 1), 1)


def part(outputs: Outputs, begin: int, inode: int | None = None) -> OutputPart:
    return outputs.part(KEY, begin, 10 * MEGABYTE, inode)


@pytest.mark.parametrize("limit", [1000, 65_536, 100_001])
def test_a_part_of_a_running_output_leaves_the_hole_out(tmp_path: Path, limit: int) -> None:
    outputs = Outputs(tmp_path)
    path = Path(outputs.path(KEY))
    size = 2 * limit + SPARE_BYTES + MEGABYTE
    written = pattern(size)[:size]
    path.write_bytes(written)
    assert part(outputs, 0).content == written[: 10 * MEGABYTE]
    outputs.punch(KEY, limit)
    whole = part(outputs, 0)
    head, line, tail = whole.content.partition(left_out(whole.lost))
    assert line
    assert (whole.begin, whole.next, whole.size) == (0, size, size)
    assert head == written[: len(head)] and tail == written[-len(tail) :]
    assert len(head) >= limit and len(tail) >= limit
    assert whole.lost > MEGABYTE
    in_hole, after = part(outputs, 2 * limit), part(outputs, size - 10)
    assert in_hole == OutputPart(left_out(in_hole.lost) + tail, 2 * limit, size, size, size - 2 * limit - len(tail))
    assert after == OutputPart(written[-10:], size - 10, size, size)
    assert part(outputs, 2 * size) == OutputPart(b"", size, size, size)


def test_only_files_of_attempts_are_removed(tmp_path: Path) -> None:
    """The directory may have been there before the store."""
    others = {"notes.txt", "keeper.sock", "1-2", "1-2-3.txt", "2026-11-30", "2026-12-01", "2026-12-02"}
    for name in ("notes.txt", "keeper.sock", "1-2", "1-2-3.txt", "2026-11-30"):
        (tmp_path / name).touch(mode=0o600)
    (tmp_path / "2026-12-01").mkdir()
    (tmp_path / "2026-12-02").symlink_to("2-1-1")
    outputs = Outputs(tmp_path)
    for key in (KEY, OTHER):
        os.close(outputs.open(key))
    assert outputs.remove_unknown([KEY]) == []
    assert {path.name for path in tmp_path.iterdir()} == others | {"1-1-1"}


@pytest.mark.parametrize("make", [Path.touch, Path.mkdir, os.mkfifo])
def test_a_file_of_somebody_else_that_has_the_name_of_an_output_is_kept(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    outputs = Outputs(tmp_path)
    path = Path(outputs.path(KEY))
    make(path)
    inode = path.lstat().st_ino
    os.close(outputs.open(KEY))
    assert path.is_file() and path.lstat().st_ino != inode
    assert (tmp_path / f"{path.name}.{inode}").lstat().st_ino == inode
    assert outputs.remove_unknown([]) == []
    assert [left.name for left in tmp_path.iterdir()] == [f"{path.name}.{inode}"]


def test_a_part_of_a_file_that_is_not_the_programs_own(tmp_path: Path) -> None:
    outputs = Outputs(tmp_path)
    with pytest.raises(FileNotFoundError):
        part(outputs, 0)
    path = Path(outputs.path(KEY))
    path.write_bytes(b"out")
    inode = path.stat().st_ino
    assert part(outputs, 1, inode) == OutputPart(b"ut", 1, 3, 3)
    with pytest.raises(OSError, match=REPLACED):
        part(outputs, 0, inode + 1)
    path.unlink()
    path.symlink_to("/etc/passwd")
    with pytest.raises(OSError, match=REPLACED):
        part(outputs, 0)
