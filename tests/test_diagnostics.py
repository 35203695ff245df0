"""Diagnostics: places, order, codes and suggestions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedappliance import diagnostics
from schedappliance.diagnostics import (
    CODES,
    MOST_COMPARED,
    Diagnostic,
    Source,
    Span,
    Unusable,
    as_argument,
    command_diagnostic,
    counted,
    did_you_mean,
    has_errors,
    in_order,
    nearest,
)


@pytest.mark.parametrize(
    ("path", "argument"),
    [("/a/b", "/a/b"), ("a b", "'a b'"), ("-x/a", "./-x/a"), ("-x y", "'./-x y'"), ("$a;b", "'$a;b'")],
)
def test_a_path_in_a_command_is_one_word_and_no_option(path: str, argument: str) -> None:
    assert as_argument(path) == argument


def _diagnostic(
    code: str = "E101", message: str = "m", span: Span | None = None, source: Source | None = None
) -> Diagnostic:
    return Diagnostic(code, message, "h", source or Source("x.conf", "one\ntwo\n"), span)


@pytest.mark.parametrize(
    ("offset", "place"), [(0, (1, 1)), (2, (1, 3)), (3, (1, 4)), (4, (2, 1)), (7, (2, 4)), (8, (3, 1))]
)
def test_a_place_counts_lines_and_columns_from_1(offset: int, place: tuple[int, int]) -> None:
    assert Source("x", "one\ntwo\n").position(offset) == place


@given(st.text(st.sampled_from("aü✓\t \n")), st.data())
def test_line_and_column_give_the_offset_back(text: str, data: st.DataObject) -> None:
    source = Source("x", text)
    offset = data.draw(st.integers(0, len(text)))
    line, column = source.position(offset)
    assert sum(len(before) + 1 for before in text.split("\n")[: line - 1]) + column - 1 == offset
    assert source.line(line) == text.split("\n")[line - 1]


def test_a_line_is_shown_without_its_end() -> None:
    source = Source("x", "one\r\ntwo\r\n")
    assert [source.line(number) for number in (1, 2, 3)] == ["one", "two", ""]


def test_the_first_letter_of_a_code_is_its_severity() -> None:
    error, warning = _diagnostic("E202"), _diagnostic("W401")
    assert (error.severity, error.is_error) == ("error", True)
    assert (warning.severity, warning.is_error) == ("warning", False)
    assert has_errors([warning, error]) and not has_errors([warning])


def test_an_unknown_code_is_an_assertion_error() -> None:
    with pytest.raises(AssertionError):
        _diagnostic("E999")


@pytest.mark.parametrize(("code", "title"), CODES.items(), ids=CODES)
def test_a_code_is_well_formed_and_has_a_short_title(code: str, title: str) -> None:
    assert re.fullmatch(r"E[12356]\d\d|W[46]\d\d", code)
    assert title and len(title) < 60 and not title.endswith(".")


def test_titles_are_unique() -> None:
    assert len(set(CODES.values())) == len(CODES)


def test_diagnostics_are_sorted_without_duplicates() -> None:
    other = Source("a.conf", "x")
    late, early = _diagnostic(span=Span(5, 6)), _diagnostic(span=Span(1, 2))
    first, warning = _diagnostic(source=other), _diagnostic("W401", span=Span(1, 2))
    assert in_order([late, warning, early, late, first]) == [first, early, warning, late]


def test_a_diagnostic_without_a_span_is_about_the_whole_source() -> None:
    assert _diagnostic().place() == (1, 1, 1, 1)
    assert _diagnostic(span=Span(4, 7)).place() == (2, 1, 2, 4)


def test_the_brief_form_has_place_code_cause_and_remedy() -> None:
    assert _diagnostic(span=Span(4, 7)).brief() == "x.conf:2:1: E101 m; h"
    assert Diagnostic("E101", "m", "", Source("x", "")).brief() == "x:1:1: E101 m"


def test_a_diagnostic_can_be_moved_to_another_source() -> None:
    outer = Source("outer.conf", "say: one")
    moved = _diagnostic(span=Span(0, 3)).moved(outer, lambda span: Span(span.start + 5, span.end + 5))
    assert (moved.source, moved.place(), moved.message) == (outer, (1, 6, 1, 9), "m")


@pytest.mark.parametrize(
    ("word", "remedy"),
    [
        ("timeot", "did you mean `timeout`?"),
        ("TIMEOUT", "did you mean `timeout`?"),
        ("max_Age", "did you mean `Max_Age`?"),
        ("xyzzy", "otherwise"),
        ("", "otherwise"),
    ],
)
def test_a_suggestion_is_similar_to_the_word(word: str, remedy: str) -> None:
    assert did_you_mean(word, ["timeout", "cwd", "Max_Age"], "otherwise") == remedy


MANY = [f"job-{number:05}" for number in range(20_000)] + [f"{a}-{b}" for a in ("Mail", "sync") for b in ("in", "out")]


@pytest.mark.parametrize(
    ("word", "near"),
    [
        ("jbo-01234", "job-01234"),
        ("JOB-01234", "job-01234"),
        ("mial-out", "Mail-out"),
        ("sync-ot", "sync-out"),
        ("xyzzy", ""),
        ("", ""),
        ("j" * 60_000, ""),
    ],
)
def test_a_suggestion_among_many_names_takes_few_comparisons(
    monkeypatch: pytest.MonkeyPatch, word: str, near: str
) -> None:
    compared: list[int] = []

    def get(word: str, names: Mapping[str, str], n: int, cutoff: float) -> list[str]:
        compared.append(len(names))
        return get_close_matches(word, names, n, cutoff)

    monkeypatch.setattr(diagnostics, "get_close_matches", get)
    assert nearest(word, MANY) == near
    assert sum(compared) <= MOST_COMPARED


@given(st.text(), st.lists(st.text()))
def test_a_suggestion_is_one_of_the_candidates(word: str, candidates: list[str]) -> None:
    remedy = did_you_mean(word, candidates, "")
    assert remedy == "" or remedy in [f"did you mean `{candidate}`?" for candidate in candidates]


@pytest.mark.parametrize(("number", "text"), [(0, "0 files"), (1, "1 file"), (2, "2 files"), (1234, "1,234 files")])
def test_a_noun_is_plural_unless_there_is_one(number: int, text: str) -> None:
    assert counted(number, "file") == text


def test_a_span_can_be_shifted() -> None:
    assert Span(2, 5).shifted(10) == Span(12, 15)


def test_a_command_diagnostic_points_at_the_whole_line_unless_it_has_a_span() -> None:
    assert command_diagnostic("E301", "m", "h", "run x").brief() == "<command>:1:1: E301 m; h"
    assert command_diagnostic("E301", "m", "h", "run x").span == Span(0, 5)
    assert command_diagnostic("E301", "m", "h", "run x", Span(4, 5)).place() == (1, 5, 1, 6)


def test_unusable_has_cause_and_remedy_on_one_line() -> None:
    unusable = Unusable("the store is damaged", "restore a backup")
    assert str(unusable) == "the store is damaged; restore a backup"
    assert (unusable.message, unusable.help) == ("the store is damaged", "restore a backup")
