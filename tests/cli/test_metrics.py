"""`schedappliance metrics --to`: what it replaces when no appliance answers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from schedappliance.cli.main import main
from tests.support.size_limits import size_limit


def metrics_to(path: Path) -> int:
    return main(["metrics", "--endpoint", str(path.parent / "none.sock"), "--to", str(path)])


def test_a_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "sched.prom"
    for _ in range(2):
        assert metrics_to(path) == 69
        assert "schedappliance_up 0\n" in path.read_text()


@pytest.mark.parametrize("kind", ["a FIFO", "a symbolic link", "a directory"])
def test_nothing_but_a_file_is_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    """As root, `--to /dev/null` would take the device from all programs."""
    path = tmp_path / "there"
    make = {"a FIFO": os.mkfifo, "a directory": os.mkdir, "a symbolic link": lambda path: path.symlink_to("/dev/null")}
    make[kind](path)
    before = path.lstat()
    assert metrics_to(path) == 2
    assert (path.lstat().st_ino, path.lstat().st_mode) == (before.st_ino, before.st_mode)
    assert capsys.readouterr().err == f"error: {path} is {kind}, and only a file is replaced; name a file\n"
    assert os.listdir(tmp_path) == ["there"]


def test_without_room_the_file_stays_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "sched.prom"
    path.write_text("before")
    with size_limit(10):
        assert metrics_to(path) == 1
    assert capsys.readouterr().err == f"error: cannot write {path}: File too large\n"
    assert (os.listdir(tmp_path), path.read_text()) == (["sched.prom"], "before")
