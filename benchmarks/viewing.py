"""How much later jobs start while people look at the page.

Rule: one daemon and one page run all the time. Viewers come and go in turn, so that other load meets both ways alike. The store
is in memory: viewers write nothing, and the longest waits for a disk, a few in a thousand, would hide what they change.
"""

from __future__ import annotations

import json
import select
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from random import Random
from time import time

from benchmarks.appliances import (
    DAY_MS,
    STANZAS,
    Place,
    Planned,
    fill,
    lay_out,
    memory,
    reading,
    serving,
    until,
)
from benchmarks.measuring import SAMPLES, SHARES, Scale, shares
from benchmarks.reporting import OURS, Report
from benchmarks.scraping import spent_ms
from benchmarks.viewers import Page, Viewers, looking, page_of

TITLE = "viewers of the page"
# A file system in memory. Without it, the store is on the disk.
MEMORY = Path("/dev/shm")
JOBS, RUNS_OF_JOB = 1000, 20
# What the viewers look at.
PATHS = ("/", "/jobs", "/jobs/example.com-000000001", "/runs", "/month")
ALONE, VIEWED = "nobody looks", "viewers look"
# One a second on average, but at no fixed distance from the work that the run before gives to the page.
DISTANCES_MS = (600, 1400)
# After the last due time of a block.
REST_MS = 1000
MOST_LATER_MS = 1.0
STATES = ("succeeded",) * 18 + ("failed", "missed")


def blocks_of(first_ms: int, blocks: int, count: int, pause_ms: int) -> list[list[int]]:
    """The due times of each block. Viewers look in every second block."""
    dice, at, made = Random(1), first_ms, list[list[int]]()
    for _ in range(blocks):
        dues = []
        for _ in range(count):
            at += dice.randint(*DISTANCES_MS)
            dues.append(at)
        made.append(dues)
        at += pause_ms
    return made


@contextmanager
def appliance(folder: Path, dues: Sequence[int], jobs: int) -> Iterator[tuple[Place, Path, int]]:
    """A daemon with jobs that have a past and are not due, beside those that are. Also the file with their lateness, and the pid."""
    place = lay_out(folder / "ours", STANZAS)
    now_ms = int(time() * 1000)
    waiting = [Planned(now_ms + DAY_MS + n, f"run backup source-{n}", DAY_MS) for n in range(jobs)]
    due = [Planned(at, f"config set message_expiration {n}") for n, at in enumerate(dues)]
    fill(place, [*waiting, *due], now_ms)
    with sqlite3.connect(place.store) as store:
        _write_past(store, jobs, now_ms)
    store.close()
    file = place.root / "lateness"
    with serving(place, daemon=("--lateness", str(file))) as (_, pid):
        yield place, file, pid


def _write_past(store: sqlite3.Connection, jobs: int, now_ms: int) -> None:
    """The runs of a day."""
    dice, count = Random(1), jobs * RUNS_OF_JOB
    store.execute("UPDATE jobs SET occurrence = ? WHERE interval_ms IS NOT NULL", (RUNS_OF_JOB,))
    for number in range(count):
        job, occurrence, state = number % jobs + 1, number // jobs + 1, dice.choice(STATES)
        due = now_ms - DAY_MS + number * DAY_MS // count
        ended = due + dice.randint(500, 60_000) if state != "missed" else due
        store.execute(
            "INSERT INTO runs (job, occurrence, due_ms, state, command, uid, user, origin, attempts, claimed_ms, ended_ms)"
            " VALUES (?, ?, ?, ?, ?, 1000, 'operator', 'console', 1, ?, ?)",
            (job, occurrence, due, state, f"run backup source-{job - 1}", due, ended),
        )
        if state != "missed":
            store.execute(
                "INSERT INTO attempts (job, occurrence, attempt, program, state, boot_id, started_ms, started_boot_ms,"
                " ended_ms, took_ms, exit_status) VALUES (?1, ?2, 1, 'backup', ?3, 'earlier', ?4, 0, ?5, ?5 - ?4, ?6)",
                (job, occurrence, state, due + 2, ended, int(state == "failed")),
            )


def _sleep_until(instant_ms: float) -> None:
    select.select([], [], [], max(0.0, instant_ms / 1000 - time()))


def _waited_ms(pid: int) -> float:
    """How long the first thread of a process was ready to run, and had no core."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e6


def _look(page: Page, daemon: int, blocks: list[list[int]], crowd: tuple[int, int], report: Report) -> None:
    """Viewers come before every second block, and go after it. Also what each way costs the daemon and the page."""
    spent: dict[str, list[float]] = {ALONE: [], VIEWED: []}
    waited: dict[str, list[float]] = {ALONE: [], VIEWED: []}
    of_page: dict[str, list[float]] = {ALONE: [], VIEWED: []}
    of_viewers: list[float] = []
    lost = failed = visits = 0
    most = 0.0
    for number, dues in enumerate(blocks):
        viewers = Viewers(page, PATHS, *crowd)
        with looking(viewers) if number % 2 else nullcontext():
            if time() * 1000 > dues[0]:
                report.absent.append("a block began late: the machine is too busy for these figures")
            _sleep_until(dues[0] - REST_MS)
            began, before, waited_before, page_before = time(), spent_ms(daemon), _waited_ms(daemon), page.spent_ms()
            viewers_before = viewers.spent_ms() if number % 2 else 0.0
            _sleep_until(dues[-1] + REST_MS)
            seconds, way = time() - began, VIEWED if number % 2 else ALONE
            spent[way].append((spent_ms(daemon) - before) / seconds)
            waited[way].append((_waited_ms(daemon) - waited_before) / seconds)
            of_page[way].append((page.spent_ms() - page_before) / seconds)
            of_viewers += [(viewers.spent_ms() - viewers_before) / seconds] if number % 2 else []
            most = max(most, memory(page.pid)[0])
        lost, failed, visits = lost + viewers.lost, failed + viewers.failed, visits + viewers.visits
    report.add({f"{OURS}, deciding thread, {way}": values for way, values in spent.items()}, "ms a second")
    report.add(
        {f"{OURS}, deciding thread waits for a core, {way}": values for way, values in waited.items()}, "ms a second"
    )
    report.add({f"{OURS}, page, {way}": values for way, values in of_page.items()}, "ms a second")
    report.add({"the viewers themselves": of_viewers}, "ms a second")
    report.add({f"{OURS}, screens that viewers opened": [float(visits)]}, "screens")
    report.add({f"{OURS}, resident memory of the page with its viewers": [most]}, "MB")
    report.check_most("streams and screens that viewers did not get", lost + failed, 0, "of them")


def later(scale: Scale, folder: Path, report: Report) -> None:
    blocks, count, *crowd = scale.pick((20, SAMPLES // 10, 50, 300), (2, 30, 50, 300), (2, 2, 5, 10))
    jobs = scale.pick(JOBS, JOBS, 20)
    # Until the first due time, and between two blocks: viewers need time to come and to go.
    lead_ms, pause_ms = scale.pick((20_000, 8_000), (20_000, 8_000), (6_000, 3_000))
    plan = blocks_of(int(time() * 1000) + lead_ms, blocks, count, pause_ms)
    dues = [due for block in plan for due in block]
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else folder) as name:
        with appliance(Path(name), dues, jobs) as (place, file, pid), page_of(place) as page:
            _look(page, pid, plan, (crowd[0], crowd[1]), report)
            with reading(place) as number:
                until(lambda: number(f"SELECT count(*) = {jobs} FROM jobs"))
        # The daemon writes this file when it ends.
        delays: list[float] = json.loads(file.read_text())
    assert len(delays) == len(dues)
    _compare(delays, count, crowd[0], report)


def _compare(delays: Sequence[float], count: int, viewers: int, report: Report) -> None:
    """The lateness of each way. `count`: the due times of a block."""
    ways = {
        way: [delay for at, delay in enumerate(delays) if at // count % 2 == turn]
        for turn, way in enumerate((ALONE, VIEWED))
    }
    report.add(shares({f"{OURS}, lateness, {way}": [values] for way, values in ways.items()}), "ms")
    for share in SHARES:
        alone, viewed = (report.median(f"{OURS}, lateness, {way}, {share}") for way in ways)
        if alone is not None and viewed is not None:
            report.check_most(f"later while {viewers} look, {share}", viewed - alone, MOST_LATER_MS, "ms")


def run(scale: Scale, folder: Path) -> Report:
    workload = (
        f"one job a second, {JOBS:,} jobs with {RUNS_OF_JOB} runs each, a page beside the daemon, the store in memory"
    )
    report = Report(TITLE, workload)
    later(scale, folder, report)
    report.drawn = tuple(row.name for row in report.rows if ", lateness, " in row.name)
    return report
