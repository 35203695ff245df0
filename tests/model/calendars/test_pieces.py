"""Zones as pieces: every change that the files have, and those beyond the files."""

from __future__ import annotations

import pytest

from schedappliance.model.calendars.pieces import Piece
from schedappliance.model.calendars.zones import UnknownZone, Zones, this_machine
from tests.model.calendars.zone_changes import END, START, ZONES, transitions


def _changes(name: str, start: int, end: int) -> list[tuple[int, int]]:
    zone = Zones(this_machine()).get(name)
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
