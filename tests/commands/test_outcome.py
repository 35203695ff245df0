"""A rejection as an answer: one mistake is one line with its remedy, several are shown with their places."""

from __future__ import annotations

import pytest

from schedappliance.commands.outcome import Rejected
from schedappliance.diagnostics import Diagnostic, Source, Span
from schedappliance.engine.effects import rejection

SOURCE = Source("<command>", "run helo")


def mistake(message: str, remedy: str = "") -> Diagnostic:
    return Diagnostic("E301", message, remedy, SOURCE, Span(4, 8))


@pytest.mark.parametrize(
    ("diagnostics", "text"),
    [
        ([mistake("it is wrong")], "it is wrong"),
        ([mistake("it is wrong", "make it right")], "it is wrong; make it right"),
        (
            [mistake("one"), mistake("two", "unsaid")],
            "<command>:1:5: E301 one\n<command>:1:5: E301 two",
        ),
    ],
)
def test_a_rejection_shows_every_mistake(diagnostics: list[Diagnostic], text: str) -> None:
    answer = rejection(diagnostics)
    assert answer.error is not None
    assert [line.split("; unsaid")[0] for line in answer.error.splitlines()] == text.splitlines()
    assert (answer.ok, answer.verbatim, answer.output) == (False, False, "")
    assert list(answer.diagnostics) == diagnostics


def test_momentum_s_own_error_has_no_remedy() -> None:
    answer = Rejected([mistake("it is wrong", "make it right")], verbatim="Reconfigure failed.").answer
    assert (answer.error, answer.verbatim) == ("Reconfigure failed.", True)
    assert len(answer.diagnostics) == 1


def test_a_rejection_names_its_mistakes_in_a_traceback_too() -> None:
    assert str(Rejected([mistake("one"), mistake("two")])) == "one; two"
    assert str(Rejected([mistake("one")], verbatim="theirs")) == "theirs"
