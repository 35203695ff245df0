"""`overlap = replace`: a replaced run gets no further attempt, and the newest run starts next."""

from __future__ import annotations

import signal

import pytest

from schedappliance.engine.events import Event, ProgramNotStarted
from schedappliance.engine.records import AttemptKey, ProcessKey, RunKey
from tests.support.core import MINUTE, SECOND, STANZAS, Appliance, ended, has_pid

FIRST, SECOND_RUN, THIRD = RunKey(1, 1), RunKey(1, 2), RunKey(1, 3)
NEWER = "a newer run took its place"
AGAIN = "retries = 2 retry_delay = 5 on_interrupt = rerun"


def program(policy: str) -> str:
    return f'{STANZAS}program "p" {{ argv = ( "/bin/work" ) args = any {policy} }}\n'


def start_first_run(appliance: Appliance, policy: str) -> None:
    """A job of the program every minute, whose first run has started; its process is known."""
    appliance.turn(appliance.read(program(policy)))
    appliance.say("sched every 60 run p")
    appliance.after(MINUTE)
    appliance.turn(has_pid(appliance.started()[0]))
    assert appliance.states() == [(1, 1, "started")]


def replaced(appliance: Appliance, policy: str) -> None:
    """The second run becomes due while the first one runs."""
    start_first_run(appliance, policy)
    appliance.after(MINUTE)
    assert appliance.signalled() == [(FIRST, signal.SIGTERM)]


def starts(appliance: Appliance) -> list[tuple[RunKey, int]]:
    return [start.key for start in appliance.started()]


def the_newest_runs(appliance: Appliance) -> None:
    """Asserts that the first run is replaced and the second one has started."""
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
    "not started": ProgramNotStarted(AttemptKey(FIRST, 1), "no such file"),
    "exhausted": ProgramNotStarted(AttemptKey(FIRST, 1), "too many processes", exhausted=True),
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
    start_first_run(either, f"overlap = replace timeout = 55 kill_after = 30 {AGAIN}")
    either.after(55 * SECOND)
    assert either.signalled() == [(FIRST, signal.SIGTERM)]
    either.after(5 * SECOND)
    assert (either.signalled(), either.states()[1]) == ([], (1, 2, "queued")), "TERM was sent already"
    if killed:
        either.after(25 * SECOND)
        assert either.signalled() == [(FIRST, signal.SIGKILL)], "the timeout counts from then on"
    either.turn(ended(FIRST, signal=9))
    the_newest_runs(either)


def test_a_survivor_that_was_replaced_is_ended_by_the_next_daemon(appliance: Appliance) -> None:
    policy = f"overlap = replace kill_after = 10 {AGAIN}"
    replaced(appliance, policy)
    appliance.restart(SECOND, program(policy), survivors={AttemptKey(FIRST, 1): ProcessKey(300, 7)})
    assert appliance.signalled() == [(FIRST, signal.SIGTERM)], "the last daemon may not have sent it"
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


def test_a_start_that_hangs_until_its_timeout_has_timed_out(either: Appliance) -> None:
    """It does not count as a start without resources, which would be tried again without end."""
    either.turn(either.read(program("timeout = 5 kill_after = 1 retries = 1 retry_delay = 0")))
    either.say("run p")
    for attempt in (1, 2):
        either.after(5 * SECOND)
        either.after(1 * SECOND)
        assert either.signalled() == [(FIRST, signal.SIGKILL)]
        either.turn(ProgramNotStarted(AttemptKey(FIRST, attempt), "the keeper ended", exhausted=True))
    (run,) = either.history()
    assert (run.state, run.reason, run.attempts) == ("timed_out", "the program's timeout passed", 2)
    assert (starts(either), either.core.wake()) == ([], (None, None))


def test_a_run_that_cannot_start_replaces_no_other(either: Appliance) -> None:
    head = f'{STANZAS}program "p" {{ argv = ( "/bin/work" "%{{where}}" ) overlap = replace }}\n'
    either.turn(either.read(head))
    for line in ("config set where a", "sched every 60 run p"):
        either.say(line)
    either.after(MINUTE)
    either.say("config unset where")
    either.after(MINUTE)
    assert (either.states(), either.signalled()) == ([(1, 1, "started"), (1, 2, "failed")], [])


def test_the_place_of_a_run_that_cannot_start_goes_to_those_behind_it(either: Appliance) -> None:
    """A place becomes free in the turn in which the arguments of the next run turn out to be invalid."""
    files = program("overlap = replace max_running = 1").replace("args = any", 'args = ( "[a-z]+" )')
    either.turn(either.read(files))
    either.say("run p long")
    either.say("sched every 60 run p x")
    either.after(MINUTE)
    either.say("run p y")
    either.turn(either.read(files.replace("[a-z]+", "long|y")))
    either.after(MINUTE, ended(FIRST))
    either.turn()
    assert either.states()[:2] == [(1, 1, "succeeded"), (2, 1, "failed")]
    assert (3, 1, "started") in either.states()


@pytest.mark.parametrize("overlap", ["queue", "replace", "skip"])
def test_after_parallel_runs_the_next_one_waits_for_all_of_them(either: Appliance, overlap: str) -> None:
    either.turn(either.read(program("overlap = parallel")))
    either.say("sched every 60 run p")
    for _ in range(3):
        either.after(MINUTE)
    either.turn(either.read(program(f"overlap = {overlap}")))
    either.after(MINUTE)
    for occurrence in (2, 1):
        either.turn(ended(RunKey(1, occurrence)))
        assert starts(either) == []
    either.turn(ended(THIRD))
    assert starts(either) == ([] if overlap == "skip" else [(RunKey(1, 4), 1)])


@pytest.mark.parametrize("overlap", ["queue", "replace", "skip"])
def test_a_next_attempt_keeps_its_instant_after_a_reload_and_then_waits_its_turn(
    either: Appliance, overlap: str
) -> None:
    again = "retries = 1 retry_delay = 1800"
    either.turn(either.read(program(f"overlap = parallel {again}")))
    either.say("sched every 60 run p")
    either.after(MINUTE)
    either.after(MINUTE)
    either.turn(ended(SECOND_RUN, 1), either.typed("sched every 9999999 version"))
    at = either.core.wake()[1]
    either.database.execute("UPDATE jobs SET next_run_ms = NULL")
    either.turn(either.read(program(f"overlap = {overlap} {again}")))
    assert either.core.wake()[1] == at
    either.after(2000 * SECOND)
    assert starts(either) == [], "the first run has not ended"
    either.turn(ended(FIRST))
    assert starts(either) == [(SECOND_RUN, 2)]


def test_two_attempts_of_one_job_that_are_due_at_once_follow_each_other(either: Appliance) -> None:
    again = "retries = 1 retry_delay = 60"
    either.turn(either.read(program(f"overlap = parallel {again}")))
    either.say("sched every 60 run p")
    either.after(MINUTE)
    either.after(MINUTE)
    either.turn(ended(FIRST, 1), ended(SECOND_RUN, 1))
    either.database.execute("UPDATE jobs SET next_run_ms = NULL")
    either.turn(either.read(program(f"overlap = queue {again}")))
    either.after(100 * SECOND)
    (first,) = starts(either)
    either.turn(ended(first[0], attempt=2))
    assert starts(either) == [(SECOND_RUN if first[0] == FIRST else FIRST, 2)]
