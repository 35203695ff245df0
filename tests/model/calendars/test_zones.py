"""Where time zones come from: the system, the package, and the machine's own zone."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import zoneinfo
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from schedappliance.model.calendars import zones as zones_module
from schedappliance.model.calendars.pieces import END
from schedappliance.model.calendars.zones import Machine, UnknownZone, Zones, instead_of_zone, this_machine

SYSTEM = this_machine().directories
DATA = next(path for path in SYSTEM if (path / "Europe/Berlin").exists())
JULY, JANUARY = 1_783_000_000, 1_768_000_000


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine with two zones in its data."""
    directory = tmp_path / "zoneinfo"
    for name in ("Europe/Berlin", "Asia/Tokyo"):
        path = directory / name
        path.parent.mkdir(parents=True)
        path.write_bytes((DATA / name).read_bytes())
    return Machine((directory,), None, tmp_path / "localtime", tmp_path / "timezone")


def test_the_system_comes_before_the_package(machine: Machine) -> None:
    (machine.directories[0] / "Europe/Berlin").write_bytes((DATA / "Asia/Tokyo").read_bytes())
    assert Zones(machine).get("Europe/Berlin").offset_at(JULY) == 9 * 3600


def test_the_package_has_what_the_system_lacks(machine: Machine) -> None:
    assert Zones(machine).get("America/New_York").offset_at(JULY) == -4 * 3600
    assert Zones(replace(machine, directories=())).get("Europe/Berlin").offset_at(JANUARY) == 3600


def test_the_environment_does_not_decide_which_zones_there_are(tmp_path: Path) -> None:
    """The linter and the daemon, in other environments, must know the same zones."""
    (tmp_path / "Europe").mkdir()
    for name in ("Europe/Berlin", "Mars"):
        (tmp_path / name).write_bytes((DATA / "Asia/Tokyo").read_bytes())
    script = (
        "from schedappliance.model.calendars.zones import Zones, this_machine; zones = Zones(this_machine());"
        f"print('Mars' in zones.names, zones.get('Europe/Berlin').offset_at({JULY}))"
    )
    environment = os.environ | {"PYTHONTZPATH": str(tmp_path), "TZDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert done.stdout == "False 7200\n", done.stderr


def test_damaged_data(machine: Machine) -> None:
    """The package has most zones. When the file is mended, the zone is another one."""
    path, lost = (machine.directories[0] / name for name in ("Europe/Berlin", "Mars/Base"))
    lost.parent.mkdir()
    whole = path.read_bytes()
    for damaged in (path, lost):
        damaged.write_bytes(whole[:100])
    zones = Zones(machine)
    assert zones.get("Europe/Berlin").offset_at(JULY) == 2 * 3600
    with pytest.raises(UnknownZone, match="damaged"):
        zones.get("Mars/Base")
    assert zones.damaged == [path, lost]
    assert not zones.changed()
    path.write_bytes(whole)
    assert zones.changed()
    assert instead_of_zone("Europe/Berlin", Zones(machine)) == "install the package `tzdata` of the system again"
    assert instead_of_zone("Europe/Berln", Zones(machine)) == "did you mean `Europe/Berlin`?"


@pytest.mark.slow
def test_any_damage_is_damage(machine: Machine) -> None:
    """Python waits for ever for the end of data that lacks its last byte, and raises AssertionError for other damage."""
    path = machine.directories[0] / "Europe/Berlin"
    whole = path.read_bytes()
    footer = whole.rindex(b"\n", 0, -1)
    random = Random(7)
    damages = [whole[:-1], whole[:footer], whole[: footer + 1], b"", whole[:footer] + b"X" + whole[footer + 1 :]]
    for _ in range(300):
        damages.append(bytearray(whole))  # type: ignore[arg-type]  # as good as bytes
        for _ in range(random.choice((1, 3))):
            damages[-1][random.randrange(len(whole))] = random.randrange(256)  # type: ignore[index]
        if random.random() < 0.2:
            del damages[-1][random.randrange(len(whole)) :]  # type: ignore[attr-defined]
    for number, damage in enumerate(damages):
        path.write_bytes(damage)
        zones = Zones(machine)
        zone = zones.get("Europe/Berlin")
        assert number >= 5 or zones.damaged == [path]
        assert [zone.offset_at(instant) for instant in (0, JULY, END)]


@pytest.fixture
def without_descriptors() -> Iterator[Callable[[], None]]:
    """Takes all descriptors until the test ends."""
    limits, last = resource.getrlimit(resource.RLIMIT_NOFILE), os.dup(0)
    os.close(last)
    yield lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (last, limits[1]))
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_no_descriptor_is_no_answer(machine: Machine, without_descriptors: Callable[[], None]) -> None:
    """Zones that were read stay, the others are not unknown, and nothing is imported."""
    machine.localtime.symlink_to(machine.directories[0] / "Europe/Berlin")
    zones = Zones(machine)
    _ = zones.local
    without_descriptors()
    assert not zones.changed()
    assert zones.version
    for name in ("Asia/Tokyo", "America/New_York"):
        with pytest.raises(UnknownZone, match=f"`{name}`: its data cannot be read now: Too many open files"):
            zones.get(name)
        assert instead_of_zone(name, zones) == "try again later"
    copy = Zones(replace(machine, localtime=machine.directories[0] / "Asia/Tokyo"))
    with pytest.raises(UnknownZone, match="`local`: its data cannot be read now: Too many open files"):
        _ = copy.local
    assert zones.names == ["UTC"]


def test_a_link_to_itself_is_no_zone(machine: Machine) -> None:
    machine.localtime.symlink_to(machine.directories[0] / "Europe/Berlin")
    zones = Zones(machine)
    _ = zones.local
    machine.localtime.unlink()
    machine.localtime.symlink_to(machine.localtime)
    assert zones.changed()
    with pytest.raises(UnknownZone, match=f"cannot read {machine.localtime}"):
        _ = Zones(machine).local


def test_a_fifo_is_no_zone(machine: Machine) -> None:
    for path in (machine.localtime, machine.timezone, machine.directories[0] / "Mars"):
        os.mkfifo(path)
    for name in ("local", "Mars"):
        with pytest.raises(UnknownZone):
            Zones(machine).get(name)


def test_an_empty_directory_is_no_package(tmp_path: Path) -> None:
    (tmp_path / "tzdata").mkdir()
    script = (
        "from schedappliance.model.calendars.zones import *; zones = Zones(Machine((), 'UTC'));"
        "print(zones.version, zones.names, zones.local.name, instead_of_zone('Asia/Tokyo', zones)); zones.get('Asia/Tokyo')"
    )
    paths = [str(Path(zones_module.__file__).parents[3]), str(tmp_path)]
    flags = ["-c", f"import sys; sys.path[:0] = {paths}; {script}"]
    done = subprocess.run([sys.executable, "-IS", *flags], capture_output=True, text=True)
    assert done.stdout == "unknown ['UTC'] UTC \n"
    assert done.stderr.endswith("unknown time zone `Asia/Tokyo`: it is not in the time zone data\n")


@pytest.mark.parametrize(
    ("tz", "name"),
    [
        ("Asia/Tokyo", "Asia/Tokyo"),
        (":Asia/Tokyo", "Asia/Tokyo"),
        ("/usr/share/zoneinfo/Asia/Tokyo", "Asia/Tokyo"),
        ("", "UTC"),
    ],
)
def test_local_by_the_environment(machine: Machine, tz: str, name: str) -> None:
    machine.localtime.symlink_to(machine.directories[0] / "Europe/Berlin")
    assert Zones(replace(machine, tz=tz)).local.name == name


@pytest.mark.parametrize(
    ("tz", "january", "july"),
    [
        ("MSK-3", 3 * 3600, 3 * 3600),
        (":MSK-3", 3 * 3600, 3 * 3600),
        ("<+0545>-5:45", 20_700, 20_700),
        ("UTC+2", -7200, -7200),
        ("CET-1CEST,M3.5.0,M10.5.0/3", 3600, 7200),
        ("<-03>3<-02>2,M3.5.0/-2,M10.5.0/-1", -10_800, -7200),
    ],
)
def test_local_by_a_rule_in_the_environment(machine: Machine, tz: str, january: int, july: int) -> None:
    zones = Zones(replace(machine, tz=tz))
    local = zones.local
    assert (local.name, local.offset_at(JANUARY), local.offset_at(JULY)) == (None, january, july)
    assert zones.to_show(None) is local and not zones.changed()
    assert zones.damaged == []


def test_a_rule_in_the_environment_changes_at_the_same_instants_as_the_place() -> None:
    rule, berlin = Zones(Machine(tz="CET-1CEST,M3.5.0,M10.5.0/3")).local, Zones(this_machine()).get("Europe/Berlin")
    instant = 1_735_689_600
    for _ in range(30):
        of_rule, of_place = rule.piece_at(instant), berlin.piece_at(instant)
        assert (of_rule.offset, of_rule.before, of_rule.after) == (of_place.offset, of_place.before, of_place.after)
        assert of_rule.end == of_place.end
        instant = of_rule.end


@pytest.mark.parametrize(
    "tz", ["MSK", "A-3", "AAA25", "EST5EDT4", "CET-1CEST,", "CET-1CEST,M13.5.0,M10.5.0", "MSK-3\n", "MSK-3 x", "Ä-3"]
)
def test_what_is_neither_a_name_nor_a_rule_is_no_zone(machine: Machine, tz: str) -> None:
    with pytest.raises(UnknownZone, match="`local`: TZ is `"):
        _ = Zones(replace(machine, tz=tz)).local


def test_local_by_a_file_that_tz_names(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.localtime.symlink_to(DATA / "Asia/Tokyo")
    monkeypatch.setenv("TZ", f":{machine.localtime}")
    assert Zones(this_machine()).local.name == "Asia/Tokyo"
    monkeypatch.setenv("TZ", f":{DATA / 'Europe/Berlin'}")
    assert Zones(this_machine()).local.name == "Europe/Berlin"


def test_a_path_in_tz_that_leads_to_no_zone_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other, fifo = tmp_path / "other", tmp_path / "fifo"
    other.write_text("root:x:0:0")
    os.mkfifo(fifo)
    reasons = {
        other: f"there is no time zone data in {other}",
        fifo: f"cannot read {fifo}",
        tmp_path / "missing": f"cannot read {tmp_path}/missing",
    }
    for path, reason in reasons.items():
        monkeypatch.setenv("TZ", f":{path}")
        with pytest.raises(UnknownZone, match=f"{reason}, which TZ names$"):
            _ = Zones(this_machine()).local


def test_local_by_the_link(machine: Machine) -> None:
    machine.localtime.symlink_to(machine.directories[0] / "Europe/Berlin")
    machine.timezone.write_text("Asia/Tokyo\n")
    zones = Zones(machine)
    assert zones.get("local") is zones.local is zones.get("Europe/Berlin")


def test_local_by_a_copy_with_its_name(machine: Machine) -> None:
    machine.localtime.write_bytes((DATA / "Asia/Tokyo").read_bytes())
    machine.timezone.write_text("Asia/Tokyo\n")
    assert Zones(machine).local.name == "Asia/Tokyo"


def test_local_by_a_copy_that_has_another_name(machine: Machine) -> None:
    """A container whose /etc/localtime is mounted, and whose /etc/timezone is that of the image."""
    machine.localtime.write_bytes((DATA / "Asia/Tokyo").read_bytes())
    machine.timezone.write_text("Europe/Berlin\n")
    local = Zones(machine).local
    assert (local.name, local.offset_at(JULY)) == (None, 9 * 3600)


def test_local_by_the_name_alone(machine: Machine) -> None:
    machine.timezone.write_text("Europe/Berlin\n")
    assert Zones(machine).local.name == "Europe/Berlin"


def test_no_local(machine: Machine) -> None:
    with pytest.raises(UnknownZone):
        _ = Zones(machine).local


def test_changed_data(machine: Machine) -> None:
    zones = Zones(machine)
    zones.get("Europe/Berlin")
    before = zones.get("Europe/Berlin").offset_at(JULY)
    assert not zones.changed()
    (machine.directories[0] / "Asia/Tokyo").write_bytes(b"")
    assert not zones.changed()
    (machine.directories[0] / "Europe/Berlin").write_bytes((DATA / "Asia/Tokyo").read_bytes())
    assert zones.changed()
    assert zones.get("Europe/Berlin").offset_at(JULY) == before
    (machine.directories[0] / "Europe/Berlin").unlink()
    assert zones.changed()


def test_a_moved_machine(machine: Machine) -> None:
    machine.localtime.symlink_to(machine.directories[0] / "Europe/Berlin")
    zones = Zones(machine)
    zones.get("UTC")
    assert not zones.changed()
    _ = zones.local
    assert not zones.changed()
    machine.localtime.unlink()
    machine.localtime.symlink_to(machine.directories[0] / "Asia/Tokyo")
    assert zones.changed()


def test_the_version(machine: Machine) -> None:
    assert Zones(machine).version != "unknown"
    (machine.directories[0] / "tzdata.zi").write_text("# version 2031c\n# more\n")
    assert Zones(machine).version == "2031c"


def test_the_names_are_those_that_python_knows() -> None:
    names = Zones(this_machine()).names
    assert set(names) == zoneinfo.available_timezones() - {"localtime"} and names == sorted(names)
    assert {"Europe/Berlin", "UTC"} <= set(Zones(Machine(directories=())).names)


def test_the_names_are_listed_once_and_without_a_look_into_files(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    (machine.directories[0] / "Mars").touch()
    monkeypatch.setattr(Path, "read_bytes", None)
    search_path, zones = zoneinfo.TZPATH, Zones(machine)
    assert {"Mars", "Europe/Berlin", "Africa/Abidjan"} <= set(zones.names)
    monkeypatch.setattr(os, "walk", None)
    assert zones.names is zones.names
    # The path belongs to the whole process: `schedappliance.client` runs inside others.
    assert search_path == zoneinfo.TZPATH
