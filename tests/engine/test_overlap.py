"""A run while an earlier run of its job has not ended: each policy acts differently."""

from __future__ import annotations

from itertools import product

import pytest

from schedappliance.engine.attempts import Admission, Siblings, admit
from schedappliance.engine.reasons import ONE_WAITS, OVERLAP, OVERLAP_WAITING

POLICIES = ["skip", "queue", "parallel", "replace"]
BEHIND = "it waits for the job's earlier run"


@pytest.mark.parametrize(("overlap", "catching_up"), list(product(POLICIES, [False, True])))
def test_a_run_without_an_earlier_one_starts(overlap: str, catching_up: bool) -> None:
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
def test_each_policy_acts_differently_while_a_run_has_not_ended(
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


def test_the_reason_of_a_skip_says_whether_the_earlier_run_is_running_or_waiting() -> None:
    assert admit("skip", Siblings(1, 0, running=True), catching_up=False) == (Admission.SKIP, OVERLAP)
    assert admit("skip", Siblings(1, 0, running=False), catching_up=False) == (Admission.SKIP, OVERLAP_WAITING)


@pytest.mark.parametrize("siblings", [Siblings(1, 0), Siblings(1, 5), Siblings(0, 5)])
@pytest.mark.parametrize("overlap", ["skip", "queue", "replace"])
def test_caught_up_runs_start_one_after_the_other(overlap: str, siblings: Siblings) -> None:
    assert admit(overlap, siblings, catching_up=True) == (Admission.BLOCK, BEHIND)


def test_caught_up_runs_start_at_once_with_overlap_parallel() -> None:
    assert admit("parallel", Siblings(5, 0), catching_up=True) == (Admission.START, None)
