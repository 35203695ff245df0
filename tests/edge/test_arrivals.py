"""Hints about a directory: only when something is added, and for the directory that has the name now."""

from __future__ import annotations

import logging
import os
import select
from collections.abc import Iterator
from pathlib import Path

import pytest

from schedappliance.edge.spool.inotify import COMES, GOES, Arrivals

LOG = logging.getLogger("test.arrivals")


@pytest.fixture
def new(tmp_path: Path) -> Path:
    (tmp_path / "new").mkdir()
    return tmp_path / "new"


@pytest.fixture
def arrivals(new: Path) -> Iterator[Arrivals]:
    arrivals = Arrivals({new: COMES}, LOG)
    arrivals.renew()
    yield arrivals
    arrivals.close()


def hinted(arrivals: Arrivals) -> bool:
    """Whether an event came since the last call."""
    assert arrivals.descriptor is not None
    ready = bool(select.select([arrivals.descriptor], [], [], 0)[0])
    assert (arrivals.acknowledge() is not None) == ready
    return ready


def test_each_way_to_add_a_file_gives_a_hint(arrivals: Arrivals, new: Path) -> None:
    aside = new.parent / "aside"
    aside.write_text("x")
    (new / "linked").hardlink_to(aside)
    assert hinted(arrivals)
    aside.rename(new / "moved")
    assert hinted(arrivals)
    with (new / "written").open("w") as file:
        assert hinted(arrivals)
        file.write("x")
    assert hinted(arrivals), "its writer has closed it"
    (new / "directory").mkdir()
    assert hinted(arrivals)
    (new / "written").chmod(0o640)
    assert hinted(arrivals), "it may be read now"


def test_written_files_are_told_apart_from_moved_ones(arrivals: Arrivals, new: Path) -> None:
    aside = new.parent / "aside"
    aside.write_text("x")
    (new / "linked").hardlink_to(aside)
    aside.rename(new / "moved")
    assert arrivals.acknowledge() == set()
    names = {"a.cmd", "ü.cmd", os.fsdecode(b"\xff"), "x" * 255}
    for name in names:
        (new / name).write_text("x")
    assert arrivals.acknowledge() == names


def test_a_file_that_goes_gives_no_hint(arrivals: Arrivals, new: Path) -> None:
    (new / "a").touch()
    assert hinted(arrivals)
    (new / "a").rename(new.parent / "a")
    assert not hinted(arrivals)


def test_a_removed_file_gives_a_hint_where_that_is_wanted(new: Path) -> None:
    arrivals = Arrivals({new: GOES}, LOG)
    arrivals.renew()
    (new / "a").touch()
    assert not hinted(arrivals)
    (new / "a").unlink()
    assert hinted(arrivals)
    arrivals.close()


def test_many_events_give_one_hint(arrivals: Arrivals, new: Path) -> None:
    for number in range(500):
        (new / str(number)).touch()
    assert [hinted(arrivals), hinted(arrivals)] == [True, False]


def test_a_directory_that_replaced_another_is_watched(arrivals: Arrivals, new: Path) -> None:
    new.rename(new.parent / "old")
    new.mkdir()
    arrivals.renew()
    arrivals.renew()
    hinted(arrivals)
    (new / "a").touch()
    assert hinted(arrivals)


def test_a_missing_directory_is_reported_once_and_watched_when_it_is_back(
    arrivals: Arrivals, new: Path, caplog: pytest.LogCaptureFixture
) -> None:
    new.rmdir()
    for _ in range(3):
        arrivals.renew()
    assert [message.split(";")[0] for message in caplog.messages] == [
        f"spool: cannot watch {new}: No such file or directory"
    ]
    new.mkdir()
    arrivals.renew()
    hinted(arrivals)
    (new / "a").touch()
    assert hinted(arrivals)


def test_the_descriptor_is_not_inherited(arrivals: Arrivals) -> None:
    assert arrivals.descriptor is not None
    assert not os.get_inheritable(arrivals.descriptor)
    arrivals.close()
    arrivals.renew()
    assert arrivals.descriptor is None
