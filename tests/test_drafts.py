"""Files appear whole, or not at all."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from schedappliance.drafts import draft_of, name_new


def test_a_new_file_has_the_permissions_of_any_new_file_or_the_given_ones(tmp_path: Path) -> None:
    (tmp_path / "any").write_text("")
    for name, mode in (("a", None), ("b", 0o604)):
        with draft_of(tmp_path / name, name, mode) as draft:
            name_new(draft, tmp_path / name)
        assert (tmp_path / name).read_text() == name
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"any": modes["any"], "a": modes["any"], "b": 0o604}


@pytest.mark.parametrize("number", [None, errno.EPERM, errno.EOPNOTSUPP])
@pytest.mark.parametrize("is_there", [True, False])
def test_no_file_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int | None, is_there: bool
) -> None:
    def no_links(*_: object) -> None:
        assert number
        raise OSError(number, os.strerror(number))

    if number:
        monkeypatch.setattr(os, "link", no_links)
    path = tmp_path / "file"
    with draft_of(path, "new") as draft:
        if is_there:
            path.write_text("old")
            with pytest.raises(FileExistsError, match=f"'{path}'"):
                name_new(draft, path)
        else:
            name_new(draft, path)
    assert (os.listdir(tmp_path), path.read_text()) == (["file"], "old" if is_there else "new")


def test_an_error_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "missing/file"
    with pytest.raises(FileNotFoundError, match=f"'{path}'"), draft_of(path, "text"):
        pytest.fail("there is no draft")
