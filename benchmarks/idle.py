"""The cost of an idle daemon: processor time, wake-ups and memory, with many jobs of the far future."""

from __future__ import annotations

import re
import select
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic, time_ns
from typing import NamedTuple

from benchmarks import peers
from benchmarks.appliances import DAY_MS, make, memory, serving
from benchmarks.measuring import Scale
from benchmarks.reporting import OURS, Report

TITLE = "idle"
POLL_SECONDS, MAX_MB = 10, 45
# Wake-ups this close to each other have one cause.
LOOK_SECONDS = 0.25
SETTLE_SECONDS = 1.0


class Cost(NamedTuple):
    """`causes`: groups of wake-ups with rest before and after; `switches`: voluntary context switches."""

    cpu_ms: float
    switches: int
    causes: int
    rss_mb: float


def switches(pid: int) -> int:
    """Voluntary context switches of all threads. Each follows a wake-up."""
    texts = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/status")]
    return sum(int(match.group(1)) for text in texts if (match := re.search(r"^voluntary_\w+:\s+(\d+)", text, re.M)))


def cpu_ms(pid: int) -> float:
    """Processor time of all threads, from the scheduler. /proc/PID/stat counts only hundredths of a second."""
    texts = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/schedstat")]
    return sum(int(text.split()[0]) for text in texts) / 1e6


def cost(pid: int, seconds: float) -> Cost:
    """Measures from outside, which wakes no thread of the process."""
    _rest(SETTLE_SECONDS)
    before, began, causes, awake = switches(pid), cpu_ms(pid), 0, False
    last, end = before, monotonic() + seconds
    while monotonic() < end:
        _rest(LOOK_SECONDS)
        now = switches(pid)
        causes += now != last and not awake
        awake, last = now != last, now
    return Cost(cpu_ms(pid) - began, last - before, causes, memory(pid)[0])


def _rest(seconds: float) -> None:
    select.select([], [], [], seconds)


def peer(count: int, seconds: float, folder: Path) -> Cost | None:
    """APScheduler in memory, which wakes only for due times."""
    if peers.absent(peers.MEMORY):
        return None
    command = [sys.executable, "-m", "benchmarks.peers", peers.MEMORY, "wait", str(count), str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        used = cost(process.pid, seconds)
        process.communicate()
    return used


def add(report: Report, name: str, used: Cost, seconds: float) -> None:
    add = _adder(report, name)
    add("processor time", used.cpu_ms / seconds * 60, "ms a minute")
    add("wake-ups", used.causes / seconds * 60, "a minute")
    add("context switches", used.switches / seconds * 60, "a minute")
    add("resident memory", used.rss_mb, "MB")


def _adder(report: Report, name: str) -> Callable[[str, float, str], None]:
    return lambda what, value, unit: report.add({f"{name}, {what}": [value]}, unit)


def run(scale: Scale, folder: Path) -> Report:
    jobs, seconds, few = scale.pick(1_000_000, 100_000, 100), scale.pick(30, 10, 1), scale.pick(100_000, 10_000, 10)
    report = Report(TITLE, f"{jobs:,} jobs of the far future, {seconds} s; peer {few:,}")
    place = make(folder / "full", jobs, time_ns() // 1_000_000 + 10 * DAY_MS)
    # At the same time: both are idle, so neither disturbs the other.
    with serving(place) as (_, pid), ThreadPoolExecutor(1) as pool:
        beside = pool.submit(peer, few, seconds, folder)
        used = cost(pid, seconds)
        other = beside.result()
    add(report, OURS, used, seconds)
    if other:
        add(report, f"{peers.MEMORY}, {few:,} jobs", other, seconds)
    report.absent += filter(None, [peers.absent(peers.MEMORY)])
    # One poll more, since the ten-second interval may start anywhere.
    polls = seconds // POLL_SECONDS + 1
    what = f"in {seconds} s, the audit polls among them"
    report.check_most(what, used.causes, polls, "wake-ups")
    report.check_most("resident memory", used.rss_mb, MAX_MB, "MB")
    report.drawn = tuple(row.name for row in report.rows if row.unit == "MB")
    return report
