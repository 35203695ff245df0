"""The man pages say what the command line and the documents say."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.documents.man_pages import FOLDER, pages


def test_the_files_are_those_of_the_sources() -> None:
    """`python -m tests.documents.man_pages` writes them."""
    files = {path.relative_to(FOLDER): path.read_text() for path in FOLDER.rglob("*.*")}
    assert files == pages()


@pytest.mark.skipif(not shutil.which("groff"), reason="groff is not installed")
@pytest.mark.parametrize("text", pages().values(), ids=lambda text: text.split('"')[1])
def test_groff_finds_no_mistake(text: str) -> None:
    command = ["groff", "-Kutf8", "-Tutf8", "-man", "-ww", "-z", "-rLL=100n"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
