"""Calendar jobs: claims, downtimes, both nights of the clock change, steps of the clock, and other time zone data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from shutil import copyfile

import pytest

from schedappliance.clock import ManualClock
from schedappliance.core.calendars import LOCAL_ZONE, ZONE_DATA
from schedappliance.engine.events import AuditDue, ZonesChanged
from schedappliance.engine.states import RunState
from schedappliance.model import references, stanzas
from schedappliance.model.calendars.zones import Machine, Zones
from tests.support.core import MINUTE, SECOND, STANZAS, START_MS, Appliance

BERLIN = f'sched {{ zone = "Europe/Berlin" }}\n{STANZAS}'
HOUR, DAY = 60 * MINUTE, 24 * 60 * MINUTE
JOB = "example.com-000000001"
ZONEINFO = Path("/usr/share/zoneinfo")


def at(text: str) -> int:
    """An instant in UTC, in milliseconds."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000


def appliance_at(text: str, path: Path | None = None, stanzas: str = BERLIN) -> Appliance:
    """An appliance on which it is this instant."""
    appliance = Appliance(path, stanzas)
    appliance.after(at(text) - START_MS)
    return appliance


@pytest.fixture
def appliance() -> Iterator[Appliance]:
    opened = appliance_at("2027-01-10 12:00")
    yield opened
    opened.close()


def next_run(appliance: Appliance) -> int | None:
    return appliance.next_runs()[0][1]


def due_times(appliance: Appliance) -> list[tuple[int, int, str]]:
    """Occurrence, due time and state of each run."""
    return [(run.key.occurrence, run.due_ms, run.state) for run in appliance.history()]


def test_a_start_reads_the_calendars_that_are_due_first(tmp_path: Path) -> None:
    """A claim would wait 40 ms for the parser of expressions."""
    appliance = appliance_at("2027-01-10 12:00", tmp_path / "store.db")
    appliance.say("sched every 86400 pid")
    appliance.say('sched cron "30 2 * * *" pid')
    appliance.restart(HOUR, BERLIN)
    job = appliance.state.store.jobs.get(2)
    assert job is not None and job.schedule in appliance.state.schedules._calendars._calendars
    appliance.close()


def test_a_calendar_job_is_claimed_at_each_due_time(appliance: Appliance) -> None:
    appliance.say('sched cron "30 2 * * *" pid')
    assert next_run(appliance) == at("2027-01-11 01:30")
    appliance.after(next_run(appliance) - appliance.clock.moment().wall)  # type: ignore[operator]
    appliance.after(DAY)
    assert due_times(appliance) == [
        (1, at("2027-01-11 01:30"), "succeeded"),
        (2, at("2027-01-12 01:30"), "succeeded"),
    ]
    assert next_run(appliance) == at("2027-01-13 01:30")


@pytest.mark.parametrize(
    ("policy", "states"),
    [
        ("once", [(9, "2027-01-19 01:30", "missed"), (10, "2027-01-20 01:30", "succeeded")]),
        ("none", [(10, "2027-01-20 01:30", "missed")]),
        ("all", [(n, f"2027-01-{10 + n} 01:30", "succeeded") for n in range(1, 11)]),
    ],
)
def test_each_policy_catches_up_what_passed_during_a_downtime(
    tmp_path: Path, policy: str, states: list[tuple[int, str, str]]
) -> None:
    stanzas = BERLIN.replace("sched {", f"sched {{ catch_up = {policy}")
    appliance = appliance_at("2027-01-10 12:00", tmp_path / "sched.db", stanzas)
    appliance.say('sched cron "30 2 * * *" pid')
    appliance.restart(10 * DAY, stanzas)
    appliance.turn()
    assert due_times(appliance) == [(number, at(due), state) for number, due, state in states]
    assert next_run(appliance) == at("2027-01-21 01:30")
    if policy == "once":
        (missed, _) = appliance.history()
        assert (missed.missed_count, missed.missed_since_ms) == (9, at("2027-01-11 01:30"))
    appliance.close()


def test_all_catches_up_the_latest_hundred_of_a_calendar(tmp_path: Path) -> None:
    stanzas = BERLIN.replace("sched {", "sched { catch_up = all")
    appliance = appliance_at("2027-01-10 12:00", tmp_path / "sched.db", stanzas)
    appliance.say('sched cron "* * * * *" pid')
    appliance.restart(DAY, stanzas)
    appliance.turn()
    missed, *runs = appliance.history()
    assert (missed.missed_count, missed.state, len(runs)) == (1340, "missed", 100)
    assert [run.due_ms for run in runs] == [at("2027-01-11 12:00") - back * MINUTE for back in reversed(range(100))]
    appliance.close()


def test_catch_up_within_counts_the_due_times_that_are_young_enough(tmp_path: Path) -> None:
    stanzas = BERLIN.replace("sched {", "sched { catch_up = all catch_up_within = 3d")
    appliance = appliance_at("2027-01-10 12:00", tmp_path / "sched.db", stanzas)
    appliance.say('sched calendar "Mon..Fri 02:30" pid')
    appliance.restart(10 * DAY, stanzas)
    appliance.turn()
    # The 18th was a Monday, more than two and less than three days ago.
    assert due_times(appliance) == [
        (5, at("2027-01-15 01:30"), "missed"),
        *((n, at(f"2027-01-{day} 01:30"), "succeeded") for n, day in ((6, 18), (7, 19), (8, 20))),
    ]
    appliance.close()


def test_ten_years_of_seconds_are_counted_at_once(appliance: Appliance) -> None:
    appliance.say('sched cron "* * * * * *" pid')
    appliance.after(3652 * DAY)
    missed, last = appliance.history()
    assert (missed.missed_count, last.due_ms) == (3652 * 86_400 - 1, at("2027-01-10 12:00") + 3652 * DAY)


NIGHTS = [
    (
        "2027-03-28 00:00",
        "2027-03-28 01:00",
        "2027-03-28T03:00:00+02:00",
        "02:30 is skipped by the clock on 2027-03-28",
    ),
    (
        "2027-10-30 23:00",
        "2027-10-31 00:30",
        "2027-10-31T02:30:00+02:00",
        "the clock shows 02:30 twice; this is the first time",
    ),
]


@pytest.mark.slow
@pytest.mark.parametrize(("begin", "due", "shown", "why"), NIGHTS)
def test_a_job_in_the_gap_runs_once_each_night_whenever_the_daemon_is_killed(
    tmp_path: Path, begin: str, due: str, shown: str, why: str
) -> None:
    """02:30 Europe/Berlin in both nights of 2027: a kill at each minute around the change, for 0, 1 or 90 minutes."""
    evening = tmp_path / "evening.db"
    appliance = appliance_at("2027-03-27 12:00" if "03-28" in due else "2027-10-30 12:00", evening)
    answer = appliance.ask('sched cron "30 2 * * *" pid')
    assert answer.note is not None and f"next at {shown}" in answer.note
    assert why in appliance.say(f"sched why {JOB}")
    clock = appliance.clock.moment()
    appliance.close()
    for minute in range(30, 130):
        path, minutes_down = tmp_path / f"{minute}.db", (0, 1, 90)[minute % 3]
        copyfile(evening, path)
        appliance = Appliance(path, BERLIN, clock=ManualClock(*clock))
        appliance.after(at(begin) + (minute - 1) * MINUTE - clock.wall)
        appliance.after(MINUTE)
        appliance.restart(minutes_down * MINUTE, BERLIN)
        appliance.turn()
        appliance.after(6 * HOUR)
        assert [run.due_ms for run in appliance.history(1)] == [at(due)], minute
        said = appliance.say(f"sched why {JOB}/1")
        assert shown in said and why in said
        appliance.close()


def test_a_rolling_job_follows_the_clock_through_both_nights() -> None:
    for begin, count in (("2027-03-28 00:00", 1), ("2027-10-31 00:00", 3)):
        appliance = appliance_at(begin)
        appliance.say('sched cron "15 * * * *" pid')
        for _ in range(3 * 60):
            appliance.after(MINUTE)
        hours = [run.due_ms for run in appliance.history()]
        assert hours == [at(begin) + 15 * MINUTE + hour * HOUR for hour in range(3)], count
        appliance.close()


@pytest.mark.parametrize("back", [2 * SECOND, MINUTE, HOUR, 25 * HOUR, 400 * DAY])
def test_a_clock_that_is_set_back_repeats_no_due_time_and_stalls_no_job(appliance: Appliance, back: int) -> None:
    appliance.say('sched cron "30 2 * * *" pid')
    appliance.say('sched cron "*/5 * * * *" pid')
    appliance.after(DAY)
    before = len(appliance.history(1)), len(appliance.history(2))
    appliance.clock.step(-back)
    appliance.after(SECOND)
    wait = next_run(appliance)
    assert wait is not None
    # A daily job that has run is not due again at once, and waits no longer than one day more.
    left = at("2027-01-12 01:30") - at("2027-01-11 12:00")
    assert left - back % DAY - SECOND <= wait - appliance.clock.moment().wall <= left + DAY
    runs = appliance.state.statistics.ended[RunState.SUCCEEDED]
    appliance.after(10 * MINUTE)
    assert len(appliance.history(1)) == before[0]
    # It waits one period more at most.
    assert appliance.state.statistics.ended[RunState.SUCCEEDED] == runs + 1
    assert len(appliance.history(2)) > before[1]


def test_a_clock_that_is_put_right_gives_the_old_due_times_back(appliance: Appliance) -> None:
    appliance.say('sched cron "30 2 * * *" pid')
    appliance.clock.step(-300 * DAY)
    appliance.after(MINUTE)
    assert next_run(appliance) != at("2027-01-11 01:30")
    appliance.clock.step(300 * DAY)
    appliance.after(MINUTE)
    assert next_run(appliance) == at("2027-01-11 01:30")
    assert "have their old due times again" in appliance.logged()


def zone_files(folder: Path, **zones: str) -> Machine:
    """A machine whose zones are copies of others."""
    for name, original in zones.items():
        copyfile(ZONEINFO / original, folder / name)
    return Machine(directories=(folder,), tz="Home", localtime=folder / "none", timezone=folder / "none")


LOCAL_TIMES = """
sched { zone = local }
job "once" { at = "2027-03-24 08:00" command = "pid" }
job "hourly" { every = 1h from = "2027-03-24 08:00" command = "pid" }
job "nightly" { cron = "0 8 * * *" from = "2027-03-24 08:00" command = "pid" }
job "fixed" { at = "2027-03-24 08:00 Home" command = "pid" }
"""


@pytest.mark.parametrize("overrides", [False, True])
def test_local_times_of_declared_jobs_follow_the_zone_of_the_machine(
    tmp_path: Path, appliance: Appliance, overrides: bool
) -> None:
    machine = zone_files(tmp_path, Home="Europe/Berlin", Away="America/New_York")
    appliance.turn(appliance.read(LOCAL_TIMES.replace(" Home", " Europe/Berlin")))
    if overrides:
        appliance.say("config set job once enabled yes")
    before = appliance.next_runs()
    version = appliance.state.version
    appliance.turn(ZonesChanged(Zones(replace(machine, directories=(tmp_path, ZONEINFO), tz="Away"))))
    assert appliance.next_runs() == [(n, at("2027-03-24 12:00")) for n in (1, 2, 3)] + [before[3]]
    assert "local times have other instants: jobs: 0 added, 3 changed, 0 removed, 1 unchanged" in appliance.logged()
    assert appliance.state.version == version + 1
    appliance.turn(ZonesChanged(Zones(replace(machine, directories=(tmp_path, ZONEINFO), tz="Away"))))
    assert appliance.state.version == version + 1, "nothing has changed again"


def test_a_zone_that_only_local_times_name_is_watched_and_stays_known(
    tmp_path: Path, appliance: Appliance, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = zone_files(tmp_path, Home="Europe/Berlin", Away="Asia/Tokyo")
    for module in (stanzas, references):
        monkeypatch.setattr(module, "this_machine", lambda: machine)
    appliance.turn(ZonesChanged(Zones(machine)))
    text = STANZAS + 'job "once" { at = "2027-03-24 08:00 Away" command = "pid" }\n'
    appliance.turn(appliance.read(text))
    (_, tokyo), zones = appliance.next_runs()[-1], appliance.state.schedules.zones
    assert tokyo == at("2027-03-23 23:00") and not zones.changed()
    (tmp_path / "Away").unlink()
    assert zones.changed()
    appliance.turn(ZonesChanged(lost := Zones(machine, zones)))
    assert appliance.next_runs()[-1][1] == tokyo, "the data that was read last"
    appliance.turn(ZonesChanged(Zones(machine)))
    assert appliance.next_runs()[-1][1] == tokyo, "nothing is known about the zone"
    zone_files(tmp_path, Away="America/New_York")
    appliance.turn(ZonesChanged(Zones(machine, lost)))
    assert appliance.next_runs()[-1][1] == at("2027-03-24 12:00")


def test_a_start_reads_the_zones_of_unchanged_local_times(tmp_path: Path) -> None:
    text = STANZAS + 'job "once" { at = "2027-03-24 08:00 Asia/Tokyo" command = "pid" }\n'
    appliance = appliance_at("2027-01-10 12:00", tmp_path / "sched.db", text)
    appliance.restart(MINUTE, text)
    assert "Asia/Tokyo" in appliance.state.schedules.zones._zones
    appliance.close()


def test_other_zone_data_moves_only_the_jobs_that_differ(tmp_path: Path, appliance: Appliance) -> None:
    machine = zone_files(tmp_path, Home="Europe/Berlin", Away="Asia/Tokyo")
    appliance.turn(ZonesChanged(Zones(machine)))
    for zone, when in (("Home", "30 2 * * *"), ("Away", "30 2 * * *"), ("Home", "*/15 * * * *")):
        appliance.say(f'sched cron "TZ={zone} {when}" pid')
    _, (_, away), (_, rolling) = appliance.next_runs()
    zone_files(tmp_path, Home="Europe/London")
    assert appliance.state.schedules.zones.changed()
    appliance.turn(ZonesChanged(Zones(machine)))
    assert appliance.next_runs() == [(1, at("2027-01-11 02:30")), (2, away), (3, rolling)]
    message = f"job {JOB}: next due 2027-01-11T02:30:00+00:00 (instead of 2027-01-11T01:30:00+00:00): time zone data"
    assert message in appliance.logged() and appliance.logged().count("next due") == 1


def test_a_job_that_other_zone_data_moves_behind_its_end_is_not_due_any_more(tmp_path: Path) -> None:
    machine = zone_files(tmp_path, Home="Europe/Berlin")
    job = 'job "night" { cron = "30 2 * * *" zone = local until = "2027-01-11T02:00:00Z" command = "pid" }\n'
    appliance = appliance_at("2027-01-10 12:00", None, STANZAS + job)
    appliance.turn(ZonesChanged(Zones(machine)))
    assert next_run(appliance) == at("2027-01-11 01:30")
    zone_files(tmp_path, Home="Europe/London")
    appliance.turn(ZonesChanged(Zones(machine)))
    assert appliance.next_runs() == [(1, None)]
    assert f"job {JOB}: not due any more (instead of 2027-01-11T01:30:00+00:00): time zone data" in appliance.logged()


def test_a_zone_that_is_gone_keeps_its_jobs_and_degrades_the_appliance(tmp_path: Path, appliance: Appliance) -> None:
    machine = zone_files(tmp_path, Home="Europe/Berlin")
    first = Zones(machine)
    appliance.turn(ZonesChanged(first))
    appliance.say('sched cron "TZ=Home 30 2 * * *" pid')
    (tmp_path / "Home").unlink()
    why = (
        "time zone `Home` is missing here: it is not in the time zone data; jobs go on with the data that was read last"
    )
    for logged in (1, 0):
        appliance.turn(ZonesChanged(Zones(machine, first)))
        assert appliance.logged().count(why) == logged
    assert appliance.data("health")["troubles"] == [why]
    assert appliance.data("summary")["degraded"] == why
    appliance.after(at("2027-01-11 01:30") - appliance.clock.moment().wall)
    assert due_times(appliance) == [(1, at("2027-01-11 01:30"), "succeeded")]
    zone_files(tmp_path, Home="Europe/Berlin")
    appliance.turn(ZonesChanged(Zones(machine)))
    assert appliance.data("health")["troubles"] == []


def test_a_zone_file_that_was_emptied_is_logged(tmp_path: Path, appliance: Appliance) -> None:
    """The package `tzdata` has no such zone."""
    machine = zone_files(tmp_path, Home="Europe/Berlin")
    appliance.turn(ZonesChanged(Zones(machine)))
    appliance.say('sched cron "TZ=Home 30 2 * * *" pid')
    (tmp_path / "Home").write_bytes(b"")
    appliance.turn(ZonesChanged(Zones(machine)))
    assert next_run(appliance) == at("2027-01-11 01:30")
    assert appliance.logged().count(f"{tmp_path}/Home: the time zone data is damaged") == 1


def test_a_due_time_that_has_come_stays_when_zone_data_changes(tmp_path: Path, appliance: Appliance) -> None:
    machine = zone_files(tmp_path, Home="Europe/Berlin")
    appliance.turn(ZonesChanged(Zones(machine)))
    appliance.say('sched cron "TZ=Home 30 2 * * *" pid')
    appliance.clock.advance(at("2027-01-11 01:40") - appliance.clock.moment().wall)
    zone_files(tmp_path, Home="Europe/London")
    appliance.turn(ZonesChanged(Zones(machine)))
    assert due_times(appliance) == [(1, at("2027-01-11 01:30"), "succeeded")]


def test_local_follows_the_machine_also_while_no_daemon_runs(tmp_path: Path) -> None:
    folder = tmp_path / "zones"
    folder.mkdir()
    machine = zone_files(folder, Home="Europe/Berlin", Away="Asia/Tokyo")
    appliance = appliance_at("2027-01-10 12:00", tmp_path / "sched.db", STANZAS)
    appliance.turn(ZonesChanged(Zones(machine)))
    appliance.say('sched cron "TZ=local 30 2 * * *" pid')
    assert next_run(appliance) == at("2027-01-11 01:30")
    moved = Machine(machine.directories, "Away", machine.localtime, machine.timezone)
    appliance.turn(ZonesChanged(Zones(moved)))
    assert next_run(appliance) == at("2027-01-10 17:30")
    meta = appliance.store.settings.meta
    assert (meta(LOCAL_ZONE), meta(ZONE_DATA)) == ("Away", "unknown") or meta(LOCAL_ZONE) == "Away"
    # The next daemon finds the machine in UTC.
    appliance.restart(MINUTE, STANZAS)
    assert next_run(appliance) == at("2027-01-11 02:30")
    appliance.close()


def test_a_job_whose_zone_is_missing_keeps_its_due_time_until_the_zone_is_back(
    tmp_path: Path, appliance: Appliance
) -> None:
    machine = zone_files(tmp_path, Home="Europe/Berlin", Away="Asia/Tokyo")
    appliance.turn(ZonesChanged(Zones(machine)))
    appliance.say('sched cron "TZ=Away 30 2 * * *" pid')
    due = next_run(appliance)
    (tmp_path / "Away").unlink()
    appliance.turn(ZonesChanged(Zones(machine)))
    assert next_run(appliance) == due
    assert "time zone `Away` is missing here" in appliance.say(f"sched why {JOB}")
    appliance.after(DAY)
    assert (next_run(appliance), appliance.history()) == (due, [])
    assert appliance.core.wake()[0] is None, "a job that cannot be claimed must not wake the daemon"
    assert f"job {JOB} cannot run: time zone `Away` is missing here" in appliance.logged()
    appliance.turn(AuditDue())
    assert appliance.history() == [] and "cannot run" not in appliance.logged()
    zone_files(tmp_path, Away="Asia/Tokyo")
    appliance.turn(AuditDue())
    # The loop asks after each turn when the next one is due.
    assert appliance.core.wake()[0] == due
    appliance.turn()
    assert due_times(appliance) == [(1, due, "succeeded")]


def test_a_failed_turn_undoes_new_zone_data(tmp_path: Path, appliance: Appliance) -> None:
    machine = zone_files(tmp_path, Home="Europe/Berlin")
    appliance.turn(ZonesChanged(Zones(machine)))
    appliance.say('sched cron "TZ=Home 30 2 * * *" pid')
    zone_files(tmp_path, Home="Europe/London")
    appliance.database.failing_commits = 1
    appliance.turn(ZonesChanged(Zones(machine)))
    assert next_run(appliance) == at("2027-01-11 01:30")
    appliance.after(2 * SECOND)
    assert next_run(appliance) == at("2027-01-11 02:30")


def test_a_paused_calendar_job_misses_its_due_times(appliance: Appliance) -> None:
    appliance.say('sched cron "30 2 * * *" pid')
    appliance.say(f"sched pause {JOB}")
    appliance.after(3 * DAY)
    said = appliance.say(f"sched resume {JOB}")
    assert "3 due times passed while it was paused" in said and "2027-01-14T02:30:00+01:00" in said
    assert due_times(appliance) == [(3, at("2027-01-13 01:30"), "missed")]


@pytest.mark.parametrize(
    "text", ['{"cron"', "{}", '{"cron":["99 2 * * *"],"zone":"UTC"}', '{"cron":["0 2 * * *"],"zone":5}']
)
def test_a_calendar_in_the_store_that_cannot_be_read_stops_only_its_job(appliance: Appliance, text: str) -> None:
    appliance.say('sched cron "30 2 * * *" pid')
    appliance.say('sched cron "30 2 * * *" pid')
    appliance.database.execute("UPDATE jobs SET schedule = ? WHERE number = 1", (text,))
    appliance.after(DAY)
    assert [run.key.job for run in appliance.history()] == [2]
    assert "its calendar in the store cannot be read" in appliance.say(f"sched why {JOB}")
