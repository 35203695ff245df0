"""How long a start takes, from the command to `is ready`, with many jobs in the store and with none."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from time import time_ns

from benchmarks.appliances import DAY_MS, Place, make, serving
from benchmarks.measuring import Scale, Way, by_turns
from benchmarks.reporting import OURS, Check, Report
from benchmarks.store_size import drop_cached

TITLE = "restart"
MAX_LATER_SECONDS = 1.0
STOPPED, KILLED, COLD = "after a stop", "after kill -9", "from the disk"


def ready(place: Place, kind: str) -> float:
    """Seconds until a daemon is ready, after the previous daemon was stopped or killed."""
    if kind == COLD:
        drop_cached(place)
    if kind == KILLED:
        with serving(place, killed=True):
            pass
    with serving(place) as (start, _pid):
        return start.seconds


def run(scale: Scale, folder: Path) -> Report:
    jobs = scale.pick(1_000_000, 100_000, 100)
    first = time_ns() // 1_000_000 + 10 * DAY_MS
    empty, full = make(folder / "empty", 0, first), make(folder / "full", jobs, first)
    size = full.store.stat().st_size / 1e6
    report = Report(TITLE, f"{jobs:,} future jobs ({size:,.0f} MB), and none; until `is ready`")
    names = {kind: (f"{OURS}, no jobs, {kind}", f"{OURS}, {jobs:,} jobs, {kind}") for kind in (STOPPED, KILLED, COLD)}
    ways: dict[str, Way] = {}
    for kind, (without, filled) in names.items():
        ways |= {without: partial(ready, empty, kind), filled: partial(ready, full, kind)}
    report.add(by_turns(ways, scale.pick(7, 2, 1)), "s")
    for kind, (without, filled) in names.items():
        one, other = report.median(without), report.median(filled)
        assert one is not None and other is not None
        report.checks.append(Check(f"later than without jobs, {kind}", other - one, MAX_LATER_SECONDS, "s", False))
    report.drawn = names[STOPPED] + names[COLD]
    return report
