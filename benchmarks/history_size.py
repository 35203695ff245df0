"""The cost of a tick while 1,000,000 excess runs are removed, as after `history` was lowered.

`python -m benchmarks.history_size [--quick]` alternates turns of the core on two stores: one within its limit, and one
with 1,000,000 runs more, every hundredth with an output of 64 KiB.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from time import time_ns

from benchmarks.appliances import DAY_MS, NODE, Place, Turning, make
from benchmarks.measuring import machine
from benchmarks.store_size import FEW_JOBS
from schedappliance.store.tables import open_store

KEPT = 100_000
TOO_MANY, QUICK_TOO_MANY = 1_000_000, 100_000
TICKS, QUICK_TICKS = 5000, 500
OUTPUT_BYTES, OUTPUT_EVERY = 64 * 1024, 100
# Users do not notice this, and one slow sync of a disk takes as long.
MAX_LONGEST_MS = 50

RUN = """
INSERT INTO runs (job, occurrence, due_ms, state, command, uid, user, origin, attempts, claimed_ms, ended_ms)
VALUES (?, ?, ?, 'succeeded', 'run backup', 1000, 'operator', 'console', 1, ?, ?)
"""
ATTEMPT = """
INSERT INTO attempts (job, occurrence, attempt, program, state, pid, start_ticks, boot_id, started_ms, started_boot_ms,
                      ended_ms, took_ms, exit_status)
VALUES (?1, ?2, 1, 'backup', 'succeeded', 300, 7, 'boot', ?3, 0, ?4, ?4 - ?3, 0)
"""
OUTPUT = "INSERT INTO outputs (job, occurrence, attempt, output, output_bytes) VALUES (?, ?, 1, randomblob(?), ?)"


def fill(place: Place, runs: int, now_ms: int) -> None:
    """Adds ended runs of programs, as the daemon writes them, for many jobs in turn."""
    past = 10 * FEW_JOBS

    def keys() -> Iterator[tuple[int, int]]:
        # The numbers of finished jobs.
        return ((past + number % past, number // past + 1) for number in range(runs))

    with closing(open_store(place.store, NODE, "", now_ms)) as store, store.transaction():
        connection = store._database._connection
        connection.executemany(RUN, ((*key, now_ms, now_ms, now_ms) for key in keys()))
        connection.executemany(ATTEMPT, ((*key, now_ms, now_ms) for key in keys()))
        long = (key for number, key in enumerate(keys()) if number % OUTPUT_EVERY == 0)
        connection.executemany(OUTPUT, ((*key, OUTPUT_BYTES, OUTPUT_BYTES) for key in long))


def compare(too_many: int, ticks: int) -> None:
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        now_ms = time_ns() // 1_000_000
        turning = []
        for kind, runs in (("short", KEPT), ("long", KEPT + too_many)):
            place = make(Path(name) / kind, FEW_JOBS, now_ms + DAY_MS)
            fill(place, runs, now_ms)
            store = stack.enter_context(closing(open_store(place.store, NODE, "", now_ms)))
            turning.append((Turning(place, store, now_ms + DAY_MS), store))
        print(f"machine:  {machine()}")
        print(
            f"workload: {KEPT:,} runs are kept, {too_many:,} too many; one of {OUTPUT_EVERY} has {OUTPUT_BYTES} bytes of output"
        )
        times = [[one.turn() for one, _ in turning] for _ in range(ticks)]
        short, long = (sorted(pair[i] for pair in times) for i in (0, 1))
        left = turning[1][1].runs.count() - KEPT
        print(
            f"a tick that finds one due job, {ticks:,} each by turns; {too_many - left:,} runs were removed meanwhile"
        )
        for what, share in (("median", 0.5), ("99 of 100 within", 0.99), ("longest", 1.0)):
            one, other = (series[min(int(share * ticks), ticks - 1)] * 1e3 for series in (short, long))
            wanted = f" (wanted: at most {MAX_LONGEST_MS} ms)" if what == "longest" else ""
            print(f"  {what}: {one:.1f} ms, {other:.1f} ms while it is cut: ratio {other / one:.2f}{wanted}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures ticks while a long history is cut.")
    parser.add_argument("--quick", action="store_true", help="a tenth of the runs and ticks")
    options = parser.parse_args()
    compare(*((QUICK_TOO_MANY, QUICK_TICKS) if options.quick else (TOO_MANY, TICKS)))


if __name__ == "__main__":
    main()
