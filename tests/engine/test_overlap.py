"""What becomes of a run when an earlier run of its job has not ended: every policy is told from the others."""

from __future__ import annotations

from itertools import product

import pytest

from schedappliance.engine.launch import Admission, Siblings, admit
from schedappliance.engine.reasons import ONE_WAITS, OVERLAP, OVERLAP_WAITING

POLICIES = ["skip", "queue", "parallel", "replace"]
BEHIND = "it waits for the job's earlier run"


@pytest.mark.parametrize(("overlap", "catching_up"), list(product(POLICIES, [False, True])))
def test_a_run_that_is_alone_starts(overlap: str, catching_up: bool) -> None:
    assert admit(overlap, Siblings(0, 0), catching_up) == (Admission.START, None)


@pytest.mark.parametrize(
    ("overlap", "admission", "reason"),
    [
        ("skip", Admission.SKIP, OVERLAP),
        ("queue", Admission.BLOCK, BEHIND),
        ("parallel", Admission.START, None),
        ("replace", Admission.REPLACE, "it waits for the run that it replaces to end"),
    ],
)
def test_every_policy_does_its_own_when_a_run_has_not_ended(
    overlap: str, admission: Admission, reason: str | None
) -> None:
    assert admit(overlap, Siblings(1, 0), catching_up=False) == (admission, reason)


@pytest.mark.parametrize(
    ("overlap", "admission", "reason"),
    [
        ("skip", Admission.SKIP, OVERLAP),
        ("queue", Admission.SKIP, ONE_WAITS),
        ("parallel", Admission.START, None),
        ("replace", Admission.REPLACE, "it waits for the run that it replaces to end"),
    ],
)
@pytest.mark.parametrize("active", [0, 1])
def test_at_most_one_run_waits_for_another(overlap: str, admission: Admission, reason: str | None, active: int) -> None:
    assert admit(overlap, Siblings(active, 1), catching_up=False) == (admission, reason)


def test_what_is_skipped_tells_whether_the_other_runs_or_waits() -> None:
    assert admit("skip", Siblings(1, 0, running=True), catching_up=False) == (Admission.SKIP, OVERLAP)
    assert admit("skip", Siblings(1, 0, running=False), catching_up=False) == (Admission.SKIP, OVERLAP_WAITING)


@pytest.mark.parametrize("siblings", [Siblings(1, 0), Siblings(1, 5), Siblings(0, 5)])
@pytest.mark.parametrize("overlap", ["skip", "queue", "replace"])
def test_what_is_made_up_for_runs_one_after_the_other(overlap: str, siblings: Siblings) -> None:
    assert admit(overlap, siblings, catching_up=True) == (Admission.BLOCK, BEHIND)


def test_what_is_made_up_for_runs_at_once_where_it_may() -> None:
    assert admit("parallel", Siblings(5, 0), catching_up=True) == (Admission.START, None)
