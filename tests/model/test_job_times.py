"""The options that decide when a job is due: how they are read, and which diagnostics they get."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from schedappliance.clock import local_text
from schedappliance.model.calendars.compiling import Calendars
from schedappliance.model.calendars.rule import CalendarRule
from schedappliance.model.calendars.zones import Zones, this_machine
from schedappliance.model.loading import load
from schedappliance.model.option_paths import Scope
from schedappliance.model.schedules import Every, Once
from schedappliance.model.stanzas import read_again, with_parts
from schedappliance.syntax.printer import quoted
from schedappliance.visible import visible
from tests.model.calendars import bad_expressions
from tests.support.diagnostics import pointed
from tests.support.memory_files import ROOT, diagnostics_of, held, read_stanzas

HOLIDAYS = 'days "holidays" { dates = ( "*-01-01" "*-12-25..26" ) }\ndays "weekend" { dates = "Sat..Sun" }\n'
HOLIDAYS += 'days "workdays" { dates = "Mon..Fri" }\n'


def job(options: str, others: str = HOLIDAYS) -> str:
    return f'{others}job "j" {{ {options} command = pid }}'


def mistakes(text: str) -> list[tuple[str, str]]:
    return [(one.code, pointed(one)) for one in diagnostics_of(text)]


def rule_of(options: str) -> CalendarRule:
    schedule = read_stanzas(job(options)).jobs["j"].schedule
    assert isinstance(schedule, CalendarRule)
    return schedule


def test_all_options_of_a_calendar_are_read() -> None:
    assert rule_of(
        'cron = ( "0 9 * * *" "30 9 * * MON" ) zone = Europe/Berlin dst_skipped = shift dst_repeated = last'
        ' within = "Mon..Fri 08:00..18:00" only = ( workdays ) except = ( holidays weekend ) move = previous nth = ( 3 -1 )'
        " each = 2w from = 2026-01-05T00:00:00Z until = 2099-01-01T00:00:00Z spread = 20m jitter = 5"
    ) == CalendarRule(
        syntax="cron",
        expressions=("0 9 * * *", "30 9 * * MON"),
        zone="Europe/Berlin",
        dst_skipped="shift",
        dst_repeated="last",
        within=("Mon..Fri 08:00..18:00",),
        only=("workdays",),
        excluded=("holidays", "weekend"),
        move="previous",
        nth=(3, -1),
        each=(2, "w"),
        from_ms=1_767_571_200_000,
        until_ms=4_070_908_800_000,
        spread=1200,
        jitter=5,
        seed="j",
    )


@pytest.mark.parametrize(
    ("options", "sched", "zone"),
    [
        ('calendar = "08:00"', "sched { zone = Asia/Tokyo }", "Asia/Tokyo"),
        ('calendar = "08:00" zone = UTC', "sched { zone = Asia/Tokyo }", "UTC"),
        ("cron = @daily zone = local", "", "local"),
        ('every = 15m within = "08:00..18:00"', "sched { zone = Asia/Tokyo }", "Asia/Tokyo"),
        ("every = 15m spread = 60", "sched { zone = Asia/Tokyo }", "UTC"),
    ],
)
def test_the_zone_is_that_of_the_job_or_of_sched_wherever_it_stands(options: str, sched: str, zone: str) -> None:
    schedule = read_stanzas(f"{job(options)}\n{sched}").jobs["j"].schedule
    assert isinstance(schedule, CalendarRule)
    assert schedule.zone == zone


def test_a_zone_inside_the_expression_is_enough() -> None:
    assert rule_of('calendar = "Mon 08:00 Europe/Berlin"').zone is None
    assert rule_of('cron = "TZ=Europe/Berlin 0 8 * * *"').zone is None


def test_an_interval_with_bounds_is_a_calendar_and_else_is_not() -> None:
    rule = rule_of('every = 15m offset = 30 within = ( "Mon" "Tue 08:00..18:00" ) zone = UTC')
    assert (rule.syntax, rule.every) == ("every", Every(900_000, 30_000))
    assert read_stanzas(job("every = 15m offset = 30")).jobs["j"].schedule == Every(900_000, 30_000)


def test_catch_up_is_read_for_one_job() -> None:
    jobs = read_stanzas(job("every = 60 catch_up = none catch_up_within = 1h")).jobs
    assert (jobs["j"].catch_up, jobs["j"].catch_up_within_ms) == ("none", 3_600_000)


def test_dates_may_be_one_or_several_or_none() -> None:
    days = read_stanzas(
        'days "a" { dates = "Sat..Sun" }\ndays "b" { dates = ( "2026-04-03" "*-*~1" ) }\ndays c { dates = ( ) }'
    ).days
    assert {name: [dates.normal for dates in listed.entries] for name, listed in days.items()} == {
        "a": ["Sat,Sun"],
        "b": ["2026-04-03", "*-*~01"],
        "c": [],
    }


@pytest.mark.parametrize(
    ("options", "sched", "instant"),
    [
        ('at = "2026-12-24 08:00"', "Europe/Berlin", "2026-12-24T08:00+01:00"),
        ("at = 2026-12-24T08:00:30 zone = Asia/Tokyo", "Europe/Berlin", "2026-12-24T08:00:30+09:00"),
        ('at = "2026-12-24 08:00 UTC"', "Europe/Berlin", "2026-12-24T08:00Z"),
        ("at = 2026-12-24T08:00-05:00", "Europe/Berlin", "2026-12-24T08:00-05:00"),
        ("at = 2027-03-28T02:30", "Europe/Berlin", "2027-03-28T03:00+02:00"),
        ("at = 1970-01-01T00:00", "Europe/Berlin", "1970-01-01T00:00Z"),
        ("at = 9999-12-31T12:00", "Europe/Berlin", "9999-12-31T12:00Z"),
    ],
)
def test_a_local_time_is_read_in_the_zone_of_the_job(options: str, sched: str, instant: str) -> None:
    schedule = read_stanzas(f"{job(options)}\nsched {{ zone = {sched} }}").jobs["j"].schedule
    assert isinstance(schedule, Once)
    assert schedule.due_ms == int(datetime.fromisoformat(instant).timestamp()) * 1000


def test_the_day_of_from_and_until_belongs_to_their_range() -> None:
    rule = rule_of("calendar = daily each = 2w from = 2026-11-30 until = 2026-12-31 zone = America/New_York")
    ends = [datetime(2026, 11, 30, 5, tzinfo=UTC), datetime(2027, 1, 1, 4, 59, 59, tzinfo=UTC)]
    assert [rule.from_ms, rule.until_ms] == [int(end.timestamp()) * 1000 for end in ends]


def _due_dates(options: str, most: int = 3) -> list[str]:
    """The first local due dates of a job, after 2026-11-30."""
    job_in_berlin = f'job "j" {{ {options} command = pid }} sched {{ zone = "Europe/Berlin" }}'
    configuration = read_stanzas(job_in_berlin)
    rule = configuration.jobs["j"].schedule
    assert isinstance(rule, CalendarRule)
    calendar = Calendars(Zones(this_machine()), {}).get(rule.text({}))
    due: list[str] = []
    at = 1_796_000_000_000
    while len(due) < most and (following := calendar.next_after(at)) is not None:
        at, explained = following, calendar.explain(following)
        assert explained is not None
        due.append(local_text(at, explained.zone)[:10])
    assert calendar.count(1_796_000_000_000, 10**14) >= len(due)
    return due


@pytest.mark.parametrize(
    ("options", "due"),
    [
        ('calendar = "Mon 09:00 America/New_York" each = 2w from = 2027-01-04', "2027-01-04 2027-01-18"),
        ('cron = "TZ=America/New_York 0 9 * * 1" each = 2w from = 2027-01-04', "2027-01-04 2027-01-18"),
        ('calendar = "*-*-01 09:00 America/New_York" each = 2mo from = 2027-01-01', "2027-01-01 2027-03-01"),
        ('calendar = "*-06-01 09:00 America/New_York" each = 2y from = 2027-01-01', "2027-06-01 2029-06-01"),
        ('calendar = "00:30 Asia/Tokyo" each = 3d from = 2026-12-03', "2026-12-03 2026-12-06"),
        ('calendar = "20:00 America/New_York" from = 2026-12-05 until = 2026-12-05', "2026-12-05"),
        (
            'calendar = ( "9:00 Asia/Tokyo" "1:00 America/New_York" ) from = 2026-12-05 each = 9d',
            "2026-12-05 2026-12-05",
        ),
        (
            'calendar = ( "09:00" "20:00 America/New_York" ) until = 2026-12-01',
            "2026-11-29 2026-11-30 2026-11-30 2026-12-01 2026-12-01",
        ),
    ],
)
def test_a_date_of_from_and_until_is_a_day_in_the_zone_of_each_expression(options: str, due: str) -> None:
    expected = due.split()
    assert _due_dates(options, max(2, len(expected))) == expected


def test_a_date_is_midnight_of_the_job_where_no_expression_has_a_zone() -> None:
    date, midnight = (
        rule_of("calendar = daily zone = UTC from = 2027-01-04"),
        rule_of('calendar = daily zone = UTC from = "2027-01-04 00:00"'),
    )
    assert date.text({}) == midnight.text({})


def test_another_zone_of_sched_moves_local_times_and_instants_stay() -> None:
    files = f"{job('every = 1h from = 2026-11-30')}\nsched {{ zone = UTC }}"
    before = read_stanzas(files)
    after = with_parts(before, [read_again(before, Scope("sched"), {"zone": "America/New_York"})])
    moved = with_parts(after, [read_again(after, Scope("job", "j"), {"from": "2026-11-30 02:00"})])
    rules = [one.jobs["j"].schedule for one in (before, after, moved)]
    assert [isinstance(rule, CalendarRule) and rule.from_ms for rule in rules] == [
        1_795_996_800_000,
        1_796_014_800_000,
        1_796_022_000_000,
    ]


@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        # one of four
        (job('every = 5 cron = "0 8 * * *" zone = UTC'), "E211", 'job "j"'),
        (job('at = 7 calendar = "08:00" zone = UTC'), "E211", 'job "j"'),
        (job('cron = "0 8 * * *" calendar = "08:00" zone = UTC'), "E211", 'job "j"'),
        (job('every = 5 at = 7 cron = "0 8 * * *" calendar = "08:00" zone = UTC'), "E211", 'job "j"'),
        (job("zone = UTC"), "E205", 'job "j"'),
        # expressions
        (job('cron = "30 25 * * MON-FRI" zone = UTC'), "E212", "25"),
        (job('cron = "30 25 * * MON-FRI"'), "E212", "25"),
        (job("cron = '30 2 * * Mpn'"), "E212", "Mpn"),
        (job('cron = ( "0 8 * * *" "0 8 * * 8" )'), "E212", "8"),
        (job('cron = "30 2 \\" * *"'), "E212", '\\"'),
        (job("cron = @dayly"), "E212", "@dayly"),
        (job('calendar = "Mon..Fri 24:00"'), "E212", "24"),
        (job('calendar = ( "08:00" "Fri..Mon 08:00" )'), "E212", "Fri..Mon"),
        (job("cron = [ A = B ]"), "E203", "[ A = B ]"),
        (job("cron = ( )"), "E203", "( )"),
        (job(f"calendar = ( {'daily ' * 16} weekly )"), "E204", "weekly"),
        (job(f'cron = "{"0 " * 501}"'), "E212", "0 "),
        # without quotes
        (job("cron = 30 2 * * * zone = UTC"), "E212", "30 2 * * *"),
        (job("zone = UTC cron = */5 30 2 * * * # five\n"), "E212", "*/5 30 2 * * *"),
        (job("cron = 30 2 * * MON-FRI\nzone = UTC"), "E212", "30 2 * * MON-FRI"),
        (job("calendar = Mon..Fri 07:00 zone = UTC"), "E212", "Mon..Fri 07:00"),
        (job("calendar = 07:00 Europe/Berlin"), "E212", "07:00 Europe/Berlin"),
        # a misspelt name beside a time
        (job('cron = "0 8 * * *" calender = "08:00" zone = UTC'), "E202", "calender"),
        (job('crom = "0 8 * * *" zone = UTC'), "E202", "crom"),
        # the rule at clock changes
        (job('cron = ( "*/5 * * * *" "0 8 * * *" ) zone = UTC'), "E212", '( "*/5 * * * *" "0 8 * * *" )'),
        (
            job('cron = ( "*/5 * * * *" "0 8 * * *" ) zone = UTC dst_skipped = run'),
            "E212",
            '( "*/5 * * * *" "0 8 * * *" )',
        ),
        (job('cron = "0 8 * * *" zone = UTC dst_skipped = skip'), "E203", "skip"),
        (job('cron = "0 8 * * *" zone = UTC dst_repeated = twice'), "E203", "twice"),
        # zones
        (job('cron = "0 8 * * *"'), "E205", '"0 8 * * *"'),
        (job('calendar = ( "08:00 UTC" "09:00" )'), "E205", '"09:00"'),
        (job('every = 60 within = "08:00..18:00"'), "E205", '"08:00..18:00"'),
        (job('cron = "0 8 * * *" zone = Europe/Berln'), "E213", "Europe/Berln"),
        (job('cron = "0 8 * * *"') + "\nsched { zone = Europe/Berln }", "E213", "Europe/Berln"),
        (job('cron = "0 8 * * *" zone = ""'), "E203", '""'),
        (job('calendar = "08:00 Europe/Berln"'), "E213", "Europe/Berln"),
        (job("cron = 'CRON_TZ=Europe/Berln 0 8 * * *' zone = UTC"), "E213", "Europe/Berln"),
        # other options
        (job('every = 60 zone = UTC within = "18:00..18:00"'), "E212", "18:00..18:00"),
        (job('every = 60 zone = UTC within = ( "Mon" "25:00..26:00" )'), "E212", "25"),
        (job('every = 1.5 zone = UTC within = "Mon"'), "E204", "1.5"),
        (job('every = 60 offset = 0.5 zone = UTC within = "Mon"'), "E204", "0.5"),
        (job('cron = "0 8 * * *" zone = UTC each = 2x'), "E203", "2x"),
        (job('cron = "0 8 * * *" zone = UTC each = 0d'), "E204", "0d"),
        (job('cron = "0 8 * * *" zone = UTC nth = first'), "E203", "first"),
        (job('cron = "0 8 * * *" zone = UTC nth = ( 1 32 )'), "E204", "32"),
        (job('cron = "0 8 * * *" zone = UTC spread = 0.5'), "E204", "0.5"),
        (job('cron = "0 8 * * *" zone = UTC jitter = long'), "E203", "long"),
        (job('cron = "0 8 * * *" zone = UTC from = tomorrow'), "E203", "tomorrow"),
        (job('cron = "0 8 * * *" zone = UTC until = 2026-02-30'), "E203", "2026-02-30"),
        (job("at = 2026-12-24"), "E203", "2026-12-24"),
        (job("at = 2026-12-24T08:00"), "E205", "2026-12-24T08:00"),
        (job('every = 60 from = "2026-12-24 08:00"'), "E205", '"2026-12-24 08:00"'),
        (job('cron = "0 8 * * *" from = 2026-12-24'), "E205", '"0 8 * * *"'),
        (job("at = 2026-12-24T08:00 zone = Europe/Berln"), "E213", "Europe/Berln"),
        (job('at = "2026-12-24 08:00 Europe/Berln"'), "E213", "Europe/Berln"),
        (job("at = 2026-12-24T08:00Z zone = UTC"), "E211", "zone = UTC"),
        (job("every = 60 catch_up = never"), "E203", "never"),
        (job("every = 60 catch_up_within = 0"), "E204", "0"),
        # options without the one that they need
        (job("at = 7 spread = 5"), "E211", "spread = 5"),
        (job("every = 60 zone = UTC"), "E211", "zone = UTC"),
        (job("every = 60 dst_skipped = run"), "E211", "dst_skipped = run"),
        (job("every = 60 except = holidays"), "E211", "except = holidays"),
        (job('cron = "0 8 * * *" zone = UTC move = next'), "E211", "move = next"),
        (job('cron = "0 8 * * *" zone = UTC offset = 5'), "E211", "offset = 5"),
        # days
        (job('cron = "0 8 * * *" zone = UTC except = ( weekend holydays )'), "E311", "holydays"),
        (job('cron = "0 8 * * *" zone = UTC only = ""'), "E203", '""'),
        ('days "d" { }', "E205", 'days "d"'),
        ('days "d" { dates = ( "*-01-01" "2026-13-01" ) }', "E212", "13"),
        ("days { dates = ( ) }", "E207", "days"),
        ('days "d" { dates = ( ) }\ndays "d" { dates = ( ) }', "E206", 'days "d"'),
        # never due
        (job('cron = "0 0 30 2 *" zone = UTC'), "E214", '"0 0 30 2 *"'),
        (job('calendar = ( "08:00" "*-02-30 08:00" ) zone = UTC'), "E214", '"*-02-30 08:00"'),
        (job('calendar = "08:00" within = "09:00..10:00" zone = UTC'), "E214", '"09:00..10:00"'),
        (job('calendar = "08:00" only = holidays nth = -3 zone = UTC'), "E214", "-3"),
        (job('calendar = "Sat 08:00" except = weekend zone = UTC'), "E214", "weekend"),
        (job('calendar = "08:00" from = 2030-01-01T00:00:00Z until = 2029-01-01T00:00:00Z zone = UTC'), "E214", ""),
        (job('every = 1d within = "09:00..10:00" zone = UTC'), "E214", '"09:00..10:00"'),
    ],
)
def test_a_mistake_is_reported_once_at_its_place(text: str, code: str, place: str) -> None:
    assert mistakes(text) == [(code, place or "2029-01-01T00:00:00Z")]


@pytest.mark.parametrize(
    ("times", "codes"),
    [
        ('calendar = "08:00 Europe/Berlin" from = 2026-12-24', []),
        ("cron = ( 'TZ=UTC 0 8 * * *' 'TZ=Asia/Tokyo 0 8 * * *' ) until = 2026-12-24", []),
        ('calendar = "08:00 Europe/Berlin" from = "2026-12-24 08:00"', ["E205"]),
        ('calendar = "08:00 Europe/Berlin" from = 2026-12-24 until = "2027-12-24 08:00"', ["E205"]),
        ("every = 1d from = 2026-12-24", ["E205"]),
    ],
)
def test_a_date_is_a_day_in_the_zone_of_each_expression(times: str, codes: list[str]) -> None:
    """It needed a zone that had no meaning for it."""
    assert [code for code, _ in mistakes(job(times))] == codes


def test_a_job_is_judged_with_its_days_wherever_they_stand() -> None:
    assert mistakes(job('cron = "0 8 * * *" zone = UTC except = holidays', "") + "\n" + HOLIDAYS) == []


def test_ten_thousand_dates_are_the_most() -> None:
    dates = " ".join(f'"{year}-{month:02}-01"' for year in range(2000, 2834) for month in range(1, 13))
    ((code, place),) = mistakes(f'days "d" {{ dates = ( {dates} ) }}')
    assert (code, place) == ("E204", '"2833-05-01"')


def test_the_remedy_for_a_missing_zone_names_the_zone_of_this_machine() -> None:
    (diagnostic,) = load(ROOT, held({"sched.conf": job('cron = "0 8 * * *"')})).diagnostics
    assert diagnostic.message == 'job "j" has no time zone'
    assert diagnostic.help is not None
    assert diagnostic.help.endswith("here or once in `sched`")


# Stanza files cannot hold control characters.
IN_FILES = [
    (option, marked)
    for option, lines in (
        ("cron", bad_expressions.CRON),
        ("calendar", bad_expressions.CALENDAR),
        ("within", bad_expressions.WINDOW),
        ("dates", bad_expressions.DATES),
    )
    for marked in lines.splitlines()
    if visible(marked) == marked or all(ord(letter) >= 32 for letter in marked)
]


@pytest.mark.parametrize("form", ["%s", '( "Mon" %s )'])
@pytest.mark.parametrize(("option", "marked"), IN_FILES)
def test_a_wrong_expression_in_a_string_has_one_diagnostic_at_its_place(option: str, marked: str, form: str) -> None:
    before, wrong, after = (quoted(part)[1:-1] for part in re.split("[«»]", marked))
    first = {"cron": "@daily", "calendar": "daily"}.get(option, "Mon")
    value = form.replace("Mon", first) % f'"{before}{wrong}{after}"'
    if option == "dates":
        text = f'days "d" {{ dates = {value} }}'
    else:
        text = job(f"{'every = 60 ' if option == 'within' else ''}{option} = {value} zone = UTC")
    # A caret has at least one place, here the quote.
    assert mistakes(text) == [("E212", wrong or '"')]
