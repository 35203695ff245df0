"""Standard input that has no end, or lines without an end."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

import pytest

from schedappliance.cli.main import main
from schedappliance.cli.streams import MAX_BYTES, MOST_READ, read_stdin, stdin_lines
from schedappliance.edge.console.protocol import MAX_LINE
from schedappliance.syntax import text

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class Endless(io.RawIOBase):
    """The same character again and again. More than the limit with some buffers must not be read."""

    def __init__(self, character: bytes) -> None:
        self._character, self._read = character, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer)
        self._read += len(view)
        assert self._read <= 2 * MAX_BYTES, "it reads without an end"
        view[:] = self._character * len(view)
        return len(view)


def use_stdin(monkeypatch: pytest.MonkeyPatch, raw: io.RawIOBase) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(raw), "utf-8"))


@pytest.mark.parametrize(
    "words", [["lint", "-"], ["import", "crontab", "-"], ["lint", "--stdin-filename", "a.cmd", "-"]]
)
def test_an_endless_stdin_is_too_large(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use_stdin(monkeypatch, Endless(b"#"))
    assert main(words) == 1
    output, errors = capsys.readouterr()
    assert f"E108]: the file has more than {MAX_BYTES:,} bytes" in output + errors


def test_the_limit_is_that_of_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    use_stdin(monkeypatch, Endless(b"#"))
    assert len(read_stdin()) == text.MAX_BYTES + 1


def test_of_a_line_that_is_too_long_only_the_beginning_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    use_stdin(monkeypatch, Endless(b"x"))
    assert len(next(stdin_lines())) == MOST_READ > MAX_LINE


def test_the_lines_after_one_that_is_too_long_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    longest = "x" * MAX_LINE
    lines = ["a", longest + "\r", "", " \t", "x" * 300_000, "b", " " * 300_000, "x" * MOST_READ, "c"]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("\n".join(lines).encode()), "utf-8", newline="\n"))
    beginning = "x" * MOST_READ
    assert list(stdin_lines()) == ["a", longest, beginning, "b", " " * MOST_READ, beginning, "c"]
