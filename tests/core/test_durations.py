"""How long runs took is measured by the time since the boot. The clock may be set while they run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from schedappliance.engine.attempts import Exit
from schedappliance.engine.effects import Happened, LogMessage
from schedappliance.engine.records import AttemptKey, RunKey
from tests.commands.test_metrics import job, values
from tests.support.core import MINUTE, SECOND, START_MS, Appliance, ended, has_pid, some

HOUR = 60 * MINUTE
STEP = 10 * MINUTE
JOB = 'job "j" { every = 1d argv = ( "/bin/sleep" "3" ) }\n'
KEY = RunKey(1, 1)


@pytest.fixture(params=[STEP, -STEP], ids=["forward", "back"])
def step(request: pytest.FixtureRequest) -> int:
    """The clock is set so far, a second after the start of a run."""
    return int(request.param)


@pytest.fixture
def running(appliance: Appliance) -> Appliance:
    appliance.turn(appliance.read(JOB))
    appliance.stanzas = JOB
    start_run(appliance)
    return appliance


def start_run(appliance: Appliance) -> None:
    appliance.say("sched run j")
    appliance.turn(has_pid(appliance.started()[0]))


def run_for_3_seconds(appliance: Appliance, step: int, key: RunKey = KEY) -> None:
    appliance.after(SECOND)
    appliance.clock.step(step)
    appliance.after(2 * SECOND, ended(key))


def test_a_run_took_what_it_took(running: Appliance, step: int) -> None:
    running.ask("json watch")
    run_for_3_seconds(running, step)
    (run,) = running.data("sched history")
    instants = (START_MS, START_MS + step + 3 * SECOND)
    assert (run["started_ms"], run["ended_ms"], run["took_ms"]) == (*instants, 3000)
    (attempt,) = running.data(f"sched show {run['run']}")["attempts_made"]
    assert (attempt["started_ms"], attempt["ended_ms"], attempt["took_ms"]) == (*instants, 3000)
    assert ", took 3.0 s" in running.say("sched why j")
    (line,) = [log for log in some(LogMessage, running.past) if " succeeded " in log.message]
    assert line.message.endswith("succeeded (j, 3.0 s)")
    assert dict(line.fields)["duration_ms"] == 3000
    events = [event for happened in some(Happened, running.past) for event in happened.events]
    assert [event["took_ms"] for event in events if event["kind"] == "run"] == [3000]


def test_a_run_that_goes_on_has_taken_what_it_has_taken(running: Appliance, step: int) -> None:
    running.after(SECOND)
    running.clock.step(step)
    running.after(SECOND)
    assert [run["took_ms"] for run in running.data("sched history")] == [2000]
    assert running.say("sched why j").splitlines()[-1].endswith(", for 2.0 s")
    assert running.data("sched why j")["live"][0]["took_ms"] == 2000


def test_the_metrics_have_the_true_duration_before_and_after_a_restart(running: Appliance, step: int) -> None:
    run_for_3_seconds(running, step)
    data = running.data("metrics")
    _, total = values(data, "run_duration_seconds")["j",]
    assert (total, job(data, "j")["last_duration_ms"]) == (3.0, 3000)
    running.restart(SECOND, JOB)
    assert job(running.data("metrics"), "j")["last_duration_ms"] == 3000


def test_what_is_usual_does_not_follow_the_clock(running: Appliance, step: int) -> None:
    run_for_3_seconds(running, step)
    for occurrence in (2, 3):
        start_run(running)
        run_for_3_seconds(running, step, RunKey(1, occurrence))
    assert "its runs usually take 3.0 s" in running.say("sched why j")
    assert [took for _, _, took, _ in running.store.runs.lasted(9)] == [3000] * 3


def test_a_run_whose_timeout_passed_took_its_time(appliance: Appliance, step: int) -> None:
    appliance.turn(appliance.read(JOB.replace("}", "timeout = 3 }")))
    start_run(appliance)
    appliance.clock.step(step)
    appliance.after(3 * SECOND)
    appliance.after(SECOND, ended(KEY, signal=15))
    (run,) = appliance.history()
    assert (run.state, run.took_ms) == ("timed_out", 4000)


def test_the_keeper_says_how_long_a_program_took_that_ended_meanwhile(running: Appliance, step: int) -> None:
    """The clock is set while no daemon runs."""
    running.clock.step(step)
    running.restart(HOUR, JOB, causes={AttemptKey(KEY, 1): Exit(0, None, START_MS + 3 * SECOND, took_ms=3000)})
    assert [run.took_ms for run in running.history()] == [3000]


def test_a_run_that_the_end_of_a_boot_interrupted_took_the_time_until_the_next_start(running: Appliance) -> None:
    running.reboot(MINUTE, JOB)
    (run,) = running.history()
    assert (run.state, run.took_ms) == ("interrupted", MINUTE), "nobody knows when it ended"


def test_what_the_keeper_has_measured_counts(running: Appliance, step: int) -> None:
    running.clock.step(step)
    running.after(MINUTE, replace(ended(KEY), exit=Exit(0, None, START_MS + step + 3 * SECOND, took_ms=3000)))
    assert [run.took_ms for run in running.history()] == [3000]


def test_a_run_that_is_cancelled_between_two_attempts_took_what_the_last_one_took(appliance: Appliance) -> None:
    appliance.turn(appliance.read(JOB.replace("}", "retries = 1 retry_delay = 1h }")))
    start_run(appliance)
    appliance.after(3 * SECOND, ended(KEY, 1))
    assert [run.took_ms for run in appliance.history()] == [3000]
    appliance.after(MINUTE)
    appliance.say("sched stop example.com-000000001/1")
    assert [(run.state, run.took_ms) for run in appliance.history()] == [("cancelled", 3000)]
