"""Whether many recurrent jobs that are due every second keep up: each occurrence is claimed, done and recorded."""

from __future__ import annotations

import select
import tempfile
from pathlib import Path
from time import time, time_ns

from benchmarks import peers
from benchmarks.appliances import SECOND_MS, Planned, fill, lay_out, reading, serving
from benchmarks.measuring import Scale
from benchmarks.reporting import OURS, Check, Report

TITLE = "recurrent jobs due every second"
LEAD_MS = 3000
MISSED = "SELECT total(missed_count) FROM runs WHERE state = 'missed'"
DONE = "SELECT count(*) FROM runs WHERE state = 'succeeded' AND due_ms >= {} AND due_ms < {}"


def daemon(folder: Path, jobs: int, seconds: int) -> tuple[float, int]:
    """Runs recorded a second while all are due every second, and how many due times were missed.

    Measured one second after the last due time, when all must be done.
    """
    count = jobs * (seconds + 2)
    place = lay_out(
        Path(tempfile.mkdtemp(dir=folder)) / "ours",
        f'sched {{ backing_store = "../var/sched.db"  history = {count} }}\n',
    )
    now_ms = time_ns() // 1_000_000
    first = (now_ms + LEAD_MS + jobs // 50) // SECOND_MS * SECOND_MS
    planned = (Planned(first, f"config set message_expiration {number}", SECOND_MS) for number in range(jobs))
    fill(place, planned, now_ms)
    with serving(place), reading(place) as number:
        last = first + seconds * SECOND_MS
        select.select([], [], [], max(0.0, last / 1000 - time()))
        done = number(DONE.format(first, last))
        return done / seconds, number(MISSED)


def run(scale: Scale, folder: Path) -> Report:
    jobs, seconds = scale.pick(10_000, 10_000, 20), scale.pick(30, 4, 1)
    workload = f"{jobs:,} jobs `every 1` of internal commands for {seconds} s; peers for 5 s"
    report = Report(TITLE, workload, drawn=(OURS, peers.MEMORY, peers.WAL))
    rate, missed = daemon(folder, jobs, seconds)
    report.add({OURS: [rate]}, "runs/s", f"{missed:,} due times missed")
    # A peer that cannot keep up is as slow with fewer jobs.
    few = scale.pick(10_000, 2000, 5)
    for name in (peers.MEMORY, peers.WAL):
        if rates := peers.ask(name, "recurrent", few, folder):
            report.add({name: rates}, "runs/s", f"of {few:,} due")
        report.absent += filter(None, [peers.absent(name)])
    report.checks.append(Check("due runs that started", rate / jobs, 1, "of all"))
    return report
