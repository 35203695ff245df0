"""`sched stop`: a run that waits is cancelled, and a running program is ended for good, also by the next daemon."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Sequence
from typing import Any

import pytest

from schedappliance.engine.events import Event, ProgramNotStarted
from schedappliance.engine.records import AttemptKey, ProcessKey, RunKey
from tests.support.core import MINUTE, SECOND, STANZAS, Appliance, agrees_with_its_store, ended, failure, has_pid

FIRST = RunKey(1, 1)
ONE = "example.com-000000001/1"
AGAIN = 'retries = 2 retry_delay = 5 on_interrupt = rerun on_failure = "pid"'
WHY = "stopped by operator"
UNSTORED = (
    f"{ONE}: its program is being ended; the store cannot be written, so a start before that may try the run again"
)


def begun(appliance: Appliance, policy: str = AGAIN) -> Appliance:
    """The first run of a job has started."""
    appliance.turn(appliance.read(f'{STANZAS}program "p" {{ argv = ( "/bin/work" ) args = any {policy} }}\n'))
    appliance.say("sched every 60 run p")
    appliance.after(MINUTE)
    appliance.turn(has_pid(appliance.started()[0]))
    assert appliance.states() == [(1, 1, "started")]
    return appliance


def outcomes(appliance: Appliance) -> list[tuple[str, str | None]]:
    return [(run.state, run.reason) for run in appliance.history()]


@pytest.mark.parametrize(
    "end",
    [
        ended(FIRST, 0),
        ended(FIRST, 3),
        ended(FIRST, signal=15),
        ProgramNotStarted(AttemptKey(FIRST, 1), "too many processes", exhausted=True),
    ],
)
def test_a_stopped_program_gets_term_and_its_run_no_further_attempt(either: Appliance, end: Event) -> None:
    begun(either)
    assert either.say(f"sched stop {ONE}") == f"{ONE}: its program is being ended"
    assert either.signalled() == [(FIRST, signal.SIGTERM)]
    either.turn(end)
    assert outcomes(either) == [("cancelled", WHY)]
    assert (either.started(), dict(either.state.running), either.next_runs()) == (
        [],
        {},
        [(1, either.next_runs()[0][1])],
    )
    assert f"info: run {ONE} cancelled: {WHY} (p, 0.0 s)" in either.logged()
    agrees_with_its_store(either)


def test_a_program_that_ignores_term_is_killed(either: Appliance) -> None:
    begun(either)
    either.say(f"sched stop {ONE}")
    either.after(10 * SECOND)
    assert either.signalled() == [(FIRST, signal.SIGKILL)]
    either.turn(ended(FIRST, signal=9))
    assert outcomes(either) == [("cancelled", WHY)]


def test_a_second_stop_sends_no_second_signal(either: Appliance) -> None:
    begun(either)
    either.say(f"sched stop {ONE}")
    other = either.typed(f"sched stop {ONE}")
    either.turn(other._replace(user=other.user._replace(name="other")))
    assert either.signalled() == []
    either.turn(ended(FIRST, signal=15))
    assert outcomes(either) == [("cancelled", WHY)]


def test_a_run_whose_timeout_has_passed_is_stopped_for_good(either: Appliance) -> None:
    begun(either, f"{AGAIN} timeout = 10")
    either.after(10 * SECOND)
    assert either.signalled() == [(FIRST, signal.SIGTERM)]
    either.say(f"sched stop {ONE}")
    assert either.signalled() == []
    either.turn(ended(FIRST, signal=15))
    assert outcomes(either) == [("cancelled", WHY)]


def test_a_run_between_two_attempts_is_cancelled(either: Appliance) -> None:
    begun(either)
    either.turn(ended(FIRST, 1))
    assert either.say(f"sched stop {ONE}") == f"{ONE}: cancelled"
    assert f"run {ONE} cancelled: {WHY}" in either.logged()
    assert outcomes(either) == [("cancelled", WHY)]
    either.after(30 * SECOND)
    assert either.started() == []
    agrees_with_its_store(either)


def test_the_next_run_starts_when_the_stopped_one_has_ended(either: Appliance) -> None:
    begun(either, "overlap = queue")
    either.after(MINUTE)
    assert either.states() == [(1, 1, "started"), (1, 2, "queued")]
    either.say(f"sched stop {ONE}")
    assert either.started() == []
    either.turn(ended(FIRST, signal=15))
    assert either.states() == [(1, 1, "cancelled"), (1, 2, "started")]


@pytest.mark.parametrize("survives", [True, False])
def test_the_next_daemon_ends_a_stopped_run_for_good(appliance: Appliance, survives: bool) -> None:
    begun(appliance)
    appliance.say(f"sched stop {ONE}")
    appliance.restart(survivors={AttemptKey(FIRST, 1): ProcessKey(300, 7)} if survives else {})
    if survives:
        assert appliance.signalled() == [(FIRST, signal.SIGTERM)]
        appliance.turn(ended(FIRST, None))
    assert outcomes(appliance)[0] == ("cancelled", WHY)
    assert appliance.started() == []


def test_run_wait_reports_that_its_run_was_stopped(either: Appliance) -> None:
    waiting = either.typed("run --wait hello")
    either.turn(waiting)
    either.turn(has_pid(either.started()[0]))
    either.say(f"sched stop {ONE}")
    either.turn(ended(FIRST, signal=15))
    assert either.reply_to(waiting).error == f"run {ONE} cancelled: {WHY}"


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("sched stop example.com-000000001", "`example.com-000000001` is not the id of a run"),
        ("sched stop example.com-000000001/9", "there is no run example.com-000000001/9"),
    ],
)
def test_a_word_that_names_no_run_is_rejected(either: Appliance, line: str, error: str) -> None:
    begun(either)
    assert error in either.error(line)


def test_an_ended_run_cannot_be_stopped(either: Appliance) -> None:
    begun(either, "")
    either.turn(ended(FIRST, 3))
    assert f"run {ONE} has ended: failed: exit status 3" in either.error(f"sched stop {ONE}")


def test_a_program_can_be_stopped_although_the_disk_is_full(either: Appliance) -> None:
    """It may be the one that fills the disk. Who stopped it is stored as soon as that is possible."""
    begun(either)
    either.database.full = True
    for signals in ([(FIRST, signal.SIGTERM)], []):
        assert either.say(f"sched stop {ONE}") == UNSTORED
        assert "command='sched stop" in either.logged()
        assert either.signalled() == signals
    either.database.full = False
    either.after(SECOND)
    assert [attempt.stopped_by for attempt in either.store.runs.live_attempts()] == ["operator"]
    either.turn(ended(FIRST, signal=15))
    assert outcomes(either) == [("cancelled", WHY)]
    agrees_with_its_store(either)


def test_a_program_can_be_stopped_while_another_process_locks_the_store(
    either: Appliance, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun(either)
    execute = either.database.execute

    def locked(sql: str, parameters: Sequence[Any] = ()) -> Any:
        if sql == "BEGIN IMMEDIATE":
            raise failure("database is locked", sqlite3.SQLITE_BUSY)
        return execute(sql, parameters)

    with monkeypatch.context() as lock:
        lock.setattr(either.database, "execute", locked)
        assert either.say(f"sched stop {ONE}") == UNSTORED
        assert either.signalled() == [(FIRST, signal.SIGTERM)]
        assert "database is locked" in either.error("run p")
    either.after(SECOND)
    assert [attempt.stopped_by for attempt in either.store.runs.live_attempts()] == ["operator"]


def test_a_program_that_ends_while_the_disk_is_full_is_cancelled_by_the_stop(either: Appliance) -> None:
    begun(either)
    either.database.full = True
    either.say(f"sched stop {ONE}")
    either.turn(ended(FIRST, signal=15))
    either.database.full = False
    either.after(SECOND)
    assert outcomes(either) == [("cancelled", WHY)]
    agrees_with_its_store(either)


def test_on_a_full_disk_nothing_else_is_stopped(either: Appliance) -> None:
    """A run that waits, and a run whose end the store does not know yet."""
    either.state.places = 1
    begun(either)
    either.say("run p")
    either.database.full = True
    assert "the store cannot be written" in either.error("sched stop example.com-000000002/1")
    either.turn(ended(FIRST, 0))
    assert "the store cannot be written" in either.error(f"sched stop {ONE}")
    assert either.signalled() == []
    either.database.full = False
    either.after(SECOND)
    assert ("succeeded", None) in outcomes(either) and ("started", None) in outcomes(either)
    agrees_with_its_store(either)
