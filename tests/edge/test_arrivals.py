"""Hints that something happened in a directory: only of what comes, and of the directory that has the name now."""

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
    """Whether something has happened since the last question."""
    assert arrivals.descriptor is not None
    ready = bool(select.select([arrivals.descriptor], [], [], 0)[0])
    assert (arrivals.acknowledge() is not None) == ready
    return ready


def test_what_comes_is_a_hint_however_it_comes(arrivals: Arrivals, new: Path) -> None:
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


def test_what_was_written_there_is_told_apart_from_what_was_moved_there(arrivals: Arrivals, new: Path) -> None:
    aside = new.parent / "aside"
    aside.write_text("x")
    (new / "linked").hardlink_to(aside)
    aside.rename(new / "moved")
    assert arrivals.acknowledge() == set()
    names = {"a.cmd", "ü.cmd", os.fsdecode(b"\xff"), "x" * 255}
    for name in names:
        (new / name).write_text("x")
    assert arrivals.acknowledge() == names


def test_what_goes_is_none(arrivals: Arrivals, new: Path) -> None:
    (new / "a").touch()
    assert hinted(arrivals)
    (new / "a").rename(new.parent / "a")
    assert not hinted(arrivals)


def test_where_it_is_wanted_what_is_removed_is_one(new: Path) -> None:
    arrivals = Arrivals({new: GOES}, LOG)
    arrivals.renew()
    (new / "a").touch()
    assert not hinted(arrivals)
    (new / "a").unlink()
    assert hinted(arrivals)
    arrivals.close()


def test_many_hints_are_one(arrivals: Arrivals, new: Path) -> None:
    for number in range(500):
        (new / str(number)).touch()
    assert [hinted(arrivals), hinted(arrivals)] == [True, False]


def test_a_directory_that_took_the_place_of_the_other_is_watched(arrivals: Arrivals, new: Path) -> None:
    new.rename(new.parent / "old")
    new.mkdir()
    arrivals.renew()
    arrivals.renew()
    hinted(arrivals)
    (new / "a").touch()
    assert hinted(arrivals)


def test_a_directory_that_is_gone_is_told_once_and_watched_when_it_is_there_again(
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


def test_its_descriptor_is_not_inherited(arrivals: Arrivals) -> None:
    assert arrivals.descriptor is not None
    assert not os.get_inheritable(arrivals.descriptor)
    arrivals.close()
    arrivals.renew()
    assert arrivals.descriptor is None
