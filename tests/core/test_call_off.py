"""`sched pause`, `sched delete` and reloads: waiting runs are cancelled. Running programs go on, and are not tried again."""

from __future__ import annotations

import pytest

from schedappliance.engine.effects import Answer, StartProgram
from schedappliance.engine.records import AttemptKey, ProcessKey, RunKey
from schedappliance.engine.states import RunState
from tests.support.core import MINUTE, SECOND, STANZAS, Appliance, agrees_with_its_store, ended, some

FIRST, SECOND_RUN = RunKey(1, 1), RunKey(1, 2)
ONE, TWO = "example.com-000000001", "example.com-000000002"
VERBS = ("pause", "delete")
WHY = {"pause": "the job was paused while it waited", "delete": "the job was deleted while it waited"}


def program(policy: str) -> str:
    return f'{STANZAS}program "p" {{ argv = ( "/bin/work" ) args = any {policy} }}\n'


def scheduled(appliance: Appliance, policy: str) -> None:
    appliance.turn(appliance.read(program(policy)))
    appliance.say("sched every 60 run p")
    appliance.after(MINUTE)
    assert appliance.states() == [(1, 1, "started")]


def outcomes(appliance: Appliance) -> list[tuple[str, str | None]]:
    return [(run.state, run.reason) for run in appliance.history()]


@pytest.mark.parametrize("verb", VERBS)
def test_a_waiting_attempt_is_cancelled(either: Appliance, verb: str) -> None:
    scheduled(either, "retries = 3 retry_delay = 600")
    either.turn(ended(FIRST, 1))
    assert either.say(f"sched {verb} {ONE}") == ""
    assert outcomes(either) == [("cancelled", WHY[verb])]
    assert f"run {ONE}/1 cancelled: {WHY[verb]}" in either.logged()
    assert either.core.wake() == (None, None)
    either.after(3600 * SECOND)
    assert (either.started(), len(either.history())) == ([], 1)
    assert either.state.statistics.ended[RunState.CANCELLED] == 1
    agrees_with_its_store(either)


RETRIES = "retries = 3 retry_delay = 1 on_interrupt = rerun"


def declared(options: str = "") -> str:
    return program(RETRIES) + f'job "j" {{ every = 1d command = "run p" {options} }}\n'


# What calls a job off: a command about it, or other files.
CALLED_OFF = {
    "pause": ("sched pause j", declared()),
    "pause of all": ("sched pause --all", declared()),
    "delete": (f"sched delete {TWO}", declared()),
    "switch off": (None, declared("enabled = false")),
    "remove": (None, program(RETRIES)),
}


@pytest.mark.parametrize("how", CALLED_OFF)
@pytest.mark.parametrize("end", ["failure", "restart", "failure after a restart"])
def test_no_attempt_follows_that_of_a_job_that_was_called_off(appliance: Appliance, how: str, end: str) -> None:
    appliance.turn(appliance.read(declared()))
    appliance.say("sched every 86400 run p")
    key = RunKey(2 if how == "delete" else 1, 1)
    appliance.say(f"sched run {TWO if how == 'delete' else ONE}")
    command, stanzas = CALLED_OFF[how]
    appliance.turn(appliance.typed(command) if command else appliance.read(stanzas))
    assert (appliance.signalled(), set(appliance.state.running)) == ([], {key}), "the program goes on"
    if end != "failure":
        survivors = {} if end == "restart" else {AttemptKey(key, 1): ProcessKey(300, 7)}
        appliance.restart(SECOND, stanzas, survivors)
    if end != "restart":
        appliance.turn(ended(key, 1))
    appliance.after(MINUTE)
    assert [run.state for run in appliance.history()] == ["interrupted" if end == "restart" else "failed"]
    assert [start.key for start in some(StartProgram, appliance.past)] == [AttemptKey(key, 1)]


def test_a_run_made_by_hand_after_the_pause_is_tried_again(either: Appliance) -> None:
    either.turn(either.read(declared()))
    either.say("sched pause j")
    either.say("sched run j")
    either.turn(ended(FIRST, 1))
    either.after(MINUTE)
    assert [start.key for start in some(StartProgram, either.past)] == [AttemptKey(FIRST, 1), AttemptKey(FIRST, 2)]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("overlap", ["queue", "replace"])
def test_a_run_that_waits_for_an_earlier_one_is_cancelled_and_the_earlier_goes_on(
    either: Appliance, verb: str, overlap: str
) -> None:
    scheduled(either, f"overlap = {overlap}")
    either.after(MINUTE)
    either.say(f"sched {verb} {ONE}")
    assert outcomes(either) == [("started", None), ("cancelled", WHY[verb])]
    assert (either.signalled(), set(either.state.running)) == ([], {FIRST})
    either.turn(ended(FIRST))
    assert (either.started(), either.states()[0][2]) == ([], "replaced" if overlap == "replace" else "succeeded")
    agrees_with_its_store(either)


@pytest.mark.parametrize("verb", VERBS)
def test_the_place_of_a_cancelled_run_goes_to_the_next_run_of_its_program(either: Appliance, verb: str) -> None:
    """It is cancelled in the turn in which a place becomes free."""
    either.turn(either.read(program("max_running = 1")))
    either.say("sched every 60 run p")
    either.turn(*[either.typed("run p") for _ in range(2)])
    either.after(MINUTE)
    either.say("run p")
    either.turn(ended(RunKey(2, 1)))
    either.turn(ended(RunKey(3, 1)), either.typed(f"sched {verb} {ONE}"))
    assert [start.key.run for start in either.started()] == [RunKey(4, 1)]


@pytest.mark.parametrize("verb", VERBS)
def test_run_wait_reports_that_its_run_was_cancelled(either: Appliance, verb: str) -> None:
    either.turn(either.read(program("retries = 1 retry_delay = 600")))
    line = either.typed("run --wait p")
    either.turn(line)
    either.turn(ended(FIRST, 3))
    if verb == "pause":
        assert f"`sched delete {ONE}` cancels that run" in either.error(f"sched pause {ONE}")
        return
    either.say(f"sched delete {ONE}")
    assert either.reply_to(line) == Answer("", f"run {ONE}/1 cancelled: {WHY[verb]}", exit_status=3)
    assert "there is no job" in either.error(f"sched delete {ONE}")


def test_a_rejected_drop_cancels_no_run(either: Appliance) -> None:
    scheduled(either, "retries = 1 retry_delay = 600")
    either.turn(ended(FIRST, 1))
    at = either.core.wake()[1]
    assert not either.drop(f"sched delete {ONE}\nsched delete example.com-000000077\n").accepted
    assert (either.states(), either.core.wake()[1]) == ([(1, 1, "queued")], at)
    agrees_with_its_store(either)
