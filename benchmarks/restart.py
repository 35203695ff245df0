"""How long a start takes, from the command to `is ready`: with many jobs in the store, with none, and with many programs in
the stanza files.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from time import time_ns

from benchmarks.appliances import DAY_MS, Place, lay_out, make, serving
from benchmarks.language import LARK_STANZAS, seconds
from benchmarks.measuring import Scale, Way, by_turns
from benchmarks.reporting import OURS, Report
from benchmarks.store_size import drop_cached

TITLE = "restart"
MAX_LATER_SECONDS, MOST_CPU_SECONDS = 1.0, 5.0
PROGRAM = 'program "site {0}" {{ argv = ( "/bin/true" "--site" "{0}" ) timeout = 60 }}\n'
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
    report.add(by_turns(ways, scale.pick(5, 2, 1)), "s")
    for kind, (without, filled) in names.items():
        one, other = report.median(without), report.median(filled)
        assert one is not None and other is not None
        report.check_most(f"later than without jobs, {kind}", other - one, MAX_LATER_SECONDS, "s")
    report.drawn = names[STOPPED] + names[COLD]
    programs(scale, folder, report)
    return report


def programs(scale: Scale, folder: Path, report: Report) -> None:
    """Starts with many declared programs, in CPU seconds, since the work is to read and check them."""
    count = scale.pick(20_000, 5000, 10)
    place = lay_out(folder / "programs", "".join(PROGRAM.format(number) for number in range(count)))
    name, lark = f"{OURS}, {count:,} programs", f"Lark alone, {count:,} programs"
    ways: dict[str, Way] = {name: partial(cpu_seconds, place), lark: partial(seconds, LARK_STANZAS, place.stanzas)}
    report.add(by_turns(ways, scale.pick(3, 2, 1)), "CPU s")
    report.apart["many programs"] = (name, lark)
    cost = report.median(name)
    assert cost is not None
    report.check_most(f"a start with {count:,} programs", cost, MOST_CPU_SECONDS, "CPU s")


def cpu_seconds(place: Place) -> float:
    """The CPU seconds of the whole daemon until it is ready."""
    with serving(place) as (_, pid):
        user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")
