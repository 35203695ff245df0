"""The doubts of the linter about the calendars of declared jobs, at a fixed time."""

from __future__ import annotations

import pytest

from schedappliance.lint.calendars import CalendarDoubts
from schedappliance.lint.linter import Linter
from schedappliance.model.calendars.compiling import calendar_of
from schedappliance.model.calendars.rule import CalendarRule
from schedappliance.model.calendars.zones import Zones, this_machine
from schedappliance.model.loading import load
from tests.support.diagnostics import codes, pointed
from tests.support.memory_files import ROOT, held

# 2026-11-28T00:00:00Z
NOW_MS = 1_795_824_000_000
PROGRAM = 'program "p" { argv = ( "/bin/true" ) timeout = 10m }\n'


def doubts(text: str) -> list[tuple[str, str]]:
    configuration = load(ROOT, held({"sched.conf": text})).configuration
    return [(one.code, pointed(one)) for one in CalendarDoubts(configuration, Zones(this_machine()), NOW_MS)]


def job(options: str, zone: str = "Europe/Berlin") -> str:
    return f'{PROGRAM}job "j" {{ {options} zone = {zone} command = "run p" }}'


def digest(at: str) -> str:
    return f'{PROGRAM}notify "ops" {{ at = "{at}" command = "run p" }}'


@pytest.mark.parametrize("at", ["2099-01-01 08:00 UTC", "08:00 UTC", "2020-01-01 08:00 Mars/Base"])
def test_a_digest_that_is_due_is_not_doubted(at: str) -> None:
    assert doubts(digest(at)) == []


@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        (job('cron = "0 0 1 * MON"'), "W414", "1 * MON"),
        (job("cron = '0 0 */2 * MON'"), "W414", "*/2 * MON"),
        (job('cron = "*/30 2 * * *"'), "W415", "*/30 2 * * *"),
        (job('cron = "30 2 * * *" dst_repeated = both'), "W415", "30 2 * * *"),
        (job('cron = "0 */35 * * *"', "UTC"), "W416", "*/35"),
        (job('calendar = ( "08:00" "*-*-1/2 09:00" )'), "W416", "1/2"),
        (job('cron = "*/15 0 8 * * *" dst_skipped = run', "UTC"), "W417", "*/15"),
        (job('cron = "0 8 ? * 2"'), "W418", "2"),
        (job('cron = "0 8 31 * *"'), "W421", "31"),
        (job('calendar = "*-*-29 08:00"'), "W421", "29"),
        (job('cron = "*/15 * * * *" spread = 15m'), "W420", "15m"),
        (job('cron = "*/15 * * * *" jitter = 20m'), "W420", "20m"),
        (job('every = 15m within = "08:00..18:00" spread = 15m'), "W420", "15m"),
        (job('cron = "*/5 * * * *"'), "W404", "10m"),
        (job('cron = ( "0 8 * * *" "5 8 * * *" )'), "W404", "10m"),
        (job('every = 5m within = "08:00..18:00"'), "W404", "10m"),
        ('days "d" { dates = ( "2026-12-24" "2027-01-06" ) }', "W419", 'days "d"'),
        ('days "d" { dates = "2020-12-24" }', "W419", 'days "d"'),
        (job('calendar = ( "2020-12-24" "2024-*-* 08:00" )'), "W423", '( "2020-12-24" "2024-*-* 08:00" )'),
        (job("every = 15m within = 0:00..8:00 until = 2026-11-27T23:59:00Z"), "W423", "2026-11-27T23:59:00Z"),
        (job('cron = "0 8 31 10 *" until = 2026-11-29T00:00:00Z'), "W423", '"0 8 31 10 *"'),
        (digest("2020-01-01 08:00 UTC"), "W423", '"2020-01-01 08:00 UTC"'),
        (job('calendar = "08:00..18:00"'), "W424", "08:00..18:00"),
        (job('cron = "* 2 * * *"', "UTC"), "W426", "*"),
        (job('cron = "* 2,14 * * 1-5"', "UTC"), "W426", "*"),
        (job('calendar = "20:00 America/New_York" until = 2026-11-25'), "W423", "2026-11-25"),
        (job('calendar = "Mon 08:00" each = 2w'), "W427", "2w"),
    ],
)
def test_a_doubt_points_at_its_place(text: str, code: str, place: str) -> None:
    reported = doubts(text)
    assert (code, place) in reported
    assert {other for other, _ in reported} <= {code, "W404", "W416"}


@pytest.mark.parametrize(
    ("times", "lists", "kept"),
    [
        ('calendar = "08:00" each = 3d', '"2026-12-01" "2026-12-02"', "previous"),
        ('calendar = "08:00" each = 3d', '"2026-12-01" "2026-12-02"', "next"),
        ('calendar = "Sun 08:00" each = 2w', '"2026-12-06"', "next"),
        ('calendar = "Mon 08:00" each = 2w', '"2026-11-30"', "previous"),
        ('calendar = "*-*~1 08:00" each = 5mo', '"2026-12-31"', "next"),
        ('calendar = "*-01-01 08:00" each = 2y', '"2028-01-01"', "previous"),
    ],
)
def test_the_day_to_count_from_keeps_the_due_days_that_are_moved(times: str, lists: str, kept: str) -> None:
    """The day to which one was moved begins another count, and a due day that is moved back is before its own `from`."""
    days = f"\ndays x {{ dates = ( {lists} ) }}"

    def due_times(more: str) -> tuple[list[int], list[str]]:
        text = job(f"{times} except = x move = {kept} {more}") + days
        configuration = load(ROOT, held({"sched.conf": text})).configuration
        zones, rule = Zones(this_machine()), configuration.jobs["j"].schedule
        assert isinstance(rule, CalendarRule)
        calendar = calendar_of(rule, zones, configuration.days)
        due_ms, found = NOW_MS, list[int]()
        for _ in range(5):
            due_ms = calendar.next_after(due_ms) or 0
            found.append(due_ms)
        return found, [
            doubt.help or "" for doubt in CalendarDoubts(configuration, zones, NOW_MS) if doubt.code == "W427"
        ]

    before, (remedy,) = due_times("")
    assert due_times(remedy.split("`")[1]) == (before, [])


def test_the_last_due_time_of_an_interval_is_shown_in_the_zone_of_sched() -> None:
    text = f'sched {{ zone = "Asia/Tokyo" }}\n{PROGRAM}job "j" {{ every = 1h until = 2020-01-01 command = "run p" }}'
    configuration = load(ROOT, held({"sched.conf": text})).configuration
    (doubt,) = CalendarDoubts(configuration, Zones(this_machine()), NOW_MS)
    assert doubt.message == "it is not due any more: its last due time was 2020-01-01T23:00:00+09:00"


@pytest.mark.parametrize(
    "text",
    [
        job('cron = "30 2 * * *" spread = 20m'),
        job('cron = "30 2 * * *" dst_skipped = omit'),
        job('cron = "15 8-17 * * *"'),
        job('calendar = "Mon 08:00" each = 2w from = 2026-11-30'),
        job('calendar = "00:30 Asia/Tokyo" each = 3d from = 2026-12-03'),
        job('calendar = "20:00 America/New_York" until = 2026-12-02'),
        job('calendar = "*-*-1 08:00" each = 3mo'),
        job('cron = "*/15 * * * *" jitter = 4m'),
        job('cron = ( "0 8 * * *" "15 8 * * *" )'),
        job('calendar = "Mon..Fri 07:00" except = w') + '\ndays w { dates = "Sat..Sun" }',
        job('every = 15m within = "08:00..18:00"'),
        'days "d" { dates = ( "2026-12-24" "2027-03-06" ) }',
        'days "d" { dates = ( "2020-12-24" "*-01-01" ) }',
        "days d { dates = ( ) }",
        job('calendar = ( "2020-12-24 08:00" "2027-*-* 08:00" )'),
        job('cron = "0 8 1 10 *" until = 2027-11-29T00:00:00Z'),
    ],
)
def test_ordinary_calendars_raise_no_doubt(text: str) -> None:
    assert doubts(text) == []


@pytest.mark.parametrize(
    "text",
    [
        job('cron = "*/30 2 * * *"', "Europe/Berln"),
        'job "j" { cron = "*/30 2 * * *" command = pid }',
        job('cron = "*/30 2 * * *" except = unknown'),
        job('cron = "*/30 2 * * 9"'),
    ],
)
def test_a_job_with_a_mistake_is_not_doubted_too(text: str) -> None:
    assert doubts(text) == []


def test_an_ignore_of_a_doubt_is_used_by_the_linter_and_not_unused_elsewhere() -> None:
    lines = ("# lint: ignore[W421] the last days", 'job "j" { cron = "0 8 31 * *" zone = UTC command = pid }')
    files = held({"sched.conf": "\n".join(lines)})
    assert codes(Linter(read_file=files, now_ms=NOW_MS).lint(ROOT)) == []
    assert codes(load(ROOT, files).shown()) == []
    text = lines[0] + "\n" + lines[1].replace("31", "1")
    unused = held({"sched.conf": text, "appliance.yaml": "config: sched.conf\n"})
    linter = Linter(ROOT.parent / "appliance.yaml", unused, now_ms=NOW_MS)
    assert codes(linter.lint(ROOT)) == ["W405"]


def test_a_file_alone_may_get_its_zone_and_its_days_from_others() -> None:
    alone = held({"sched.conf": 'job "j" { cron = "0 8 * * *" except = "holidays" command = pid }'})
    assert codes(Linter(read_file=alone, now_ms=NOW_MS).lint(ROOT)) == []
    assert codes(load(ROOT, alone).diagnostics) == ["E311", "E205"]


def test_a_calendar_that_is_due_once_in_centuries_is_judged_at_once() -> None:
    """The next 1,000 due times of such a calendar took six seconds."""
    rare = job(
        'calendar = ( "08:00 UTC" "09:00 Asia/Tokyo" ) each = 1000y from = 1970-01-01T00:00:00Z nth = -1 spread = 1d'
    )
    assert doubts(rare.replace(" zone = Europe/Berlin", "")) == []


@pytest.mark.parametrize("schedule", ["every = 5m", 'cron = "*/5 * * * *" zone = UTC'])
def test_a_long_timeout_is_doubted_by_what_happens_to_the_next_run(schedule: str) -> None:
    remedies = {}
    for overlap in ("skip", "queue", "replace", "parallel"):
        text = f'job "j" {{ {schedule} argv = ( "/bin/true" ) timeout = 10m overlap = {overlap} }}'
        reported = Linter(read_file=held({"sched.conf": text, "appliance.yaml": "config: sched.conf\n"}), now_ms=NOW_MS)
        reported.config = ROOT.parent / "appliance.yaml"
        doubted = [one for one in reported.lint(ROOT) if one.code == "W404"]
        remedies[overlap] = [(one.help or "").rpartition(", ")[2] for one in doubted]
    assert remedies["skip"] == ["the next one is skipped"]
    assert remedies["queue"] == ["and those after it are skipped"]
    assert remedies["replace"] == ["the next one ends it"]
    assert remedies["parallel"] == []


def test_a_long_timeout_from_defaults_is_reported_at_the_job() -> None:
    text = 'defaults { timeout = 10m }\njob "j" { cron = "*/5 * * * *" zone = UTC argv = ( "/bin/true" ) }'
    configuration = load(ROOT, held({"sched.conf": text})).configuration
    (doubt,) = CalendarDoubts(configuration, Zones(this_machine()), NOW_MS)
    (related,) = doubt.related
    assert (pointed(doubt), related.source.text[related.span.start : related.span.end]) == ('job "j"', "10m")


def test_a_file_alone_is_judged_if_it_has_the_zone_and_the_days() -> None:
    never = 'job "j" { cron = "0 8 * * MON" only = d command = pid }\ndays d { dates = "Tue" }\n'
    linter = Linter(read_file=held({"sched.conf": never + "sched { zone = UTC }"}), now_ms=NOW_MS)
    assert codes(linter.lint(ROOT)) == ["E214"]
    assert len(linter.notes) == 1
    linter = Linter(read_file=held({"sched.conf": never}), now_ms=NOW_MS)
    assert codes(linter.lint(ROOT)) == []
    assert "due times of 1 job are not checked" in linter.notes[1]


@pytest.mark.parametrize("date", ["2026-02-30", "*-02-30", "2027-02-29", "*-04-31"])
def test_a_date_that_does_not_exist_is_an_error_at_its_place(date: str) -> None:
    loaded = load(ROOT, held({"sched.conf": f'days "d" {{ dates = ( "*-02-29" "{date}" ) }}'}))
    assert [(one.code, pointed(one)) for one in loaded.diagnostics] == [("E214", f'"{date}"')]
