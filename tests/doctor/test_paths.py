"""The way to a path, as the kernel follows it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from schedappliance.doctor.facts import Way
from schedappliance.doctor.paths import way_to


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "real" / "etc").mkdir(parents=True)
    (tmp_path / "real" / "etc" / "sched.conf").write_text("A = 1\n")
    return tmp_path.resolve()


def passed(way: Way, below: Path) -> list[str]:
    return [str(step.path.relative_to(below)) for step in way.steps if step.path.is_relative_to(below)]


def test_a_way_begins_at_the_root_directory_and_ends_at_the_path(place: Path) -> None:
    way = way_to(place / "real" / "etc" / "sched.conf")
    assert way.steps[0].path == Path("/")
    assert passed(way, place) == [".", "real", "real/etc", "real/etc/sched.conf"]
    assert way.exists and stat.S_ISREG(way.last.mode) and way.last.uid == os.geteuid()
    assert (way.directories, way.links) == (way.steps[:-1], ())


def test_a_path_that_is_not_there_ends_at_the_nearest_directory(place: Path) -> None:
    way = way_to(place / "real" / "var" / "sched.db")
    assert (way.exists, way.last.path, way.directories) == (False, place / "real", way.steps)


def test_a_link_leads_through_the_directories_of_both_sides(place: Path) -> None:
    link = place / "links" / "now"
    link.parent.mkdir()
    link.symlink_to("../real/etc")
    way = way_to(link / "sched.conf")
    assert passed(way, place) == [".", "links", "real", "real/etc", "real/etc/sched.conf"]
    assert way.links == ((link, Path("../real/etc")),)
    assert way.named == link / "sched.conf"


def test_a_link_in_the_last_part_of_a_name_is_not_in_its_directory(place: Path) -> None:
    """As in a volume of Kubernetes: the directory keeps its name when `..data` changes."""
    etc = place / "volume"
    etc.mkdir()
    (etc / "..data").symlink_to(place / "real" / "etc")
    (etc / "sched.conf").symlink_to("..data/sched.conf")
    way = way_to(etc / "sched.conf")
    assert (way.links, way.last.path) == ((), place / "real/etc/sched.conf")
    assert passed(way, place) == [".", "volume", "real", "real/etc", "real/etc/sched.conf"]


def test_two_dots_lead_to_the_parent_of_the_target_of_a_link(place: Path) -> None:
    (place / "links").mkdir()
    (place / "links" / "now").symlink_to(place / "real" / "etc")
    assert way_to(place / "links" / "now" / "..").last.path == place / "real"


def test_links_in_a_circle_lead_nowhere(place: Path) -> None:
    (place / "a").symlink_to("b")
    (place / "b").symlink_to("a")
    way = way_to(place / "a" / "x")
    assert (way.exists, way.last.path) == (False, place)


def test_a_relative_way_starts_at_the_working_directory(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place / "real")
    way = way_to(Path("etc/sched.conf"))
    assert (way.named, way.last.path) == (Path("etc/sched.conf"), place / "real/etc/sched.conf")
