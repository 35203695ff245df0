"""Declared jobs compared with stored rows: what a new configuration adds, changes, removes and leaves unchanged."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from schedappliance.engine import declared as engine
from schedappliance.engine.boots import ThisBoot
from schedappliance.engine.declared import Boot, Reconciliation, first_due, new_job, schedule_text
from schedappliance.engine.records import CONFIG_USER, Job
from schedappliance.engine.schedule import Schedules
from schedappliance.model.calendars.zones import Machine, Zones
from schedappliance.model.configuration import DeclaredJob
from tests.support.core import configuration

NOW = 1_700_000_000_000
SCHEDULES = Schedules(Zones(Machine()), {})
BOOT = Boot(ThisBoot("b"), 0)
EVERY = "every = 60 offset = 7 command = pid"


def declared(body: str, name: str = "a") -> DeclaredJob:
    return configuration(f'job "{name}" {{ {body} }}\n').configuration.jobs[name]


def stored(job: DeclaredJob, number: int = 1, occurrence: int = 0) -> Job:
    new = new_job(job, NOW, SCHEDULES, BOOT)
    return Job(
        number,
        new.kind,
        new.next_run_ms,
        new.interval_ms,
        occurrence,
        new.command.text,
        new.command,
        new.user,
        new.origin,
        new.declared,
        new.schedule,
        new.enabled,
    )


def reconcile(wanted: Iterable[DeclaredJob], stored: Iterable[Job], now: int) -> Reconciliation:
    return engine.reconcile(wanted, stored, now, SCHEDULES, BOOT)


def test_a_new_declared_job_is_added_as_a_row() -> None:
    (new,) = reconcile([declared(EVERY)], [], NOW).added
    assert (new.user, new.origin, new.declared, new.kind) == (CONFIG_USER, "stanza", "a", "every")
    assert (new.next_run_ms, new.interval_ms) == (1_700_000_047_000, 60_000)


@pytest.mark.parametrize("body", [EVERY, "at = 1600000000 command = pid", "at = 1800000000 command = pid"])
def test_an_unchanged_job_is_left_alone(body: str) -> None:
    job = declared(body)
    changes = reconcile([job], [stored(job)], NOW + 10**9)
    assert (changes.added, changes.changed, changes.removed, changes.unchanged) == ((), (), (), 1)


def test_a_past_due_time_that_has_run_stays_done() -> None:
    job = declared("at = 1600000000 command = pid")
    assert reconcile([job], [stored(job)._replace(next_run_ms=None, occurrence=1)], NOW).unchanged == 1


@pytest.mark.parametrize(
    ("after", "next_run"),
    [
        ("every = 60 offset = 7 command = version", 1_700_000_047_000),
        ("every = 60 offset = 7 enabled = no command = pid", 1_700_000_047_000),
        ("every = 60 offset = 8 command = pid", 1_700_000_048_000 + 600_000),
        ("every = 3600 command = pid", 1_700_002_800_000),
        ("at = 1650000000 command = pid", 1_650_000_000_000),
    ],
)
def test_a_changed_job_keeps_its_phase_unless_its_times_have_changed(after: str, next_run: int) -> None:
    row = stored(declared(EVERY), number=7, occurrence=9)
    changes = reconcile([declared(after)], [row], NOW + 600_000)
    (change,) = changes.changed
    assert (change.job, change.new.command.text in after) == (row, True)
    assert (change.new.next_run_ms, change.job.occurrence) == (next_run, 9)
    assert (changes.added, changes.removed, changes.unchanged) == ((), (), 0)


OFF = "enabled = no "
# Delays by 143 seconds, so that three due times wait. By 83 seconds, the first of them would have ended at the change.
DELAYED = "cron = '* * * * *' zone = UTC spread = 150 command = pid"


@pytest.mark.parametrize(
    ("before", "after", "next_run"),
    [
        (OFF + EVERY, EVERY, 1_700_000_647_000),
        (OFF + EVERY, EVERY.replace("pid", "version"), 1_700_000_647_000),
        (OFF + EVERY, OFF + EVERY.replace("pid", "version"), 1_700_000_047_000),
        (EVERY, OFF + EVERY, 1_700_000_047_000),
        (OFF + "at = 1700000300 command = pid", "at = 1700000300 command = pid", None),
        (OFF + "at = 1700000900 command = pid", "at = 1700000900 command = pid", 1_700_000_900_000),
        (OFF + DELAYED, DELAYED.replace("150", "90"), 1_700_000_603_000),
    ],
)
def test_a_reenabled_job_gets_a_future_due_time(before: str, after: str, next_run: int | None) -> None:
    (change,) = reconcile([declared(after)], [stored(declared(before))], NOW + 600_000).changed
    assert (change.new.next_run_ms, change.new.enabled) == (next_run, not after.startswith(OFF))


def test_a_changed_time_schedules_a_done_job_again() -> None:
    done = stored(declared("at = 1600000000 command = pid"))._replace(next_run_ms=None, occurrence=1)
    (change,) = reconcile([declared("at = 1800000000 command = pid")], [done], NOW).changed
    assert change.new.next_run_ms == 1_800_000_000_000


def test_jobs_are_found_by_their_names() -> None:
    rows = [stored(declared(EVERY, name), number) for number, name in enumerate("abc", 1)]
    wanted = [declared(EVERY, "b"), declared(EVERY.replace("pid", "version"), "c"), declared(EVERY, "d")]
    changes = reconcile(wanted, rows, NOW)
    assert [job.declared for job in changes.added] == ["d"]
    assert [change.job.number for change in changes.changed] == [3]
    assert [job.number for job in changes.removed] == [1]
    assert str(changes) == "jobs: 1 added, 1 changed, 1 removed, 1 unchanged"


@pytest.mark.parametrize(
    ("body", "text", "due"),
    [
        (EVERY, "every 60000 offset 7000", 1_700_000_047_000),
        ("at = 1600000000 command = pid", "at 1600000000000", 1_600_000_000_000),
    ],
)
def test_the_times_of_a_job_have_one_text_and_one_first_due_time(body: str, text: str, due: int) -> None:
    assert (schedule_text(declared(body), {}, BOOT), first_due(declared(body), NOW, SCHEDULES, BOOT)) == (text, due)
