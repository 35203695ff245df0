"""The tick: the order of due jobs, catch-up, phase, overlap, nesting, and numbers that are never reused."""

from __future__ import annotations

import pytest

from schedappliance.engine.effects import ReadFiles, Stop
from schedappliance.engine.records import RunKey
from tests.support.core import MINUTE, SECOND, STANZAS, START_MS, Appliance, ended, some

SLEEPER = "sched every 60 run sleep 5"


def test_due_jobs_run_in_the_order_of_due_times_and_ids(either: Appliance) -> None:
    for seconds in (3, 1, 2, 1):
        either.say(f"sched in {seconds} config set a {seconds}")
    either.after(10 * SECOND)
    assert either.states() == [(2, 1, "succeeded"), (4, 1, "succeeded"), (3, 1, "succeeded"), (1, 1, "succeeded")]
    assert either.say("config get a") == "a = 3"


def test_no_job_runs_before_its_due_time(either: Appliance) -> None:
    either.say("sched in 1 config set a 1")
    either.after(999)
    assert either.history() == []
    assert either.core.wake() == (START_MS + SECOND, None)
    either.after(1)
    assert either.states() == [(1, 1, "succeeded")]
    assert either.core.wake() == (None, None)


def test_a_job_keeps_its_phase_however_late_it_runs(either: Appliance) -> None:
    either.say("sched every 60 pid")
    for late in (0, 1, 30_000, 59_999):
        either.clock.step(START_MS + MINUTE - either.clock.moment().wall)
        either.clock.step(late)
        either.turn()
        assert either.core.wake()[0] == START_MS + 2 * MINUTE
    assert either.states() == [(1, 1, "succeeded")]


def test_missed_due_times_are_one_row_and_one_run_after_a_downtime(appliance: Appliance) -> None:
    appliance.say("sched every 60 config set a 1")
    appliance.restart(after_ms=10 * MINUTE + 5 * SECOND)
    appliance.turn()
    missed, run = appliance.history()
    assert (missed.key, missed.state, missed.due_ms) == ((1, 9), "missed", START_MS + 9 * MINUTE)
    assert (missed.missed_count, missed.missed_since_ms) == (9, START_MS + MINUTE)
    assert missed.reason == "the appliance was not running"
    assert (run.key, run.state, run.due_ms) == ((1, 10), "succeeded", START_MS + 10 * MINUTE)
    assert appliance.core.wake()[0] == START_MS + 11 * MINUTE
    assert "9 missed since 2023-11-14T22:14:20+00:00: the appliance was not running" in appliance.say("sched history")
    appliance.turn()
    assert len(appliance.history()) == 2


def test_missed_due_times_of_a_busy_or_suspended_machine_have_another_reason(either: Appliance) -> None:
    either.say("sched every 60 pid")
    either.after(3 * MINUTE)
    assert [(r.state, r.missed_count, r.reason) for r in either.history()] == [
        ("missed", 2, "the time had passed before it could be run"),
        ("succeeded", None, None),
    ]


def test_a_one_shot_job_runs_once_after_a_downtime(appliance: Appliance) -> None:
    appliance.say("sched in 60 run sleep 5")
    appliance.restart(after_ms=86_400_000)
    appliance.turn()
    appliance.turn()
    assert appliance.states() == [(1, 1, "started")]


@pytest.mark.parametrize(
    "line",
    [
        "sched in 60 shutdown",
        "sched in 60 json shutdown",
    ],
)
def test_a_shutdown_is_never_caught_up(appliance: Appliance, line: str) -> None:
    appliance.say(line)
    appliance.restart(after_ms=2 * MINUTE)
    assert some(Stop, appliance.turn()) == []
    (run,) = appliance.history()
    assert (run.key, run.state, run.missed_count, run.missed_since_ms) == ((1, 1), "missed", 1, START_MS + MINUTE)
    assert run.reason == "a shutdown is never caught up"
    assert appliance.core.wake() == (None, None)


def test_a_shutdown_in_time_stops_and_leaves_later_jobs_for_the_next_start(appliance: Appliance) -> None:
    appliance.say("sched in 60 shutdown")
    appliance.say("sched in 60 config set a 1")
    assert len(some(Stop, appliance.after(MINUTE))) == 1
    assert appliance.states() == [(1, 1, "succeeded")]
    appliance.restart()
    appliance.turn()
    assert appliance.states() == [(1, 1, "succeeded"), (2, 1, "succeeded")]


def test_a_program_that_still_runs_is_not_started_again(either: Appliance) -> None:
    either.say(SLEEPER)
    (start,) = (either.after(MINUTE), either.started())[1]
    either.after(MINUTE)
    assert either.started() == []
    assert "run example.com-000000001/2 skipped: the job's last run has not ended" in either.logged()
    either.turn(ended(start.key.run))
    either.after(MINUTE)
    assert [start.key.run.occurrence for start in either.started()] == [3]
    assert [(run.state, run.reason) for run in either.history()] == [
        ("succeeded", None),
        ("skipped", "the job's last run has not ended"),
        ("started", None),
    ]


def test_an_end_in_the_turn_of_the_next_due_time_is_handled_first(either: Appliance) -> None:
    either.say(SLEEPER)
    either.after(MINUTE)
    (start,) = either.started()
    either.after(MINUTE, ended(start.key.run))
    assert either.states() == [(1, 1, "succeeded"), (1, 2, "started")]


def test_an_earlier_run_that_waits_counts_as_overlap(either: Appliance) -> None:
    either.state.places = 0
    either.say(SLEEPER)
    either.after(MINUTE)
    either.after(MINUTE)
    assert either.states() == [(1, 1, "queued"), (1, 2, "skipped")]


def test_different_jobs_do_not_overlap(either: Appliance) -> None:
    for _ in range(2):
        either.say(SLEEPER)
    either.say("run sleep 5")
    either.after(MINUTE)
    assert either.states() == [(3, 1, "started"), (1, 1, "started"), (2, 1, "started")]


@pytest.mark.parametrize("command", ["run sleep 5", "json run sleep 5", "json json run sleep 5"])
def test_json_does_not_change_how_a_job_runs(either: Appliance, command: str) -> None:
    """Its run is that of the job itself, with its overlap policy, also if it has to wait."""
    either.state.places = 1
    either.say("run hello")
    either.say(f"sched every 60 {command}")
    either.after(MINUTE)
    assert either.states(2) == [(2, 1, "queued")]
    either.turn(ended(RunKey(1, 1)))
    assert [(start.key.run, start.argv) for start in either.started()] == [((2, 1), ("/bin/sleep", "5"))]
    either.after(MINUTE)
    assert either.states(2) == [(2, 1, "started"), (2, 2, "skipped")]
    either.after(MINUTE, ended(RunKey(2, 1)))
    assert either.states() == [(1, 1, "succeeded"), (2, 1, "succeeded"), (2, 2, "skipped"), (2, 3, "started")]
    assert either.store.jobs.count() == 1


@pytest.mark.parametrize("command", ["shutdown", "json shutdown"])
def test_a_shutdown_as_a_command_of_a_job_stops_in_time(either: Appliance, command: str) -> None:
    either.say(f"sched in 60 {command}")
    assert len(some(Stop, either.after(MINUTE))) == 1
    assert either.states() == [(1, 1, "succeeded")]


@pytest.mark.parametrize("command", ["shutdown", "json shutdown", "sched in 5 json shutdown"])
def test_no_shutdown_is_recurrent(either: Appliance, command: str) -> None:
    assert "`shutdown` cannot be recurrent" in either.error(f"sched every 60 {command}")


@pytest.mark.parametrize("command", ["config reload", "json config reload"])
def test_a_scheduled_reload_ends_when_the_files_are_read(either: Appliance, command: str) -> None:
    either.say(f"sched in 5 {command}")
    (request,) = some(ReadFiles, either.after(5 * SECOND))
    assert (request.typed, either.states()) == (False, [(1, 1, "started")])
    either.turn(either.read(STANZAS, request.reply_to))
    assert either.states() == [(1, 1, "succeeded")]


def test_the_answer_of_a_json_job_is_stored_as_data(either: Appliance) -> None:
    either.say("sched in 1 json pid")
    either.after(SECOND)
    assert either.store._database.rows("SELECT answer FROM runs") == [('{"pid": 4711}',)]


@pytest.mark.parametrize("order", ["before", "after"])
def test_a_job_deleted_in_the_tick_in_which_it_is_due_does_not_run(either: Appliance, order: str) -> None:
    victim = 2 if order == "before" else 1
    lines = [f"sched in 5 sched delete example.com-{victim:09d}", "sched in 5 config set a 1"]
    for line in lines if order == "before" else lines[::-1]:
        either.say(line)
    either.after(5 * SECOND)
    either.turn()
    deleter = 3 - victim
    expected = [(victim, 1, "succeeded")] if order == "after" else []
    assert sorted(either.states()) == sorted([*expected, (deleter, 1, "succeeded" if order == "before" else "failed")])
    assert (either.store.jobs.count(), either.state.handled) == (0, set())


def test_a_job_may_delete_itself(either: Appliance) -> None:
    either.say("sched every 5 sched delete example.com-000000001")
    either.after(5 * SECOND)
    either.after(5 * SECOND)
    assert either.states() == [(1, 1, "succeeded")]


def test_a_typed_delete_wins_over_a_job_that_is_due_in_the_same_turn(either: Appliance) -> None:
    either.say("sched in 5 config set a 1")
    either.after(5 * SECOND, either.typed("sched delete example.com-000000001"))
    assert either.history() == []


def test_a_nested_job_schedules_a_new_job_at_every_period(either: Appliance) -> None:
    assert either.say("sched every 60 sched in 5 run sleep 1") == "example.com-000000001"
    for minute in (1, 2, 3):
        either.clock.step(START_MS + minute * MINUTE - either.clock.moment().wall)
        either.turn()
        assert either.started() == []
        assert either.core.wake()[0] == START_MS + minute * MINUTE + 5 * SECOND
        either.after(5 * SECOND)
        assert [start.key.run for start in either.started()] == [(minute + 1, 1)]
        either.turn(ended(either.started()[0].key.run))
    assert [run.command for run in either.history(1)] == ["sched in 5 run sleep 1"] * 3
    assert either.store.jobs.count() == 1


def test_a_nested_run_has_its_own_job(either: Appliance) -> None:
    either.say("sched in 5 sched in 5 sched at 0 run sleep 1")
    for _ in range(4):
        either.after(5 * SECOND)
    assert either.states() == [(1, 1, "succeeded"), (2, 1, "succeeded"), (3, 1, "started")]


def test_the_answer_of_a_job_is_stored_with_its_run(either: Appliance) -> None:
    either.say("sched in 1 sched in 100 pid")
    either.say("sched in 2 sched list")
    either.after(SECOND)
    either.after(SECOND)
    rows = either.store._database.rows("SELECT answer FROM runs ORDER BY sequence")
    assert rows[0] == ("example.com-000000003",)
    assert "\texample" not in rows[1][0]
    assert rows[1][0].count("\n") == 2


def test_a_command_that_fails_is_recorded_and_its_job_goes_on(either: Appliance) -> None:
    either.say("sched every 60 config get nothing")
    either.after(MINUTE)
    assert "Option 'nothing' is not set in scope ''." in either.logged()
    either.after(MINUTE)
    assert either.states() == [(1, 1, "failed"), (1, 2, "failed")]


@pytest.mark.parametrize("how", ["deleted", "done"])
def test_a_number_is_never_used_twice(appliance: Appliance, how: str) -> None:
    appliance.say("sched in 60 pid")
    appliance.say("sched in 5 pid")
    if how == "deleted":
        appliance.say("sched delete example.com-000000002")
    else:
        appliance.after(5 * SECOND)
    appliance.restart()
    assert appliance.say("sched in 5 pid") == "example.com-000000003"
    appliance.say("sched delete example.com-000000003")
    assert appliance.say("run sleep 5") == "example.com-000000004/1"
    appliance.restart()
    assert appliance.say("sched in 5 pid") == "example.com-000000005"


def test_numbers_go_past_nine_digits(appliance: Appliance) -> None:
    appliance.say("sched in 60 pid")
    appliance.store._database.execute("UPDATE sqlite_sequence SET seq = 999999998 WHERE name = 'jobs'")
    assert [appliance.say("sched in 5 run sleep 5") for _ in range(2)] == [
        "example.com-999999999",
        "example.com-1000000000",
    ]
    appliance.after(5 * SECOND)
    variables = [dict(start.env)["SCHED_RUN_ID"] for start in appliance.started()]
    assert variables == ["example.com-999999999/1", "example.com-1000000000/1"]


def test_a_stored_command_that_is_no_longer_valid_fails_and_says_so(either: Appliance) -> None:
    either.say("sched every 60 pid")
    either.store._database.execute("UPDATE jobs SET grammar = 0, command = 'sched tomorrow pid'")
    either.after(MINUTE)
    assert [(r.state, r.reason) for r in either.history()] == [("failed", "the command is no longer valid")]


def test_more_than_one_batch_is_done_in_several_turns(either: Appliance) -> None:
    either.turn(*[either.typed("sched in 5 pid") for _ in range(2500)])
    either.clock.advance(5 * SECOND)
    counts = []
    while either.core.wake()[0] is not None:
        either.turn()
        counts.append(len(either.history()))
    assert counts == [1000, 2000, 2500]
    assert [run.key.job for run in either.history()] == list(range(1, 2501))


def test_a_clock_that_is_set_back_delays_no_recurrent_job(either: Appliance) -> None:
    either.say("sched every 60 pid")
    either.after(MINUTE)
    either.clock.step(-5 * 3_600_000)
    either.turn()
    wall, _ = either.core.wake()
    assert wall is not None
    assert wall - either.clock.moment().wall <= MINUTE
