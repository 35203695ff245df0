"""How long a program is taken to run: as long as its last successful runs did, or those that did not succeed."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median_low

# So many of the newest runs count, and so many of the store's are looked at.
COUNTED = 5
LOOKED_BACK = 100_000


class Durations:
    """The median of a job's last successful runs, else that of the same command's by any job, else of any that ended.

    The second helps jobs that run once: they have no earlier runs of their own. The third helps programs that were always
    ended early: they take at least as long.
    """

    def __init__(self, lasted: Iterable[tuple[int, str, int, bool]]) -> None:
        """`lasted`: job, command, milliseconds and whether it succeeded, the newest first."""
        found: dict[tuple[bool, int | None, str], list[int]] = {}
        for job, command, milliseconds, succeeded in lasted:
            for whose in (job, None):
                last = found.setdefault((bool(succeeded), whose, command), [])
                if len(last) < COUNTED:
                    last.append(milliseconds)
        self._medians = {name: median_low(last) for name, last in found.items()}

    def of(self, job: int, command: str) -> int:
        """Milliseconds; none at all for what never ran."""
        for succeeded in (True, False):
            for whose in (job, None):
                if (found := self._medians.get((succeeded, whose, command))) is not None:
                    return found
        return 0
