"""The cost of a store with 1,000,000 jobs: the start of the daemon, its memory, and a tick that finds one due job.

`python -m benchmarks.store_size [--quick]` shows medians of starts of real processes and of turns of the core, each
beside an empty store or one with 1,000 jobs, in the same run.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack, closing
from pathlib import Path
from statistics import median
from time import perf_counter, time_ns

from benchmarks.appliances import COMMANDS, DAY_MS, NODE, Place, Start, Turning, make, memory, serving
from benchmarks.measuring import machine
from schedappliance.store.tables import open_store

JOBS, QUICK_JOBS, FEW_JOBS = 1_000_000, 100_000, 1000
STARTS, QUICK_STARTS = 7, 3
TICKS, QUICK_TICKS = 5000, 1000
MAX_LATER_SECONDS, MAX_MORE_MB, MAX_TICK_RATIO = 1.0, 30, 1.1


def in_use(place: Place, pid: int) -> float:
    """Resident memory in MB after all jobs were listed."""
    for line in ("sched list", "summary"):
        console = [sys.executable, "-m", "schedappliance", "console", "--config", str(place.file), line]
        subprocess.run(console, stdout=subprocess.DEVNULL, check=True)
    return memory(pid)[0]


def drop_cached(place: Place) -> None:
    """Drops the cache, so that the next start reads the store from the disk."""
    descriptor = os.open(place.store, os.O_RDWR)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)


def starts(place: Place, starts_by_kind: dict[str, list[Start]]) -> float:
    """One start of each kind; returns the memory in use."""
    with serving(place, killed=True) as (start, _pid):
        starts_by_kind["after a stop"].append(start)
    with serving(place, killed=False) as (start, pid):
        starts_by_kind["after kill -9"].append(start)
        used = in_use(place, pid)
    drop_cached(place)
    with serving(place, killed=False) as (start, _pid):
        starts_by_kind["from the disk"].append(start)
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


def compare_ticks(few: Place, full: Place, count: int, first_due_ms: int) -> None:
    with ExitStack() as stack:
        turning = []
        for place in (few, full):
            store = stack.enter_context(closing(open_store(place.store, NODE, "", first_due_ms)))
            turning.append(Turning(place, store, first_due_ms))
        rounds = [[one.turn() for one in turning] for _ in range(count)]
    small, large = (sorted(times[i] for times in rounds) for i in (0, 1))
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
