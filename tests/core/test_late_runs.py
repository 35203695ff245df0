"""Late runs: which runs take longer than usual, and that each is told once, across kills, reloads and a full disk."""

from __future__ import annotations

from schedappliance.engine.records import AttemptKey, ProcessKey, RunKey
from tests.core.test_alerts import DAY, S, deliveries, end_all, files, start_of, told
from tests.support.core import MINUTE, SECOND, START_MS, Appliance, ended, has_pid


def run_for(appliance: Appliance, *durations: int) -> None:
    """Runs of the job that succeed and take so long."""
    for duration in durations:
        appliance.after(duration, ended(begin(appliance), 0))


def begin(appliance: Appliance) -> RunKey:
    """A run of the job that goes on."""
    appliance.say("sched run j")
    return next(key for key in appliance.state.running if key.job == 1)


def slow(notify: str = "", program: str = "") -> str:
    """As `files`, but the job is not due during a test."""
    return files(notify, program=program).replace("every = 1m", f"at = {S + 30 * DAY // SECOND}")


def end_all_deliveries(appliance: Appliance) -> None:
    running = [start_of(appliance, key) for key in appliance.state.running]
    appliance.turn(
        *[ended(start.key.run, 0, attempt=start.key.attempt) for start in running if "tell" in start.argv[0]]
    )


def test_a_run_that_takes_longer_than_usual_is_late_once(appliance: Appliance) -> None:
    text = slow("when = ( late failed recovered ) longer_than = 2 again = 0", "retries = 1 retry_delay = 0")
    appliance.turn(appliance.read(text))
    run_for(appliance, 9 * MINUTE, MINUTE, 2 * MINUTE)
    key = begin(appliance)
    appliance.after(4 * MINUTE - 1)
    assert told(appliance) == []
    assert appliance.core.wake()[1] == appliance.clock.moment().boot + 1
    appliance.after(1)
    assert told(appliance) == ["j late: it has run for 4 min; usually it takes 2 min"]
    end_all_deliveries(appliance)
    appliance.after(MINUTE)
    assert appliance.core.wake() == (START_MS + 30 * DAY, None)
    appliance.turn(ended(key, 1))
    appliance.after(10 * MINUTE)
    assert len(told(appliance)) == 1, "the second attempt of a run is not late again"
    appliance.turn(ended(key, 1, attempt=2))
    end_all(appliance)
    run_for(appliance, 0)
    end_all(appliance)
    assert [text.partition(" since")[0] for text in told(appliance)[1:]] == [
        "j failed: exit status 1",
        "j recovered after 1 event",
    ]
    assert appliance.database.rows("SELECT notify FROM late_runs") == [("ops",)]


def test_a_run_that_was_told_as_late_is_told_as_failed_too_after_an_earlier_failure(appliance: Appliance) -> None:
    appliance.turn(appliance.read(slow("when = ( late failed ) longer_than = 2 after = 2 again = 0")))
    run_for(appliance, 9 * MINUTE, MINUTE, 2 * MINUTE)
    appliance.after(MINUTE, ended(begin(appliance), 1))
    assert told(appliance) == [], "a second event is wanted"
    key = begin(appliance)
    appliance.after(4 * MINUTE)
    end_all_deliveries(appliance)
    appliance.turn(ended(key, 1))
    assert [text.split(":")[0] for text in told(appliance)] == ["j late", "j failed"]


def test_a_short_run_is_late_a_minute_after_its_usual_end(appliance: Appliance) -> None:
    appliance.turn(appliance.read(slow()))
    run_for(appliance, SECOND, SECOND)
    key = begin(appliance)
    appliance.after(DAY, ended(key, 0))
    assert told(appliance) == [], "two runs do not say what is usual"
    run_for(appliance, SECOND)
    begin(appliance)
    appliance.after(MINUTE)
    appliance.after(SECOND - 1)
    assert told(appliance) == []
    appliance.after(1)
    assert told(appliance) == ["j late: it has run for 1 min 1 s; usually it takes 1 s"]


def test_a_kill_neither_loses_nor_repeats_a_late_run(appliance: Appliance) -> None:
    text = slow() + 'notify "boss" { command = "run tell" longer_than = 60 }\n'
    appliance.turn(appliance.read(text))
    run_for(appliance, MINUTE, MINUTE, MINUTE)
    key = begin(appliance)
    appliance.turn(has_pid(start_of(appliance, key)))
    survivors = {AttemptKey(key, 1): ProcessKey(300, 7)}
    appliance.after(3 * MINUTE - 1)
    appliance.restart(2, text, survivors)
    appliance.turn()
    end_all_deliveries(appliance)
    appliance.restart(30 * MINUTE, text, survivors)
    appliance.turn()
    assert len(told(appliance)) == 1
    appliance.after(27 * MINUTE)
    assert [dict(start.env)["SCHED_NOTIFY"] for start in deliveries(appliance)] == ["ops", "boss"]
    end_all_deliveries(appliance)
    appliance.restart(MINUTE, text, survivors)
    appliance.after(DAY, ended(key, 0))
    assert [dict(start.env)["SCHED_NOTIFY_KIND"] for start in deliveries(appliance)].count("late") == 2


def test_a_reload_decides_anew_when_a_run_is_late(appliance: Appliance) -> None:
    appliance.turn(appliance.read(slow().partition("notify")[0]))
    run_for(appliance, MINUTE, MINUTE, MINUTE)
    begin(appliance)
    appliance.after(10 * MINUTE)
    appliance.turn(appliance.read(slow("longer_than = 20")))
    appliance.after(SECOND)
    assert told(appliance) == []
    appliance.turn(appliance.read(slow("longer_than = 2")))
    appliance.turn()
    assert told(appliance) == ["j late: it has run for 10 min 1 s; usually it takes 1 min"]


def test_a_late_run_waits_for_a_store_that_can_be_written(appliance: Appliance) -> None:
    appliance.turn(appliance.read(slow()))
    run_for(appliance, MINUTE, MINUTE, MINUTE)
    begin(appliance)
    appliance.database.full = True
    appliance.after(3 * MINUTE)
    assert (told(appliance), appliance.core.wake()[1]) == ([], appliance.clock.moment().boot + SECOND)
    appliance.database.full = False
    appliance.after(SECOND)
    appliance.turn()
    assert told(appliance) == ["j late: it has run for 3 min 1 s; usually it takes 1 min"]
