"""One presentation of time: people read local time with its offset, programs read UTC and milliseconds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from schedappliance.engine.events import SpoolSeen
from schedappliance.engine.intake import SpoolBacklog, WaitingDrop
from schedappliance.model.calendars.zones import Machine, Zones
from schedappliance.model.values import instant
from tests.support.core import MINUTE, STANZAS, START_MS, Appliance, ended

STANZAS_AND_JOBS = f"""{STANZAS}
job "nightly" {{ cron = "30 2 * * *" zone = Europe/Berlin from = 2023-01-01T00:00:00Z command = "run hello" }}
job "often" {{ every = 1m command = "run sleep 9" }}
program "again" {{ argv = ( "/bin/false" ) retries = 1 }}
"""
ONE, LATER = "example.com-000000003", "example.com-000000004"
OF_THE_CALENDAR = ("sched why nightly", "sched show nightly", "sched next nightly")
OTHERS = (
    *("sched why often", "sched show often", "sched next often", f"sched show {ONE}/1", f"sched why {ONE}/1"),
    *(f"sched why {LATER}", "config status", "config history", "spool list", "spool why a"),
    *("spool why slow", "health", "summary", "sched hold"),
)
REJECTED = ("sched at 1600000000 pid", "spool retry a")
ZONE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d([+-]\d\d:\d\d|\w)")


class InKolkata(Appliance):
    def read_zones(self) -> Zones:
        return Zones(Machine(tz="Asia/Kolkata"))


def busy(sched: str) -> Appliance:
    """An appliance whose answers show times of every kind."""
    appliance = InKolkata(None, sched + STANZAS_AND_JOBS)
    appliance.say("run again")
    appliance.turn(ended(appliance.started()[-1].key.run, 3))
    appliance.say("sched at 1700009999 pid")
    appliance.say("sched hold for 9h a new disk")
    appliance.after(5 * MINUTE, appliance.read(f"{sched}{STANZAS_AND_JOBS}# edited\n"))
    appliance.turn(appliance.dropped("sched in 60 pid\n", "1~a.cmd"))
    appliance.turn(SpoolSeen(SpoolBacklog(1, 1, (WaitingDrop("slow.cmd", "is being written", START_MS),))))
    return appliance


@pytest.mark.parametrize(
    ("sched", "offset"), [("", "+05:30"), ("sched { zone = Asia/Tokyo }\n", "+09:00")], ids=["machine", "sched"]
)
def test_people_read_local_time(sched: str, offset: str) -> None:
    appliance = busy(sched)
    for command in OTHERS:
        assert set(ZONE.findall(appliance.say(command))) == {offset}, command
    for command in REJECTED:
        assert set(ZONE.findall(appliance.error(command))) == {offset}, command
    for command in ("sched release", "sched history often"):
        assert set(ZONE.findall(appliance.say(command))) == {offset}, command
    for command in OF_THE_CALENDAR:
        assert set(ZONE.findall(appliance.say(command))) == {"+01:00"}, command


def instants(data: Any) -> Iterator[tuple[str, int]]:
    """Each text that is an instant, and the number beside it."""
    for value in data if isinstance(data, list) else data.values() if isinstance(data, dict) else ():
        yield from instants(value)
    if isinstance(data, dict):
        yield from ((v, data[f"{key}_ms"]) for key, v in data.items() if isinstance(v, str) and ZONE.fullmatch(v))


def test_programs_read_utc_and_milliseconds() -> None:
    appliance, seen = busy("sched { zone = Asia/Tokyo }\n"), 0
    for command in (*OTHERS, *OF_THE_CALENDAR):
        for text, milliseconds in instants(appliance.data(command)):
            assert text.endswith("Z"), command
            assert instant(text) == milliseconds // 1000 * 1000
            seen += 1
    assert seen > 20
