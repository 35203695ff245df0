"""Diagnostics as people and programs see them: source lines with carets under the right columns, and JSON."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedappliance.diagnostics import Diagnostic, Related, Source, Span, as_data, from_data
from schedappliance.lint.report import MAX_EXCERPT, as_json, counts, full


def _about(text: str, part: str, code: str = "E101") -> Diagnostic:
    start = text.index(part)
    return Diagnostic(code, "a cause", "a remedy", Source("x.conf", text), Span(start, start + len(part)))


def _excerpt(diagnostic: Diagnostic) -> tuple[str, str]:
    """The source line and the line of carets below it, without the gutter."""
    lines = full([diagnostic]).split("\n")
    return lines[3].split(" | ", 1)[1], lines[4].split(" | ", 1)[1]


def test_the_full_form_shows_cause_place_line_carets_and_remedy() -> None:
    assert full([_about("a = 1\nb = oops\n", "oops")]) == (
        "error[E101]: a cause\n  --> x.conf:2:5\n    |\n  2 | b = oops\n    |     ^^^^\n  help: a remedy\n".replace(
            "  -->", "   -->"
        )
    )


@pytest.mark.parametrize(
    ("text", "part", "line", "carets"),
    [
        ("b = oops", "oops", "b = oops", "    ^^^^"),
        ("\tb = oops", "oops", "    b = oops", "        ^^^^"),
        ("ab\tc", "c", "ab  c", "    ^"),
        ("ab\tc\td", "\tc", "ab  c   d", "  ^^^"),
        ("äöü = oops", "oops", "äöü = oops", "      ^^^^"),
        ("日本 = oops", "oops", "日本 = oops", "       ^^^^"),
        ("x = 日本", "日本", "x = 日本", "    ^^^^"),
        ("😀\tx", "x", "😀  x", "    ^"),
        ("ｘ\t日 oops", "oops", "ｘ  日 oops", "       ^^^^"),
        ("e\u0301 = oops", "oops", "e\u0301 = oops", "    ^^^^"),
        ("a\x1bb = oops", "oops", "a\\u{1b}b = oops", "           ^^^^"),
        ("a\u200bb", "\u200b", "a\\u{200b}b", " ^^^^^^^^"),
        ("ก\u0e31น = oops", "oops", "ก\u0e31น = oops", "     ^^^^"),
    ],
)
def test_carets_stand_under_the_span(text: str, part: str, line: str, carets: str) -> None:
    assert _excerpt(_about(text, part)) == (line, carets)


def test_a_span_over_several_lines_is_marked_to_the_end_of_its_first() -> None:
    assert _excerpt(_about("a = (\n1 )", "(\n1 )")) == ("a = (", "    ^")


def test_a_place_at_the_end_of_the_text_has_one_caret() -> None:
    source = Source("x.conf", "a =")
    assert _excerpt(Diagnostic("E101", "m", "h", source, Span(3, 3))) == ("a =", "   ^")


def test_a_long_line_is_cut_around_its_place() -> None:
    text = "x" * 1000 + "oops" + "y" * 1000
    line, carets = _excerpt(_about(text, "oops"))
    assert len(line) == MAX_EXCERPT
    assert line[carets.index("^") :][: carets.count("^")] == "oops"


def test_a_diagnostic_about_a_whole_file_shows_no_line() -> None:
    text = full([Diagnostic("E307", "cannot read it", "", Source("x.conf", ""))])
    assert text == "error[E307]: cannot read it\n  --> x.conf\n"


def test_a_related_place_is_shown_with_its_label() -> None:
    source = Source("x.conf", "a = 1\na = 2\n")
    related = Related(Source("y.conf", "\n\na = 0\n"), Span(2, 3), "given here first")
    lines = full([Diagnostic("W401", "m", "h", source, Span(6, 7), (related,))]).split("\n")
    assert lines[0] == "warning[W401]: m"
    assert lines[5:9] == ["   ::: y.conf:3:1", "    |", "  3 | a = 0", "    | - given here first"]


@given(st.text(max_size=60), st.data())
def test_control_characters_from_a_file_are_escaped_for_the_terminal(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    span = Span(start, data.draw(st.integers(start, len(text))))
    shown = full([Diagnostic("E101", text, text, Source(text, text), span)])
    assert all(character == "\n" or character.isprintable() for character in shown)
    assert "^" in shown


@given(st.text(st.sampled_from("ab\t日é\u0301"), max_size=30))
def test_a_caret_stands_in_the_column_where_a_terminal_shows_the_character(before: str) -> None:
    line, carets = _excerpt(_about(before + "X", "X"))
    shown = line[: line.index("X")]
    columns = sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in shown if not unicodedata.combining(c))
    assert carets == " " * columns + "^"


def test_the_json_form_has_lines_and_columns_from_1() -> None:
    assert json.loads(as_json([_about("a = 1\nb = oops\n", "oops", "W402")])) == [
        {
            "file": "x.conf",
            "line": 2,
            "column": 5,
            "end_line": 2,
            "end_column": 9,
            "code": "W402",
            "severity": "warning",
            "message": "a cause",
            "help": "a remedy",
        }
    ]


def test_without_diagnostics_the_json_is_an_empty_array() -> None:
    assert (json.loads(as_json([])), full([])) == ([], "")


@given(st.text(), st.text(min_size=1))
def test_the_json_form_keeps_every_character(name: str, text: str) -> None:
    diagnostic = Diagnostic("E101", text, text, Source(name, text), Span(0, len(text)))
    assert json.loads(as_json([diagnostic])) == as_data([diagnostic])


def test_the_json_form_of_any_file_name_can_be_written() -> None:
    assert as_json([Diagnostic("E101", "m", "h", Source("\udcff.conf", ""))]).encode()


@pytest.mark.parametrize(
    ("files", "codes", "text"),
    [
        (0, [], "0 files checked: 0 errors, 0 warnings"),
        (1, ["E101", "W401"], "1 file checked: 1 error, 1 warning"),
        (2, ["E101", "E101"], "2 files checked: 2 errors, 0 warnings"),
    ],
)
def test_the_last_line_is_the_summary(files: int, codes: list[str], text: str) -> None:
    assert counts(files, [_about("x", "x", code) for code in codes]) == text


@given(st.text("ab\n\r日 \t", max_size=30), st.integers(0, 30), st.integers(0, 30))
def test_a_diagnostic_survives_the_way_to_data_and_back(text: str, one: int, other: int) -> None:
    source = Source("x.cmd", text)
    start, end = sorted((min(one, len(text)), min(other, len(text))))
    for span in (Span(start, end), None):
        diagnostic = Diagnostic("E101", "a cause", "a remedy", source, span)
        (row,) = as_data([diagnostic])
        again = from_data(row, Source("renamed.cmd", text))
        if (start, end) == (0, 0):
            # An empty span at the very start counts as no span.
            assert again.span is None
        else:
            assert again.span == span
        assert as_data([again]) == [{**row, "file": "renamed.cmd"}]


@given(st.text("ab\n", max_size=10), st.integers(1, 50), st.integers(1, 50))
def test_no_place_is_outside_the_text(text: str, line: int, column: int) -> None:
    assert 0 <= Source("x", text).offset(line, column) <= len(text)
