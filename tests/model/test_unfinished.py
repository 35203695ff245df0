"""Which texts look unfinished, and for how long they wait."""

from __future__ import annotations

from pathlib import Path

import pytest

from schedappliance.model.loading import load
from schedappliance.model.unfinished import CUT_MS, UNFINISHED_MS, Doubt, doubt

ROOT = Path("/etc/sched.conf")
ACTIVE = 'A = 1\nprogram "p" { argv = ( "/bin/true" ) }\nB = 2\n'
CUT = "holds only the beginning of the active text"
NEWLINE = "does not end with a newline"
SILENT = "holds no statement"


def judged(text: str, active: str = ACTIVE, opens: bool = False) -> Doubt | None:
    loaded = load(ROOT, lambda _path: text.encode())
    return doubt(loaded.closure, {str(ROOT): active}, loaded.accepted, opens)


@pytest.mark.parametrize(
    ("text", "reason", "patience"),
    [
        ("A = 1\n", CUT, CUT_MS),
        ("A = 1", CUT, CUT_MS),
        (ACTIVE[: ACTIVE.index("B")], CUT, CUT_MS),
        # It would be rejected anyway.
        ("", SILENT, UNFINISHED_MS),
        (ACTIVE[:30], NEWLINE, UNFINISHED_MS),
        ("A = 2", NEWLINE, UNFINISHED_MS),
        ("A = 2\r", NEWLINE, UNFINISHED_MS),
        ("# A = 2\n", SILENT, UNFINISHED_MS),
        ('program "p" {\n', "ends inside a bracket", UNFINISHED_MS),
        ("A = ( 1\n", "ends inside a bracket", UNFINISHED_MS),
        ("A = 2\n/* B\n", "ends inside a comment", UNFINISHED_MS),
        ("\0\0\0", SILENT, UNFINISHED_MS),
    ],
)
def test_a_text_that_may_be_incomplete_waits(text: str, reason: str, patience: int) -> None:
    assert judged(text) == Doubt(patience, f"{ROOT} {reason}")


@pytest.mark.parametrize("text", [ACTIVE, "A = 2\n", f"{ACTIVE}C = 3\n", "A = {\n}}\n", "A = 1\nB = 2\n", "bad\n"])
def test_a_complete_text_does_not_wait(text: str) -> None:
    assert judged(text) is None


@pytest.mark.parametrize("end", range(1, len(ACTIVE)))
def test_every_beginning_of_a_text_waits(end: int) -> None:
    """Whatever text was active before."""
    assert judged(ACTIVE[:end]) is not None
    unfinished = judged(ACTIVE[:end], "Other = 1\n")
    assert unfinished is not None or load(ROOT, lambda _path: ACTIVE[:end].encode()).accepted


def test_an_unchanged_text_is_not_doubted() -> None:
    assert judged("A = 1", "A = 1") is None
    assert judged("", "") is None


def test_a_beginning_without_authorization_is_never_accepted_by_itself() -> None:
    unfinished = judged("A = 1\n", opens=True)
    assert unfinished is not None
    assert (unfinished.patience_ms, unfinished.reason) == (None, f"{ROOT} {CUT}, without `Authorization`")
    assert judged("A = 2\n", opens=True) is None
