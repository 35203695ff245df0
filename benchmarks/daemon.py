"""The real daemon with additions, as its own process: `python -m benchmarks.daemon OPTIONS serve --config FILE`.

`--ballast MB` first allocates that much memory, `--lateness FILE` writes how late each run was stored, and
`--profile FILE` writes the time of each function in all threads.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import pstats
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from time import time_ns
from typing import Any

from schedappliance.cli.main import main as schedappliance
from schedappliance.engine.records import Job
from schedappliance.store.database import Database
from schedappliance.store.runs import NewRun, Runs

TOP = 15
WAITS = ("<method 'get' of '_queue.SimpleQueue' objects>", "<method 'poll' of 'select.epoll' objects>")


class Lateness:
    """The time from the due time of a run to the return of the COMMIT that records it, by the wall clock."""

    def __init__(self) -> None:
        self.delays_ms: list[float] = []
        self._claimed: list[int] = []

    def watch(self) -> None:
        add, execute = Runs.record, Database.execute

        def adding(runs: Runs, job: Job, run: NewRun, now_ms: int) -> None:
            self._claimed.append(run.due_ms)
            add(runs, job, run, now_ms)

        def executing(database: Database, sql: str, parameters: Sequence[Any] = ()) -> Any:
            if sql == "BEGIN IMMEDIATE":
                # What an abandoned look-ahead has claimed.
                self._claimed.clear()
            cursor = execute(database, sql, parameters)
            if sql == "COMMIT" and self._claimed:
                now = time_ns() / 1e6
                self.delays_ms += [now - due for due in self._claimed]
                self._claimed.clear()
            return cursor

        Runs.record, Database.execute = adding, executing  # type: ignore[method-assign,assignment]


class Profile:
    """The time of each function, in the deciding thread and in the threads that it starts."""

    def __init__(self) -> None:
        self._found: list[cProfile.Profile] = []

    def watch(self) -> None:
        run = threading.Thread.run

        def running(thread: threading.Thread) -> None:
            profile = self._begin()
            try:
                run(thread)
            finally:
                profile.disable()

        threading.Thread.run = running  # type: ignore[method-assign,assignment]
        self._begin()

    def _begin(self) -> cProfile.Profile:
        profile = cProfile.Profile()
        self._found.append(profile)
        profile.enable()
        return profile

    def write(self, path: Path) -> None:
        for profile in self._found:
            profile.disable()
        pstats.Stats(*self._found).dump_stats(path)


def top(path: Path) -> None:
    """The slowest functions, without the time that threads wait for work."""
    stats = pstats.Stats(str(path))
    stats.stats = {key: row for key, row in stats.stats.items() if key[2] not in WAITS}  # type: ignore[attr-defined]
    stats.sort_stats("tottime").print_stats(TOP)


def main() -> int:
    parser = argparse.ArgumentParser(description="Serves with something added.")
    parser.add_argument("--ballast", type=int, default=0, metavar="MB")
    parser.add_argument("--lateness", type=Path, metavar="FILE")
    parser.add_argument("--profile", type=Path, metavar="FILE")
    options, rest = parser.parse_known_args()
    ballast = bytearray(os.urandom(1024)) * (options.ballast * 1024)
    lateness, profile = Lateness(), Profile()
    if options.lateness:
        lateness.watch()
    if options.profile:
        profile.watch()
    status = schedappliance(rest)
    if options.profile:
        profile.write(options.profile)
    if options.lateness:
        options.lateness.write_text(json.dumps(lateness.delays_ms))
    assert len(ballast) == options.ballast * 1024 * 1024
    return status


if __name__ == "__main__":
    sys.exit(main())
