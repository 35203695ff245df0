"""The stanza files at one instant: each path is opened once, and once more to exclude a change meanwhile."""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from schedappliance.edge.files import snapshot
from schedappliance.edge.files.snapshot import (
    HASHED_AT_ONCE,
    MOST_TRIES,
    Reading,
    Snapshot,
    digest_of,
    read_content,
    read_files,
)
from schedappliance.model.loading import load
from tests.support.file_openings import Openings

Folder = Callable[..., Path]

TREE = {
    "sched.conf": 'include "conf.d"\n',
    "conf.d/10.conf": 'A = 1\ninclude "more.conf"\n',
    "conf.d/.hidden": "B = {\n",
    "more.conf": "C = 1\n",
}
# All requested paths. The file that conf.d/10.conf includes is first looked up next to conf.d/10.conf.
PATHS = {"sched.conf", "conf.d", "conf.d/10.conf", "conf.d/more.conf", "more.conf"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name, text in TREE.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path / "sched.conf"


@pytest.fixture
def openings(root: Path, monkeypatch: pytest.MonkeyPatch) -> Openings:
    return Openings(root.parent, monkeypatch)


def values(reading: Reading) -> list[str]:
    return [f"{option.name} = {option.value}" for option in reading.loaded.configuration.options.values()]


def test_a_snapshot_answers_as_the_disk_does(root: Path) -> None:
    (root.parent / "nowhere").symlink_to("absent")
    (root.parent / "near").symlink_to("absent")
    (root.parent / "conf.d" / "20.conf").write_text('include "nowhere"\ninclude "/dev/null"\ninclude "absent"\n')
    on_disk, snapshot = load(root), Snapshot({})
    loaded = load(root, snapshot.read, snapshot)
    assert [d.brief() for d in loaded.diagnostics] == [d.brief() for d in on_disk.diagnostics]
    assert loaded.texts == on_disk.texts
    assert loaded.closure.listed == on_disk.closure.listed


def test_every_path_that_may_change_what_is_loaded_is_known(root: Path) -> None:
    reading = read_files(root)
    assert reading.is_settled
    assert {str(path.relative_to(root.parent)) for path in reading.paths} == PATHS


def test_each_path_is_opened_once_and_once_more(root: Path, openings: Openings) -> None:
    read_files(root)
    assert openings.counts == dict.fromkeys(PATHS - {"conf.d"}, 2) | {"conf.d": 4}, "a listing opens a directory twice"


def test_a_known_content_is_not_read_again_for_the_snapshot(root: Path, openings: Openings) -> None:
    known = {path: read_content(path) for path in read_files(root).paths}
    openings.counts.clear()
    assert read_files(root, known).is_settled
    assert openings.counts == dict.fromkeys(PATHS - {"conf.d"}, 1) | {"conf.d": 2}


def test_paths_that_are_no_longer_asked_for_are_forgotten(root: Path) -> None:
    known = {path: read_content(path) for path in read_files(root).paths}
    root.write_text("A = 1\n")
    known[root] = read_content(root)
    assert read_files(root, known).paths == (root,)


@pytest.mark.parametrize("number", range(2 * len(PATHS) + 2))
def test_a_change_during_the_reading_never_gives_a_mixture(root: Path, openings: Openings, number: int) -> None:
    """All files change together, between any two openings."""
    before = dict(read_files(root).loaded.texts)
    after = {path: f"# new\n{text}" for path, text in before.items()}

    def change(at: int) -> None:
        if at == number:
            for path, text in after.items():
                os.replace(write_aside(Path(path), text), path)  # noqa: PTH105  # as editors do

    openings.counts.clear()
    openings.before = change
    reading = read_files(root)
    assert reading.is_settled
    assert dict(reading.loaded.texts) in (before, after)


def write_aside(path: Path, text: str) -> Path:
    aside = path.parent / ".aside"
    aside.write_text(text)
    return aside


def test_files_that_never_hold_still_are_read_as_they_are(root: Path, openings: Openings) -> None:
    def change(number: int) -> None:
        root.write_text(f"A = {number}\n")

    openings.before = change
    reading = read_files(root)
    assert not reading.is_settled
    assert openings.counts["sched.conf"] == MOST_TRIES + 1
    assert reading.loaded.accepted


@pytest.mark.parametrize(
    "change",
    [
        lambda root: root.write_text('include "conf.d" \n'),
        lambda root: (root.parent / "more.conf").unlink(),
        lambda root: (root.parent / "conf.d" / "20.conf").touch(),
        lambda root: (root.parent / "conf.d" / "more.conf").symlink_to("nowhere"),
        lambda root: (root.parent / "conf.d" / "more.conf").mkdir(),
    ],
)
def test_the_digest_changes_with_what_the_files_hold(root: Path, change: Callable[[Path], object]) -> None:
    before = read_files(root)
    again = {path: read_content(path) for path in before.paths}
    assert digest_of(again) == read_files(root).digest == before.digest
    change(root)
    contents = {path: read_content(path) for path in before.paths}
    assert digest_of(contents) != before.digest
    assert read_files(root).digest != before.digest


def test_the_digest_does_not_change_with_anything_else(root: Path) -> None:
    before = read_files(root).digest
    root.touch()
    root.chmod(0o600)
    root.write_text(TREE["sched.conf"])
    (root.parent / "conf.d" / ".another").touch()
    (root.parent / "conf.d" / "subdirectory").mkdir()
    assert read_files(root).digest == before


def test_a_changed_file_that_is_open_for_writing_is_named(root: Path) -> None:
    reading = read_files(root)
    active = dict(reading.loaded.texts)
    more = root.parent / "more.conf"
    with more.open("a") as file:
        assert read_files(root, None, active).open_for_writing is None, "it has not changed"
        file.write("D = 1\n")
        file.flush()
        assert read_files(root, None, active).open_for_writing == more
        assert read_files(root).open_for_writing is None, "nobody asked"
    assert read_files(root, None, active).open_for_writing is None


def test_without_leases_events_tell_that_a_file_may_be_open(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel tells only the owner of a file, without CAP_LEASE."""
    active = dict(read_files(root).loaded.texts)
    more = root.parent / "more.conf"
    monkeypatch.setattr(snapshot, "writer_of", lambda _descriptor: None)
    more.write_text("D = 1\n")
    reading = read_files(root, None, active, written={str(more.resolve())})
    assert (reading.perhaps_open, reading.open_for_writing) == (more, None)
    assert read_files(root, None, active).perhaps_open is None, "it was closed"
    more.chmod(0o600)
    assert read_files(root, None, active, written={str(more.resolve())}).perhaps_open is None, (
        "only its mode was changed"
    )


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (MemoryError(), "the memory is not sufficient"),
        (RecursionError("too deep"), "something in them is nested too deeply"),
        (OSError(5, "Input/output error"), "Input/output error"),
        (ValueError("an error of our own"), "the check itself failed, as the log shows"),
    ],
)
def test_an_exception_while_files_are_checked_is_a_rejected_reload(
    error: Exception, why: str, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("schedappliance.edge.files.snapshot.load", fail)
    reading = read_files(root)
    assert not reading.loaded.accepted
    (mistake,) = reading.loaded.diagnostics
    assert (mistake.code, mistake.message) == (
        "E307",
        f"the stanza files cannot be checked: {why}",
    )


def test_the_digest_of_a_large_file_is_that_of_all_its_bytes() -> None:
    large = bytes(range(256)) * (HASHED_AT_ONCE // 100)
    whole = sha256(b"/a\0file\0%d\0" % len(large) + large).hexdigest()
    assert digest_of({Path("/a"): large}) == whole
