"""`sched pause` and `sched delete`: waiting runs are cancelled, and running programs go on."""

from __future__ import annotations

import pytest

from schedappliance.engine.effects import Answer
from schedappliance.engine.records import RunKey
from schedappliance.engine.states import RunState
from tests.support.core import MINUTE, SECOND, STANZAS, Appliance, agrees_with_its_store, ended

FIRST, SECOND_RUN = RunKey(1, 1), RunKey(1, 2)
ONE = "example.com-000000001"
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
