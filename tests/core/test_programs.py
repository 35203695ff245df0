"""Runs of programs: queue, limit, timeout, signals, options at launch, and every failure to start."""

from __future__ import annotations

import signal
from dataclasses import replace

import pytest

from schedappliance.engine.attempts import Exit
from schedappliance.engine.events import Event, ProgramNotStarted, ProgramStarted
from schedappliance.engine.records import AttemptKey, ProcessKey, RunKey
from tests.support.core import IDENTITY, MINUTE, SECOND, STANZAS, START_MS, Appliance, dump, ended, has_pid

UNCLAIMED = RunKey(99, 1)


def test_a_start_has_everything_it_needs(either: Appliance) -> None:
    either.say("sched in 60 run expiring")
    either.after(MINUTE + 700)
    (start,) = either.started()
    assert (start.key, start.cwd, start.output_limit) == (((1, 1), 1), "/", 65_536)
    assert start.argv == ("/bin/expire", "--after=86400", "%{literal}")
    assert dict(start.env) == {
        "AFTER": "86400",
        "SCHED_JOB_ID": "example.com-000000001",
        "SCHED_RUN_ID": "example.com-000000001/1",
        "SCHED_DUE_TIME": str(START_MS // 1000 + 60),
        "SCHED_ATTEMPT": "1",
        "SCHED_NODE": "example.com",
        "SCHED_STORE": IDENTITY,
    }


def test_an_option_takes_effect_at_launch_and_never_splits_an_argument(either: Appliance) -> None:
    either.say("sched in 60 run expiring")
    either.say("config set MESSAGE_expiration '3 00 %{nowhere_set}'")
    either.after(MINUTE)
    assert either.started()[0].argv[1] == "--after=3 00 %{nowhere_set}"


def test_a_queued_run_uses_the_options_at_its_launch(either: Appliance) -> None:
    either.state.places = 1
    either.say("run sleep 5")
    either.say("run expiring")
    either.say("config set message_expiration 300")
    either.turn(ended(RunKey(1, 1)))
    assert either.started()[0].argv[1] == "--after=300"


def test_an_option_that_is_not_set_fails_the_launch(either: Appliance) -> None:
    either.say("run unset")
    assert either.started() == []
    assert [(r.state, r.reason) for r in either.history()] == [("failed", "option `nowhere_set` is not set")]
    either.say("config set nowhere_set 1")
    either.say("run unset")
    assert either.started()[0].argv == ("/bin/expire", "1")


@pytest.mark.parametrize(
    ("without", "reason"),
    [
        (STANZAS.replace('"sleep"', '"nap"'), "program `sleep` is not declared"),
        (STANZAS.replace('"[0-9]+"', '"[a-z]+"'), "argument 1 `5` of program `sleep` does not match `[a-z]+`"),
        (STANZAS.replace('args = ( "[0-9]+" )', ""), "program `sleep` takes no arguments, not 1"),
    ],
)
@pytest.mark.parametrize("waiting", [False, True])
def test_a_program_that_was_removed_or_changed_is_not_started(
    appliance: Appliance, without: str, reason: str, waiting: bool
) -> None:
    appliance.state.places = 1
    appliance.say("run hello" if waiting else "pid")
    appliance.say("run sleep 5" if waiting else "sched in 60 run sleep 5")
    appliance.turn(appliance.read(without))
    appliance.after(MINUTE, ended(RunKey(1, 1)))
    assert appliance.started() == []
    assert [(r.state, r.reason) for r in appliance.history()][-1] == ("failed", reason)
    assert f"failed: {reason}" in appliance.logged()


def test_runs_beyond_the_limit_wait_and_start_in_order(either: Appliance) -> None:
    either.state.places = 2
    either.turn(*[either.typed(f"run sleep {n}") for n in range(1, 6)])
    assert [start.key.run.job for start in either.started()] == [1, 2]
    assert [(r.state, r.reason) for r in either.history(3)] == [("queued", "it waits for a place")]
    assert either.data("summary")["runs_queued"] == 3
    either.turn(ended(RunKey(2, 1)))
    assert [start.key.run.job for start in either.started()] == [3]
    assert [(r.state, r.reason) for r in either.history(3)] == [("started", None)]
    either.turn(ended(RunKey(1, 1)), ended(RunKey(3, 1)))
    assert [start.argv for start in either.started()] == [("/bin/sleep", "4"), ("/bin/sleep", "5")]
    assert either.data("summary")["runs_queued"] == 0


def test_a_new_run_does_not_overtake_a_queued_one(either: Appliance) -> None:
    either.state.places = 1
    either.say("run sleep 1")
    either.say("run sleep 2")
    either.turn(ended(RunKey(1, 1)), either.typed("run sleep 3"))
    assert [start.key.run.job for start in either.started()] == [2]
    assert either.states() == [(1, 1, "succeeded"), (2, 1, "started"), (3, 1, "queued")]


def test_runs_that_cannot_start_do_not_delay_the_others(either: Appliance) -> None:
    either.state.places = 1
    either.say("run sleep 1")
    for line in ("config set nowhere_set 1", "run unset", "run unset", "run sleep 2"):
        either.say(line)
    either.turn(either.read(STANZAS + "Nowhere_Set = 2\n"))
    either.turn(either.read(STANZAS))
    either.turn(ended(RunKey(1, 1)))
    assert [start.key.run.job for start in either.started()] == [4]
    assert [state for _, _, state in either.states()] == ["succeeded", "failed", "failed", "started"]


@pytest.mark.parametrize(
    ("keeper_ms", "set_forward_ms", "ended_ms", "took_ms"),
    [
        (START_MS, 0, START_MS, 0),
        (START_MS + 1500, 0, START_MS + 1500, 1500),
        (START_MS + 60_000, 0, START_MS + 60_000, 60_000),
        # The clock was set meanwhile.
        (START_MS - 1, 0, START_MS + 60_000, 60_000),
        (START_MS + 60_001, 0, START_MS + 60_000, 60_000),
        (START_MS + 1500, 3_600_000, START_MS + 3_660_000, 60_000),
        (START_MS + 1500, -3_600_000, START_MS - 3_540_000, 60_000),
    ],
)
def test_a_program_ended_when_the_keeper_saw_it(
    appliance: Appliance, keeper_ms: int, set_forward_ms: int, ended_ms: int, took_ms: int
) -> None:
    """The daemon hears of it a minute after the start, since it was stopped."""
    appliance.say("run hello")
    (start,) = appliance.started()
    appliance.turn(has_pid(start))
    appliance.clock.step(set_forward_ms)
    appliance.after(60_000, replace(ended(start.key.run), exit=Exit(0, None, keeper_ms)))
    (run,) = appliance.history()
    assert (run.state, run.ended_ms, run.took_ms) == ("succeeded", ended_ms, took_ms)


@pytest.mark.parametrize(
    ("status", "number", "state", "reason"),
    [
        (0, None, "succeeded", None),
        (3, None, "failed", "exit status 3"),
        (None, 11, "failed", "ended by signal 11 (SIGSEGV)"),
    ],
)
def test_the_end_of_a_program_is_recorded(
    either: Appliance, status: int | None, number: int | None, state: str, reason: str | None
) -> None:
    either.say("run hello")
    (start,) = either.started()
    either.turn(has_pid(start))
    either.after(4000, ended(start.key.run, status, number, b"said"))
    (run,) = either.history()
    assert (run.state, run.reason, run.exit_status, run.exit_signal) == (state, reason, status, number)
    assert (run.claimed_ms, run.ended_ms, run.attempts) == (START_MS, START_MS + 4000, 1)
    assert either.store.runs.output(start.key.run) == (b"said", 4)
    assert either.discarded() == [start.key.run]
    assert either.state.running == {}


def test_a_program_that_was_not_started_fails_with_the_reason(either: Appliance) -> None:
    either.state.places = 1
    either.say("run hello")
    either.say("run sleep 1")
    reason = "cannot start /bin/echo: No such file or directory"
    either.turn(ProgramNotStarted(AttemptKey(RunKey(1, 1), 1), reason))
    assert [(r.state, r.reason) for r in either.history()] == [("failed", reason), ("started", None)]
    assert [start.key.run.job for start in either.started()] == [2]


@pytest.mark.parametrize("key", [UNCLAIMED, RunKey(1, 1)])
def test_an_unexpected_end_changes_nothing(either: Appliance, key: RunKey) -> None:
    either.say("run hello")
    either.turn(ended(RunKey(1, 1)))
    before = either.states()
    either.turn(ended(key, 3))
    assert (either.states(), either.effects) == (before, [])


def test_a_timeout_sends_term_then_kill_on_the_boot_clock(either: Appliance) -> None:
    either.say("run limited")
    key, began = RunKey(1, 1), either.clock.moment().boot
    assert either.core.wake() == (None, began + 10_000)
    either.clock.step(86_400_000)
    either.turn()
    assert either.signalled() == []
    either.clock.step(-2 * 86_400_000)
    either.after(9_999)
    assert either.signalled() == []
    either.after(1)
    assert either.signalled() == [(key, signal.SIGTERM)]
    assert either.core.wake()[1] == began + 15_000
    either.after(4_999)
    assert either.signalled() == []
    either.after(1)
    assert either.signalled() == [(key, signal.SIGKILL)]
    assert either.core.wake()[1] is None
    either.after(MINUTE)
    assert either.signalled() == []
    either.turn(ended(key, signal=9))
    (run,) = either.history()
    assert (run.state, run.reason, run.exit_signal) == ("timed_out", "the program's timeout passed", 9)


def test_a_program_that_ends_in_time_is_not_signalled(either: Appliance) -> None:
    either.say("run limited")
    either.after(10_000, ended(RunKey(1, 1)))
    either.after(10_000)
    assert (either.signalled(), either.states()) == ([], [(1, 1, "succeeded")])


def test_a_program_gone_after_term_is_not_killed(either: Appliance) -> None:
    either.say("run limited")
    either.after(10_000)
    either.after(100, ended(RunKey(1, 1), 0))
    either.after(MINUTE)
    assert (either.signalled(), either.states()) == ([], [(1, 1, "timed_out")])


def test_a_reload_does_not_touch_running_programs(either: Appliance) -> None:
    either.say("run limited")
    either.turn(either.read(STANZAS.replace("timeout = 10", "timeout = 1")))
    either.after(9_999)
    assert either.signalled() == []
    either.after(1)
    assert either.signalled() == [(RunKey(1, 1), signal.SIGTERM)]


def test_a_run_goes_on_when_its_job_is_deleted(either: Appliance) -> None:
    either.say("sched every 60 run sleep 5")
    either.after(MINUTE)
    either.say("sched delete example.com-000000001")
    either.turn(ended(RunKey(1, 1)))
    assert either.states() == [(1, 1, "succeeded")]


def test_seconds_are_not_lost_between_due_and_start(either: Appliance) -> None:
    either.say("sched in 5 run hello")
    either.after(8 * SECOND)
    (run,) = either.history()
    assert (run.due_ms, run.claimed_ms) == (START_MS + 5 * SECOND, START_MS + 8 * SECOND)


@pytest.mark.parametrize(
    "late",
    [
        ProgramStarted(AttemptKey(RunKey(1, 1), 1), ProcessKey(4000, 7)),
        ProgramNotStarted(AttemptKey(RunKey(1, 1), 1), "late", False),
    ],
)
def test_a_late_event_of_an_earlier_attempt_changes_nothing(either: Appliance, late: Event) -> None:
    """The event could not be stored at first, and comes again after the next attempt."""
    either.turn(either.read(STANZAS + 'program "p" { argv = ( "/bin/work" ) retries = 1 retry_delay = 0 }\n'))
    either.say("run p")
    either.turn(ended(RunKey(1, 1), 3))
    assert [start.key.attempt for start in either.started()] == [2]
    before = dump(either.store)
    either.turn(late)
    assert dump(either.store) == before
    assert either.states() == [(1, 1, "started")]
