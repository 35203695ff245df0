"""Jobs whose schedule changes: due times that have passed, and due times that wait for the end of their delay."""

from __future__ import annotations

from pathlib import Path

import pytest

from schedappliance.engine.events import StopRequested
from tests.support.core import MINUTE, SECOND, STANZAS, Appliance, agrees_with_its_store, has_pid

BEFORE = 'job "a" { cron = "* * * * *" zone = UTC catch_up = all command = "version" }\n'
START = 1_699_999_980_000


def due_times(appliance: Appliance) -> list[tuple[int, str, int | None]]:
    return [((run.due_ms - START) // SECOND, run.state, run.missed_count) for run in appliance.history()]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("zone = UTC", "zone = Etc/GMT"),
        ('cron = "* * * * *"', 'cron = "0 0 * * *"'),
        ('cron = "* * * * *" zone = UTC', "every = 3"),
        ('cron = "* * * * *" zone = UTC', "at = 1900000000"),
    ],
)
@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("all", [(60, "succeeded", None), (120, "succeeded", None), (180, "succeeded", None)]),
        ("once", [(120, "missed", 2), (180, "succeeded", None)]),
        ("none", [(180, "missed", 3)]),
    ],
)
def test_due_times_of_the_old_schedule_are_caught_up_at_a_start(
    tmp_path: Path, before: str, after: str, policy: str, expected: list[tuple[int, str, int | None]]
) -> None:
    files = BEFORE.replace("all", policy)
    appliance = Appliance(tmp_path / "sched.db", files)
    appliance.restart(3 * MINUTE, files.replace(before, after).replace("version", "pid"))
    assert due_times(appliance) == expected
    assert {run.command for run in appliance.history()} == {"pid"}
    ((_, next_run),) = appliance.next_runs()
    assert next_run is not None
    assert next_run > appliance.clock.moment().wall
    appliance.turn()
    assert due_times(appliance) == expected
    appliance.close()


def test_a_job_that_is_due_in_the_turn_of_a_reload_runs(either: Appliance) -> None:
    either.turn(either.read(BEFORE))
    either.after(MINUTE, either.read(BEFORE.replace("UTC", "Etc/GMT")))
    assert due_times(either) == [(60, "succeeded", None)]
    either.after(MINUTE, either.typed('config set job a cron "0 0 * * *"'))
    assert due_times(either) == [(60, "succeeded", None), (120, "succeeded", None)]


def test_due_times_that_passed_in_a_pause_are_missed(either: Appliance) -> None:
    either.turn(either.read(BEFORE))
    either.say("sched pause a")
    either.after(3 * MINUTE, either.read(BEFORE.replace("UTC", "Etc/GMT")))
    assert due_times(either) == [(180, "missed", 3)]
    either.say("sched resume a")
    assert due_times(either) == [(180, "missed", 3)]


@pytest.mark.parametrize(
    ("schedule", "due"),
    [
        ("at = boot delay = 1", None),
        ("at = 1600000000", 1_600_000_000_000),
        ("at = 1900000000", 1_900_000_000_000),
        ('cron = "* * * * *" zone = UTC', START + 4 * MINUTE),
    ],
)
def test_a_job_that_is_switched_off_is_due_by_its_new_schedule(tmp_path: Path, schedule: str, due: int | None) -> None:
    appliance = Appliance(tmp_path / "sched.db", BEFORE)
    off = BEFORE.replace('cron = "* * * * *" zone = UTC', f"{schedule} enabled = no")
    appliance.restart(3 * MINUTE, off)
    assert due_times(appliance) == [(180, "missed", 3)]
    assert [next_run for _, next_run in appliance.next_runs()] == [due]
    appliance.close()


def test_a_command_can_change_the_schedules_of_jobs_that_are_caught_up(tmp_path: Path) -> None:
    files = BEFORE.replace("version", "config set job b every 7") + 'job "b" { every = 60 command = "pid" }\n'
    appliance = Appliance(tmp_path / "sched.db", files)
    appliance.restart(3 * MINUTE, files.replace("UTC", "Etc/GMT").replace("every = 60", "every = 50"))
    appliance.turn()
    commands = [run.command for run in appliance.history() if run.state == "succeeded"]
    assert commands.count("pid") == 1
    assert len(commands) == 4
    appliance.close()


@pytest.mark.parametrize("changing", ["every 7", "offset 5"])
def test_a_job_changed_by_a_command_of_the_same_tick_runs_once(either: Appliance, changing: str) -> None:
    """The tick has read the row of the job before the command changes it."""
    jobs = f"job a {{ every = 60 command = 'config set job b {changing}' }}\njob b {{ every = 60 command = 'pid' }}\n"
    either.turn(either.read(jobs))
    either.after(MINUTE)
    either.turn()
    assert either.state.status.degraded is None
    (run,) = (run for run in either.history() if not run.command.startswith("config"))
    assert (run.state, run.command) == ("succeeded", "pid")


@pytest.mark.parametrize("delay", ["jitter", "spread"])
@pytest.mark.parametrize("passed", range(0, 60, 7))
def test_another_delay_runs_each_due_time_once(either: Appliance, delay: str, passed: int) -> None:
    either.turn(either.read(BEFORE.replace("catch_up", f"{delay} = 2 catch_up")))
    for limit in (58, 1, 30, 0, 59):
        for second in range(60 + passed):
            either.after(SECOND)
            if second == passed:
                either.say(f"config set job a {delay} {limit}")
    nominal = [run.due_ms // MINUTE for run in either.history()]
    first = START // MINUTE + 1
    assert nominal == list(range(first, first + len(nominal)))
    assert all(run.state == "succeeded" for run in either.history())
    assert len(nominal) >= 5 + 5 * passed // 60 - 1


def test_a_job_that_becomes_a_calendar_after_the_clock_was_set_back_is_due_soon(either: Appliance) -> None:
    """A step forward never makes a calendar job due before its creation, which has moved back with the clock."""
    either.turn(either.read('job "a" { every = 1h command = "version" }\n'))
    either.clock.step(-3650 * 24 * 60 * MINUTE)
    either.turn()
    either.turn(either.read(BEFORE))
    either.clock.step(2 * SECOND)
    either.turn()
    ((_, next_run),) = either.next_runs()
    assert next_run is not None
    assert next_run <= either.clock.moment().wall + MINUTE


@pytest.mark.parametrize(
    ("first", "expected"),
    [
        ("sched hold for 600 maintenance", [("missed", "the appliance was held: maintenance")]),
        ("sched pause b", [("missed", "the job was paused")]),
        ("sched pause --all", [("missed", "the job was paused")]),
        ("config set job b enabled false", [("missed", "the job was switched off while it waited")]),
        ("config set job b offset 7", [("succeeded", None)]),
    ],
)
def test_the_first_of_the_jobs_with_new_schedules_can_keep_the_second_from_running(
    tmp_path: Path, first: str, expected: list[tuple[str, str | None]]
) -> None:
    """Both have passed a due time when the files change, so both are claimed at once."""
    files = f'job "a" {{ every = 60 command = "{first}" }}\njob "b" {{ every = 60 command = "version" }}\n'
    appliance = Appliance(tmp_path / "sched.db", files)
    due = START + MINUTE
    appliance.clock.advance(due - appliance.clock.moment().wall)
    appliance.turn(appliance.read(files.replace("every = 60", "every = 50")))
    assert [(run.state, run.reason) for run in appliance.history(2)] == expected
    agrees_with_its_store(appliance)
    appliance.close()


def test_a_stop_leaves_passed_due_times_of_changed_jobs_to_the_next_start(tmp_path: Path) -> None:
    due = START + MINUTE
    files = f'job "a" {{ at = {due // 1000} command = "shutdown" }}\njob "b" {{ every = 60 command = "version" }}\n'
    changed = files.replace(str(due // 1000), "1900000000").replace("every = 60", "every = 50")
    appliance = Appliance(tmp_path / "sched.db", files)
    appliance.clock.advance(due - appliance.clock.moment().wall)
    appliance.turn(appliance.read(changed))
    assert appliance.states() == [(1, 1, "succeeded")]
    agrees_with_its_store(appliance)
    appliance.restart(SECOND, changed)
    appliance.turn()
    assert [(run.state, run.due_ms) for run in appliance.history(2)] == [("succeeded", due)]
    appliance.close()


def test_a_job_that_gets_a_new_time_during_a_stop_runs_at_it(tmp_path: Path) -> None:
    """Its row holds one due time. The one that passed during the stop is missed."""
    before = STANZAS + 'job "a" { every = 1h command = "version" }\n'
    later = START + 3 * 60 * MINUTE
    appliance = Appliance(tmp_path / "sched.db", before)
    ((_, due),) = appliance.next_runs()
    assert due is not None
    appliance.say("run sleep 9")
    appliance.turn(has_pid(appliance.started()[0]))
    appliance.turn(StopRequested("SIGTERM"))
    appliance.clock.advance(due - appliance.clock.moment().wall)
    after = before.replace("every = 1h", f"at = {later // 1000}")
    appliance.turn(appliance.read(after))
    assert [(run.state, run.due_ms) for run in appliance.history(1)] == [("missed", due)]
    assert (1, later) in appliance.next_runs()
    appliance.restart(SECOND, after)
    appliance.after(later - appliance.clock.moment().wall)
    assert [(run.state, run.due_ms) for run in appliance.history(1)] == [("missed", due), ("succeeded", later)]
    appliance.close()


def test_a_long_row_of_jobs_can_change_each_other(either: Appliance) -> None:
    """Each job was claimed by the command of the job before it, inside that command."""
    jobs = [f'job "j{n}" {{ every = 60 command = "config set job j{n + 1} every 61" }}' for n in range(200)]
    either.turn(either.read("\n".join([*jobs, 'job "j200" { every = 60 command = "pid" }', ""])))
    either.after(START + MINUTE - either.clock.moment().wall)
    while len(either.history()) < 201:
        assert either.turn()
    assert {run.state for run in either.history()} == {"succeeded"}
    assert sorted(run.key.job for run in either.history()) == list(range(1, 202))


DELAYED = 'job "backup" { cron = "30 22 * * *" zone = UTC spread = 20m command = "pid" }\n'


@pytest.mark.parametrize(
    "now",
    [
        DELAYED.replace("spread = 20m ", ""),
        DELAYED.replace("20m", "1"),
        DELAYED.replace("spread = 20m", "jitter = 1"),
        DELAYED.replace('cron = "30 22 * * *" zone = UTC spread = 20m', "every = 30m"),
        DELAYED.replace('cron = "30 22 * * *" zone = UTC', "every = 30m").replace("20m", "1"),
    ],
)
def test_a_job_that_is_switched_on_with_a_shorter_delay_is_due_again(either: Appliance, now: str) -> None:
    """It was off when a due time waited for the end of its delay. That due time has passed, but not the next ones."""
    either.turn(either.read(DELAYED))
    ((_, due),) = either.next_runs()
    nominal = 1_700_001_000_000
    assert due is not None
    assert due > nominal + 5 * MINUTE
    either.after(
        nominal + MINUTE - either.clock.moment().wall, either.read(DELAYED.replace("spread", "enabled = no spread"))
    )
    either.after(2 * MINUTE, either.read(now))
    ((_, due),) = either.next_runs()
    assert due is not None
    assert due > either.clock.moment().wall
    assert either.history() == []
    either.after(due - either.clock.moment().wall)
    assert [(run.state, run.due_ms) for run in either.history()] == [("succeeded", due)]
