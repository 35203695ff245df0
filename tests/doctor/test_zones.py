"""Damaged time zone data, as `doctor` finds it."""

from __future__ import annotations

from pathlib import Path

from schedappliance.doctor.observe import damaged_zones
from schedappliance.model.calendars.zones import Machine, Zones
from tests.support.core import configuration

STANZAS = """\
sched { zone = "Europe/Berlin" }
job "inside" { cron = "TZ=Europe/Paris 0 3 * * *" command = "version" }
job "beside" { calendar = "04:00" zone = "Europe/Rome" command = "version" }
job "every" { every = 60 command = "version" }
"""


def test_the_damaged_files_of_the_zones_in_use_are_found(tmp_path: Path) -> None:
    (tmp_path / "Europe").mkdir()
    paths = {name: tmp_path / "Europe" / name for name in ("Berlin", "Paris", "Rome", "Oslo")}
    for path in paths.values():
        path.write_bytes(b"TZif2")
    damaged = damaged_zones(configuration(STANZAS).configuration, Zones(Machine(directories=(tmp_path,))))
    assert damaged == (paths["Berlin"], paths["Paris"], paths["Rome"])
