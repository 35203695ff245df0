"""Attempts that certainly never began, from what the last keeper was asked for."""

from __future__ import annotations

import pytest

from schedappliance.edge.programs.keeper_reports import attempt_id
from schedappliance.edge.programs.requested import Asked, never_requested
from schedappliance.engine.attempts import Exit
from schedappliance.engine.records import AttemptKey, ProcessKey, RunKey
from schedappliance.store.runs import Attempt

BOOT = "3f1c1f9e-0000-4000-8000-000000000001"
# The keeper was last asked for attempts that started at boot time 1000, of which one is known.
ASKED = Asked(1000, frozenset(["1-1-1-5"]))


def attempt(job: int, started_at: int, process: ProcessKey | None = None, boot: str = BOOT) -> Attempt:
    """An attempt of a run that is live in the store. Its wall time is always the same."""
    key = AttemptKey(RunKey(job, 1), 1)
    return Attempt(key, "work", "started", None, process, boot, 5, started_at, None, Exit(), False, None, None, None)


@pytest.mark.parametrize(
    ("one", "asked", "boot", "is_certain"),
    [
        (attempt(2, 1001), ASKED, BOOT, True),
        (attempt(1, 1001), ASKED, BOOT, True),
        (attempt(2, 1000), ASKED, BOOT, True),
        (attempt(1, 1000), ASKED, BOOT, False),
        (attempt(2, 999), ASKED, BOOT, False),
        (attempt(2, 1001), None, BOOT, False),
        (attempt(2, 1001), ASKED, "another", False),
        (attempt(2, 1001, boot="unknown-5"), ASKED, "", False),
        (attempt(2, 1001, ProcessKey(7, 8)), ASKED, BOOT, False),
    ],
    ids=[
        "later",
        "same id",
        "same turn",
        "asked",
        "earlier",
        "old keeper",
        "other boot",
        "hidden boot",
        "has a process",
    ],
)
def test_an_attempt_was_never_requested_only_if_that_is_certain(
    one: Attempt, asked: Asked | None, boot: str, is_certain: bool
) -> None:
    assert list(never_requested({attempt_id(one.key, one.started_ms): one}, asked, boot)) == (
        [one.key] if is_certain else []
    )
