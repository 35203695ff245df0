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


def test_a_zone_that_is_gone_is_kept_until_it_can_be_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, link = tmp_path / "zoneinfo", tmp_path / "localtime"
    folder.mkdir()
    link.symlink_to(folder / "Home")
    monkeypatch.setattr(zones, "this_machine", lambda: Machine((folder,), None, link, tmp_path / "none"))
    copyfile(ZONEINFO / "Europe/Berlin", folder / "Home")
    copyfile(ZONEINFO / "Asia/Tokyo", folder / "Away")
    inbox = Posted()
    watch = ZoneWatch(inbox)  # type: ignore[arg-type]  # it only posts
    offsets = [(name, watch.zones.get(name).offset_at(1_700_000_000)) for name in ("local", "Away")]
    assert offsets == [("local", 3600), ("Away", 9 * 3600)]
    (folder / "Away").unlink()
    link.unlink()
    link.symlink_to(folder / "Nowhere")
    for _ in range(2):
        watch.check()
        watch.check()
    assert len(inbox.events) == 1
    assert watch.zones.lost_zones == {
        "local": "this machine is in `Nowhere`: it is not in the time zone data",
        "Away": "it is not in the time zone data",
    }
    assert [(name, watch.zones.get(name).offset_at(1_700_000_000)) for name in ("local", "Away")] == offsets
    copyfile(ZONEINFO / "Europe/London", folder / "Away")
    watch.check()
    assert list(watch.zones.lost_zones) == ["local"]
    assert watch.zones.get("Away").offset_at(1_700_000_000) == 0
    link.unlink()
    link.symlink_to(folder / "Home")
    watch.check()
    watch.check()
    assert (watch.zones.lost_zones, len(inbox.events)) == ({}, 3)
