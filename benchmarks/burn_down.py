"""How fast due jobs are done: one-shot internal commands, each with a durable run record.

`python -m benchmarks --only burn_down [--before burn_down=DIR]`; `python -m benchmarks.burn_down COUNT` profiles the real core in process.
"""

from __future__ import annotations

import cProfile
import pstats
import shutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from time import perf_counter, time_ns

from benchmarks import peers
from benchmarks.appliances import IDENTITY, NODE, Place, Planned, Turning, fill, lay_out, reading, serving, until
from benchmarks.earlier import BEFORE, earlier
from benchmarks.limits import RAW, raw_burn_down
from benchmarks.measuring import Scale, Way, by_turns
from benchmarks.reporting import OURS, Report
from schedappliance.store.tables import open_store

TITLE = "due one-shot internal commands"
TIMES_WAL, TIMES_DEFAULT, SHARE_OF_RAW, TIMES_BEFORE = 18, 75, 0.4, 1.15
VARIANT, IN_PROCESS = f"{OURS}, other options", f"{OURS}, core in process"
LATE_MS = 10_000
MEASURE = "from benchmarks.burn_down import SAME_OPTION, daemon; print(daemon(folder, count, SAME_OPTION))"
PROFILED, TOP = 20_000, 15

SAME_OPTION = "config set message_expiration {}".format
OTHER_OPTIONS = "config set option_{0} {0}".format


def stanzas(count: int) -> str:
    """The history is long enough to keep every run, so that all can be counted at the end."""
    return f'sched {{ backing_store = "../var/sched.db"  history = {max(count * 2, 100_000)} }}\n'


def prepared(root: Path, count: int, command: Callable[[int], str]) -> Place:
    place, now_ms = lay_out(root, stanzas(count)), time_ns() // 1_000_000
    due = now_ms - LATE_MS
    fill(place, (Planned(due + number % 1000, command(number)) for number in range(count)), due)
    return place


def daemon(folder: Path, count: int, command: Callable[[int], str]) -> float:
    """Jobs a second, from `is ready` to the last recorded end, as another process reads it from the store."""
    place = prepared(Path(tempfile.mkdtemp(dir=folder)) / "ours", count, command)
    with serving(place), reading(place) as number:
        began = perf_counter()
        until(lambda: number("SELECT NOT EXISTS (SELECT 1 FROM jobs)"))
        seconds = perf_counter() - began
        assert number("SELECT count(*) FROM runs WHERE state = 'succeeded' AND ended_ms IS NOT NULL") == count
    shutil.rmtree(place.root)
    return count / seconds


def turned(folder: Path, count: int, profile: cProfile.Profile | None = None) -> float:
    """The same by the core in this process, without loop and log."""
    place = prepared(Path(tempfile.mkdtemp(dir=folder)) / "core", count, SAME_OPTION)
    now_ms = time_ns() // 1_000_000
    with closing(open_store(place.store, NODE, IDENTITY, now_ms)) as store:
        turning = Turning(place, store, now_ms)
        began = perf_counter()
        if profile:
            profile.enable()
        while store.jobs.next_due() is not None:
            turning.core.turn([], turning.clock.moment())
        if profile:
            profile.disable()
        return count / (perf_counter() - began)


def raw(folder: Path, count: int) -> float:
    place = prepared(Path(tempfile.mkdtemp(dir=folder)) / "raw", count, SAME_OPTION)
    return raw_burn_down(place.store, time_ns() // 1_000_000)


def peer(name: str, count: int, folder: Path) -> float | None:
    rates = peers.ask(name, "burn_down", count, folder)
    return rates[0] if rates else None


def run(scale: Scale, folder: Path, checkout: Path | None = None) -> Report:
    """`checkout`: an earlier state of the project, to run in turn with this one."""
    count, few = scale.pick(100_000, 10_000, 200), scale.pick(10_000, 1000, 50)
    workload = f"{count:,} due jobs, {few:,} for peers; `config set` of one option, every value another"
    report = Report(TITLE, workload, drawn=(OURS, BEFORE, peers.MEMORY, peers.DEFAULT, peers.WAL, peers.HUEY, RAW))
    ways: dict[str, Way] = {OURS: partial(daemon, folder, count, SAME_OPTION)}
    if checkout:
        ways[BEFORE] = partial(earlier, checkout, MEASURE, folder, count)
    ways |= {
        VARIANT: partial(daemon, folder, scale.pick(20_000, 2000, 100), OTHER_OPTIONS),
        IN_PROCESS: partial(turned, folder, count),
        # Without WAL a job takes several times as long, whatever their number.
        **{name: partial(peer, name, few // (5 if name == peers.DEFAULT else 1), folder) for name in peers.MODULES},
        RAW: partial(raw, folder, count),
    }
    report.add(by_turns(ways, scale.pick(3, 2, 1)), "jobs/s")
    report.absent += filter(None, map(peers.absent, peers.MODULES))
    report.check_ratio(f"beside {peers.WAL}", OURS, peers.WAL, TIMES_WAL)
    report.check_ratio(f"beside {peers.DEFAULT}", OURS, peers.DEFAULT, TIMES_DEFAULT)
    if checkout:
        report.check_ratio("beside the earlier checkout", OURS, BEFORE, TIMES_BEFORE)
    report.check_ratio("beside raw SQLite doing the same reads, deletes and inserts", OURS, RAW, SHARE_OF_RAW)
    return report


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else PROFILED
    profile = cProfile.Profile()
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        print(f"{turned(Path(name), count, profile):,.0f} jobs/s while profiled")
    pstats.Stats(profile).sort_stats("tottime").print_stats(TOP)


if __name__ == "__main__":
    main()
