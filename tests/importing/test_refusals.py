"""Files that cron does not read. What is said of Debian's cron was seen in its log, and of cronie in its source."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from schedappliance.importing.refusals import refusals
from tests.support.imports import importer

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has a directory that cron would read")
USERS_MODE = "Debian's cron does not read this file, because its mode is {} and not 0600"
WRITABLE = "cron does not read this file, because others than its owner may write it"


def file_of(directory: Path, mode: int, owner: str = "root", name: str = "daemon") -> Path:
    path = directory / name
    path.write_text("@daily root /bin/true\n")
    path.chmod(mode)
    shutil.chown(path, owner)
    return path


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("php-7_4", ""),
        ("a.b", "cronie reads it"),
        ("a b", "cronie reads it"),
        ("a+b", "cronie reads it"),
        ("é", "cronie reads it"),
        ("#a#", "cron does not read a file with such a name"),
        (".a", "cron does not read a file with such a name"),
        ("a~", "cron does not read a file with such a name"),
    ],
)
def test_a_file_whose_name_no_cron_takes_has_a_note(name: str, note: str, tmp_path: Path) -> None:
    notes = refusals(tmp_path / name, None)
    assert len(notes) == bool(note)
    assert all(text.endswith(note) for text in notes)


def test_the_jobs_of_a_file_that_cron_does_not_read_are_not_exact(tmp_path: Path) -> None:
    (tmp_path / "a.b").write_text("@daily root /bin/true\n60 * * * * root /bin/false\n")
    true, false = importer("cron.d").file(tmp_path / "a.b").entries
    assert [note for note in true.notes if "cronie reads it" in note]
    assert false.notes == []


@pytest.mark.parametrize(
    ("end", "is_noted"),
    [("", True), ("\n", False), ("\nA=b", True), ("\n# end", False), ("\n  ", False), ("\r\n", False)],
)
def test_a_file_whose_last_line_does_not_end_has_a_note(end: str, is_noted: bool, tmp_path: Path) -> None:
    path = tmp_path / "tab"
    path.write_bytes(b"@daily root true" + end.encode())
    (entry,) = importer("cron.d").file(path).entries
    assert any("has no newline" in note for note in entry.notes) == is_noted


@as_root
@pytest.mark.parametrize(
    ("mode", "owner", "note"),
    [
        (0o644, "root", ""),
        (0o600, "root", ""),
        (0o666, "root", WRITABLE),
        (0o664, "root", WRITABLE),
        (0o646, "root", WRITABLE),
        (0o644, "nobody", "cron does not read this file, because it belongs to `nobody`"),
    ],
)
def test_a_file_with_a_user_column_belongs_to_root_alone(mode: int, owner: str, note: str, tmp_path: Path) -> None:
    assert refusals(file_of(tmp_path, mode, owner), None) == [note] * bool(note)


@as_root
@pytest.mark.parametrize(
    ("mode", "owner", "note"),
    [
        (0o600, "daemon", ""),
        (0o600, "root", ""),
        (0o644, "daemon", USERS_MODE.format("0644")),
        (0o400, "daemon", USERS_MODE.format("0400")),
        (0o666, "daemon", WRITABLE),
        (0o600, "nobody", "cron does not read this file, because it belongs to `nobody`"),
    ],
)
def test_a_crontab_belongs_to_its_user_alone(mode: int, owner: str, note: str, tmp_path: Path) -> None:
    assert refusals(file_of(tmp_path, mode, owner), "daemon") == [note] * bool(note)


@as_root
def test_a_crontab_of_the_spool_has_the_notes_of_its_file(tmp_path: Path) -> None:
    file_of(tmp_path, 0o644, name="root").write_text("@daily /bin/true\n")
    (imported,) = importer("crontab").path(tmp_path)
    assert imported.entries[0].notes == [USERS_MODE.format("0644")]
    # Elsewhere, the file of the user says nothing.
    (imported,) = importer("crontab", user="root").path(tmp_path / "root")
    assert imported.entries[0].notes == []


@as_root
def test_a_file_with_a_second_link_is_not_one_of_debians_cron(tmp_path: Path) -> None:
    path = file_of(tmp_path, 0o644)
    (tmp_path / "symbolic").symlink_to(path)
    assert refusals(tmp_path / "symbolic", None) == []
    (tmp_path / "hard").hardlink_to(path)
    assert refusals(path, None) == ["Debian's cron does not read this file, because it has a second link"]


@as_root
def test_owner_and_mode_mean_nothing_where_others_may_put_files(tmp_path: Path) -> None:
    path = file_of(tmp_path, 0o666, "nobody")
    tmp_path.chmod(0o1777)
    assert refusals(path, None) == []
    tmp_path.chmod(0o755)
    shutil.chown(tmp_path, "nobody")
    assert refusals(path, None) == []
