"""Local times of `at`: each comes once, whatever zone the files give it afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.core import MINUTE, SECOND, START_MS, Appliance, agrees_with_its_store

HOUR = 60 * MINUTE
# In Berlin, the local time comes at 22:20 UTC, 400 seconds after the start.
BERLIN = 'sched { zone = "Europe/Berlin" }\njob "pay" { at = "2023-11-14 23:20" command = "pid" }\n'
DUE = START_MS + 400 * SECOND
ZONES = ["UTC", "America/New_York", "Asia/Tokyo"]


def in_zone(zone: str, of_job: bool = False) -> str:
    return BERLIN.replace('"pid"', f'"pid" zone = "{zone}"') if of_job else BERLIN.replace("Europe/Berlin", zone)


@pytest.mark.parametrize("of_job", [False, True], ids=["zone of sched", "zone of the job"])
@pytest.mark.parametrize("after", [MINUTE, 2 * HOUR, 90 * 24 * HOUR])
@pytest.mark.parametrize("zone", ZONES)
def test_a_time_that_has_come_does_not_come_in_another_zone(
    either: Appliance, zone: str, after: int, of_job: bool
) -> None:
    either.turn(either.read(BERLIN))
    either.after(DUE - START_MS)
    either.after(after, either.read(in_zone(zone, of_job)))
    assert either.next_runs() == [(1, None)]
    either.after(24 * HOUR)
    assert [run.due_ms for run in either.history()] == [DUE]
    agrees_with_its_store(either)


def test_a_time_that_has_come_does_not_come_after_overrides(either: Appliance) -> None:
    either.turn(either.read(BERLIN))
    either.after(DUE - START_MS)
    for line in ("config set sched zone UTC", "config unset sched zone", "config set job pay zone Asia/Tokyo"):
        either.say(line)
        either.after(HOUR)
    either.say("config set job pay enabled no")
    either.say("config set job pay zone America/New_York")
    either.say("config unset job pay enabled")
    either.after(24 * HOUR)
    assert [run.due_ms for run in either.history()] == [DUE]


@pytest.mark.parametrize("zone", ZONES)
def test_a_time_that_passes_while_the_files_give_another_zone_is_caught_up_once(tmp_path: Path, zone: str) -> None:
    appliance = Appliance(tmp_path / "sched.db", BERLIN)
    appliance.restart(DUE - START_MS + MINUTE, in_zone(zone))
    appliance.after(24 * HOUR)
    appliance.restart(24 * HOUR, in_zone(zone))
    assert [(run.due_ms, run.state) for run in appliance.history()] == [(DUE, "succeeded")]
    appliance.close()


def test_a_time_that_is_still_to_come_moves_with_its_zone(either: Appliance) -> None:
    either.turn(either.read(BERLIN))
    either.say("config set sched zone UTC")
    assert either.next_runs() == [(1, DUE + HOUR)]
    either.after(DUE + HOUR - START_MS)
    assert [run.due_ms for run in either.history()] == [DUE + HOUR]


@pytest.mark.parametrize("other", ["2023-11-14 23:50", "2023-11-15 23:20", "2023-11-14 23:10"])
def test_another_time_is_a_due_time_of_its_own(either: Appliance, other: str) -> None:
    either.turn(either.read(BERLIN))
    either.after(DUE - START_MS)
    either.after(MINUTE, either.read(BERLIN.replace("2023-11-14 23:20", other)))
    either.after(24 * HOUR)
    assert len(either.history()) == 2


@pytest.mark.parametrize("at", ['"2023-11-14 23:20"', str(DUE // 1000)])
def test_an_earlier_time_that_the_files_give_again_does_not_come_again(either: Appliance, at: str) -> None:
    files = BERLIN.replace('"2023-11-14 23:20"', at)
    either.turn(either.read(files))
    either.after(DUE - START_MS)
    either.say('config set job pay at "2023-12-24 08:00"')
    either.after(HOUR, either.reload_typed(files) and either.read(files))
    either.after(24 * HOUR)
    assert [run.due_ms for run in either.history()] == [DUE]
    either.turn(either.read(files.replace(f"at = {at}", "every = 1d")))
    either.turn(either.read(files))
    either.after(24 * HOUR)
    assert [run.due_ms for run in either.history()] == [DUE]


def test_a_time_that_comes_as_a_passed_due_time_of_the_old_schedule_does_not_come_again(tmp_path: Path) -> None:
    files = 'sched { catch_up = all }\njob "pay" { every = 20 command = "pid" }\n'
    appliance = Appliance(tmp_path / "sched.db", files)
    appliance.restart(MINUTE, files.replace("every = 20", f"at = {START_MS // 1000 + 40}"))
    appliance.after(MINUTE)
    assert [run.due_ms - START_MS for run in appliance.history()] == [20 * SECOND, 40 * SECOND, MINUTE]
    assert appliance.next_runs() == [(1, None)]
    appliance.close()


def test_a_time_that_an_earlier_version_has_stored_does_not_come_again(tmp_path: Path) -> None:
    """Its row has no local time. The first start adds it."""
    appliance = Appliance(tmp_path / "sched.db", BERLIN)
    appliance.after(DUE - START_MS)
    with appliance.database.transaction():
        appliance.database.execute("UPDATE jobs SET schedule = ?", (f"at {DUE}",))
    appliance.restart(HOUR, BERLIN)
    assert appliance.database.rows("SELECT schedule FROM jobs") == [(f"at {DUE} as 2023-11-14 23:20:00",)]
    assert appliance.next_runs() == [(1, None)]
    appliance.restart(HOUR, in_zone("America/New_York"))
    appliance.after(24 * HOUR)
    assert [run.due_ms for run in appliance.history()] == [DUE]
    appliance.close()


TRAVELS = """
sched { zone = "Europe/Berlin" }
job "there" { at = "2023-11-15 12:00"  command = "config set sched zone America/New_York" }
job "home"  { at = "2023-11-25 12:00"  command = "config set sched zone Europe/Berlin" }
"""


def test_jobs_that_set_the_zone_of_each_other_run_once(tmp_path: Path) -> None:
    """They made each other due again, in one turn, without an end."""
    appliance = Appliance(tmp_path / "sched.db", TRAVELS)
    for _ in range(15 * 24):
        appliance.after(HOUR)
    appliance.restart(24 * HOUR, TRAVELS)
    appliance.after(24 * HOUR)
    assert appliance.states() == [(1, 1, "succeeded"), (2, 1, "succeeded")]
    assert [run.due_ms for run in appliance.history()] == [1_700_046_000_000, 1_700_931_600_000]
    appliance.close()
