"""The watch of the time zone data: one event for each change, and none without a change."""

from __future__ import annotations

from pathlib import Path
from shutil import copyfile

import pytest

from schedappliance.edge import zones
from schedappliance.edge.zones import ZoneWatch
from schedappliance.engine.events import ZonesChanged
from schedappliance.model.calendars.zones import Machine

ZONEINFO = Path("/usr/share/zoneinfo")


class Posted:
    """An inbox that keeps what is posted."""

    def __init__(self) -> None:
        self.events: list[object] = []

    def post(self, event: object) -> None:
        self.events.append(event)


def test_changed_zone_data_is_reported_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    none = tmp_path / "none"
    monkeypatch.setattr(zones, "this_machine", lambda: Machine((tmp_path,), "Home", none, none))
    copyfile(ZONEINFO / "Europe/Berlin", tmp_path / "Home")
    inbox = Posted()
    watch = ZoneWatch(inbox)  # type: ignore[arg-type]  # it only posts
    assert watch.zones.get("Home").offset_at(1_700_000_000) == 3600
    watch.check()
    assert inbox.events == []
    copyfile(ZONEINFO / "Europe/London", tmp_path / "Home")
    watch.check()
    watch.check()
    assert inbox.events == [ZonesChanged(watch.zones)]
    assert watch.zones.get("Home").offset_at(1_700_000_000) == 0
