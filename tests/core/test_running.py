"""The running programs, counted by job, program and deadline; and the undo of changes."""

from __future__ import annotations

import gc
import sys
from collections import Counter
from dataclasses import replace
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schedappliance.core.running import MOST_OUTDATED, LiveRuns, RunningPrograms
from schedappliance.engine.attempts import Ending, Running, after_term
from schedappliance.engine.records import AttemptKey, RunKey
from schedappliance.engine.undoable import Undoable
from tests.support.core import Appliance


def program(job: int = 1, term_at: int | None = None, name: str = "sleep") -> Running:
    return Running(AttemptKey(RunKey(job, 1), 1), name, 10_000, term_at)


def running(*programs: Running) -> RunningPrograms:
    all_of_them = RunningPrograms()
    for one in programs:
        all_of_them[one.key.run] = one
    return all_of_them


def jobs(programs: list[Running]) -> list[int]:
    return [one.key.run.job for one in programs]


def test_a_program_is_overdue_from_its_deadline_on() -> None:
    programs = running(program(1, 500), program(2), program(3, 400), program(4, 501))
    assert [jobs(programs.overdue(at)) for at in (399, 400, 500)] == [[], [3], [3, 1]]
    assert programs.next_deadline() == 400


def test_programs_with_equal_deadlines_come_in_the_order_of_their_jobs() -> None:
    assert jobs(running(program(3, 5), program(1, 5), program(2, 5)).overdue(5)) == [1, 2, 3]


def test_after_term_only_the_deadline_of_kill_counts() -> None:
    programs = running(program(1, 500))
    programs[RunKey(1, 1)] = after_term(programs[RunKey(1, 1)], Ending.TIMEOUT, 700)
    assert (programs.overdue(10_699), jobs(programs.overdue(10_700))) == ([], [1])
    assert programs.next_deadline() == 10_700


def test_a_signal_is_due_again_after_an_undo() -> None:
    programs = running(program(1, 500))
    changes = len(programs.changes)
    programs[RunKey(1, 1)] = after_term(programs[RunKey(1, 1)], Ending.TIMEOUT, 700)
    programs.undo(changes)
    assert (jobs(programs.overdue(500)), programs.next_deadline()) == ([1], 500)


def test_programs_are_counted_by_job_and_by_program() -> None:
    programs = running(program(1), program(2), program(3, name="echo"))
    assert (programs.count("sleep"), programs.count("echo"), programs.count("true")) == (2, 1, 0)
    del programs[RunKey(2, 1)]
    assert (programs.count("sleep"), programs.jobs, programs.of_job(2)) == (1, {1, 3}, [])


def test_outdated_deadlines_do_not_pile_up() -> None:
    programs = running(program(1, 10**9))
    for _ in range(10 * MOST_OUTDATED):
        programs[RunKey(2, 1)] = program(2, 10**9)
        del programs[RunKey(2, 1)]
        programs.next_deadline()
    assert len(programs.deadlines) <= 2 * MOST_OUTDATED


@pytest.mark.parametrize("kind", [Undoable, RunningPrograms])
@given(st.lists(st.tuples(st.integers(1, 4), st.sampled_from([None, 1, 2, 3]))), st.integers(0, 20))
def test_an_undo_restores_the_earlier_state(
    kind: type[Undoable[RunKey, Running]], steps: list[tuple[int, int | None]], count: int
) -> None:
    undone, wanted = kind(), kind()
    marks = []
    for number, (job, deadline) in enumerate(steps):
        marks.append(len(undone.changes))
        for programs in (undone, wanted) if number < count else (undone,):
            if deadline is None:
                programs.pop(RunKey(job, 1), None)
            else:
                programs[RunKey(job, 1)] = replace(program(job), term_at=deadline)
    if count < len(steps):
        undone.undo(marks[count])
    assert undone == wanted
    if isinstance(undone, RunningPrograms) and isinstance(wanted, RunningPrograms):
        assert (undone.jobs, undone.count("sleep")) == (wanted.jobs, wanted.count("sleep"))
        assert undone.overdue(2) == wanted.overdue(2)
        assert undone.next_deadline() == wanted.next_deadline()


@given(st.lists(st.tuples(st.integers(1, 3), st.booleans())), st.integers(0, 20))
def test_live_runs_are_counted_and_an_undo_restores_their_numbers(steps: list[tuple[int, bool]], count: int) -> None:
    live, jobs, marks = LiveRuns([1, 2, 2]), [1, 2, 2], list[tuple[int, list[int]]]()
    for job, begins in steps:
        marks.append((len(live.changes), jobs.copy()))
        if begins:
            live.add(job)
            jobs.append(job)
        elif job in jobs:
            live.subtract(job)
            jobs.remove(job)
        assert (dict(live), live.total) == (Counter(jobs), len(jobs))
    if count < len(steps):
        changes, jobs = marks[count]
        live.undo(changes)
    assert (dict(live), live.total, live.of_job(3)) == (Counter(jobs), len(jobs), jobs.count(3))


@pytest.mark.parametrize("fails", [False, True])
def test_a_turn_does_the_same_work_however_many_programs_run(fails: bool) -> None:
    """Counts the lines of Python that a turn and the look at the next wake execute."""
    assert _lines_of_a_turn(10, fails) == _lines_of_a_turn(500, fails)


def _lines_of_a_turn(programs: int, fails: bool) -> int:
    appliance = Appliance(None, max_running=1000)
    for number in range(programs):
        one = replace(program(1000 + number, 10**9), key=AttemptKey(RunKey(1000 + number, 1), 1))
        appliance.state.running[one.key.run] = one
    appliance.state.settle()
    lines = 0

    def traced(_frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal lines
        lines += event == "line"
        return traced

    def act() -> None:
        before = appliance.state.remember()
        appliance.turn(appliance.typed("config set speed 1"))
        if fails:
            appliance.state.restore(before)
        appliance.core.wake()

    act()
    # Objects of earlier tests must not be finalized meanwhile.
    gc.collect()
    gc.disable()
    sys.settrace(traced)
    try:
        act()
    finally:
        sys.settrace(None)
        gc.enable()
    appliance.close()
    return lines
