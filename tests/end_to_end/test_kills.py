"""Twenty kills at random instants, and tests that the checks detect each broken promise."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.end_to_end.kills import kill_again_and_again
from tests.support.crash_evidence import MADE, MAKER, Attempt, Evidence, Job, Run


def test_twenty_kills_lose_nothing_and_repeat_nothing(tmp_path: Path) -> None:
    evidence = kill_again_and_again(tmp_path, 20, seed=random.SystemRandom().getrandbits(32))
    assert len(evidence.lines) > 20, "the kills must interrupt real work"
    assert evidence.confirmed
    assert evidence.counters


Row = TypeVar("Row")


def run(job: int, occurrence: int, **other: Any) -> Run:
    """A run of a job that is due every second, from 1000 on."""
    usual = Run(job, occurrence, occurrence * 1000, "succeeded", None, None, "run note", 1, None)
    return usual._replace(**other)


CORRECT = Evidence(
    jobs=[Job(1, 5, 1000, "run note", "first")],
    runs=[
        run(1, 1),
        run(1, 4, state="missed", missed_count=3, missed_since_ms=2000, attempts=0),
        run(1, 5, state="interrupted"),
        run(2, 1, command="run note 7", attempts=2),
        run(3, 1, command=MAKER, answer="example.com-000000004", attempts=0),
        run(4, 1, command=MADE),
    ],
    attempts=[
        Attempt(1, 1, 1, "succeeded"),
        Attempt(1, 5, 1, "interrupted"),
        Attempt(2, 1, 1, "failed"),
        Attempt(2, 1, 2, "succeeded"),
        Attempt(4, 1, 1, "succeeded"),
    ],
    integrity="ok",
    lines=[f"example.com-00000000{line}" for line in ("1/1 1", "2/1 1", "2/1 2", "4/1 1")],
    confirmed={"run note 7": 2},
)


def without(rows: list[Row], number: int) -> list[Row]:
    return rows[:number] + rows[number + 1 :]


def with_run(number: int, **other: Any) -> Evidence:
    runs = [row._replace(**other) if n == number else row for n, row in enumerate(CORRECT.runs)]
    return replace(CORRECT, runs=runs)


WRONG: dict[str, Callable[[], Evidence]] = {
    "a damaged store": lambda: replace(CORRECT, integrity="row 1 missing from index"),
    "a counter that counted a run twice": lambda: replace(CORRECT, counters={"succeeded": 2}, counted={"succeeded": 1}),
    "a line twice": lambda: replace(CORRECT, lines=[*CORRECT.lines, CORRECT.lines[0]]),
    "a line without an attempt": lambda: replace(CORRECT, lines=[*CORRECT.lines, "example.com-000000001/2 1"]),
    "a line of an attempt that was not made": lambda: replace(
        CORRECT, lines=[*CORRECT.lines, "example.com-000000001/1 2"]
    ),
    "a program that never ran": lambda: replace(CORRECT, lines=CORRECT.lines[1:]),
    "an occurrence without a run": lambda: replace(CORRECT, runs=without(CORRECT.runs, 0)),
    "an occurrence claimed twice": lambda: with_run(1, missed_count=4, missed_since_ms=1000),
    "an occurrence that is not counted": lambda: with_run(1, missed_count=2, missed_since_ms=3000),
    "a claim that did not advance its job": lambda: replace(CORRECT, jobs=[CORRECT.jobs[0]._replace(occurrence=4)]),
    "a job out of phase": lambda: with_run(2, due_ms=5001),
    "missed since another time": lambda: with_run(1, missed_since_ms=1000),
    "an attempt without a row": lambda: replace(CORRECT, attempts=without(CORRECT.attempts, 2)),
    "an attempt without a run": lambda: replace(CORRECT, attempts=[*CORRECT.attempts, Attempt(3, 1, 1, "interrupted")]),
    "a run that has not ended": lambda: with_run(2, state="started"),
    "an attempt that has not ended": lambda: replace(
        CORRECT, attempts=[Attempt(1, 1, 1, "started"), *CORRECT.attempts[1:]]
    ),
    "a confirmed job that is missing": lambda: replace(CORRECT, confirmed={"run note 8": 8}),
    "a command confirmed as another job": lambda: replace(CORRECT, confirmed={"run note 7": 3}),
    "a command that was done twice": lambda: replace(
        CORRECT, jobs=[*CORRECT.jobs, Job(9, 0, None, "run note 7", None)]
    ),
    "a confirmed job that never ran": lambda: replace(
        CORRECT, jobs=[*CORRECT.jobs, Job(9, 0, None, "run note 9", None)], confirmed={"run note 9": 9}
    ),
    "a job that was made twice": lambda: replace(CORRECT, jobs=[*CORRECT.jobs, Job(9, 0, None, MADE, None)]),
    "a job that was made and lost": lambda: replace(CORRECT, runs=CORRECT.runs[:-1], attempts=CORRECT.attempts[:-1]),
}


def test_correct_evidence_breaks_no_promise() -> None:
    assert CORRECT.broken_at_rest() == []


@pytest.mark.parametrize("what", WRONG)
def test_every_broken_promise_is_detected(what: str) -> None:
    assert WRONG[what]().broken_at_rest()
