"""The start after a crash: interrupted and adopted attempts, and queued runs."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from schedappliance.engine.attempts import Exit, NotStarted
from schedappliance.engine.effects import Stop
from schedappliance.engine.events import ProgramNotStarted
from schedappliance.engine.records import AttemptKey, ProcessKey, RunKey
from tests.support.core import BOOT, MINUTE, SECOND, STANZAS, START_MS, Appliance, ended, has_pid

KEY = RunKey(1, 1)
FIRST = AttemptKey(KEY, 1)
FOUND = {FIRST: ProcessKey(300, 7)}
UNKNOWN = "its keeper was killed; its exit status is not known"


def start_first_run(appliance: Appliance, line: str = "sched every 60 run limited") -> None:
    """Starts the first run and reports its process."""
    appliance.say(line)
    appliance.after(MINUTE)
    (start,) = appliance.started()
    appliance.turn(has_pid(start))


def test_a_run_that_a_crash_ended_is_interrupted(appliance: Appliance) -> None:
    start_first_run(appliance)
    appliance.restart(after_ms=5000)
    (run,) = appliance.history()
    assert (run.state, run.reason, run.ended_ms) == (
        "interrupted",
        "the appliance ended while it ran",
        START_MS + MINUTE + 5000,
    )
    assert "warning: run example.com-000000001/1 interrupted: the appliance ended while it ran" in appliance.logged()
    assert appliance.discarded() == [KEY]
    assert appliance.store.runs.live_attempts() == []
    assert (dict(appliance.state.running), appliance.started(), appliance.core.wake()[1]) == ({}, [], None)
    appliance.after(MINUTE)
    assert [start.key.run.occurrence for start in appliance.started()] == [2]


def test_an_attempt_without_a_process_is_interrupted_and_not_started_again(appliance: Appliance) -> None:
    appliance.say("run sleep 5")
    appliance.restart()
    appliance.turn()
    assert (appliance.states(), appliance.started()) == ([(1, 1, "interrupted")], [])


def test_a_start_that_was_cancelled_at_a_stop_that_keeps_programs_follows_after_the_next_start(
    appliance: Appliance,
) -> None:
    appliance.say("run sleep 5")
    appliance.say("shutdown --keep")
    appliance.turn(
        ProgramNotStarted(FIRST, "the appliance was stopped before the start", exhausted=True, is_alone=True)
    )
    assert (appliance.states(), appliance.started()) == ([(1, 1, "queued")], [])
    appliance.restart(after_ms=MINUTE)
    appliance.turn()
    assert [start.key for start in appliance.started()] == [FIRST]


def test_a_crash_before_the_claim_loses_nothing(appliance: Appliance) -> None:
    appliance.say("sched in 60 run sleep 5")
    appliance.restart(after_ms=MINUTE)
    appliance.turn()
    appliance.restart()
    appliance.turn()
    assert appliance.states() == [(1, 1, "interrupted")]


def test_a_survivor_is_adopted_and_still_counts_as_overlap(appliance: Appliance) -> None:
    start_first_run(appliance)
    (left,) = appliance.store.runs.live_attempts()
    assert (left.key, left.program, left.process) == (AttemptKey(KEY, 1), "limited", ProcessKey(300, 7))
    assert (left.boot_id, left.started_boot_ms, left.replaced) == (BOOT, 560_000, False)
    appliance.restart(after_ms=SECOND, survivors=FOUND)
    assert "run example.com-000000001/1 continues: its process 300 was adopted" in appliance.logged()
    assert (appliance.states(), appliance.discarded()) == ([(1, 1, "started")], [])
    appliance.clock.step(MINUTE)
    appliance.turn()
    assert appliance.states() == [(1, 1, "started"), (1, 2, "skipped")]


def test_a_survivor_keeps_its_timeout_and_is_timed_out(appliance: Appliance) -> None:
    start_first_run(appliance)
    appliance.restart(after_ms=9_000, survivors=FOUND)
    assert appliance.core.wake()[1] == appliance.clock.moment().boot + 1000
    appliance.after(999)
    assert appliance.signalled() == []
    appliance.after(1)
    assert appliance.signalled() == [(KEY, signal.SIGTERM)]
    appliance.turn(ended(KEY, None))
    (run,) = appliance.history()
    assert (run.state, run.reason) == ("timed_out", "the program's timeout passed")


def test_a_survivor_whose_timeout_has_passed_is_signalled_at_once(appliance: Appliance) -> None:
    start_first_run(appliance)
    appliance.restart(after_ms=30_000, survivors=FOUND)
    appliance.turn()
    assert appliance.signalled() == [(KEY, signal.SIGTERM)]


# How the policy of a program changes while an attempt runs: the lines that set options, and the stanzas of the next start.
OTHERS = "timeout = 100 kill_after = 50 success = ( 3 )"
CHANGED_FILE = STANZAS.replace("timeout = 10 kill_after = 5", OTHERS)
CHANGES = {
    "overrides": (
        [f"config set program limited {option}" for option in ("timeout 100", "kill_after 50", "success ( 3 )")],
        STANZAS,
    ),
    "a changed file": ([], CHANGED_FILE),
    "a removed program": ([], "a = 1\n"),
}
each_change = pytest.mark.parametrize(("lines", "stanzas"), CHANGES.values(), ids=CHANGES)


def restart_changed(appliance: Appliance, lines: list[str], stanzas: str, **left: Any) -> None:
    """The first run starts, the policy of its program changes, and the appliance is killed and starts again."""
    start_first_run(appliance)
    for line in lines:
        appliance.say(line)
    appliance.restart(stanzas=stanzas, **left)


@each_change
def test_a_survivor_keeps_timeout_and_kill_after_of_its_start(
    appliance: Appliance, lines: list[str], stanzas: str
) -> None:
    restart_changed(appliance, lines, stanzas, survivors=FOUND)
    appliance.after(9_999)
    assert appliance.signalled() == []
    appliance.after(1)
    assert appliance.signalled() == [(KEY, signal.SIGTERM)]
    appliance.after(4_999)
    assert appliance.signalled() == []
    appliance.after(1)
    assert appliance.signalled() == [(KEY, signal.SIGKILL)]


def test_a_survivor_that_started_without_a_timeout_gets_none(appliance: Appliance) -> None:
    start_first_run(appliance, "sched in 60 run sleep 5")
    appliance.say("config set program sleep timeout 20")
    appliance.restart(survivors=FOUND)
    assert appliance.core.wake()[1] is None
    appliance.after(30_000, ended(KEY, 0))
    assert appliance.states() == [(1, 1, "succeeded")]


@each_change
def test_a_survivor_keeps_the_exit_statuses_that_were_success_at_its_start(
    appliance: Appliance, lines: list[str], stanzas: str
) -> None:
    restart_changed(appliance, lines, stanzas, survivors=FOUND)
    appliance.turn(ended(KEY, 0))
    assert appliance.states() == [(1, 1, "succeeded")]


@each_change
def test_an_end_while_no_appliance_ran_is_judged_by_the_policy_of_its_start(
    appliance: Appliance, lines: list[str], stanzas: str
) -> None:
    restart_changed(appliance, lines, stanzas, causes={FIRST: Exit(0, None, START_MS)})
    assert appliance.states() == [(1, 1, "succeeded")]


def test_the_next_attempt_has_the_changed_policy(appliance: Appliance) -> None:
    start_first_run(appliance)
    appliance.restart(stanzas=CHANGED_FILE, survivors=FOUND)
    appliance.turn(ended(KEY, 0))
    appliance.after(MINUTE)
    (start,) = appliance.started()
    assert (start.key.run.occurrence, start.term_at) == (2, appliance.clock.moment().boot + 100_000)
    appliance.turn(ended(start.key.run, 0))
    assert appliance.states() == [(1, 1, "succeeded"), (1, 2, "failed")]


def test_a_survivor_of_an_earlier_version_has_the_policy_that_its_program_has_now(appliance: Appliance) -> None:
    """Such a version did not store what an attempt was started with."""
    start_first_run(appliance)
    with appliance.store.transaction():
        appliance.store._database.execute("UPDATE attempts SET timeout_ms = NULL, kill_after_ms = NULL, success = NULL")
    appliance.restart(stanzas=CHANGED_FILE, survivors=FOUND)
    assert appliance.core.wake()[1] == appliance.clock.moment().boot + 100_000
    appliance.turn(ended(KEY, 3))
    assert appliance.states() == [(1, 1, "succeeded")]


def test_a_run_whose_program_cannot_be_seen_lasts_until_its_end_is_known(appliance: Appliance) -> None:
    start_first_run(appliance)
    appliance.restart(after_ms=SECOND, unseen=[FIRST])
    why = (
        "the program of example.com-000000001/1 cannot be seen from here, since it was started in another pid namespace "
        "and its keeper was killed; its run lasts while a process has its output open"
    )
    assert f"warning: run example.com-000000001/1 continues: {why}" in appliance.logged()
    assert (appliance.states(), appliance.discarded()) == ([(1, 1, "started")], [])
    assert appliance.state.status.troubles == why
    assert why in appliance.say("sched why example.com-000000001/1")
    # It counts as overlap. Its timeout, which no signal could enforce, has passed.
    appliance.after(MINUTE)
    assert (1, 2, "skipped") in appliance.states()
    assert appliance.signalled() == []
    appliance.turn(ended(KEY, None, output=b"said"))
    run = appliance.history()[0]
    assert (run.state, run.reason) == ("interrupted", UNKNOWN)
    assert appliance.state.status.troubles is None


def test_a_stop_does_not_wait_for_a_program_that_cannot_be_seen(appliance: Appliance) -> None:
    start_first_run(appliance)
    appliance.restart(unseen=[FIRST])
    appliance.say("shutdown")
    assert appliance.effects[-1] == Stop()
    assert (appliance.signalled(), appliance.states()) == ([], [(1, 1, "started")])
    assert not any("although it was killed" in line for line in appliance.logged())


def test_the_end_of_a_survivor_is_recorded_with_what_is_known(appliance: Appliance) -> None:
    start_first_run(appliance)
    appliance.restart(survivors=FOUND)
    appliance.after(SECOND, ended(KEY, None, output=b"said"))
    (run,) = appliance.history()
    assert (run.state, run.reason, run.exit_status, run.exit_signal) == ("interrupted", UNKNOWN, None, None)
    assert appliance.store.runs.output(KEY) == (b"said", 4)
    assert dict(appliance.state.running) == {}


def test_a_run_whose_end_the_keeper_knows_has_its_true_end(appliance: Appliance) -> None:
    start_first_run(appliance)
    ended_ms = START_MS + MINUTE + 3000
    cause = Exit(3, None, ended_ms, 20, 4096)
    appliance.restart(after_ms=5000, causes={FIRST: cause}, outputs={FIRST: (b"said", 4)})
    (run,) = appliance.history()
    assert (run.state, run.reason, run.exit_status, run.ended_ms) == ("failed", "exit status 3", 3, ended_ms)
    assert (run.cpu_ms, run.memory_bytes) == (20, 4096)
    assert appliance.store.runs.output(KEY) == (b"said", 4)
    assert appliance.discarded() == [KEY]


@pytest.mark.parametrize(("why", "state"), [("timeout", "timed_out"), ("shutdown", "interrupted")])
def test_a_program_that_the_keeper_or_the_last_daemon_ended_has_that_reason(
    appliance: Appliance, why: str, state: str
) -> None:
    start_first_run(appliance)
    appliance.restart(causes={FIRST: Exit(None, 15, START_MS)}, endings={FIRST: why})
    assert appliance.states() == [(1, 1, state)]


def test_a_survivor_that_is_being_ended_gets_another_signal_and_that_reason(appliance: Appliance) -> None:
    start_first_run(appliance)
    appliance.restart(survivors=FOUND, endings={FIRST: "timeout"})
    assert appliance.signalled() == [(KEY, signal.SIGTERM)]
    appliance.turn(ended(KEY, 0))
    assert appliance.states() == [(1, 1, "timed_out")]


def test_a_run_whose_program_the_keeper_could_not_start_has_that_reason(appliance: Appliance) -> None:
    appliance.say("run sleep 5")
    appliance.restart(causes={FIRST: NotStarted("no such user")})
    (run,) = appliance.history()
    assert (run.state, run.reason) == ("failed", "no such user")


def test_a_run_whose_program_was_never_requested_waits_for_its_start(appliance: Appliance) -> None:
    """It delays no other start."""
    appliance.say("run sleep 5")
    appliance.restart(causes={FIRST: NotStarted("the appliance ended before the start", exhausted=True, is_alone=True)})
    (run,) = appliance.history()
    assert (run.state, run.reason) == ("queued", "the appliance ended before the start; it is tried again")
    assert appliance.discarded() == [], "the next attempt has the same key"
    appliance.say("run hello")
    assert [start.key.run.job for start in appliance.started()] == [2]
    appliance.after(SECOND)
    assert [start.key for start in appliance.started()] == [FIRST]


def test_a_survivor_whose_program_is_no_longer_declared_is_adopted_too(appliance: Appliance) -> None:
    start_first_run(appliance)
    appliance.restart(stanzas="a = 1\n", survivors=FOUND)
    assert appliance.core.wake()[1] == appliance.clock.moment().boot + 10_000, "its timeout stays"
    appliance.turn(ended(KEY, None))
    assert appliance.states() == [(1, 1, "interrupted")]


def test_survivors_take_places(appliance: Appliance) -> None:
    start_first_run(appliance, "sched in 60 run sleep 5")
    appliance.max_running = 1
    appliance.restart(survivors=FOUND)
    appliance.say("run hello")
    assert appliance.started() == []
    appliance.turn(ended(KEY, None))
    assert [start.key.run.job for start in appliance.started()] == [2]


def test_queued_runs_start_in_order_after_a_restart(appliance: Appliance) -> None:
    appliance.state.places = 1
    appliance.turn(*[appliance.typed(f"run sleep {n}") for n in range(1, 6)])
    appliance.max_running = 2
    appliance.restart(after_ms=MINUTE)
    assert (appliance.started(), len(appliance.state.queue)) == ([], 4)
    appliance.turn()
    assert [start.argv[1] for start in appliance.started()] == ["2", "3"]
    assert [state for _, _, state in appliance.states()] == ["interrupted", "started", "started", "queued", "queued"]


def test_a_run_takes_the_place_of_a_lost_program_at_once(appliance: Appliance) -> None:
    """Nothing else is due for ever, so only `wake` says that a turn is needed."""
    stanzas = f"sched {{ max_running = 1 }}\n{STANZAS}"
    appliance.restart(stanzas=stanzas)
    appliance.say("run sleep 5")
    appliance.say("run sleep 6")
    appliance.restart(stanzas=stanzas)
    assert appliance.states() == [(1, 1, "interrupted"), (2, 1, "queued")]
    assert appliance.core.wake() == (None, appliance.clock.moment().boot)
    appliance.turn()
    assert [start.key.run for start in appliance.started()] == [RunKey(2, 1)]
    assert appliance.core.wake() == (None, None)


def test_an_attempt_that_is_due_comes_before_the_runs_that_changed_files_claim(appliance: Appliance) -> None:
    stanzas = """sched { max_running = 1 }
    program "again" { argv = ( "/bin/false" ) retries = 1 retry_delay = 30 }
    program "other" { argv = ( "/bin/work" ) }
    job "changed" { every = 1m command = "run other" }
    """
    appliance.restart(stanzas=stanzas)
    appliance.say("run again")
    (start,) = appliance.started()
    appliance.turn(ended(start.key.run, 1))
    appliance.restart(after_ms=2 * MINUTE, stanzas=stanzas.replace("1m", "2m"))
    assert appliance.states() == [(2, 1, "queued"), (1, 1, "missed"), (1, 2, "queued")]
    appliance.turn()
    assert [start.key.run for start in appliance.started()] == [RunKey(2, 1)]


def test_an_unfinished_reload_is_interrupted(appliance: Appliance) -> None:
    appliance.say("sched in 5 config reload")
    appliance.after(5 * SECOND)
    appliance.restart()
    assert appliance.states() == [(1, 1, "interrupted")]


def test_ended_runs_do_not_change(appliance: Appliance) -> None:
    start_first_run(appliance)
    appliance.turn(ended(KEY, 3))
    before = appliance.history()
    appliance.restart(survivors=FOUND)
    assert (appliance.history(), dict(appliance.state.running)) == (before, {})


@pytest.mark.parametrize("times", [2, 3])
def test_a_second_crash_changes_nothing_more(appliance: Appliance, times: int) -> None:
    start_first_run(appliance)
    for _ in range(times):
        appliance.restart(survivors=FOUND)
    assert list(appliance.state.running) == [KEY]
    appliance.restart()
    before = appliance.history()
    appliance.restart(after_ms=SECOND)
    assert (appliance.history(), before[0].state) == (before, "interrupted")


def test_the_first_start_makes_a_generation_and_the_next_none(appliance: Appliance) -> None:
    first = appliance.store.settings.last_generation()
    appliance.restart(after_ms=SECOND)
    assert appliance.store.settings.last_generation() == first
    appliance.restart(stanzas="a = 1\n")
    generation = appliance.store.settings.last_generation()
    assert generation is not None
    assert generation.number == 2


def test_an_end_that_was_not_recorded_before_the_crash_leaves_the_run_interrupted(appliance: Appliance) -> None:
    """The last daemon saw the end but did not commit it: the next one cannot know the status."""
    start_first_run(appliance)
    appliance.database.failing_commits = 1
    appliance.turn(ended(KEY, 0))
    appliance.restart()
    assert appliance.states() == [(1, 1, "interrupted")]
    attempt = appliance.store._database.row("SELECT state, exit_status, exit_signal FROM attempts")
    assert attempt == ("interrupted", Exit().status, Exit().signal)
