"""The texts of a generation are loaded as the files were."""

from __future__ import annotations

from pathlib import Path

import pytest

from schedappliance.model.loading import load
from schedappliance.model.stored_files import StoredFiles, load_texts

TREES: dict[str, dict[str, str]] = {
    "one file": {"sched.conf": "A = 1\n"},
    "an included file": {"sched.conf": 'include "more.conf"\nA = 1\n', "more.conf": "B = 2\n"},
    "an included directory": {"sched.conf": 'include "conf.d"\n', "conf.d/b": "B = 2\n", "conf.d/a": "A = 1\n"},
    "dot files": {
        "sched.conf": 'include "conf.d/.b"\ninclude "conf.d"\n',
        "conf.d/.b": "B = 2\n",
        "conf.d/a": "A = 1\n",
    },
    "an empty directory": {"sched.conf": 'include "conf.d"\nA = 1\n', "conf.d/.keep": ""},
    "the same file twice": {"sched.conf": 'include "a"\ninclude "a"\n', "a": "A = 1\n"},
    "near before far": {"sched.conf": 'include "d/m"\n', "d/m": 'include "x"\n', "d/x": "A = 1\n", "x": "A = 2\n"},
    "far where nothing is near": {"sched.conf": 'include "d/m"\n', "d/m": 'include "x"\n', "x": "A = 2\n"},
    "a far directory": {"sched.conf": 'include "d/m"\n', "d/m": 'include "e"\n', "e/x": "A = 2\n"},
    "carriage returns and accents": {"sched.conf": 'A = "é"\r\nB = 2\r\n'},
}


@pytest.mark.parametrize("name", TREES)
def test_stored_texts_are_read_as_the_files_were(tmp_path: Path, name: str) -> None:
    for path, text in TREES[name].items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text, newline="")
    there = load(tmp_path / "sched.conf")
    assert there.accepted, there.diagnostics
    again = load_texts(dict(there.texts), tmp_path / "sched.db")
    assert again.accepted, again.diagnostics
    assert again.texts == there.texts
    assert again.configuration.backing_store == tmp_path / "sched.db"
    assert again.configuration.options.keys() == there.configuration.options.keys()
    assert [o.value for o in again.configuration.options.values()] == [
        o.value for o in there.configuration.options.values()
    ]


def test_other_files_cannot_be_read() -> None:
    stored = StoredFiles({"/etc/sched.conf": "A = 1\n"})
    assert stored.root == Path("/etc/sched.conf")
    with pytest.raises(FileNotFoundError):
        stored.read(Path("/etc/passwd"))
