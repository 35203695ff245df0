"""Calendars of declared jobs in a running appliance: what keeps and what moves their due times, and policies of one job."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.support.core import MINUTE, SECOND, Appliance

HOUR = 60 * MINUTE
DAY = 24 * HOUR

FILES = """\
sched { zone = "Europe/Berlin" }
days "holidays" { dates = ( "*-01-01" "*-12-25..26" ) }
job "report" { cron = "0 7 * * 1-5" except = "holidays" command = "version" }
"""
OTHER = 'job "poll" { every = 15m within = "08:00..18:00" spread = 5m command = "version" }\n'


@pytest.fixture
def appliance(tmp_path: Path) -> Iterator[Appliance]:
    appliance = Appliance(tmp_path / "sched.db", FILES)
    yield appliance
    appliance.close()


def planned(appliance: Appliance, name: str = "report", count: int = 3) -> list[Any]:
    return [row["due_ms"] for row in appliance.data(f"sched next {name} {count}")["next"]]


def shown(appliance: Appliance, name: str, count: int = 3) -> list[str]:
    return [line.partition("\t")[0] for line in appliance.say(f"sched next {name} {count}").splitlines()]


def test_another_spelling_changes_nothing(appliance: Appliance) -> None:
    before = planned(appliance)
    appliance.turn(appliance.read(FILES.replace("1-5", "MON-FRI").replace('"*-12-25..26"', '"*-12-25,26"')))
    assert "1 unchanged" in appliance.logged()
    assert planned(appliance) == before


@pytest.mark.parametrize(
    ("before", "after"),
    [("0 7", "30 7"), ("Europe/Berlin", "Asia/Tokyo"), ("*-01-01", "*-01-02"), ("except =", "spread = 1h except =")],
)
def test_another_calendar_gives_the_first_due_time_from_now_on(appliance: Appliance, before: str, after: str) -> None:
    appliance.turn(appliance.read(FILES.replace(before, after)))
    assert "1 changed" in appliance.logged()
    assert all(due > appliance.clock.moment().wall for due in planned(appliance))


def test_the_zone_of_sched_can_be_set_on_the_console(appliance: Appliance) -> None:
    assert shown(appliance, "report", 1)[0].endswith("T07:00:00+01:00")
    assert appliance.say("config eval job report zone") == '        zone = "Europe/Berlin"  # from sched'.replace(
        '"', ""
    )
    appliance.say("config set sched zone Asia/Tokyo")
    assert shown(appliance, "report", 1)[0].endswith("T07:00:00+09:00")
    appliance.say("config set job report zone UTC")
    assert appliance.say("config eval job report zone") == "        zone = UTC"
    appliance.restart(stanzas=FILES)
    assert shown(appliance, "report", 1)[0].endswith("T07:00:00+00:00")
    appliance.say("config unset job report")
    appliance.say("config unset sched")
    assert shown(appliance, "report", 1)[0].endswith("T07:00:00+01:00")


@pytest.mark.parametrize(
    ("options", "note"),
    [
        ("until = 2030-01-01T00:00:00Z", "until 2030-01-01T09:00:00+09:00"),
        ("from = 2020-01-01T00:00:00Z", "from 2020-01-01T09:00:00+09:00"),
        ("spread = 20m", ":00 plus "),
        ("jitter = 20m", ":00 plus "),
    ],
)
def test_an_interval_is_shown_in_the_zone_of_sched_which_decides_nothing(
    appliance: Appliance, options: str, note: str
) -> None:
    """It was shown in UTC, which nobody has written."""
    files = f'sched {{ zone = "Asia/Tokyo" }}\njob "poll" {{ every = 1h {options} command = "version" }}\n'
    appliance.turn(appliance.read(files))
    before, hour = planned(appliance, "poll"), shown(appliance, "poll", 1)[0][11:13]
    text = "".join(appliance.say(f"sched {command} poll") for command in ("next", "show", "why"))
    assert "+09:00" in text and "+00:00" not in text and "UTC" not in text
    assert f"{hour if note.startswith(':') else ''}{note}" in text
    assert appliance.data("sched show poll")["zone"] is None
    appliance.turn(appliance.read(files.replace("Asia/Tokyo", "Europe/Berlin")))
    assert "1 unchanged" in appliance.logged()
    assert planned(appliance, "poll") == before
    assert shown(appliance, "poll", 1)[0].endswith("+01:00")


def test_expressions_and_days_can_be_set_on_the_console(appliance: Appliance) -> None:
    appliance.say('config set job report cron "0 12 24,25 12 *"')
    assert shown(appliance, "report", 1) == ["2023-12-24T12:00:00+01:00"]
    assert appliance.say("config get job report cron") == '        cron = "0 12 24,25 12 *"'
    appliance.say('config set days holidays dates ( "*-12-24" )')
    assert shown(appliance, "report", 1) == ["2023-12-25T12:00:00+01:00"]
    assert "dates = (\n" in appliance.say("config show days holidays")
    appliance.say('config set job report cron ( "0 12 24 12 *" "0 13 26 12 *" )')
    assert shown(appliance, "report", 1) == ["2023-12-26T13:00:00+01:00"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('config set job report cron "0 25 * * *"', "hour 25 is out of range"),
        ("config set job report calendar 07:00", "has both `cron` and `calendar`"),
        ("config set job report zone Europe/Berln", "unknown time zone `Europe/Berln`"),
        ("config set job report except holydays", "days `holydays` are not declared; did you mean `holidays`?"),
        ('config set job report cron "0 0 30 2 *"', "never due: no February has such a day"),
        ("config set job report within 08:00..09:00", "never due: no due time is in `within`"),
        ('config set days holydays dates "*-01-01"', "not declared"),
        ("config set days holidays dates Mon..Sun", "never due: every due day is a day in `except`"),
        ("config set days holidays dates 13-13", "month 13 is out of range"),
    ],
)
def test_a_wrong_value_is_rejected(appliance: Appliance, line: str, message: str) -> None:
    before = planned(appliance)
    assert message in appliance.error(line)
    assert planned(appliance) == before


def test_an_interval_within_windows_is_planned_explained_and_kept(appliance: Appliance) -> None:
    appliance.turn(appliance.read(FILES + OTHER))
    due = planned(appliance, "poll", 100)
    assert {after - before for before, after in pairwise(due)} == {
        15 * MINUTE,
        14 * HOUR + 15 * MINUTE,
    }
    (delay,) = {one % (15 * MINUTE) for one in due}
    assert 0 <= delay < 5 * MINUTE
    why = appliance.say("sched why poll")
    assert "`every 900` in Europe/Berlin, within `08:00..18:00`, plus a fixed delay of less than 5m; " in why
    assert "of its own (spread)" in why
    meaning = "every 15 minutes, Europe/Berlin, within `08:00..18:00`, plus a fixed delay of less than 5m"
    assert f"when: {meaning}\n" in appliance.say("sched show poll")
    assert appliance.data("sched show poll")["words"] == appliance.data("sched why poll")["words"] == meaning
    appliance.restart(stanzas=FILES + OTHER)
    assert planned(appliance, "poll", 100) == due
    appliance.turn(appliance.read(FILES + OTHER.replace("15m", "900")))
    assert planned(appliance, "poll", 100) == due


def test_why_names_all_options_that_decide(appliance: Appliance) -> None:
    month_end = 'job "end" { calendar = "Mon..Fri 09:00" except = holidays nth = 3 command = "version" }\n'
    appliance.turn(appliance.read(FILES + month_end))
    options = "not on days in `holidays`, of these the third in each month"
    assert f": `Mon..Fri *-*-* 09:00:00` in Europe/Berlin, {options}" in appliance.say("sched why end")


def test_due_times_after_the_last_date_of_a_list_are_marked(appliance: Appliance) -> None:
    """A later date may be missing there. A list with dates for each year has no end."""
    job = 'job "pay" { cron = "30 23 * * *" except = ( "holidays" "closed" ) spread = 59m command = "version" }\n'
    appliance.turn(appliance.read(FILES + 'days "closed" { dates = ( "2023-11-16" "2023-10..11-17" ) }\n' + job))
    notes = {row["due_ms"]: row["note"] for row in appliance.data("sched next pay 4")["next"]}
    delays = [note.partition("; ")[0] for note in notes.values()]
    assert all(delay.endswith("of its own (spread)") for delay in delays)
    ended = "after the last date of `closed`, 2023-11-17"
    assert [note.partition("; ")[2] for note in notes.values()] == ["", "", ended, ended]
    assert appliance.say("sched next pay 4").count(ended) == 2
    assert ended not in appliance.say("sched next report 30")
    assert ended not in appliance.say("sched why pay")
    appliance.after(4 * DAY)
    assert ended in appliance.say("sched why pay")
    appliance.turn(appliance.read(FILES + 'days "closed" { dates = ( "2023-11-16" "2024-11-17" ) }\n' + job))
    assert "after the last date" not in appliance.say("sched next pay 3")


def test_after_until_a_job_is_done(appliance: Appliance) -> None:
    job = 'job "last" { calendar = "*:*" until = 2023-11-14T22:15:00Z command = "version" }\n'
    appliance.turn(appliance.read(FILES + job))
    appliance.after(10 * MINUTE)
    assert planned(appliance, "last") == []
    over = "it does not run again: `until` has passed, and its last due time was 1700000100 (2023-11-14T23:15:00+01:00)"
    assert appliance.say("sched why last").splitlines()[0] == appliance.say("sched next last") == over
    assert [run.due_ms % MINUTE for run in appliance.history() if run.command == "version"][:1] == [0]
    appliance.restart(stanzas=FILES + job)
    assert planned(appliance, "last") == []


def test_a_job_whose_time_is_over_names_its_last_due_time(appliance: Appliance) -> None:
    """The files load: time alone must not make them wrong."""
    appliance.turn(appliance.read(FILES + 'job "old" { calendar = "2020-01-01" command = "version" }\n'))
    over = "it does not run again: its last due time was 1577833200 (2020-01-01T00:00:00+01:00)"
    assert appliance.say("sched why old") == over
    assert appliance.data("sched show old")["state"] == "done"


CATCH_UP = """\
sched { catch_up = all }
job "all" { every = 60 command = "version" }
job "once" { every = 60 catch_up = once command = "pid" }
job "none" { cron = "* * * * *" zone = UTC catch_up = none command = "summary" }
job "young" { every = 60 catch_up_within = 90 command = "help" }
"""


def caught_up(appliance: Appliance) -> dict[str, int]:
    """How many due times of the downtime ran, by command."""
    counts: dict[str, int] = {}
    for run in appliance.history():
        counts[run.command] = counts.get(run.command, 0) + (run.state == "succeeded")
    return counts


def test_a_job_has_its_own_catch_up_after_a_restart(tmp_path: Path) -> None:
    appliance = Appliance(tmp_path / "sched.db", CATCH_UP)
    appliance.restart(10 * MINUTE + 5 * SECOND, CATCH_UP)
    appliance.turn()
    assert caught_up(appliance) == {"version": 10, "pid": 1, "summary": 0, "help": 2}
    assert appliance.say("config eval job none catch_up") == "        catch_up = none"
    assert appliance.say("config eval job all catch_up") == "        catch_up = all  # from sched"
    appliance.close()


def test_an_override_of_catch_up_counts_after_a_restart(tmp_path: Path) -> None:
    appliance = Appliance(tmp_path / "sched.db", CATCH_UP)
    appliance.say("config set job all catch_up none")
    appliance.restart(10 * MINUTE + 5 * SECOND, CATCH_UP)
    appliance.turn()
    assert caught_up(appliance)["version"] == 0
    appliance.close()


def test_a_job_that_the_files_no_longer_declare_is_not_caught_up(tmp_path: Path) -> None:
    appliance = Appliance(tmp_path / "sched.db", CATCH_UP)
    appliance.restart(DAY, CATCH_UP.replace('job "all" { every = 60 command = "version" }\n', ""))
    appliance.turn()
    (missed,) = [run for run in appliance.history() if run.command == "version"]
    assert (missed.state, missed.missed_count) == ("missed", 24 * 60)
    assert missed.reason == "the stanza files do not declare the job any more"
    appliance.close()


def test_a_job_that_the_files_switch_off_is_not_caught_up(tmp_path: Path) -> None:
    appliance = Appliance(tmp_path / "sched.db", CATCH_UP)
    off = CATCH_UP.replace('job "all" { every = 60', 'job "all" { enabled = no every = 60')
    for _ in range(2):
        appliance.restart(DAY, off)
        appliance.turn()
        (missed,) = [run for run in appliance.history() if run.command == "version"]
        assert (missed.state, missed.missed_count) == ("missed", 24 * 60)
        assert missed.reason == "the job was switched off while it waited"
    appliance.close()
