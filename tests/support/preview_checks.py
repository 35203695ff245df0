"""Checks that a preview came true: its rows agree with the store after that time has really passed."""

from __future__ import annotations

from collections import Counter

from schedappliance.engine.records import RunKey
from schedappliance.preview.rows import Mark, Row
from tests.support.core import Appliance

ENDINGS = ("failed", "timed_out", "replaced", "cancelled", "interrupted")
WAITING = (Mark.QUEUED, Mark.REPLACES, Mark.WAITS)


class Before:
    """The runs and attempts in the store before a preview."""

    def __init__(self, appliance: Appliance) -> None:
        store = appliance.store
        self.runs = len(appliance.history())
        self.live = {run.key for run in store.runs.live()}
        rows = store._database.rows("SELECT job, occurrence, attempt FROM attempts")
        self.attempts = {(RunKey(row[0], row[1]), row[2]) for row in rows}


class After:
    """What the store says has become of each run since then, and when each attempt started."""

    def __init__(self, appliance: Appliance, before: Before) -> None:
        history = appliance.history()
        new = [run for run in history[before.runs :] if run.state != "missed"]
        self.due = {run.key: run.due_ms for run in new}
        self.states = {run.key: run.state for run in history if run.key in self.due or run.key in before.live}
        self.missed: Counter[int] = Counter()
        for run in history[before.runs :]:
            self.missed[run.key.job] += run.missed_count or 0
        rows = appliance.store._database.rows("SELECT job, occurrence, attempt, started_ms FROM attempts")
        starts = {(RunKey(row[0], row[1]), row[2]): row[3] for row in rows}
        self.starts = {name: at for name, at in starts.items() if name not in before.attempts}


def assert_came_true(rows: list[Row], after: After) -> None:
    """Every row is a run of the store or its end, and the store has no other runs."""
    claims = {row.key: row for row in rows if row.is_first and row.key and row.mark is not Mark.MISSED}
    assert {key: row.due_ms for key, row in claims.items()} == after.due
    missed: Counter[int] = Counter()
    for row in rows:
        if row.key and row.missed:
            missed[row.key.job] += row.missed.count
    assert missed == after.missed
    marks = {key: row.mark.value for key, row in claims.items() if row.mark in (Mark.SKIPPED, Mark.FAILED)}
    marks |= {row.key: row.mark.value for row in rows if row.key and not row.is_first and row.mark.value in ENDINGS}
    assert {key: after.states[key] for key in marks} == marks
    others = {after.states[key] for key in after.states.keys() - marks.keys()}
    assert others <= {"succeeded", "started", "queued"}
    assert_started_when_shown(rows, claims, after)


def assert_started_when_shown(rows: list[Row], claims: dict[RunKey, Row], after: After) -> None:
    at_once = [row for row in claims.values() if row.mark in (Mark.RUN, Mark.CATCH_UP) and row.command[:4] == "run "]
    later = [row for row in rows if row.mark is Mark.STARTS]
    starts = {(row.key, row.attempt or 1): row.at_ms for row in (*at_once, *later) if row.key}
    assert {name: after.starts.get(name) for name in starts} == starts
    for key, attempt in after.starts.keys() - starts.keys():
        # A run that waited no time at all has no row for its start.
        assert (attempt, after.starts[key, attempt], claims[key].mark in WAITING) == (1, after.due[key], True)
