"""Tables for people: widths, colours, pagers, and times."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from schedappliance.cli import tables
from schedappliance.clock import lasted_text


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def terminal_of(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Makes stdout a terminal until the test ends."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.delenv("NO_COLOR", raising=False)
    return terminal


def test_columns_are_aligned_by_display_width() -> None:
    assert tables.table(("A", "B"), [("日本", "x"), ("e\u0301", "yy"), ("abc", "")]) == [
        "A     B",
        "日本  x",
        "e\u0301     yy",
        "abc",
    ]


def test_nothing_of_others_controls_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = terminal_of(monkeypatch)
    tables.show(tables.table(("A",), [("\x1b[2J\u202e",)]))
    assert terminal.getvalue().splitlines()[1] == "\\u{1b}[2J\\u{202e}"


def test_states_are_coloured_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = terminal_of(monkeypatch)
    head, row = tables.table(("STATE", "N"), [("failed", "1")])
    assert (head, row) == ("\x1b[2mSTATE\x1b[0m   \x1b[2mN\x1b[0m", "\x1b[31mfailed\x1b[0m  1")
    monkeypatch.setenv("NO_COLOR", "1")
    assert tables.table(("STATE", "N"), [("failed", "1")]) == ["STATE   N", "failed  1"]
    assert terminal.getvalue() == ""


def test_a_long_table_opens_in_the_pager(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    terminal = terminal_of(monkeypatch)
    monkeypatch.setenv("PAGER", f"tee {tmp_path}/paged > /dev/null")
    monkeypatch.setenv("LINES", "5")
    tables.show(["one"] * 4)
    assert terminal.getvalue() == "one\n" * 4
    tables.show(["two"] * 5)
    assert terminal.getvalue() == "one\n" * 4
    assert (tmp_path / "paged").read_text() == "two\n" * 5


def test_without_a_pager_a_long_table_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = terminal_of(monkeypatch)
    monkeypatch.setenv("PAGER", "/nowhere/pager")
    tables.show(["x"] * 500)
    assert terminal.getvalue() == "x\n" * 500


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (None, ""),
        (0, "0.0 s"),
        (9_949, "9.9 s"),
        (10_000, "10 s"),
        (900_000, "15 min"),
        (3_661_000, "1 h 1 min"),
        (86_400_000, "1 d"),
        (86_460_000, "1 d"),
    ],
)
def test_a_span_has_its_two_largest_units(milliseconds: int | None, text: str) -> None:
    assert lasted_text(milliseconds) == text


def test_a_time_has_the_offset_of_the_machine() -> None:
    assert tables.time_text(None) == ""
    text = tables.time_text(1_700_000_000_000)
    assert (len(text), text[19] in "+-", text[22]) == (25, True, ":")
