"""The incident of a job that is gone or switched off: a run that goes on still counts, and then the incident ends."""

from __future__ import annotations

import re

import pytest

from schedappliance.engine.records import RunKey
from tests.core.test_alerts import end_all, files, told
from tests.support.core import MINUTE, SECOND, Appliance, ended

# Due at 22:14 and 22:15. The tests begin at 22:13:20.
TWICE = 'sched calendar "2023-11-14 22:14,15 UTC" run p'
FIRST, LAST = RunKey(2, 1), RunKey(2, 2)
# Job 1 is that of the files, which runs once in 30 days here.
OPTIONS = 'jobs = "p" when = ( failed missed late recovered ) again = 0'


def begin(appliance: Appliance, notify: str = OPTIONS) -> str:
    """The first run of a job has failed, and its last one runs. So the job is gone. Returns the stanzas."""
    text = seldom(appliance, notify)
    appliance.say(TWICE)
    appliance.after(40 * SECOND)
    appliance.turn(ended(FIRST, 1))
    end_all(appliance)
    appliance.after(MINUTE)
    assert appliance.store.jobs.get(2) is None and LAST in appliance.state.running
    return text


def seldom(appliance: Appliance, notify: str, more: str = "") -> str:
    text = files(notify, more=more).replace("every = 1m", "every = 30d")
    appliance.turn(appliance.read(text))
    return text


def kinds(appliance: Appliance) -> list[str]:
    return [re.sub(" \\(.*| after.*", "", summary.split(" ", 1)[1]) for summary in told(appliance)]


def test_a_last_run_that_succeeds_is_told_as_recovery(either: Appliance) -> None:
    begin(either)
    either.turn(ended(LAST))
    end_all(either)
    assert kinds(either) == ["failed: exit status 1", "recovered"]
    assert (either.store.incidents.all(), either.state.has_incidents) == ([], False)


@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_last_run_that_fails_counts_in_the_incident_of_its_job(either: Appliance, after: int) -> None:
    begin(either, f"{OPTIONS} after = {after}")
    (incident,) = either.store.incidents.all()
    either.turn(ended(LAST, 3))
    end_all(either)
    assert kinds(either) == [["failed: exit status 1"], ["failed: exit status 3"], []][after - 1]
    assert either.store.incidents.all() == [], incident


def test_a_last_run_that_is_stopped_ends_the_incident(either: Appliance) -> None:
    begin(either)
    either.say("sched stop example.com-000000002/2")
    either.turn(ended(LAST, signal=15))
    end_all(either)
    assert (kinds(either), either.store.incidents.all()) == (["failed: exit status 1"], [])


def test_a_last_due_time_that_passes_in_a_pause_ends_the_incident(either: Appliance) -> None:
    seldom(either, OPTIONS)
    either.say(TWICE)
    either.after(40 * SECOND)
    either.turn(ended(FIRST, 1))
    end_all(either)
    either.say("sched pause example.com-000000002")
    either.after(10 * MINUTE)
    either.say("sched resume example.com-000000002")
    end_all(either)
    assert either.store.incidents.all() == []


def test_last_runs_that_end_when_they_are_claimed_together_are_in_one_incident(appliance: Appliance) -> None:
    text = seldom(appliance, 'jobs = "p" when = ( failed ) again = 0', "sched { catch_up = all }\n")
    appliance.say('sched calendar "2023-11-14 22:14,15,16 UTC" run p')
    appliance.after(40 * SECOND)
    appliance.turn(ended(FIRST, 1))
    end_all(appliance)
    appliance.restart(10 * MINUTE, text.replace('program "p"', 'program "q"').replace('run p"', 'run q"'))
    appliance.turn()
    appliance.after(MINUTE)
    end_all(appliance)
    assert (kinds(appliance), appliance.store.incidents.all()) == (["failed: exit status 1"], [])


def test_a_last_due_time_that_is_missed_ends_the_incident(appliance: Appliance) -> None:
    text = seldom(appliance, OPTIONS, "sched { catch_up = none }\n")
    appliance.say(TWICE)
    appliance.after(40 * SECOND)
    appliance.turn(ended(FIRST, 1))
    assert len(appliance.store.incidents.all()) == 1
    appliance.restart(10 * MINUTE, text)
    appliance.turn()
    assert (appliance.states(2), appliance.store.incidents.all()) == ([(2, 1, "failed"), (2, 2, "missed")], [])


def test_the_incident_outlasts_a_reload_and_a_reminder_until_the_last_run_has_ended(appliance: Appliance) -> None:
    text = begin(appliance, OPTIONS.replace("again = 0", "again = 1h"))
    appliance.turn(appliance.read(text + "# Edited.\n"))
    appliance.after(60 * MINUTE)
    end_told(appliance)
    appliance.restart(SECOND, text)
    assert kinds(appliance) == ["failed: exit status 1", "still failed: exit status 1"]
    appliance.turn(ended(LAST))
    assert appliance.store.incidents.all() == []


def end_told(appliance: Appliance) -> None:
    appliance.turn(*[ended(key) for key in appliance.state.running if key != LAST])


def test_a_reload_that_watches_the_program_no_more_ends_the_incident(appliance: Appliance) -> None:
    begin(appliance)
    seldom(appliance, OPTIONS.replace('"p"', '"other"'))
    assert appliance.store.incidents.all() == []


OWN = 'job "own" { every = 30d argv = ( "/bin/own" ) }\n'
CHANGES = {
    "switched off": OWN.replace("30d", "30d enabled = no"),
    "no longer declared": "",
}


@pytest.mark.parametrize("change", CHANGES)
def test_no_incident_of_a_run_that_outlasts_a_change_of_its_job_stays_open(either: Appliance, change: str) -> None:
    """It stayed open until a restart or for ever, as no run could recover the job."""
    text = seldom(either, 'jobs = "own" again = 0', OWN)
    either.say("sched run own")
    either.turn(either.read(text.replace(OWN, CHANGES[change])))
    either.turn(ended(FIRST, 1))
    end_all(either)
    assert told(either) == ["own failed: exit status 1"]
    assert (either.store.incidents.all(), either.state.has_incidents) == ([], False)


def test_a_run_of_a_program_that_its_job_runs_no_more_leaves_no_incident(either: Appliance) -> None:
    text = seldom(either, 'jobs = "p" again = 0')
    either.say("sched run j")
    either.turn(either.read(text.replace('command = "run p"', 'command = "run tell"')))
    either.turn(ended(RunKey(1, 1), 1))
    end_all(either)
    assert (told(either), either.store.incidents.all()) == (["j failed: exit status 1"], [])


def test_a_job_that_is_off_has_no_incident_after_a_run_by_hand(either: Appliance) -> None:
    text = seldom(either, "again = 0")
    either.turn(either.read(text.replace("every = 30d", "every = 30d enabled = no")))
    for occurrence in (1, 2):
        either.say("sched run j")
        either.turn(ended(RunKey(1, occurrence), 1))
        end_all(either)
    assert told(either) == ["j failed: exit status 1"] * 2
    assert either.store.incidents.all() == []


def test_a_run_of_a_job_that_is_off_is_late_and_leaves_no_incident(either: Appliance) -> None:
    seldom(either, "when = ( late failed ) again = 0")
    for occurrence in (1, 2, 3):
        either.say("sched run j")
        either.turn(ended(RunKey(1, occurrence)))
    either.say("sched run j")
    either.say("config set job j enabled no")
    either.after(20 * MINUTE)
    assert [kind.partition(":")[0] for kind in kinds(either)] == ["late"]
    assert either.store.incidents.all() == []
    either.turn(ended(RunKey(1, 4), 1))
    end_all(either)
    assert kinds(either)[1:] == ["failed: exit status 1"]
    assert either.store.incidents.all() == []


def test_an_incident_of_a_program_ends_when_the_program_is_no_longer_declared(either: Appliance) -> None:
    more = 'program "q" { argv = ( "/bin/q" ) }\n'
    text = seldom(either, 'jobs = "q" again = 0', more)
    either.say("run q")
    either.turn(ended(FIRST, 1))
    end_all(either)
    assert [incident.subject.name for incident in either.store.incidents.all()] == ["q"]
    either.turn(either.read(text.replace(more, "")))
    assert either.store.incidents.all() == []
