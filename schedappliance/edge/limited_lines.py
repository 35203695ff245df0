"""How many lines about commands, drops and runs a user may have in the log, so that nobody fills its disk.

Rule: a line that is left out is counted, and a later line gives the number.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

# An allowance is this many lines at once. Each second adds one line.
MOST_AT_ONCE = 1000
REFILL_MS = 1000


@dataclass(slots=True)
class _Share:
    """`full_at`: the boot instant in milliseconds at which there is room for MOST_AT_ONCE lines again."""

    full_at: int = 0
    left_out: int = 0
    level: str = ""


class LeftOut(NamedTuple):
    """A line that gives the number of lines that were left out of an allowance."""

    level: str
    text: str
    number: int


@dataclass(slots=True)
class LimitedLines:
    """The allowances by their names, such as `user=bob uid=7 rejected`. The line about lines that were left out begins with the name."""

    _shares: dict[str, _Share] = field(default_factory=dict)

    def has_room(self, words: str, level: str, boot_ms: int) -> bool:
        """Takes the room for a line. Returns False, and counts the line, if there is none."""
        share = self._shares.setdefault(words, _Share())
        full_at = max(share.full_at, boot_ms) + REFILL_MS
        if full_at - boot_ms > MOST_AT_ONCE * REFILL_MS:
            share.left_out += 1
            share.level = level
            return False
        share.full_at = full_at
        return True

    def take_left_out(self, boot_ms: int) -> list[LeftOut]:
        """The allowances of which lines were left out since the last call.

        Allowances that are whole again are forgotten.
        """
        left_out = [
            LeftOut(
                share.level,
                f"{words}: {share.left_out:,} more lines were left out",
                share.left_out,
            )
            for words, share in self._shares.items()
            if share.left_out
        ]
        self._shares = {
            words: _Share(share.full_at) for words, share in self._shares.items() if share.full_at > boot_ms
        }
        return left_out
