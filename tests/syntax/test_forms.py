"""The pattern of the command forms and the parser read every line alike; only the parser reports mistakes."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schedappliance.model.commands import FORMS
from schedappliance.syntax.command import CommandError, _forms, _Level, _read_by_parser, keywords

WORDS = [
    "x",
    "7",
    "--wait",
    "'--wait'",
    '--wa"it"',
    "--waiting",
    "--WAIT",
    '"a \\" b"',
    "'a  b'",
    '"',
    "'",
    'a"b',
    "=",
    "ſched",
    "tomorrow",
    "08:00",
    "now",
    "+",
    "now+5min",
    "2026-11-29",
    "Europe/Berlin",
    "utc",
]
BLANKS = ["", " ", "\t", "  \t ", "\u00a0"]


def by_parser(line: str, start: int = 0) -> _Level | None:
    try:
        return _read_by_parser(line, start)
    except CommandError:
        return None


def usage_lines() -> list[str]:
    """One line for each form, made from its usage."""
    return [form.usage.replace("...", "").replace("[", "").replace("]", "") for form in FORMS.values()]


@pytest.mark.parametrize("line", usage_lines())
def test_the_pattern_reads_a_line_of_every_form(line: str) -> None:
    """A form that only the parser reads would be slow, and no other test would notice."""
    level = _forms().read(line, 0)
    assert level is not None and level == by_parser(line)


def test_no_two_forms_share_a_usage() -> None:
    forms = {level.form for line in usage_lines() if (level := _forms().read(line, 0))}
    assert forms == FORMS.keys()


words = st.sampled_from([*sorted(keywords()), *(word.upper() for word in sorted(keywords())), *WORDS])
blanks = st.sampled_from(BLANKS)
lines = st.lists(st.tuples(blanks, words), max_size=6).map(lambda pairs: "".join(map("".join, pairs)))


@given(lines, blanks)
@example("run --wait", "")
@example("run --wait --wait", " ")
@example("summary", " ")
def test_the_pattern_and_the_parser_accept_the_same_lines_with_the_same_words(line: str, end: str) -> None:
    text = line + end
    assert _forms().read(text, 0) == by_parser(text)


@given(st.sampled_from(["sched in 5 ", "json ", "  "]), lines)
def test_the_pattern_reads_an_inner_command_from_its_start(before: str, line: str) -> None:
    text = before + line.lstrip(" \t")
    assert _forms().read(text, len(before)) == by_parser(text, len(before))


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"])))
def test_the_pattern_and_the_parser_read_any_text_alike(text: str) -> None:
    for line in (text, f"run {text}", f"config set {text}", f"sched in {text}"):
        assert _forms().read(line, 0) == by_parser(line)


@pytest.mark.parametrize("word", ["a" * 50_000, "'" + "a " * 25_000 + "'", "a" * 50_000 + '"', "a " * 25_000 + '"'])
def test_a_long_line_takes_no_longer_to_reject_than_to_accept(word: str) -> None:
    """A terminal that has matched is never split; otherwise a rejection would try every way to split the words."""
    for line in (f"run p {word}", f"run p {word} '", f"sched list {word} {word}"):
        assert _forms().read(line, 0) == by_parser(line)


def test_the_grammar_has_the_forms_that_the_table_describes() -> None:
    assert {form for form, _ in _forms()._levels.values()} == FORMS.keys()
