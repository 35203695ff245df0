"""How long a program is assumed to run."""

from __future__ import annotations

import pytest

from schedappliance.preview.simulation import Durations


@pytest.mark.parametrize(
    ("newest_first", "assumed"),
    [([], 0), ([7], 7), ([9, 1], 1), ([1, 9, 5], 5), ([5, 5, 5, 1, 1, 9, 9, 9, 9], 5)],
)
def test_the_duration_is_the_median_of_the_last_five_runs(newest_first: list[int], assumed: int) -> None:
    assert Durations((3, "run p", milliseconds, True) for milliseconds in newest_first).of(3, "run p") == assumed


def test_without_runs_of_the_job_those_of_its_command_count() -> None:
    durations = Durations([(1, "run p", 10, True), (2, "run p", 30, True), (1, "run q", 500, True)])
    assert (durations.of(1, "run p"), durations.of(9, "run p"), durations.of(9, "run r")) == (10, 10, 0)


def test_runs_of_an_earlier_command_of_the_job_do_not_count() -> None:
    assert Durations([(1, "run p", 10, True), (2, "run q", 30, True)]).of(1, "run q") == 30


def test_runs_that_did_not_succeed_count_only_if_none_succeeded() -> None:
    """A program that is always replaced or timed out takes at least as long as it ran."""
    lasted = [(1, "run p", 10, True), (1, "run p", 999, False), (2, "run q", 60, False), (2, "run q", 80, False)]
    durations = Durations(lasted)
    assert (durations.of(1, "run p"), durations.of(2, "run q"), durations.of(9, "run q")) == (10, 60, 60)
