"""What a store of 1,000,000 jobs costs: at the start of the daemon, in its memory, and in a tick that finds one due job.

`python -m benchmarks.store_size [--quick]`; medians of starts of real processes and of turns of the real core, each beside
an empty store, or one of 1,000 jobs, in the same run.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from statistics import median
from time import perf_counter, time_ns
from typing import NamedTuple

from benchmarks.lint_speed import machine
from schedappliance.clock import ManualClock
from schedappliance.core.core import Core
from schedappliance.core.recovery import Found
from schedappliance.core.state import new_state
from schedappliance.engine.records import NewJob, User
from schedappliance.engine.states import RunState
from schedappliance.linter import load
from schedappliance.model.commands import read_command
from schedappliance.store.store import Store, open_store

JOBS, QUICK_JOBS, FEW_JOBS = 1_000_000, 100_000, 1000
COMMANDS = 1000
STARTS, QUICK_STARTS = 7, 3
TICKS, QUICK_TICKS = 5000, 1000
MAX_LATER_SECONDS, MAX_MORE_MB, MAX_TICK_RATIO = 1.0, 30, 1.1

DAY_MS = 86_400_000
SECOND_MS = 1000
# Any prime: it scatters the order of the due times over the numbers of the jobs.
SCATTER = 611_953
NODE, OWNER = "example.com", User(1000, "operator")
STANZAS = 'sched { backing_store = "../var/sched.db" }\nprogram "backup" { argv = ( "/bin/true" ) args = any }\n'
APPLIANCE_FILE = f"node: {NODE}\nconfig: sched.conf\nconsole: {{ listen: ../var/console.sock }}\n"


class Place(NamedTuple):
    """The directory of one appliance."""

    root: Path

    @property
    def store(self) -> Path:
        return self.root / "var" / "sched.db"

    @property
    def stanzas(self) -> Path:
        return self.root / "etc" / "sched.conf"

    @property
    def file(self) -> Path:
        return self.root / "etc" / "appliance.yaml"


def make(root: Path, jobs: int, first_due_ms: int) -> Place:
    """An appliance with so many recurrent jobs, stored as the daemon stores them: one is due every second, in turn."""
    place = Place(root)
    for folder in ("etc", "var"):
        (root / folder).mkdir(parents=True)
    place.file.write_text(APPLIANCE_FILE)
    place.stanzas.write_text(STANZAS)
    commands = [read_command(f"config set message_expiration {n}").command for n in range(min(jobs, COMMANDS))]
    with closing(open_store(place.store, NODE, "0123456789abcdef", first_due_ms)) as store, store.transaction():
        for number in range(jobs):
            command = commands[number % len(commands)]
            assert command is not None
            due = first_due_ms + number * SCATTER % jobs * SECOND_MS
            store.jobs.add(NewJob("every", due, jobs * SECOND_MS, command, OWNER, "console"), first_due_ms - DAY_MS)
    return place


class Start(NamedTuple):
    """One start of a daemon: seconds until it was ready, and its memory then, in MB."""

    seconds: float
    rss: float
    pss: float


def memory(pid: int) -> tuple[float, float]:
    """Resident memory in MB, and its share of what several processes use."""
    found = dict(re.findall(r"^(Rss|Pss): +(\d+) kB$", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE))
    return int(found["Rss"]) / 1024, int(found["Pss"]) / 1024


@contextmanager
def serving(place: Place, killed: bool) -> Iterator[tuple[Start, int]]:
    """A real daemon from its start on, and its pid; it ends in order, or is killed."""
    command = [sys.executable, "-m", "schedappliance", "serve", "--config", str(place.file)]
    began = perf_counter()
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        said = []
        for line in process.stderr:
            said.append(line)
            if " is ready" in line:
                break
        seconds = perf_counter() - began
        assert said and " is ready" in said[-1], "".join(said)
        try:
            yield Start(seconds, *memory(process.pid)), process.pid
        finally:
            (process.kill if killed else process.terminate)()


def in_use(place: Place, pid: int) -> float:
    """Resident memory in MB after every job was listed."""
    for line in ("sched list", "summary"):
        console = [sys.executable, "-m", "schedappliance", "console", "--config", str(place.file), line]
        subprocess.run(console, stdout=subprocess.DEVNULL, check=True)
    return memory(pid)[0]


def drop_cached(place: Place) -> None:
    """The next start reads the store from the disk."""
    descriptor = os.open(place.store, os.O_RDWR)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def starts(place: Place, found: dict[str, list[Start]]) -> float:
    """One start of each kind; returns the memory in use."""
    with serving(place, killed=True) as (start, _pid):
        found["after a stop"].append(start)
    with serving(place, killed=False) as (start, pid):
        found["after kill -9"].append(start)
        used = in_use(place, pid)
    drop_cached(place)
    with serving(place, killed=False) as (start, _pid):
        found["from the disk"].append(start)
    return used


def compare_starts(empty: Place, full: Place, count: int) -> None:
    kinds = ("after a stop", "after kill -9", "from the disk")
    without, filled = ({kind: list[Start]() for kind in kinds} for _ in range(2))
    used = [(starts(empty, without), starts(full, filled)) for _ in range(count)]
    print(f"ready, medians of {count} starts each (wanted: less than {MAX_LATER_SECONDS:.0f} s later)")
    for kind in kinds:
        one, other = median(s.seconds for s in without[kind]), median(s.seconds for s in filled[kind])
        print(f"  {kind}: {one:.2f} s empty, {other:.2f} s full: ratio {other / one:.2f}, {other - one:.2f} s later")
    print(f"memory (wanted: less than {MAX_MORE_MB} MB more)")
    rss, pss = [[median(s[i] for s in m["after a stop"]) for m in (without, filled)] for i in (1, 2)]
    after_use = [median(pair[i] for pair in used) for i in (0, 1)]
    for what, (one, other) in (("RSS", rss), ("PSS", pss), ("RSS after `sched list`", after_use)):
        print(f"  {what}: {one:.1f} MB empty, {other:.1f} MB full: ratio {other / one:.2f}, {other - one:.1f} MB more")


class Turning:
    """The real core on a store; every turn finds one job that is due."""

    def __init__(self, place: Place, store: Store, first_due_ms: int) -> None:
        self._clock = ManualClock(first_due_ms - 1)
        configuration = load(place.stanzas).configuration
        self._state = new_state(store, configuration, self._clock.moment(), pid=1, version="", boot_id="boot", cores=2)
        self._core = Core(self._state)
        self._core.start(Found({}, {}), "digest", ())

    def turn(self) -> float:
        due, _ = self._core.wake()
        assert due is not None
        self._clock.advance(due - self._clock.moment().wall)
        before = self._state.status.statistics.ended.get(RunState.SUCCEEDED, 0)
        began = perf_counter()
        self._core.turn([], self._clock.moment())
        self._core.wake()
        seconds = perf_counter() - began
        assert self._state.status.statistics.ended[RunState.SUCCEEDED] == before + 1
        return seconds


def compare_ticks(few: Place, full: Place, count: int, first_due_ms: int) -> None:
    with ExitStack() as stack:
        turning = []
        for place in (few, full):
            store = stack.enter_context(closing(open_store(place.store, NODE, "", first_due_ms)))
            turning.append(Turning(place, store, first_due_ms))
        found = [[one.turn() for one in turning] for _ in range(count)]
    small, large = (sorted(times[i] for times in found) for i in (0, 1))
    print(f"a tick that finds one due job, {count:,} each in turn (wanted: ratio of medians at most {MAX_TICK_RATIO})")
    for what, share in (("median", 0.5), ("99 of 100 within", 0.99)):
        one, other = (times[int(share * count)] * 1e6 for times in (small, large))
        print(f"  {what}: {one:.0f} us with {FEW_JOBS:,} jobs, {other:.0f} us full: ratio {other / one:.2f}")


def compare(jobs: int, start_count: int, tick_count: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        first_due_ms = time_ns() // 1_000_000 + 10 * DAY_MS
        began = perf_counter()
        empty, few, full = (
            make(Path(name) / kind, count, first_due_ms)
            for kind, count in (("empty", 0), ("few", FEW_JOBS), ("full", jobs))
        )
        size = full.store.stat().st_size / 1e6
        print(f"machine:  {machine()}")
        print(f"workload: {jobs:,} recurrent jobs of {COMMANDS:,} commands, {size:.0f} MB, one due every second")
        print(f"          (stored in {perf_counter() - began:.0f} s)")
        compare_starts(empty, full, start_count)
        compare_ticks(few, full, tick_count, first_due_ms)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures what a large store costs.")
    parser.add_argument("--quick", action="store_true", help="a tenth of the jobs, fewer runs")
    options = parser.parse_args()
    compare(*((QUICK_JOBS, QUICK_STARTS, QUICK_TICKS) if options.quick else (JOBS, STARTS, TICKS)))


if __name__ == "__main__":
    main()
