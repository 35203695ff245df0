"""Zones as pieces: every change that the files have, and those beyond the files."""

from __future__ import annotations

import io
import struct
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from random import Random
from zoneinfo import ZoneInfo

import pytest

from schedappliance.model.calendars.pieces import END as ALL_YEARS
from schedappliance.model.calendars.pieces import Piece, Zone
from schedappliance.model.calendars.zones import Machine, UnknownZone, Zones, _listed_changes, this_machine
from tests.model.calendars.zone_changes import END, START, ZONES, transitions

YEAR_2027, YEAR_2100 = 1_798_761_600, 4_102_444_800


def _changes(name: str, start: int, end: int) -> list[tuple[int, int]]:
    return _changes_of(Zones(this_machine()).get(name), start, end)


def _changes_of(zone: Zone, start: int, end: int) -> list[tuple[int, int]]:
    """The instants at which another offset begins, with this offset."""
    changes, instant = [], start
    while instant < end:
        piece = zone.piece_at(instant)
        if piece.offset != piece.before:
            changes.append((piece.start, piece.offset))
        instant = piece.end
    return [change for change in changes if start <= change[0] < end]


@pytest.mark.slow
@pytest.mark.parametrize("initial", sorted({name[0] for name in ZONES}))
def test_all_changes_of_all_zones(initial: str) -> None:
    for name in ZONES:
        if name.startswith(initial):
            assert _changes(name, START, END) == transitions(name), name


@pytest.mark.parametrize(
    "name",
    [
        "Europe/Berlin",
        "Australia/Lord_Howe",
        "Pacific/Apia",
        "Africa/Casablanca",
        "Africa/Monrovia",
        "Antarctica/Troll",
    ],
)
def test_changes_of_a_zone(name: str) -> None:
    assert _changes(name, START, END) == transitions(name)


def _offset(rules: ZoneInfo, instant: int) -> float:
    offset = datetime.fromtimestamp(instant, rules).utcoffset()
    assert offset is not None
    return offset.total_seconds()


def _agrees_with_rules(name: str, machine: Machine) -> None:
    """Each 149 hours until 2100, and at both sides of each change. No two changes are closer together than 167 hours."""
    zone, instant = Zones(machine).get(name), 0
    path = machine.directories[0].joinpath(*name.split("/"))
    with path.open("rb") as file:
        rules = ZoneInfo.from_file(file)
    for sample in range(0, YEAR_2100, 149 * 3600):
        assert zone.offset_at(sample) == _offset(rules, sample), (name, sample)
    while instant < YEAR_2100:
        piece = zone.piece_at(instant)
        assert (piece.before, piece.offset) == (_offset(rules, piece.start - 1), _offset(rules, piece.start)), name
        instant = piece.end


# The package lists few changes and has a rule for the others; the system often lists those of many years.
PACKAGE = Path(str(resources.files("tzdata"))) / "zoneinfo"


@pytest.mark.parametrize("directory", [PACKAGE, *this_machine().directories[:1]], ids=["package", "system"])
@pytest.mark.parametrize("name", ["Europe/Berlin", "America/Havana", "Africa/Casablanca", "Asia/Tokyo", "Asia/Gaza"])
def test_changes_that_are_listed_and_those_of_a_rule(name: str, directory: Path) -> None:
    _agrees_with_rules(name, Machine((directory,)))


@pytest.mark.slow
def test_all_zones_of_the_package() -> None:
    names = {path.read_bytes(): name for name in ZONES if (path := PACKAGE / name).exists()}
    for name in names.values():
        _agrees_with_rules(name, Machine((PACKAGE,)))


@pytest.mark.parametrize("directory", [PACKAGE, this_machine().directories[0]], ids=["package", "system"])
def test_the_first_claim_after_ten_years_asks_few_questions(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One turn makes the pieces of all these years. A question takes almost a microsecond."""
    zone, questions = Zones(Machine((directory,))).get("Europe/Berlin"), []
    read_offset = zone._read_offset

    def counted(instant: int) -> int:
        questions.append(instant)
        return read_offset(instant)

    monkeypatch.setattr(zone, "_read_offset", counted)
    for month in range(120):
        zone.offset_at(YEAR_2027 - month * 30 * 86_400)
    assert len(questions) < 500


def test_data_of_the_first_version() -> None:
    """32 bits for each instant, and no rule."""
    header = struct.pack(">4sc15x6l", b"TZif", b"\0", 0, 0, 0, 2, 2, 8)
    body = struct.pack(">2l2B", 1_000_000_000, 1_500_000_000, 1, 0) + struct.pack(">lBBlBB", 0, 0, 0, 5400, 1, 4)
    content = header + body + b"UTC\0ODD\0"
    listed, listed_to = _listed_changes(content)
    zone = Zone("odd", ZoneInfo.from_file(io.BytesIO(content)), listed, listed_to)
    assert zone.piece_at(1_000_000_000)[2:] == (5400, 0, 5400)
    assert [zone.offset_at(n) for n in (999_999_999, 1_499_999_999, 1_500_000_000, YEAR_2100)] == [0, 5400, 0, 0]


def test_a_change_at_an_odd_second() -> None:
    """Rules of POSIX may name any second."""
    header = struct.pack(">4sc15x6l", b"TZif", b"2", 0, 0, 0, 0, 1, 4)
    block = header + struct.pack(">lBB", 0, 0, 0) + b"UTC\0"
    content = block + block + b"\nUTC0DST,M3.2.0/1:02:03,M10.5.0/4:05:07\n"
    zone = Zone("odd", ZoneInfo.from_file(io.BytesIO(content)), *_listed_changes(content))
    begin, end = _changes_of(zone, YEAR_2027, YEAR_2027 + 365 * 86_400)
    assert [begin[0] % 86_400, end[0] % 86_400] == [3723, 3 * 3600 + 5 * 60 + 7]


@pytest.mark.parametrize("directory", [PACKAGE, this_machine().directories[0]], ids=["package", "system"])
@pytest.mark.parametrize("name", ["Europe/Berlin", "Asia/Gaza", "Australia/Lord_Howe", "Africa/Casablanca"])
def test_what_repeats_after_400_years_agrees_with_the_rules(name: str, directory: Path) -> None:
    zone, random = Zones(Machine((directory,))).get(name), Random(name)
    with directory.joinpath(*name.split("/")).open("rb") as file:
        rules = ZoneInfo.from_file(file)
    years = (2400, 2440, 2500, 3000, 5555, 9990)
    for instant in [int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in years]:
        for sample in [instant + random.randrange(10 * 366 * 86_400) for _ in range(30)]:
            piece = zone.piece_at(sample)
            assert piece.start <= sample < piece.end
            assert (piece.before, piece.offset) == (_offset(rules, piece.start - 1), _offset(rules, sample)), piece
            assert piece.end > ALL_YEARS or piece.after == _offset(rules, piece.end), piece


def test_pieces_join() -> None:
    zone = Zones(this_machine()).get("Europe/Berlin")
    piece = zone.piece_at(0)
    while piece.end < END:
        following = zone.piece_at(piece.end)
        assert (piece.end, piece.after, piece.offset) == (following.start, following.offset, following.before)
        piece = following


def test_utc_has_no_changes() -> None:
    assert _changes("UTC", START, END) == []
    assert isinstance(Zones(this_machine()).get("UTC").piece_at(0), Piece)


@pytest.mark.parametrize(
    "name", ["Europe/Berln", "", "/etc/passwd", "../zoneinfo/UTC", "right/UTC", "Europe", "tzdata.zi", "A\0"]
)
def test_unknown_zones(name: str) -> None:
    with pytest.raises(UnknownZone) as failure:
        Zones(this_machine()).get(name)
    assert failure.value.name == name
