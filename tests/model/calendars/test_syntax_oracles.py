"""Expressions mean here what they mean to systemd, to Debian's cron and to the library cronsim: random ones, compared."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from random import Random

import pytest
from cronsim import CronSim, CronSimError

from schedappliance.diagnostics import InvalidValue
from schedappliance.model.calendars.compiling import calendar_of_expression
from schedappliance.model.calendars.cron import read_cron
from schedappliance.model.calendars.expression import Expression
from schedappliance.model.calendars.oncalendar import SHORTHANDS, read_calendar
from schedappliance.model.calendars.zones import Zones, this_machine
from tests.model.calendars.random_expressions import random_calendar, random_cron
from tests.support.imports import accepted_by_cron
from tests.support.random_seeds import few_and_many

START = datetime(2026, 1, 1, tzinfo=UTC)
# systemd gives up after this year, cronsim after 50 years.
END = datetime(2075, 1, 1, tzinfo=UTC)
DUE_TIMES = 12
ZONES = Zones(this_machine())

cases = pytest.mark.parametrize(("seed", "count"), few_and_many(300, 600))
# `5/10`; `L`, `5L` and `FRIL`.
ONLY_HERE = re.compile(r"(?<![-\w])\w+/|(?<![a-z])([a-z]{3})?L(?![a-z])", re.IGNORECASE)
# Of `*-*-07/16`, the normal form of `*-*-07..31/16`, systemd loses days; see `random_expressions.py`.
LOST_BY_SYSTEMD = re.compile(r"-\d+/\d+ ")
needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
needs_crontab = pytest.mark.skipif(not shutil.which("crontab"), reason="Debian's cron is not installed")


def due_times(expression: Expression) -> list[datetime]:
    """The first due times in UTC after the start, at most twelve."""
    return list(islice(_due_times(expression), DUE_TIMES))


def _due_times(expression: Expression) -> Iterator[datetime]:
    calendar = calendar_of_expression(expression, "UTC", ZONES)
    due_ms = calendar.next_after(int(START.timestamp()) * 1000)
    while due_ms is not None and due_ms < int(END.timestamp()) * 1000:
        yield datetime.fromtimestamp(due_ms // 1000, UTC)
        due_ms = calendar.next_after(due_ms)


def analyze(expressions: list[str]) -> dict[str, tuple[str, list[datetime]]]:
    """What systemd says of each expression that it accepts: its normal form and its first due times."""
    command = ["systemd-analyze", "calendar", f"--iterations={DUE_TIMES}", f"--base-time={START:%F %T} UTC", "--"]
    environment = {**os.environ, "TZ": "UTC", "SYSTEMD_LOG_LEVEL": "err"}
    result: dict[str, tuple[str, list[datetime]]] = {}
    for number in range(0, len(expressions), 50):
        batch = expressions[number : number + 50]
        done = subprocess.run([*command, *batch], capture_output=True, text=True, env=environment)
        for block in done.stdout.split("\n\n"):
            if normal := re.search(r"Normalized form: (.*)", block):
                # The original form is left out if it is the normal form.
                original = re.search(r"Original form: (.*)", block) or normal
                times = re.findall(r"(?:elapse|#\d+): \w+ ([-\d]+ [:\d]+) UTC", block)
                result[original[1]] = (normal[1], [datetime.fromisoformat(f"{time}Z") for time in times])
    return result


@needs_systemd
@cases
def test_a_calendar_expression_is_due_when_systemd_says(seed: int, count: int) -> None:
    random = Random(seed)
    expressions = [random_calendar(random) for _ in range(count)]
    answers = analyze(expressions)
    assert set(answers) == set(expressions)
    for text, (normal, times) in answers.items():
        expression = read_calendar(text)
        assert due_times(expression) == [time for time in times if time < END], text
        assert read_calendar(normal).normal == expression.normal, text


@needs_systemd
@cases
def test_systemd_reads_the_normal_form_as_the_same(seed: int, count: int) -> None:
    random = Random(seed)
    normals = [read_calendar(random_calendar(random)).normal for _ in range(count)]
    for text, (normal, times) in analyze(normals).items():
        assert read_calendar(normal).normal == text
        if not LOST_BY_SYSTEMD.search(text):
            assert due_times(read_calendar(text)) == [time for time in times if time < END], text
    assert set(analyze(normals)) == set(normals)


def test_a_step_past_the_end_of_december_loses_no_day() -> None:
    """systemd 252 goes from 23 December to 23 January, so 2027-01-07, a Thursday, is lost."""
    days = [f"{time:%F}" for time in due_times(read_calendar("Thu *-*-07/16"))]
    assert days[:6] == ["2026-04-23", "2026-05-07", "2026-07-23", "2027-01-07", "2027-09-23", "2027-10-07"]


@needs_systemd
def test_systemd_has_the_same_shorthands() -> None:
    answers = analyze(list(SHORTHANDS))
    assert {word: normal for word, (normal, _) in answers.items()} == SHORTHANDS


@pytest.mark.parametrize("plain", [True, False])
@cases
def test_a_cron_expression_is_due_when_cronsim_says(seed: int, count: int, plain: bool) -> None:
    random = Random(seed)
    compared = 0
    for text in (random_cron(random, plain) for _ in range(count)):
        expression = read_cron(text)
        try:
            times = list(islice(CronSim(text, START), DUE_TIMES))
        except CronSimError:
            # It rejects days that never come. It has no `W`, no `+` and no last day but one.
            assert not plain or due_times(expression) == [], text
            continue
        assert due_times(expression) == [time for time in times if time < END], text
        compared += 1
    assert compared > count // 2


@cases
def test_the_normal_form_of_a_random_expression_means_the_same(seed: int, count: int) -> None:
    random = Random(seed)
    for _ in range(count):
        cron, calendar = read_cron(random_cron(random)), read_calendar(random_calendar(random))
        assert read_cron(cron.normal) == cron
        assert read_calendar(calendar.normal) == calendar


def changed(text: str, random: Random) -> str:
    """The text with a character more, or less, or another one."""
    place, character = random.randrange(len(text)), random.choice("0159*/-,7LMa")
    return text[:place] + random.choice(("", character, character + text[place])) + text[place + 1 :]


@needs_crontab
@pytest.mark.parametrize(("seed", "count"), few_and_many(60, 240))
def test_what_debians_cron_rejects_is_rejected(seed: int, count: int, tmp_path: Path) -> None:
    """Except `5/10` and `L`. It accepts more: it ignores what follows some signs, and an empty set for `22-2`."""
    random = Random(seed)
    for _ in range(count):
        text = random_cron(random, plain=True)
        if random.random() < 0.6:
            text = changed(text, random)
        if len(text.split()) != 5:
            continue
        is_accepted = accepted_by_cron(text, tmp_path / "crontab")
        try:
            read_cron(text)
        except InvalidValue as invalid:
            assert not is_accepted or re.match(r"unexpected|nothing follows|range", invalid.message), text
        else:
            assert is_accepted or ONLY_HERE.search(text), text
