"""Due times that passed while no appliance ran, under `catch_up` and `catch_up_within`."""

from __future__ import annotations

import tracemalloc

import pytest

from schedappliance.core.turn import BATCH
from schedappliance.engine.records import NewJob
from schedappliance.model.commands import read_command
from tests.support.core import MINUTE, OPERATOR, SECOND, STANZAS, START_MS, Appliance, ended

PROGRAM = 'program "p" { argv = ( "/bin/work" ) %s }\n'


def files(sched: str, policy: str = "") -> str:
    return f"sched {{ {sched} }}\n{STANZAS}{PROGRAM % policy}"


def down(appliance: Appliance, stanzas: str, line: str, minutes: int) -> None:
    """The appliance is down for that many minutes, starts, and makes its first turns."""
    appliance.turn(appliance.read(stanzas))
    appliance.say(line)
    appliance.restart(minutes * MINUTE + 5 * SECOND, stanzas=stanzas)
    appliance.turn()


def outcomes(appliance: Appliance) -> list[tuple[int, str, int | None, str | None]]:
    return [(run.key.occurrence, run.state, run.missed_count, run.reason) for run in appliance.history()]


@pytest.mark.parametrize(
    ("sched", "expected"),
    [
        ("catch_up = once", [(3, "missed", 3, "the appliance was not running"), (4, "succeeded", None, None)]),
        ("catch_up = none", [(4, "missed", 4, "`catch_up = none`")]),
        ("catch_up = all", [(number, "succeeded", None, None) for number in (1, 2, 3, 4)]),
        (
            "catch_up = all catch_up_within = 90",
            [
                (2, "missed", 2, "it is older than `catch_up_within`"),
                (3, "succeeded", None, None),
                (4, "succeeded", None, None),
            ],
        ),
        (
            "catch_up = once catch_up_within = 90",
            [(3, "missed", 3, "the appliance was not running"), (4, "succeeded", None, None)],
        ),
        ("catch_up = once catch_up_within = 4", [(4, "missed", 4, "it is older than `catch_up_within`")]),
    ],
)
def test_each_policy_of_catch_up_acts_differently(
    appliance: Appliance, sched: str, expected: list[tuple[int, str, int | None, str | None]]
) -> None:
    down(appliance, files(sched), "sched every 60 config set a 1", 4)
    assert outcomes(appliance) == expected
    assert appliance.core.wake()[0] == START_MS + 5 * MINUTE
    counted = {state: sum(count or 1 for _, s, count, _ in expected if s == state) for _, state, _, _ in expected}
    summary = appliance.data("summary")
    assert {state: summary.get(f"runs_{state}") for state in counted} == counted


def test_at_most_a_hundred_due_times_are_caught_up(appliance: Appliance) -> None:
    down(appliance, files("catch_up = all"), "sched every 60 config set a 1", 250)
    missed, *runs = appliance.history()
    assert (missed.key.occurrence, missed.missed_count, missed.missed_since_ms) == (150, 150, START_MS + MINUTE)
    assert [(run.key.occurrence, run.state) for run in runs] == [(n, "succeeded") for n in range(151, 251)]
    assert [run.due_ms for run in runs] == [START_MS + n * MINUTE for n in range(151, 251)]
    appliance.turn()
    assert len(appliance.history()) == 101


@pytest.mark.parametrize("overlap", ["skip", "queue", "replace"])
def test_caught_up_programs_run_one_after_the_other(appliance: Appliance, overlap: str) -> None:
    down(appliance, files("catch_up = all", f"overlap = {overlap}"), "sched every 60 run p", 4)
    starts = []
    while appliance.started():
        (start,) = appliance.started()
        starts.append((start.key.run.occurrence, dict(start.env)["SCHED_DUE_TIME"]))
        appliance.turn(ended(start.key.run))
    assert starts == [(n, str(START_MS // 1000 + 60 * n)) for n in (1, 2, 3, 4)]
    assert [state for _, state, _, _ in outcomes(appliance)] == ["succeeded"] * 4


def test_caught_up_programs_run_at_once_with_overlap_parallel(appliance: Appliance) -> None:
    down(appliance, files("catch_up = all", "overlap = parallel"), "sched every 60 run p", 4)
    assert [start.key.run.occurrence for start in appliance.started()] == [1, 2, 3, 4]


def test_runs_that_wait_to_catch_up_survive_another_restart(appliance: Appliance) -> None:
    stanzas = files("catch_up = all", "on_interrupt = rerun")
    down(appliance, stanzas, "sched every 60 run p", 3)
    appliance.restart(stanzas=stanzas)
    appliance.turn()
    starts = []
    while appliance.started():
        (start,) = appliance.started()
        starts.append((start.key.run.occurrence, start.key.attempt))
        appliance.turn(ended(start.key.run, attempt=start.key.attempt))
    assert starts == [(1, 2), (2, 1), (3, 1)]


@pytest.mark.parametrize(("policy", "left"), [("once", "succeeded"), ("none", "missed"), ("all", "succeeded")])
def test_a_one_shot_job_is_run_or_missed_and_then_removed(appliance: Appliance, policy: str, left: str) -> None:
    down(appliance, files(f"catch_up = {policy}"), "sched in 60 config set a 1", 9)
    assert (appliance.states(), appliance.store.jobs.total()) == ([(1, 1, left)], 0)


def test_a_declared_job_whose_due_time_was_missed_stays(appliance: Appliance) -> None:
    stanzas = files("catch_up = none") + f'job "j" {{ at = {START_MS // 1000 + 60} command = pid }}\n'
    down(appliance, stanzas, "pid", 9)
    assert (appliance.states(), appliance.next_runs()) == ([(1, 1, "missed")], [(1, None)])


YEARS = 3650 * 24 * 60 * MINUTE
MANY_JOBS = 10_000
MOST_MEMORY = 16 * 1024 * 1024


@pytest.mark.slow
def test_ten_years_are_one_run_and_one_row_of_each_of_many_jobs_and_no_burst(appliance: Appliance) -> None:
    command = read_command("config set a 1").command
    assert command is not None
    intervals = {number: SECOND * (1 + number % 3600) for number in range(1, MANY_JOBS + 1)}
    with appliance.store.transaction():
        for interval in intervals.values():
            job = NewJob("every", START_MS + interval, interval, command, OPERATOR, "console")
            appliance.store.jobs.add(job, START_MS)
    now = appliance.clock.step(YEARS).wall
    claimed = 0
    tracemalloc.start()
    try:
        while claimed < 2 * MANY_JOBS:
            appliance.core.turn((), appliance.clock.moment())
            before, claimed = claimed, appliance.state.pruning.stored_runs
            assert 0 < claimed - before <= 2 * BATCH
            if tracemalloc.is_tracing():
                # Every turn is as large as the first, and turns without tracing are three times as fast.
                assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY
                tracemalloc.stop()
    finally:
        tracemalloc.stop()
    wake = appliance.core.wake()[0]
    assert wake is not None and wake > now
    runs: dict[int, list[tuple[int, int, str, int | None]]] = {}
    for run in appliance.history():
        runs.setdefault(run.key.job, []).append((run.key.occurrence, run.due_ms, run.state, run.missed_count))
    assert runs == {
        number: [
            (passed - 1, START_MS + (passed - 1) * interval, "missed", passed - 1),
            (passed, START_MS + passed * interval, "succeeded", None),
        ]
        for number, interval in intervals.items()
        for passed in [YEARS // interval]
    }
    assert appliance.next_runs() == [(n, START_MS + (YEARS // i + 1) * i) for n, i in intervals.items()]


@pytest.mark.parametrize(("minutes", "message"), [(2, "1 due time missed: "), (3, "2 due times missed: ")])
def test_the_log_counts_what_was_missed(either: Appliance, minutes: int, message: str) -> None:
    either.say("sched every 60 pid")
    either.after(minutes * MINUTE)
    assert f"warning: job example.com-000000001/{minutes - 1}: {message}" in either.logged()
