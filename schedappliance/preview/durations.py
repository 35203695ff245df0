"""How long a program is taken to run: as long as its last successful runs did."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median_low

# So many of the newest runs count, and so many of the store's are looked at.
COUNTED = 5
LOOKED_BACK = 100_000


class Durations:
    """The median of a job's last runs, else that of the last runs of the same command by any job, else no time at all.

    The second helps jobs that run once: they have no earlier runs of their own.
    """

    def __init__(self, successes: Iterable[tuple[int, str, int]]) -> None:
        """`successes`: job, command and milliseconds, the newest first."""
        of_jobs: dict[tuple[int, str], list[int]] = {}
        of_commands: dict[str, list[int]] = {}
        for job, command, milliseconds in successes:
            for last in (of_jobs.setdefault((job, command), []), of_commands.setdefault(command, [])):
                if len(last) < COUNTED:
                    last.append(milliseconds)
        self._of_jobs = {name: median_low(last) for name, last in of_jobs.items()}
        self._of_commands = {command: median_low(last) for command, last in of_commands.items()}

    def of(self, job: int, command: str) -> int:
        found = self._of_jobs.get((job, command))
        return self._of_commands.get(command, 0) if found is None else found
