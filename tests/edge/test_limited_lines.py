"""The lines about commands and runs: a limit for each share, and a count of the lines above it."""

from __future__ import annotations

from schedappliance.edge.limited_lines import MOST_AT_ONCE, LimitedLines


def rooms(limited: LimitedLines, who: str, boot_ms: int, lines: int) -> int:
    """How many of these lines have room."""
    return sum(limited.has_room(who, "warning", boot_ms) for _ in range(lines))


def test_a_user_has_many_lines_at_once_and_then_one_a_second() -> None:
    limited = LimitedLines()
    assert rooms(limited, "bob", 500, MOST_AT_ONCE + 5) == MOST_AT_ONCE
    assert rooms(limited, "bob", 1499, 1) == 0
    assert rooms(limited, "bob", 1500, 2) == 1
    assert rooms(limited, "eve", 1500, 2) == 2
    assert rooms(limited, "bob", 11_500, 20) == 10
    assert rooms(limited, "bob", 10**8, MOST_AT_ONCE + 5) == MOST_AT_ONCE


def test_the_lines_without_room_are_counted_once_and_the_limit_stays() -> None:
    limited = LimitedLines()
    rooms(limited, "bob", 0, MOST_AT_ONCE + 1234)
    rooms(limited, "eve", 0, 3)
    text = "bob: 1,234 more lines were left out"
    assert limited.take_left_out(1) == [("warning", text, 1234)]
    assert limited.take_left_out(2) == []
    assert rooms(limited, "bob", 3, 10) == 0


def test_a_user_who_has_all_lines_again_takes_no_memory() -> None:
    limited = LimitedLines()
    for number in range(100):
        rooms(limited, f"user {number}", 0, 1)
    limited.take_left_out(1000)
    assert limited == LimitedLines()
