"""Crontabs and timers written after real ones: what they become, and that they are due when they were before."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import cast

import pytest
from cronsim import CronSim

from schedappliance.diagnostics import Source
from schedappliance.importing.inputs import NOUNS
from schedappliance.importing.stanzas import Entry, Imported, summary, written
from schedappliance.model.calendars.compiling import calendar_of_expression
from schedappliance.model.calendars.cron import read_cron
from schedappliance.model.calendars.expression import Expression
from schedappliance.model.calendars.oncalendar import read_calendar
from schedappliance.model.calendars.zones import Zones, this_machine
from schedappliance.model.files import read_regular
from schedappliance.model.loading import load
from schedappliance.syntax.stanza import parse_stanzas, parse_value
from schedappliance.syntax.tree import ListValue, Scalar, Stanza
from tests.support.imports import CASES, FOLDER, expected, inputs_of

START = datetime(2026, 1, 1, tzinfo=UTC)
DUE_TIMES = 50
# cronsim does not know them.
NICKNAMES = {"@daily": "0 0 * * *", "@hourly": "0 * * * *"}

every_case = pytest.mark.parametrize("name", CASES)


@every_case
def test_the_stanzas_are_those_of_the_golden_file(name: str) -> None:
    assert written(inputs_of(CASES[name])) == expected(name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(CASES.keys() - {"at"}))
def test_lines_that_end_in_cr_lf_have_the_same_stanzas(name: str, tmp_path: Path) -> None:
    """The file of an at job is written by `at`, and its shell takes a carriage return as a part of a word.

    So does the shell of a cron job, and a note says so.
    """
    case = CASES[name]
    shutil.copytree(FOLDER / case.folder, tmp_path / case.folder)
    for path in (tmp_path / case.folder).rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    lines = written(inputs_of(case, tmp_path)).splitlines(keepends=True)
    notes = [line for line in lines if "carriage return" in line]
    assert "".join(line for line in lines if line not in notes) == expected(name).read_text(encoding="utf-8")
    assert bool(notes) == (case.folder == "crontabs")


@every_case
def test_the_summary_counts_what_the_comments_say(name: str) -> None:
    inputs = inputs_of(CASES[name])
    assert summary(inputs, NOUNS[CASES[name].kind]) == CASES[name].summary
    text = expected(name).read_text(encoding="utf-8")
    noted = [entry for entry in _entries(inputs) if entry.notes and not entry.failure]
    assert f"{len(noted)} with notes" in CASES[name].summary
    assert text.count("\n# not possible: ") == sum(bool(entry.failure) for entry in _entries(inputs))


def test_a_note_on_all_jobs_of_a_file_stands_once() -> None:
    text = written(inputs_of(CASES["cronie"]))
    assert text.count("note for all jobs of this file: `zone` is that of CRON_TZ") == 1
    assert text.count("`zone` is that of CRON_TZ") == 1
    # A note of one job stays above it.
    assert text.count("crond picks one at each start") == 1


def test_sixty_lines_and_thirty_timers_are_imported() -> None:
    lines = [e for case in CASES.values() if NOUNS[case.kind] == "line" for e in _entries(inputs_of(case))]
    timers = _entries(inputs_of(CASES["timers"]))
    assert len(lines) >= 60
    assert all(entry.jobs for entry in lines)
    assert len(timers) == 31
    assert [entry.place for entry in timers if not entry.jobs] == ["fwupd-refresh.timer", "pg_dump@.timer"]


@every_case
def test_the_stanza_parser_reads_the_written_values_back(name: str) -> None:
    inputs = inputs_of(CASES[name])
    statements, diagnostics = parse_stanzas(Source(name, written(inputs)))
    assert diagnostics == []
    jobs = [job for entry in _entries(inputs) for job in entry.jobs]
    stanzas = [statement for statement in statements if isinstance(statement, Stanza)]
    assert [stanza.name.value for stanza in stanzas if stanza.name] == [job.name for job in jobs]
    assert len({job.name.casefold() for job in jobs}) == len(jobs)


# What depends on the machine, and doubts about the original that its author may share.
DOUBTS = {"W403", "W404", "W406", "W407", "W420", "W422", "W414", "W415", "W416", "W421"}


@every_case
def test_the_stanzas_are_accepted(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A container may have no zone of its own.
    monkeypatch.setenv("TZ", "Europe/Berlin")
    inputs = inputs_of(CASES[name])
    path = tmp_path / "sched.conf"
    path.write_text(written(inputs))
    loaded = load(path, read_regular)
    jobs = [job for entry in _entries(inputs) for job in entry.jobs]
    assert {d.brief() for d in loaded.diagnostics if d.code not in DOUBTS} == set()
    assert len(loaded.configuration.jobs) == len(jobs)


def test_each_cron_line_is_due_when_cronsim_says() -> None:
    """The oracle reads the line of the crontab, not the stanza. `~` and anacron have no oracle."""
    compared = 0
    for case in CASES.values():
        for entry in _entries(inputs_of(case)) if NOUNS[case.kind] == "line" else ():
            path, number = entry.place.rsplit(":", 1)
            line = (FOLDER / case.folder / path).read_text().splitlines()[int(number) - 1].strip().lstrip("-")
            options = entry.jobs[0].options
            if "cron" not in options or "~" in line:
                continue
            expression = NICKNAMES.get(line.split()[0]) or " ".join(line.split()[:5])
            expected_times = list(islice(CronSim(expression, START), DUE_TIMES))
            assert _due_times(read_cron(_values(options["cron"])[0])) == expected_times, line
            compared += 1
    assert compared >= 50


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_each_timer_is_due_when_systemd_says() -> None:
    compared = 0
    for entry in _entries(inputs_of(CASES["timers"])):
        options = entry.jobs[0].options if entry.jobs else {}
        if "calendar" not in options:
            continue
        timer = (FOLDER / "timers" / entry.place.replace("@main", "@")).read_text()
        expressions = re.findall(r"^OnCalendar=(.*)$", timer, re.MULTILINE)
        # An empty value removes those before it.
        expressions = expressions[expressions.index("") + 1 :] if "" in expressions else expressions
        times = sorted({time for expression in expressions for time in _elapses(expression)})[:DUE_TIMES]
        parts = [read_calendar(value) for value in _values(options["calendar"])]
        due = sorted({time for part in parts for time in _due_times(part)})[:DUE_TIMES]
        assert due == times, entry.place
        compared += 1
    assert compared >= 20


def _entries(inputs: list[Imported]) -> list[Entry]:
    return [entry for imported in inputs for entry in imported.entries]


def _values(written_value: str) -> list[str]:
    """The texts of an option that holds one value or a list."""
    value = parse_value(written_value)
    assert isinstance(value, Scalar | ListValue)
    return [value.value] if isinstance(value, Scalar) else [item.value for item in value.items]


def _due_times(expression: Expression) -> list[datetime]:
    calendar = calendar_of_expression(expression, expression.zone or "UTC", Zones(this_machine()))
    times: list[datetime] = []
    instant = int(START.timestamp() * 1000)
    while len(times) < DUE_TIMES:
        instant = cast("int", calendar.next_after(instant))
        times.append(datetime.fromtimestamp(instant // 1000, UTC))
    return times


def _elapses(expression: str) -> list[datetime]:
    """What `systemd-analyze` says of an expression in UTC, after START."""
    base = f"--base-time={START:%Y-%m-%d %H:%M:%S} UTC"
    command = ["systemd-analyze", "calendar", f"--iterations={DUE_TIMES}", base, expression]
    environment = {**os.environ, "TZ": "UTC", "LC_ALL": "C"}
    output = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    times = re.findall(r"(?:Next elapse|Iter\. #\d+): \w{3} (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC", output)
    return [datetime.fromisoformat(f"{time}+00:00") for time in times]
