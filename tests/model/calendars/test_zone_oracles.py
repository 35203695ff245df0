"""Due times around clock changes mean here what they mean to systemd and to the library cronsim: random ones, compared."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from datetime import UTC, datetime
from itertools import islice
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim

from schedappliance.model.calendars.compiling import calendar_of
from schedappliance.model.calendars.rule import CalendarRule
from schedappliance.model.calendars.zones import Zones, this_machine
from tests.model.calendars.crond import random_line
from tests.model.calendars.zone_changes import random_change
from tests.support.random_seeds import few_and_many_seeds

HOUR = 3600
DUE_TIMES = 6
SYSTEM_ZONES = Zones(this_machine())


def due_times(rule: CalendarRule, start: int) -> list[int]:
    """The first due times after an instant."""
    calendar, due, instant = calendar_of(rule, SYSTEM_ZONES, {}), list[int](), start * 1000
    while len(due) < DUE_TIMES and (following := calendar.next_after(instant)) is not None:
        due.append(following // 1000)
        instant = following
    return due


def _is_plain(name: str, change: int) -> bool:
    """Whether a change and its offsets are whole hours, and it skips no midnight."""
    piece = SYSTEM_ZONES.get(name).piece_at(change)
    offsets = piece.offset, piece.before
    return not any(offset % HOUR for offset in offsets) and (piece.start + piece.before) % (24 * HOUR) != 0


@few_and_many_seeds(60, 400)
def test_the_same_due_times_as_cronsim(seeds: range) -> None:
    """It loses due times where a change, or the offset, is no whole hour: Lord Howe, Chatham. A midnight that is skipped is
    due there even for an hour that begins with `*`.
    """
    compared = 0
    for seed in seeds:
        random = Random(seed)
        line, (name, change) = random_line(random), random_change(random)
        if not _is_plain(name, change):
            continue
        start = change - random.randrange(30 * HOUR)
        expected = islice(CronSim(line, datetime.fromtimestamp(start, ZoneInfo(name))), DUE_TIMES)
        due = due_times(CalendarRule(syntax="cron", expressions=(line,), zone=name), start)
        assert due == [int(time.timestamp()) for time in expected], (seed, line, name, start)
        compared += 1
    assert compared > len(seeds) // 2


def _random_time(random: Random) -> str:
    """A fixed time, often in the hours in which clocks are changed, with days or without."""
    days = random.choice(("", "", "Mon..Fri ", "Sat,Sun ", "*-*-1..20 ", "*-*-* "))
    hours = random.choice((f"{random.randrange(5)}", f"{random.randrange(24)}", "1,2,3"))
    return f"{days}{hours}:{random.choice((0, 15, 30, 59)):02}:00"


def _elapses(expression: str, start: int) -> list[int]:
    base = f"--base-time={datetime.fromtimestamp(start, UTC):%Y-%m-%d %H:%M:%S} UTC"
    command = ["systemd-analyze", "calendar", f"--iterations={DUE_TIMES}", base, expression]
    environment: dict[str, Any] = {**os.environ, "TZ": "UTC", "LC_ALL": "C"}
    output = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    # Times in another zone are followed by the same ones in UTC.
    times = re.findall(r"\w{3} (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) UTC", output)
    return [int(datetime.fromisoformat(f"{time}+00:00").timestamp()) for time in times]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
@few_and_many_seeds(20, 160)
def test_fixed_times_are_due_when_systemd_says(seeds: range) -> None:
    """systemd leaves out a time that is skipped, and takes the first one of a time that is repeated."""
    for seed in seeds:
        random = Random(seed)
        time, (name, change) = _random_time(random), random_change(random)
        start = change - random.randrange(30 * HOUR)
        rule = CalendarRule(syntax="calendar", expressions=(time,), zone=name, dst_skipped="omit", dst_repeated="first")
        assert due_times(rule, start) == _elapses(f"{time} {name}", start), (seed, time, name, start)
