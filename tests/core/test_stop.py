"""A stop: nothing new starts, running programs are ended, and the rest waits for the next start."""

from __future__ import annotations

import signal
from contextlib import closing

import pytest

from schedappliance.core.stopping import LEAVE_AFTER_MS
from schedappliance.engine.effects import Effect, StartProgram, Stop
from schedappliance.engine.events import Event, StopRequested
from schedappliance.engine.records import RunKey
from tests.support.core import SECOND, STANZAS, Appliance, ended, some

SIGTERM = StopRequested("SIGTERM")


@pytest.mark.parametrize("by", ["signal", "line", "job"])
def test_an_idle_appliance_stops_at_once(either: Appliance, by: str) -> None:
    effects = stop(either, by)
    assert effects[-1] == Stop()
    assert "info: stopping: " in either.logged()
    assert either.turn() == []


def stop(appliance: Appliance, by: str) -> list[Effect]:
    if by == "job":
        appliance.say("sched in 1 shutdown")
        return appliance.after(SECOND)
    return appliance.after(SECOND, SIGTERM if by == "signal" else appliance.typed("shutdown"))


@pytest.mark.parametrize("by", ["signal", "line", "job"])
def test_a_stop_ends_running_programs_and_waits_for_them(either: Appliance, by: str) -> None:
    either.say("run sleep 5")
    (start,) = either.started()
    stop(either, by)
    assert either.signalled() == [(start.key.run, signal.SIGTERM)]
    assert some(Stop, either.effects) == []
    assert either.core.wake() == (None, either.clock.moment().boot + 10_000)
    either.after(10_000)
    assert either.signalled() == [(start.key.run, signal.SIGKILL)]
    either.turn(ended(start.key.run, signal=9))
    assert either.effects[-1] == Stop()
    (run,) = either.history(start.key.run.job)
    assert (run.state, run.reason) == ("interrupted", "the appliance was stopped")


@pytest.mark.parametrize("by", ["signal", "line", "job"])
def test_programs_run_on_if_they_are_kept(appliance: Appliance, by: str) -> None:
    appliance.turn(appliance.read("sched { on_stop = keep }\n" + STANZAS))
    appliance.say("run sleep 5")
    (start,) = appliance.started()
    if by == "job":
        appliance.say("sched in 1 shutdown --keep")
    events: dict[str, Event] = {
        "signal": StopRequested("SIGTERM", on_stop=True),
        "line": appliance.typed("shutdown --keep"),
    }
    effects = appliance.after(SECOND, *[event for name, event in events.items() if name == by])
    assert effects[-1] == Stop()
    assert appliance.signalled() == []
    assert "; 1 programs run on" in appliance.logged()
    assert [running.key for running in appliance.state.running.values()] == [start.key]


def test_programs_of_a_store_in_memory_are_never_kept() -> None:
    with closing(Appliance(None)) as appliance:
        appliance.say("run sleep 5")
        appliance.turn(appliance.typed("shutdown --keep"))
        assert len(appliance.signalled()) == 1


def test_another_signal_ends_programs_that_would_be_kept(appliance: Appliance) -> None:
    appliance.turn(appliance.read("sched { on_stop = keep }\n" + STANZAS))
    appliance.say("run sleep 5")
    appliance.turn(StopRequested("SIGINT"))
    assert len(appliance.signalled()) == 1


@pytest.mark.parametrize("by", ["signal", "line", "job"])
def test_a_line_after_the_stop_is_rejected(either: Appliance, by: str) -> None:
    either.say("run sleep 5")
    stop(either, by)
    for line in ("sched in 5 pid", "pid", "shutdown"):
        assert either.error(line) == "the appliance is stopping; try again when it has started"
        assert f"command={line!r} rejected: the appliance is stopping" in either.logged()


def test_nothing_starts_after_the_stop(either: Appliance) -> None:
    either.state.places = 1
    for line in ("run sleep 5", "run sleep 6", "sched in 5 run sleep 7", "sched in 5 config set a 1"):
        either.say(line)
    either.after(5 * SECOND, SIGTERM)
    either.after(SECOND, ended(RunKey(1, 1), signal=15))
    assert [start.key.run.job for start in some(StartProgram, either.past)] == [1]
    assert either.states() == [(1, 1, "interrupted"), (2, 1, "queued")]


@pytest.mark.parametrize("overlap", ["skip", "replace", "parallel"])
def test_an_edit_during_a_stop_starts_nothing(either: Appliance, overlap: str) -> None:
    program = f'program "other" {{ argv = ( "/bin/other" ) overlap = {overlap} }}\n'
    declared = STANZAS + program + 'job "j" { every = 5 command = "run other" }\n'
    either.turn(either.read(declared))
    either.say("run sleep 5")
    either.after(SECOND, SIGTERM)
    either.after(5 * SECOND)
    # The edit claims the due time that has passed: its run waits for the next daemon.
    either.turn(either.read(declared.replace("every = 5", "every = 7")))
    assert either.started() == []
    assert either.states() == [(2, 1, "started"), (1, 1, "queued")]
    assert [run.reason for run in either.history() if run.state == "queued"] == ["the appliance was stopped"]
    either.turn(ended(RunKey(2, 1), signal=15))
    assert either.effects[-1] == Stop()


def test_an_edit_during_a_stop_ends_no_program_that_is_kept(appliance: Appliance) -> None:
    program = 'program "other" { argv = ( "/bin/other" ) overlap = replace }\n'
    declared = "sched { on_stop = keep }\n" + STANZAS + program + 'job "j" { every = 5 command = "run other" }\n'
    appliance.turn(appliance.read(declared))
    appliance.after(5 * SECOND)
    assert len(appliance.started()) == 1
    appliance.after(SECOND, StopRequested("SIGTERM", on_stop=True))
    # A device is busy, so another turn follows.
    appliance.after(4 * SECOND, appliance.read(declared.replace("every = 5", "every = 7")))
    assert (appliance.started(), appliance.signalled()) == ([], [])
    assert appliance.states() == [(1, 1, "started"), (1, 2, "queued")]


def test_remaining_jobs_run_after_the_next_start(appliance: Appliance) -> None:
    appliance.state.places = 1
    for line in ("run sleep 5", "run sleep 6", "sched in 5 config set a 1"):
        appliance.say(line)
    appliance.after(5 * SECOND, SIGTERM)
    appliance.turn(ended(RunKey(1, 1), signal=15))
    appliance.restart(after_ms=SECOND)
    appliance.turn()
    assert appliance.states() == [(1, 1, "interrupted"), (2, 1, "started"), (3, 1, "succeeded")]


def test_a_second_stop_request_changes_nothing(either: Appliance) -> None:
    either.say("run sleep 5")
    either.turn(SIGTERM)
    deadline = either.core.wake()
    either.after(SECOND, StopRequested("SIGINT"))
    assert (either.effects, either.core.wake()) == ([], deadline)


def test_a_program_that_is_timed_out_already_stays_timed_out(either: Appliance) -> None:
    either.say("run limited")
    either.after(10_000)
    either.after(SECOND, SIGTERM)
    assert either.signalled() == []
    either.after(4_000)
    assert either.signalled() == [(RunKey(1, 1), signal.SIGKILL)]
    either.turn(ended(RunKey(1, 1), signal=9))
    assert either.effects[-1] == Stop()
    assert either.states() == [(1, 1, "timed_out")]


def test_lines_before_the_stop_in_the_same_turn_are_carried_out(either: Appliance) -> None:
    first, last = either.typed("sched in 5 pid"), either.typed("sched in 6 pid")
    either.turn(first, SIGTERM, last)
    assert (either.reply_to(first).ok, either.reply_to(last).ok) == (True, False)
    assert either.store.jobs.count() == 1


def test_a_program_that_not_even_kill_ends_is_left_to_the_next_start(either: Appliance) -> None:
    either.say("run sleep 5")
    (start,) = either.started()
    stop(either, "signal")
    either.after(10_000)
    assert either.signalled() == [(start.key.run, signal.SIGKILL)]
    assert either.core.wake() == (None, either.clock.moment().boot + LEAVE_AFTER_MS)
    either.after(LEAVE_AFTER_MS - 1)
    assert some(Stop, either.effects) == []
    either.after(1)
    assert either.effects[-1] == Stop()
    name = "example.com-000000001/1"
    assert (
        f"error: run {name} does not end, although it was killed; the next start adopts its process" in either.logged()
    )
    assert either.states() == [(1, 1, "started")]
    assert either.turn() == []
    # The loop may still wait for a device. It must not take one turn after the other meanwhile.
    assert either.core.wake() == (None, None)


def test_one_program_that_ends_late_is_waited_for_beside_one_that_cannot_be_ended(either: Appliance) -> None:
    either.say("run sleep 5")
    either.say("run limited")
    stop(either, "signal")
    either.after(5000)
    assert [run.job for run, _ in either.signalled()] == [2]
    either.after(LEAVE_AFTER_MS - 1)
    assert some(Stop, either.effects) == []
    either.turn(ended(RunKey(2, 1), signal=9))
    either.after(1)
    assert either.signalled() == [(RunKey(1, 1), signal.SIGKILL)]
    either.after(LEAVE_AFTER_MS)
    assert either.effects[-1] == Stop()
