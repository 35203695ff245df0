"""`overlap = replace`: whose place was taken gets no further attempt, and the newest run is the next to start."""

from __future__ import annotations

import signal

import pytest

from schedappliance.core.recovery import Survivor
from schedappliance.engine.events import Event, ProgramNotStarted
from schedappliance.engine.records import RunKey
from tests.core.building import MINUTE, SECOND, STANZAS, Appliance, ended, has_pid

FIRST, SECOND_RUN, THIRD = RunKey(1, 1), RunKey(1, 2), RunKey(1, 3)
NEWER = "a newer run took its place"
AGAIN = "retries = 2 retry_delay = 5 on_interrupt = rerun"


def program(policy: str) -> str:
    return f'{STANZAS}program "p" {{ argv = ( "/bin/work" ) args = any {policy} }}\n'


def begun(appliance: Appliance, policy: str) -> None:
    """A job of the program every minute, whose first run has started; its process is known."""
    appliance.turn(appliance.read(program(policy)))
    appliance.say("sched every 60 run p")
    appliance.after(MINUTE)
    appliance.turn(has_pid(appliance.started()[0]))
    assert appliance.states() == [(1, 1, "started")]


def replaced(appliance: Appliance, policy: str) -> None:
    """The second run is due while the first one runs."""
    begun(appliance, policy)
    appliance.after(MINUTE)
    assert appliance.signalled() == [(FIRST, signal.SIGTERM)]


def starts(appliance: Appliance) -> list[tuple[RunKey, int]]:
    return [(start.key, start.attempt) for start in appliance.started()]


def the_newest_runs(appliance: Appliance) -> None:
    """The first run is replaced for good, the second one has begun."""
    assert [(run.key, run.state, run.reason) for run in appliance.history()] == [
        (FIRST, "replaced", NEWER),
        (SECOND_RUN, "started", None),
    ]
    assert starts(appliance) == [(SECOND_RUN, 1)]
    assert set(appliance.state.running) == {SECOND_RUN}
    assert len(appliance.state.queue) == 0


ENDS = {
    "exit": ended(FIRST, 3),
    "success": ended(FIRST, 0),
    "signal": ended(FIRST, signal=15),
    "not started": ProgramNotStarted(FIRST, 1, "no such file"),
    "exhausted": ProgramNotStarted(FIRST, 1, "too many processes", exhausted=True),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=list(ENDS))
def test_a_replaced_run_gets_no_further_attempt_however_it_ends(either: Appliance, end: Event) -> None:
    replaced(either, f"overlap = replace {AGAIN}")
    either.turn(end)
    the_newest_runs(either)
    either.after(30 * SECOND)
    assert starts(either) == []


@pytest.mark.parametrize("killed", [False, True])
def test_a_run_that_is_being_ended_for_its_timeout_is_replaced_too(either: Appliance, killed: bool) -> None:
    begun(either, f"overlap = replace timeout = 55 kill_after = 30 {AGAIN}")
    either.after(55 * SECOND)
    assert either.signalled() == [(FIRST, signal.SIGTERM)]
    either.after(5 * SECOND)
    assert (either.signalled(), either.states()[1]) == ([], (1, 2, "queued")), "it has been told already"
    if killed:
        either.after(25 * SECOND)
        assert either.signalled() == [(FIRST, signal.SIGKILL)], "and has its time from then on"
    either.turn(ended(FIRST, signal=9))
    the_newest_runs(either)


def test_a_survivor_that_was_replaced_is_ended_by_the_next_daemon(appliance: Appliance) -> None:
    policy = f"overlap = replace kill_after = 10 {AGAIN}"
    replaced(appliance, policy)
    appliance.restart(SECOND, program(policy), survivors={(FIRST, 1): Survivor(300, 7)})
    assert appliance.signalled() == [(FIRST, signal.SIGTERM)], "the last one may not have come so far"
    assert appliance.core.wake()[1] == appliance.clock.moment().boot + 10 * SECOND
    appliance.after(10 * SECOND)
    assert appliance.signalled() == [(FIRST, signal.SIGKILL)]
    appliance.turn(ended(FIRST, None))
    the_newest_runs(appliance)


def test_a_replaced_run_that_died_with_the_daemon_is_not_run_again(appliance: Appliance) -> None:
    policy = f"overlap = replace {AGAIN}"
    replaced(appliance, policy)
    appliance.restart(SECOND, program(policy))
    assert appliance.states() == [(1, 1, "replaced"), (1, 2, "queued")]
    appliance.turn()
    the_newest_runs(appliance)


def test_a_start_that_hung_until_its_timeout_has_timed_out(either: Appliance) -> None:
    """It is no start for which the machine had no room: those come again without end."""
    either.turn(either.read(program("timeout = 5 kill_after = 1 retries = 1 retry_delay = 0")))
    either.say("run p")
    for attempt in (1, 2):
        either.after(5 * SECOND)
        either.after(1 * SECOND)
        assert either.signalled() == [(FIRST, signal.SIGKILL)]
        either.turn(ProgramNotStarted(FIRST, attempt, "the spawner ended", exhausted=True))
    (run,) = either.history()
    assert (run.state, run.reason, run.attempts) == ("timed_out", "the program's timeout passed", 2)
    assert (starts(either), either.core.wake()) == ([], (None, None))
