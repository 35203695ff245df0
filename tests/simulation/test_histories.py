"""Fixed seeds, seeds that once found a mistake, and a few random seeds. Runs by hand do more."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from schedappliance.core import alert_limits
from schedappliance.engine import incidents
from schedappliance.engine.states import RunState
from tests.simulation import files
from tests.simulation.__main__ import main
from tests.simulation.checker import Broken
from tests.simulation.dice import AHEAD, APART, BOOTS, PER_DAY, SHARES
from tests.simulation.history import MOST_OCCURRENCES, Figures, live
from tests.simulation.mutants import (
    ALERT_MUTANTS,
    CALENDAR_MUTANTS,
    MUTANTS,
    a_failed_look_up_counts_as_an_attempt,
    a_hidden_boot_is_another_boot,
    a_hidden_boot_is_this_boot,
    a_hold_outlasts_its_planned_end,
    a_repeated_time_runs_twice,
    a_replaced_run_is_tried_again,
    a_start_in_a_hidden_boot_is_a_boot,
    due_jobs_run_while_held,
    metrics_keep_an_end_that_is_undone,
    metrics_keep_the_due_time_of_an_advanced_job,
    metrics_keep_the_due_times_of_jobs_that_moved,
    no_failure_is_counted,
    other_zone_data_forgets_what_is_overdue,
    programs_start_without_outputs,
    start_before_commit,
    the_next_daemon_forgets_a_stop,
)
from tests.simulation.report import LEGAL
from tests.simulation.view import Move
from tests.support.random_seeds import random_seeds

DAYS = 10
# In 34 a queued run fails, which is rare: its program is removed before its place is free. In 33 and 294 a program is left
# by a boot that hides its id, and the clock is set or the machine reboots before the next start.
SEEDS = (*range(1, 16), 17, 33, 34, 294)
# A seed, its days, and the mistake that it found.
FOUND: dict[tuple[int, int], str] = {
    (200556, 30): "the end of a program that could not be stored was given up, and the program counted as running",
    (
        332,
        30,
    ): "each end of what had run in parallel let a waiting run go, and two ran when one was to follow the other",
    (45, 30): "the output of a program came after its run was pruned, while the disk was full, and stayed for ever",
    (635, 30): "runs that a command called off after the due jobs, while the disk was full, left the history too long",
    (651, 30): "a clock that stayed set back was taken for right when the appliance came back at the time it had shown",
    (543, 30): "a run that waited for its next attempt was held as if it ran, and then went before its time",
}
FOUND_WITH_CALENDARS: dict[tuple[int, int], str] = {
    (
        1022,
        30,
    ): "a job that was overdue lost its due time when the clock was set back and the machine was moved at once",
    (1028, 30): "a degraded start read the waiting runs before it followed the clock, and a next attempt came late",
    (
        842573169,
        12,
    ): "the first turn of a start did not know the next attempts that were due, and later runs came first",
    (557439788, 6): "a job that changed and was switched off while overdue kept the next due time of its old schedule",
    (127165908, 11): "a job became a calendar after the clock was set back, and then waited for its old creation",
    (203081130, 23): "(of the simulation) the report of a failed start in an undone turn hid the end of the next start",
    (512948358, 20): "the row of an attempt was written before that of its run, in the same transaction",
    (
        280707598,
        30,
    ): "(of this checker) a hold was released by a line that was stored alone, after the runs that were due",
    (
        920002,
        30,
    ): "(of this checker) a run that was claimed during a hold failed at once, and that was taken for a rejection",
    (157559389, 1): "(of this checker) a job was judged by zone data that arrived after it, in the same turn",
}
# A seed that finds a mistake soon, unless the first one does. It is tried first: a history in which nothing is found
# takes up to 4 s.
FINDERS: dict[object, int] = {
    a_failed_look_up_counts_as_an_attempt: 12,
    a_replaced_run_is_tried_again: 2,
    no_failure_is_counted: 14,
    the_next_daemon_forgets_a_stop: 17,
    programs_start_without_outputs: 4,
    due_jobs_run_while_held: 17,
    a_hold_outlasts_its_planned_end: 17,
    a_hidden_boot_is_another_boot: 294,
    a_hidden_boot_is_this_boot: 33,
    a_start_in_a_hidden_boot_is_a_boot: 2,
    metrics_keep_an_end_that_is_undone: 9,
    metrics_keep_the_due_times_of_jobs_that_moved: 15,
    metrics_keep_the_due_time_of_an_advanced_job: 8,
    a_repeated_time_runs_twice: 51,
    other_zone_data_forgets_what_is_overdue: 51,
}


@pytest.fixture(scope="module")
def histories() -> list[Figures]:
    """The figures of the fixed seeds with the unchanged engine; raises Broken."""
    return [live(seed, DAYS) for seed in SEEDS]


def test_no_invariant_is_broken(histories: list[Figures]) -> None:
    assert [history.seed for history in histories] == list(SEEDS)
    assert min(history.occurrences for history in histories) > 0
    assert max(history.occurrences for history in histories) <= MOST_OCCURRENCES


def test_every_kind_of_fault_happens(histories: list[Figures]) -> None:
    """Otherwise the seeds would not test the engine."""
    counts, ends = Counter[str](), Counter[str]()
    for history in histories:
        counts += history.counts
        ends += history.ends
    assert {name for name in (*SHARES, *APART, *BOOTS, *AHEAD, *PER_DAY) if not counts[name]} == set()
    assert ends.keys() == set(RunState) - {RunState.QUEUED, RunState.STARTED}
    assert sum(history.pruned for history in histories) > 0


def test_every_move_of_a_run_is_made(histories: list[Figures]) -> None:
    moves = sum((history.moves for history in histories), Counter[Move]())
    assert [move for move in LEGAL if not moves[move]] == []
    assert all(move in LEGAL for move in moves)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_mistake_in_the_engine_is_found(
    mutant: Callable[[pytest.MonkeyPatch], None], histories: list[Figures], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fixed seeds find it, and they find nothing without it."""
    mutant(monkeypatch)
    with pytest.raises(Broken):
        for history in sorted(histories, key=lambda history: history.seed != FINDERS.get(mutant)):
            live(history.seed, DAYS)


@pytest.mark.parametrize("seed", random_seeds(3))
def test_random_seeds(seed: int) -> None:
    print(f"seed {seed}")
    live(seed, 30)


CALENDAR_SEEDS = (7, 51, 5, 1)


@pytest.mark.parametrize("mutant", CALENDAR_MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_mistake_in_a_rule_of_calendars_is_found(
    mutant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    mutant(monkeypatch)
    with pytest.raises(Broken):
        for seed in sorted(CALENDAR_SEEDS, key=lambda seed: seed != FINDERS.get(mutant)):
            live(seed, 20, has_calendars=True)


# The first finds all mistakes in alerts but one.
ALERT_SEEDS = (17, 41)


@pytest.mark.parametrize("mutant", ALERT_MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_mistake_in_alerts_is_found(
    mutant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    mutant(monkeypatch)
    with pytest.raises(Broken):
        for seed in ALERT_SEEDS:
            live(seed, 10, has_alerts=True)


@pytest.mark.parametrize("seed", (2, 3, 4, *random_seeds(1)))
def test_histories_with_alerts(seed: int) -> None:
    """Each job that fails is told once, and so is its recovery, through crashes, edits and failing deliveries."""
    print(f"seed {seed}")
    live(seed, 5, has_alerts=True)


# In both seeds, `sched run` delivers an alert that collects; its job stayed.
@pytest.mark.parametrize("seed", (9040, 9052, *random_seeds(1)))
def test_histories_with_alerts_that_collect(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    print(f"seed {seed}")
    monkeypatch.setattr(files, "NOTIFY", files.NOTIFY.replace("again", "collect = 3h again"))
    monkeypatch.setattr(files, "SLOW", files.SLOW.replace("incidents", "collect = 2h incidents"))
    live(seed, 5, has_alerts=True)


def test_a_history_with_more_alerts_than_may_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """No event is left out silently, and what waits is limited."""
    counts, left_out = [], incidents.left_out

    def counted(events: list[incidents.AlertEvent], now_ms: int, reason: str) -> incidents.AlertEvent:
        event = left_out(events, now_ms, reason)
        counts.append(event["count"])
        return event

    monkeypatch.setattr(alert_limits, "left_out", counted)
    monkeypatch.setattr(alert_limits, "MOST_WAITING", 1)
    live(17, 5, has_alerts=True)
    assert max(counts) > 1


@pytest.mark.parametrize("seed", CALENDAR_SEEDS)
def test_histories_with_calendars(seed: int) -> None:
    """Calendar jobs through clock changes each few days, other zone data, a moved machine, clock steps and crashes."""
    figures = live(seed, 20, has_calendars=True)
    assert figures.counts["calendar"] and figures.counts["zones"]


@pytest.mark.parametrize("seed", random_seeds(2))
def test_random_seeds_with_calendars(seed: int) -> None:
    print(f"seed {seed}")
    live(seed, 30, has_calendars=True)


@pytest.mark.parametrize(("seed", "days"), FOUND_WITH_CALENDARS, ids=lambda number: str(number))
def test_seeds_with_calendars_that_found_a_mistake(seed: int, days: int) -> None:
    live(seed, days, has_calendars=True)


@pytest.mark.parametrize(("seed", "days"), FOUND, ids=lambda number: str(number))
def test_seeds_that_found_a_mistake(seed: int, days: int) -> None:
    live(seed, days)


def test_a_seed_fixes_the_history(histories: list[Figures]) -> None:
    """Also in another process, where hashes differ. The command line prints the seed first."""
    command = [sys.executable, "-m", "tests.simulation", "--seed", "2", "--days", str(DAYS)]
    root = Path(__file__).parent.parent.parent
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root, env=environment)
    lines = done.stdout.splitlines()
    assert lines[0] == "seed 2"
    assert f"digest: {histories[1].digest}" in lines and lines[-1] == "broken: 0"
    assert histories[0].digest != histories[1].digest


@pytest.mark.parametrize("seed", (2, 5))
def test_look_ahead_changes_no_history(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without failures of the store, after which the next turn decides at once instead of a second later."""
    for what in ("commit fails", "store is locked", "statement fails", "statement can never be done"):
        monkeypatch.setitem(SHARES, what, (0,))
    histories = []
    for rate in (0, 1):
        monkeypatch.setitem(AHEAD, "looked ahead", (rate,))
        histories.append(live(seed, DAYS))
    never, always = histories
    assert never.digest == always.digest
    assert (never.counts["looked ahead"], always.counts["look-ahead abandoned"] > 0) == (0, True)
    assert always.counts["looked ahead"] > 2 * always.counts["look-ahead abandoned"]


def test_a_broken_invariant_is_reported_with_its_seed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    start_before_commit(monkeypatch)
    assert main(["--seed", "1", "--seeds", "2", "--days", "1"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert (lines[0], lines[-1]) == ("seeds 1 to 2", "broken: 2")
    assert lines[1].startswith("seed 1 breaks every_start_was_committed: AttemptKey(")
