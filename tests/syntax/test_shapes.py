"""The patterns of the forms and the parser of the grammar read every line alike; the parser alone says what is wrong."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schedappliance.diagnostics import Source
from schedappliance.model.commands import FORMS
from schedappliance.syntax.command import CommandError, _parse_level, _parser, _shapes, keywords
from schedappliance.syntax.shapes import Level

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
]
BLANKS = ["", " ", "\t", "  \t ", "\u00a0"]


def by_parser(line: str, offset: int = 0) -> Level | None:
    try:
        return _parse_level(Source("<command>", line), offset)
    except CommandError:
        return None


def usage_lines() -> list[str]:
    """A line of every form, from its usage."""
    return [form.usage.replace("...", "").replace("[", "").replace("]", "") for form in FORMS.values()]


@pytest.mark.parametrize("line", usage_lines())
def test_a_line_of_every_form_is_read_by_its_pattern(line: str) -> None:
    """Else it would only be slow, and nobody would see it."""
    found = _shapes().read(line, 0)
    assert found is not None and found == by_parser(line)


def test_every_form_has_a_usage_that_is_its_own() -> None:
    forms = {found.form for line in usage_lines() if (found := _shapes().read(line, 0))}
    assert forms == FORMS.keys()


words = st.sampled_from([*sorted(keywords()), *(word.upper() for word in sorted(keywords())), *WORDS])
blanks = st.sampled_from(BLANKS)
lines = st.lists(st.tuples(blanks, words), max_size=6).map(lambda pairs: "".join(map("".join, pairs)))


@given(lines, blanks)
@example("run --wait", "")
@example("run --wait --wait", " ")
@example("summary", " ")
def test_what_a_pattern_takes_the_parser_takes_with_the_same_words(line: str, end: str) -> None:
    text = line + end
    found, expected = _shapes().read(text, 0), by_parser(text)
    assert found == expected


@given(st.sampled_from(["sched in 5 ", "json ", "  "]), lines)
def test_it_reads_from_the_place_where_an_inner_command_begins(before: str, line: str) -> None:
    text = before + line.lstrip(" \t")
    assert _shapes().read(text, len(before)) == by_parser(text, len(before))


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc"])))
def test_any_text_is_read_alike(text: str) -> None:
    for line in (text, f"run {text}", f"config set {text}", f"sched in {text}"):
        assert _shapes().read(line, 0) == by_parser(line)


@pytest.mark.parametrize("word", ["a" * 50_000, "'" + "a " * 25_000 + "'", "a" * 50_000 + '"'])
def test_a_long_line_is_no_harder_to_refuse_than_to_take(word: str) -> None:
    """What a terminal has taken it does not give back: else a refusal would try every way to cut the words."""
    for line in (f"run p {word}", f"run p {word} '", f"sched list {word} {word}"):
        assert _shapes().read(line, 0) == by_parser(line)


def test_the_grammar_has_no_rule_that_the_patterns_do_not_know() -> None:
    known = {rule.origin.name for rule in _parser().rules} - {"start"}
    assert {name for name in known if not name.startswith("__")} == FORMS.keys()
