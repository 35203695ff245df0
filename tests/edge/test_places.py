"""The directories to watch for a path: its own, and those of all symbolic links on the way to it."""

from __future__ import annotations

from pathlib import Path

import pytest

from schedappliance.edge.files.directories import on_the_way, places_of


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Links are `a` -> `b` -> `c/d`, `up` -> `../ROOT/c`, `loop` -> `loop`, `lost` -> `nowhere/x`."""
    root = tmp_path.resolve()
    (root / "c" / "d").mkdir(parents=True)
    (root / "c" / "d" / "file").write_text("")
    (root / "links").mkdir()
    (root / "a").symlink_to("links/b")
    (root / "links" / "b").symlink_to(root / "c" / "d")
    (root / "up").symlink_to(f"../{root.name}/c")
    (root / "loop").symlink_to("loop")
    (root / "lost").symlink_to("c/nowhere/x")
    return root


@pytest.mark.parametrize(
    ("path", "places"),
    [
        ("c/d/file", ["c/d"]),
        ("c/d", ["c/d"]),
        ("a/file", [".", "links", "c/d"]),
        ("up/d/file", [".", "c/d"]),
        ("up/../c/d/file", [".", "c/d"]),
        ("a/../d/file", [".", "links", "c/d"]),
        ("absent", ["."]),
        ("absent/deep/file", ["."]),
        ("c/d/file/deeper", ["c/d"]),
        ("loop/file", ["."]),
        ("lost", [".", "c"]),
        ("x" * 300, ["."]),
    ],
)
def test_the_directories_on_the_way(root: Path, path: str, places: list[str]) -> None:
    assert on_the_way(root / path) == {root / place for place in places}


def test_the_directories_of_many_paths_are_those_of_each(root: Path) -> None:
    (root / "c" / "link").symlink_to("../links/b/file")
    paths = [root / "c" / "link", root / "c" / "d", root / "absent"]
    assert places_of(paths) == {root, root / "c", root / "links", root / "c" / "d"}


def test_a_relative_path_starts_at_the_working_directory(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    assert on_the_way(Path("c/d/file")) == {root / "c" / "d"}
