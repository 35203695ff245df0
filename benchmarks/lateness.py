"""How late jobs start: many at one instant, and one every second, also while other processes want all cores.

Rule: for the daemon, the time counts at which the COMMIT that records a run has returned, by the wall clock of the
process. Peers record nothing; for them, the time counts at which their function begins.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from time import time, time_ns

from benchmarks import peers
from benchmarks.appliances import STANZAS, Place, Planned, fill, lay_out, reading, serving, until
from benchmarks.measuring import SAMPLES, SHARES, Scale, shares
from benchmarks.reporting import OURS, Report

TITLE = "lateness"
AT_ONCE, EACH_SECOND, BUSY = "1,000 at one second", "one a second", "one a second beside busy loops"
LOOPS_OF_A_CORE = 2
KERNEL = "the kernel's timer"
# At most this share of the p99 of a peer.
MOST_SHARES = {peers.MEMORY: 0.15, peers.WAL: 0.1}
MORE_THAN_TIMER_MS = {"p50": 0.8, "p95": 1.3}
LEAD_MS = 2500
_ABSOLUTE = 1


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


def daemon(
    folder: Path,
    due: Callable[[int], list[int]],
    beside: Callable[[Place], AbstractContextManager[object]] = nullcontext,
) -> list[float]:
    """Milliseconds from the due time to the commit, for each run of a daemon. `beside`: what goes on meanwhile."""
    now_ms = time_ns() // 1_000_000
    dues = due(now_ms + LEAD_MS)
    place = lay_out(Path(tempfile.mkdtemp(dir=folder)) / "ours", STANZAS)
    fill(place, (Planned(at, f"config set message_expiration {n}") for n, at in enumerate(dues)), now_ms)
    file = place.root / "lateness"
    with serving(place, daemon=("--lateness", str(file))), reading(place) as number, beside(place):
        until(lambda: number("SELECT NOT EXISTS (SELECT 1 FROM jobs)"))
    lateness_ms: list[float] = json.loads(file.read_text())
    assert len(lateness_ms) == len(dues)
    return lateness_ms


def timer(dues: list[float]) -> list[float]:
    """How late the kernel itself wakes a process at an instant, in ms, by a timerfd on the wall clock."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor, lateness_ms = libc.timerfd_create(0, os.O_CLOEXEC), []
    for due in dues:
        at = _Itimerspec(_Timespec(0, 0), _Timespec(int(due), int(due % 1 * 1e9)))
        if libc.timerfd_settime(descriptor, _ABSOLUTE, ctypes.byref(at), None) != 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")
        os.read(descriptor, 8)
        lateness_ms.append((time() - due) * 1000)
    os.close(descriptor)
    return lateness_ms


def kernel(count: int) -> list[float]:
    """Half a second after each full second, when nothing else here is due."""
    first = int(time()) + 2.5
    return timer([first + number for number in range(count)])


def at_once(scale: Scale, folder: Path, report: Report) -> None:
    """Measures the ways in turn, with a figure for each round."""
    count = scale.pick(1000, 1000, 20)
    ways: dict[str, Callable[[], list[float] | None]] = {
        OURS: lambda: daemon(folder, lambda first: [first // 1000 * 1000 + 1000] * count)
    }
    for name in MOST_SHARES:
        ways[name] = partial(peers.ask, name, "at_once", count, folder)
    runs_by_name: dict[str, list[list[float]]] = {}
    for _ in range(scale.pick(5, 1, 1)):
        for name, way in ways.items():
            if values := way():
                runs_by_name.setdefault(f"{name}, {AT_ONCE}", []).append(values)
    report.add(shares(runs_by_name), "ms", f"of {count:,} jobs")


@contextmanager
def busy_loops() -> Iterator[None]:
    """Processes that want all cores for themselves, at the usual priority."""
    with ExitStack() as stack:
        for _ in range((os.cpu_count() or 1) * LOOPS_OF_A_CORE):
            loop = stack.enter_context(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
            stack.callback(loop.kill)
        yield


def each_second(what: str, count: int, folder: Path, report: Report) -> None:
    """Measures all in the same seconds, a quarter of a second apart, so that other load meets all alike."""
    ways: dict[str, Callable[[], list[float] | None]] = {
        OURS: lambda: daemon(folder, lambda first: [(first // 1000 + 1 + n) * 1000 for n in range(count)]),
        KERNEL: lambda: kernel(count),
        peers.MEMORY: partial(peers.ask, peers.MEMORY, "each_second", count, folder),
        peers.WAL: partial(peers.ask, peers.WAL, "each_second", count, folder),
    }
    with ThreadPoolExecutor(len(ways)) as pool:
        waiting = {name: pool.submit(way) for name, way in ways.items()}
    values_by_name = {name: values for name, future in waiting.items() if (values := future.result())}
    runs = {f"{name}, {what}": [values] for name, values in values_by_name.items()}
    report.add(shares(runs), "ms", f"of {count} jobs")


def run(scale: Scale, folder: Path) -> Report:
    workload = "from the due time to the recorded run; peers to the begin of a function, without record"
    report = Report(TITLE, workload)
    at_once(scale, folder, report)
    each_second(EACH_SECOND, scale.pick(SAMPLES, 5, 2), folder, report)
    with busy_loops():
        each_second(BUSY, scale.pick(100, 5, 2), folder, report)
    ours = f"{OURS}, {AT_ONCE}, p99"
    report.apart = {
        AT_ONCE: (ours, *(f"{name}, {AT_ONCE}, p99" for name in MOST_SHARES)),
        **{
            what: tuple(f"{name}, {what}, {part}" for part in SHARES for name in (OURS, peers.MEMORY, KERNEL))
            for what in (EACH_SECOND, BUSY)
        },
    }
    for name, share in MOST_SHARES.items():
        report.check_ratio(f"beside {name}, {AT_ONCE}, p99", ours, f"{name}, {AT_ONCE}, p99", share, at_least=False)
    for part, most_ms in MORE_THAN_TIMER_MS.items():
        late, floor = (report.median(f"{name}, {EACH_SECOND}, {part}") for name in (OURS, KERNEL))
        assert late is not None and floor is not None
        what = f"more than {KERNEL}, {EACH_SECOND}, {part}"
        report.check_most(what, late - floor, most_ms, "ms")
    report.absent += [why for name in MOST_SHARES if (why := peers.absent(name))]
    return report
