"""`sched cron|calendar|next` and the times of `sched at`: answers as text and data, and rejections."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from schedappliance.commands.calendar import MOST_STORED
from schedappliance.engine.records import Job
from schedappliance.engine.schedule import Schedules
from schedappliance.model.calendars.zones import Machine, Zones
from tests.support.core import SECOND, STANZAS, START_MS, Appliance

# 2023-11-14T23:13:20+01:00
BERLIN = f'sched {{ zone = "Europe/Berlin" }}\n{STANZAS}'
ONE = "example.com-000000001"


@pytest.fixture
def appliance() -> Iterator[Appliance]:
    opened = Appliance(None, BERLIN)
    yield opened
    opened.close()


@pytest.fixture
def without_zone() -> Iterator[Appliance]:
    opened = Appliance(None, STANZAS)
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("line", "due", "note"),
    [
        ('sched cron "30 2 * * *" pid', 1_700_011_800, "next at 2023-11-15T02:30:00+01:00 (in 3 h 16 min)"),
        ("sched cron @daily pid", 1_700_002_800, "next at 2023-11-15T00:00:00+01:00 (in 46 min 40 s)"),
        ('sched cron "TZ=UTC 30 2 * * *" pid', 1_700_015_400, "next at 2023-11-15T02:30:00+00:00 (in 4 h 16 min)"),
        ('sched calendar "Mon 02:30" pid', 1_700_443_800, "next at 2023-11-20T02:30:00+01:00 (in 5 d 3 h)"),
        (
            'sched calendar "2027-03-28 02:30" pid',
            1_806_195_600,
            "next at 2027-03-28T03:00:00+02:00 (in 1229 d 2 h); 02:30 is skipped by the clock on 2027-03-28",
        ),
        ("sched at 08:00 pid", 1_700_031_600, "at 2023-11-15T08:00:00+01:00 (in 8 h 46 min)"),
        ("sched at now + 5 minutes pid", 1_700_000_300, "at 2023-11-14T23:18:20+01:00 (in 5 min)"),
        ("sched at 0800 tomorrow pid", 1_700_031_600, "at 2023-11-15T08:00:00+01:00 (in 8 h 46 min)"),
        (
            "sched at 2027-03-28 02:30 Europe/Berlin pid",
            1_806_195_600,
            "at 2027-03-28T03:00:00+02:00 (in 1229 d 2 h); 02:30 is skipped by the clock on 2027-03-28",
        ),
        (
            "sched at 2:30 am 2027-10-31 Europe/Berlin pid",
            1_824_942_600,
            "at 2027-10-31T02:30:00+02:00 (in 1446 d 2 h); the clock shows 02:30 twice; this is the first time",
        ),
        ("sched at 1700000300 pid", 1_700_000_300, None),
    ],
)
def test_stdout_is_the_id_and_the_note_is_what_was_understood(
    appliance: Appliance, line: str, due: int, note: str | None
) -> None:
    answer = appliance.ask(line)
    assert (answer.output, answer.note) == (ONE, note)
    assert appliance.data(line) == {"id": "example.com-000000002", "next_run_ms": due * SECOND}
    assert [next_run for _, next_run in appliance.next_runs()] == [due * SECOND] * 2


class WithoutLocalZone(Appliance):
    def read_zones(self) -> Zones:
        return Zones(Machine(tz="CET-1CEST"))


def test_a_time_after_now_needs_no_zone() -> None:
    appliance = WithoutLocalZone(None, STANZAS)
    answer = appliance.ask("sched at now + 5 minutes pid")
    assert (answer.output, answer.note) == (ONE, "at 2023-11-14T22:18:20+00:00 (in 5 min)")
    appliance.close()


@pytest.mark.parametrize(
    ("line", "code", "remedy"),
    [
        ('sched cron "30 2 * * *" pid', "E205", 'write `zone = "UTC"` (this machine\'s) once in `sched`, or the zone'),
        ("sched at 08:00 pid", "E205", "or append a zone: `08:00:00 UTC`"),
        ('sched cron "TZ=Europe/Berln 30 2 * * *" pid', "E213", "did you mean `Europe/Berlin`?"),
        ("sched at 08:00 Europe/Berln pid", "E213", "did you mean `Europe/Berlin`?"),
        ('sched cron "TZ=UTC 30 25 * * *" pid', "E212", "0 to 23"),
        ('sched cron "TZ=UTC 0 0 31 2 *" pid', "E214", "`L` in `cron`"),
        ('sched calendar "2020-01-01 UTC" pid', "E214", "give later ones"),
        ("sched cron 30 2 * * * pid", "E110", 'put the expression in quotes: `sched cron "30 2 * * *" pid`'),
        (
            'sched cron TZ=UTC "30 2 * * *" pid',
            "E110",
            'put the expression in quotes: `sched cron "TZ=UTC 30 2 * * *" pid`',
        ),
        ("sched cron 30 2 * * *", "E110", 'put the expression in quotes: `sched cron "30 2 * * *" COMMAND`'),
        ("sched calendar Mon..Fri 02:30 run hello", "E110", '`sched calendar "Mon..Fri 02:30" run hello`'),
        ('sched in 50 "run daily"', "E110", "remove them: `run daily`"),
        ("sched every 60 sched cron @daily pid", "E303", "schedule the inner command alone"),
        ("sched cron @daily sched calendar daily pid", "E303", "schedule the inner command alone"),
        ("sched cron @daily shutdown", "E303", "schedule it once"),
        ("sched next nothing", "E501", "an id looks like"),
        ("sched today 00:01 pid", "E110", "expected one of"),
    ],
)
def test_a_mistake_is_rejected_with_a_remedy(without_zone: Appliance, line: str, code: str, remedy: str) -> None:
    answer = without_zone.ask(line)
    assert [diagnostic.code for diagnostic in answer.diagnostics] == [code]
    assert remedy in answer.diagnostics[0].help
    assert without_zone.next_runs() == []


def test_a_part_of_an_expression_is_pointed_at_inside_its_quotes(appliance: Appliance) -> None:
    for line in ('sched cron "30 25 * * *" pid', 'json sched cron "30 25 * * *" pid'):
        (diagnostic,) = appliance.ask(line).diagnostics
        assert diagnostic.span is not None
        assert line[diagnostic.span.start : diagnostic.span.end] == "25"


def test_the_list_marks_a_calendar_job_as_recurrent(appliance: Appliance) -> None:
    appliance.say('sched cron "30 2 * * *" pid')
    assert f"{ONE}\t1700011800\t y\tpid" in appliance.say("sched list")
    (row,) = appliance.data("sched list")
    assert (row["recurrent"], row["interval_ms"], row["calendar"], row["zone"]) == (
        True,
        None,
        ["30 2 * * *"],
        "Europe/Berlin",
    )
    shown = appliance.say(f"sched show {ONE}")
    assert "next run: 1700011800 (2023-11-15T02:30:00+01:00)\ncalendar: 30 2 * * *\nzone: Europe/Berlin\n" in shown
    assert appliance.data(f"sched show {ONE}")["calendar"] == ["30 2 * * *"]
    expected = "it runs next at 1700011800 (2023-11-15T02:30:00+01:00): `30 2 * * *` in Europe/Berlin"
    assert appliance.say(f"sched why {ONE}") == expected


def test_the_next_due_times_are_shown_with_their_offsets(appliance: Appliance) -> None:
    appliance.say('sched calendar "2027-03-27..29 02:30" pid')
    assert appliance.say(f"sched next {ONE}").splitlines() == [
        "2027-03-27T02:30:00+01:00",
        "2027-03-28T03:00:00+02:00\t02:30 is skipped by the clock on 2027-03-28",
        "2027-03-29T02:30:00+02:00",
    ]
    assert appliance.data(f"sched next {ONE} 2") == {
        "id": ONE,
        "name": None,
        "next": [
            {"due": "2027-03-27T01:30:00Z", "due_ms": 1_806_111_000_000, "note": None},
            {
                "due": "2027-03-28T01:00:00Z",
                "due_ms": 1_806_195_600_000,
                "note": "02:30 is skipped by the clock on 2027-03-28",
            },
        ],
    }
    assert "give a whole number from 1 to 1000" in appliance.error(f"sched next {ONE} 0")


@pytest.fixture
def explained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The due times of which the notes were found, which takes longer than finding the due times."""
    found: list[int] = []
    explain = Schedules.explain

    def spy(schedules: Schedules, job: Job, due_ms: int, *others: Any) -> Any:
        found.append(due_ms)
        return explain(schedules, job, due_ms, *others)

    monkeypatch.setattr(Schedules, "explain", spy)
    return found


@pytest.mark.parametrize("form", ["", "json "])
def test_many_next_due_times_are_found_while_they_are_sent(
    appliance: Appliance, explained: list[int], form: str
) -> None:
    """1,000 at once took up to 0.8 s, in which no other command was answered."""
    appliance.say("sched cron '0 0 * * *' pid")
    pieces = appliance.ask(f"{form}sched next {ONE} 1000").output
    assert not isinstance(pieces, str)
    assert explained == []
    found = list(zip(pieces, (len(explained) for _ in count()), strict=False))
    assert [number for _, number in found] == [*range(1, 1001), *([1000] if form else [])]
    whole = "".join(piece for piece, _ in found)
    assert len(json.loads(whole)["next"] if form else whole.split("\n")) == len(set(explained)) == 1000


def test_a_stored_answer_has_fewer_next_due_times(appliance: Appliance, explained: list[int]) -> None:
    appliance.say("sched cron '0 0 * * *' pid")
    appliance.say(f"sched in 1 sched next {ONE} 1000")
    explained.clear()
    appliance.after(SECOND)
    assert len(appliance.history()) == 1
    assert len(explained) == MOST_STORED


def test_the_next_due_times_of_other_jobs_are_in_the_zone_of_sched(appliance: Appliance) -> None:
    appliance.say("sched every 60 pid")
    appliance.say("sched at 1700000300 pid")
    assert appliance.say(f"sched next {ONE} 2") == "2023-11-14T23:14:20+01:00\n2023-11-14T23:15:20+01:00"
    assert appliance.say("sched next example.com-000000002") == "2023-11-14T23:18:20+01:00"


def test_the_due_times_of_a_disabled_job_end_with_why_it_does_not_run(either: Appliance) -> None:
    """Due times, the first of them in the past, were listed without a word."""
    either.turn(either.read('job "off" { every = 60 command = "pid" enabled = false }\n'))
    lines = either.say("sched next off 2").splitlines()
    assert (len(lines), lines[-1]) == (3, "it does not run: its stanza has `enabled = false`")
    assert len(either.data("sched next off 2")["next"]) == 2


def test_values_picked_by_hash_differ_between_jobs_and_stay(appliance: Appliance) -> None:
    for _ in range(8):
        appliance.say('sched cron "~ 2 * * *" pid')
    minutes = {due for _, due in appliance.next_runs()}
    assert len(minutes) > 1
    assert all(due is not None and due >= START_MS for due in minutes)


def test_the_canonical_line_of_a_role_keeps_the_quotes() -> None:
    role = 'Authorization { Role "r" { allow = ( "^sched cron \\"30 2 \\\\* \\\\* \\\\*\\" pid$" "^pid$" ) users = ( "1000" ) } }\n'
    appliance = Appliance(None, BERLIN + role)
    assert appliance.say("SCHED  cron  '30 2 * * *'  pid") == ONE
    assert not appliance.ask('sched cron "30 3 * * *" pid').ok
    appliance.close()


def test_a_drop_schedules_by_calendar(appliance: Appliance) -> None:
    published = appliance.drop('sched cron "30 2 * * *" pid\nsched at tomorrow 08:00 pid\n')
    assert published.accepted
    assert appliance.next_runs() == [(1, 1_700_011_800_000), (2, 1_700_031_600_000)]


def test_all_times_of_a_calendar_job_are_in_its_zone(appliance: Appliance) -> None:
    appliance.say('sched cron "* * * * *" pid')
    appliance.say(f"sched pause {ONE}")
    appliance.after(200 * SECOND)
    appliance.say(f"sched resume {ONE}")
    times = "3 due times from 1700000040 (2023-11-14T23:14:00+01:00) to 1700000160 (2023-11-14T23:16:00+01:00)"
    assert times in appliance.say(f"sched why {ONE}")
    assert "3 missed since 2023-11-14T23:14:00+01:00: the job was paused" in appliance.say("sched history")


def test_a_local_calendar_names_the_zone_of_the_machine(appliance: Appliance) -> None:
    appliance.say('sched calendar "Mon 02:30 local" pid')
    appliance.turn(appliance.read(f'{STANZAS}job "a" {{ cron = "0 4 * * *" zone = local command = "pid" }}'))
    name = appliance.core.state.schedules.zones.local.name
    expected = f"`0 4 * * *` in local time ({name})" if name else "`0 4 * * *` in local time"
    assert expected in appliance.say("sched why a")


def test_the_next_due_times_of_a_job_that_is_done(appliance: Appliance) -> None:
    appliance.say("sched in 5 pid")
    appliance.after(6 * SECOND)
    expected = f"job {ONE} has no next due time: it is done or was deleted; `sched history {ONE}` lists its runs"
    assert expected in appliance.error(f"sched next {ONE}")
    assert "there is no job" in appliance.error("sched next example.com-000000009")


GAP, REPEATED = 1_806_195_600, 1_824_942_600
SKIPS = "02:30 is skipped by the clock on 2027-03-28"
TWICE = "the clock shows 02:30 twice; this is the first time"


@pytest.mark.parametrize(
    ("sched", "at", "due", "shown", "note"),
    [
        ("Europe/Berlin", "2027-03-28 02:30", GAP, "2027-03-28T03:00:00+02:00", SKIPS),
        ("UTC", "2027-03-28 02:30 Europe/Berlin", GAP, "2027-03-28T03:00:00+02:00", SKIPS),
        ("UTC", '2027-03-28 02:30" zone = "Europe/Berlin', GAP, "2027-03-28T03:00:00+02:00", SKIPS),
        ("Europe/Berlin", "2027-03-28 03:00", GAP, "2027-03-28T03:00:00+02:00", None),
        ("Europe/Berlin", "2027-03-28T03:00:00+02:00", GAP, "2027-03-28T03:00:00+02:00", None),
        ("Europe/Berlin", "2027-10-31 02:30", REPEATED, "2027-10-31T02:30:00+02:00", TWICE),
        ("Europe/Berlin", "2027-10-31 03:00", REPEATED + 5400, "2027-10-31T03:00:00+01:00", None),
        ("Europe/Berlin", "2027-10-31 01:59", REPEATED - 1860, "2027-10-31T01:59:00+02:00", None),
    ],
)
def test_the_answers_say_what_the_clock_does_at_a_declared_local_time(
    sched: str, at: str, due: int, shown: str, note: str | None
) -> None:
    appliance = Appliance(None, f'sched {{ zone = "{sched}" }}\njob "pay" {{ at = "{at}" command = "pid" }}\n')
    tail = f"; {note}" if note else ""
    assert appliance.say("sched why pay") == f"it runs once, at {due} ({shown}){tail}"
    assert appliance.say("sched next pay") == (f"{shown}\t{note}" if note else shown)
    assert [row["note"] for row in appliance.data("sched next pay")["next"]] == [note]
    appliance.after(due * SECOND - START_MS)
    appliance.after(SECOND)
    assert f"due {due} ({shown}){tail}" in appliance.say("sched why pay/1")
    appliance.close()
