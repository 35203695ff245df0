"""Whether what a preview said came true: its rows against those of the store that lived that time."""

from __future__ import annotations

from collections import Counter

from schedappliance.engine.records import RunKey
from schedappliance.preview.rows import Mark, Row
from tests.support.core import Appliance

ENDINGS = ("failed", "timed_out", "replaced", "cancelled", "interrupted")
WAITING = (Mark.QUEUED, Mark.REPLACES, Mark.WAITS)


class Begun:
    """What the store holds of runs before a preview."""

    def __init__(self, appliance: Appliance) -> None:
        store = appliance.store
        self.runs = len(appliance.history())
        self.live = {run.key for run in store.runs.live()}
        rows = store._database.rows("SELECT job, occurrence, attempt FROM attempts")
        self.attempts = {(RunKey(row[0], row[1]), row[2]) for row in rows}


class Happened:
    """What became of each run from an instant on, and when each attempt began: as the store tells it."""

    def __init__(self, appliance: Appliance, begun_before: Begun) -> None:
        history = appliance.history()
        new = [run for run in history[begun_before.runs :] if run.state != "missed"]
        self.due = {run.key: run.due_ms for run in new}
        self.states = {run.key: run.state for run in history if run.key in self.due or run.key in begun_before.live}
        self.missed: Counter[int] = Counter()
        for run in history[begun_before.runs :]:
            self.missed[run.key.job] += run.missed_count or 0
        rows = appliance.store._database.rows("SELECT job, occurrence, attempt, started_ms FROM attempts")
        begun = {(RunKey(row[0], row[1]), row[2]): row[3] for row in rows}
        self.begun = {name: at for name, at in begun.items() if name not in begun_before.attempts}


def assert_came_true(rows: list[Row], happened: Happened) -> None:
    """Every row is a run that the store has, or its end; and the store has no others."""
    claims = {row.key: row for row in rows if row.is_first and row.key and row.mark is not Mark.MISSED}
    assert {key: row.due_ms for key, row in claims.items()} == happened.due
    missed: Counter[int] = Counter()
    for row in rows:
        if row.key and row.missed:
            missed[row.key.job] += row.missed.count
    assert missed == happened.missed
    said = {key: row.mark.value for key, row in claims.items() if row.mark in (Mark.SKIPPED, Mark.FAILED)}
    said |= {row.key: row.mark.value for row in rows if row.key and not row.is_first and row.mark.value in ENDINGS}
    assert {key: happened.states[key] for key in said} == said
    others = {happened.states[key] for key in happened.states.keys() - said.keys()}
    assert others <= {"succeeded", "started", "queued"}
    assert_began_when_said(rows, claims, happened)


def assert_began_when_said(rows: list[Row], claims: dict[RunKey, Row], happened: Happened) -> None:
    at_once = [row for row in claims.values() if row.mark in (Mark.RUN, Mark.CATCH_UP) and row.command[:4] == "run "]
    later = [row for row in rows if row.mark is Mark.STARTS]
    said = {(row.key, row.attempt or 1): row.at_ms for row in (*at_once, *later) if row.key}
    assert {name: happened.begun.get(name) for name in said} == said
    for key, attempt in happened.begun.keys() - said.keys():
        # Not worth a row: it waited no time at all.
        assert (attempt, happened.begun[key, attempt], claims[key].mark in WAITING) == (1, happened.due[key], True)
