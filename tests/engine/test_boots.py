"""Which boot this is: by its id, or by the clocks while the id is hidden."""

from __future__ import annotations

import pytest

from schedappliance.clock import Moment
from schedappliance.engine.boots import BOOT_TOLERANCE_MS, ThisBoot, this_boot

WALL, UPTIME = 1_900_000_000_000, 3_600_000
LAST = Moment(WALL, UPTIME)
SOON = Moment(WALL + 5000, UPTIME + 5000)
OFF = Moment(WALL + 60_000 + UPTIME, UPTIME + 1)


@pytest.mark.parametrize(
    ("shown", "now", "recorded", "expected"),
    [
        ("a", OFF, "a", ThisBoot("a", has_ticked=True)),
        ("b", SOON, "a", ThisBoot("b")),
        ("", SOON, "a", ThisBoot("a", has_ticked=True, former="a")),
        ("a", SOON, "unknown-1", ThisBoot("a", has_ticked=True, former="unknown-1")),
        ("", SOON, "unknown-1", ThisBoot("unknown-1", has_ticked=True, former="unknown-1")),
        ("", OFF, "a", ThisBoot(f"unknown-{OFF.wall - OFF.boot}")),
        ("a", OFF, "unknown-1", ThisBoot("a")),
    ],
)
def test_the_clocks_decide_only_if_an_id_is_hidden(shown: str, now: Moment, recorded: str, expected: ThisBoot) -> None:
    assert this_boot(shown, now, recorded, LAST) == expected


@pytest.mark.parametrize(
    ("now", "is_same"),
    [
        (Moment(WALL + BOOT_TOLERANCE_MS, UPTIME), True),
        (Moment(WALL - BOOT_TOLERANCE_MS, UPTIME), True),
        (Moment(WALL + BOOT_TOLERANCE_MS + 1, UPTIME), False),
        (Moment(WALL - BOOT_TOLERANCE_MS - 1, UPTIME), False),
        (Moment(WALL - 1, UPTIME - 1), False),
    ],
)
def test_the_boot_clock_of_one_boot_does_not_go_back_and_its_start_stays(now: Moment, is_same: bool) -> None:
    assert this_boot("", now, "a", LAST).has_ticked == is_same


def test_a_reboot_soon_after_a_boot_is_noticed() -> None:
    """The machine was up for 20 seconds, and is up for 21 seconds again."""
    assert not this_boot("", Moment(WALL + 21_001, 21_000), "a", Moment(WALL, 20_000)).has_ticked


def test_without_a_tick_the_boot_is_new() -> None:
    assert this_boot("a", SOON, None, None) == ThisBoot("a")


def test_a_hidden_id_may_be_that_of_any_boot() -> None:
    known, hidden = ThisBoot("a", has_ticked=True, former="unknown-1"), ThisBoot("unknown-2")
    assert [known.includes(name) for name in ("a", "unknown-1", "b", "unknown-3")] == [True, True, False, None]
    assert [hidden.includes(name) for name in ("unknown-2", "a", "unknown-3")] == [True, None, None]
