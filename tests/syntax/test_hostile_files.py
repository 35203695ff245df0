"""Files that are rejected: the work ends with the first faults. Rule: steps and diagnostics are counted, never the time."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import pytest

from schedappliance.diagnostics import Source
from schedappliance.syntax import stanza, text
from schedappliance.syntax.recovery import brackets, lexer, repair
from schedappliance.syntax.recovery.brackets import balance
from schedappliance.syntax.recovery.lexer import Lexeme, scan
from schedappliance.syntax.stanza import parse_stanzas
from schedappliance.syntax.text import MAX_FAULTS, decode


class Counted:
    """A pattern that counts the matches that are asked for."""

    def __init__(self, pattern: re.Pattern[str]) -> None:
        self.pattern = pattern
        self.steps = 0

    def finditer(self, text: str) -> Iterator[re.Match[str]]:
        for match in self.pattern.finditer(text):
            self.steps += 1
            yield match


@pytest.mark.parametrize("part", ["{", "/* */ a ", '"', "'' ", ";", "é ", "a = 1\n"])
def test_a_file_above_the_limit_is_counted_only_up_to_the_limit(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    most = 1000
    counted = Counted(lexer._pattern(stanza._parser()))
    monkeypatch.setattr(stanza, "MAX_TOKENS", most)
    monkeypatch.setattr(lexer, "_pattern", lambda _parser: counted)
    _, diagnostics = parse_stanzas(Source("x.conf", part * 10 * most))
    assert [(mistake.code, mistake.message) for mistake in diagnostics] == [("E108", "the file is too large")]
    # A blank, and a comment between two blanks, are matches too.
    assert counted.steps <= 4 * (most + 1)


@pytest.mark.parametrize("part", ["a{\n", "} ", "{ ", "( ", "a = (\n", 'a="\n', "}\n{\n", "a ", ";", "“a”", "a )\n"])
def test_the_first_faults_of_a_file_are_enough(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    number = 5000
    visited = Counter[str]()

    def surplus_of(lexemes: list[Lexeme]) -> Counter[str]:
        visited["lexemes"] += len(lexemes)
        return brackets.surplus_of(lexemes)

    monkeypatch.setattr(repair, "surplus_of", surplus_of)
    source = Source("x.conf", part * number)
    lexemes, diagnostics = scan(source, stanza._parser())
    assert len(diagnostics) <= lexer.MAX_JUNK
    assert len(balance(source, lexemes).diagnostics) <= 4 * MAX_FAULTS
    _, diagnostics = parse_stanzas(source)
    assert len(diagnostics) == 1
    assert visited["lexemes"] <= len(lexemes) + MAX_FAULTS * 4, "a fault does not cause another look at all brackets"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_readable_file_is_not_searched(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each search of 14 MB would stop the other threads for a third of a second."""
    for name in ("_NOT_READABLE", "_FORBIDDEN", "_NOT_UTF8"):
        monkeypatch.delattr(text, name)
    line = f"a = é\t“\f\v￿ \ufeef{end}"
    source, diagnostics = decode("x.conf", line.encode() * 10)
    assert (source.text, diagnostics) == (line * 10, [])
