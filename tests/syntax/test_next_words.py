"""The words that can follow a part of a command."""

from __future__ import annotations

import pytest

from schedappliance.syntax.command import first_words, next_words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", first_words()),
        ("sched in 5m ", first_words()),
        ("json ", first_words()),
        ("summary ", {"reset"}),
        ("sched why ", set()),
        ("version ", None),
        ("nonsense ", None),
        ('run "unfinished', None),
    ],
)
def test_the_grammar_says_what_follows(text: str, words: set[str] | None) -> None:
    assert next_words(text) == words


def test_keywords_in_any_case_lead_on() -> None:
    following = next_words("SCHED ")
    assert following is not None and {"why", "list", "hold"} <= following
