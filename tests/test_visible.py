"""Text of others on a terminal: invisible characters are escaped, and what is on the terminal is the whole text."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedappliance.visible import json_text, visible, visible_lines


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain é 漢 \U0001f600", "plain é 漢 \U0001f600"),
        ("\x1b[31m", "\\u{1b}[31m"),
        ("\u202etxt.exe\u2066", "\\u{202e}txt.exe\\u{2066}"),
        ("a\r\n\tb\x9b\u200b\U000e0041", "a\\u{d}\\u{a}\\u{9}b\\u{9b}\\u{200b}\\u{e0041}"),
        ("\udcff", "\\u{dcff}"),
    ],
)
def test_invisible_characters_are_escaped(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_lines_keep_their_ends_and_tabs() -> None:
    assert visible_lines("a\tb\x1b\n\nc\r\n") == "a\tb\\u{1b}\n\nc\\u{d}\n"


@given(st.text())
def test_nothing_invisible_remains(text: str) -> None:
    assert visible(text).isprintable()
    assert all(line.replace("\t", "").isprintable() for line in visible_lines(text).split("\n"))


@given(st.dictionaries(st.text(), st.text()))
def test_json_stays_json(data: dict[str, str]) -> None:
    text = json_text(data)
    assert text.isprintable()
    assert json.loads(text) == data
