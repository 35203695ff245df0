"""How fast programs are started, awaited and recorded, compared with C that only starts them.

`python -m benchmarks.starts COUNT` profiles a daemon that starts that many programs.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from time import perf_counter, time_ns

from benchmarks import peers
from benchmarks.appliances import Planned, fill, is_root, lay_out, reading, serving, until
from benchmarks.daemon import top
from benchmarks.earlier import BEFORE, earlier
from benchmarks.limits import NO_COMPILER, compiled, spawned
from benchmarks.measuring import Scale, Way, by_turns
from benchmarks.reporting import OURS, Report

TITLE = "starts of /bin/true with run records"
SPAWN = "C posix_spawn"
OTHER_USER, LARGE, LARGE_OTHER = (f"{OURS}, {what}" for what in ("other user", "500 MB", "500 MB, other user"))
LARGE_MB = 500
AT_ONCE = 8
SHARE_OF_C, SHARE_OF_C_AS_OTHER = 0.5, 0.4
USER = "nobody"
BEFORE_OTHER_USER, LEAST_BESIDE_BEFORE = f"{BEFORE}, other user", 1.0
MEASURE = "from benchmarks.starts import daemon; print(daemon(folder, count, {!r}))".format
NO_ROOT = "starts as another user: only root may"
PROFILED = 1500
ENDED = """SELECT NOT EXISTS (SELECT 1 FROM jobs) AND NOT EXISTS (SELECT 1 FROM runs WHERE state = 'queued')
                  AND NOT EXISTS (SELECT 1 FROM runs WHERE state = 'started')"""


def stanzas(count: int, user: str) -> str:
    sched = f'sched {{ backing_store = "../var/sched.db"  max_running = {AT_ONCE}  history = {count * 2} }}\n'
    return sched + f'program "true" {{ argv = ( "{peers.PROGRAM}" ) {f"user = {user}" if user else ""} }}\n'


def daemon(folder: Path, count: int, user: str = "", options: Sequence[str] = ()) -> float:
    """Runs a second, from `is ready` to the last recorded end."""
    place = lay_out(Path(tempfile.mkdtemp(dir=folder)) / "ours", stanzas(count, user))
    now_ms = time_ns() // 1_000_000
    fill(place, (Planned(now_ms - 1000, "run true") for _ in range(count)), now_ms - 10_000)
    with serving(place, daemon=options), reading(place) as number:
        began = perf_counter()
        until(lambda: number(ENDED))
        seconds = perf_counter() - began
        assert number("SELECT count(*) FROM runs WHERE state = 'succeeded'") == count
    return count / seconds


def peer(name: str, count: int, folder: Path) -> float | None:
    rates = peers.ask(name, "programs", count, folder)
    return rates[0] if rates else None


def run(scale: Scale, folder: Path, checkout: Path | None = None) -> Report:
    """`checkout`: an earlier state of the project, to run in turn with this one."""
    count = scale.pick(3000, 300, 10)
    workload = f"{count:,} due jobs `run true`, {AT_ONCE} at once; the daemon small and with {LARGE_MB} MB of its own"
    report = Report(TITLE, workload, drawn=(OURS, OTHER_USER, LARGE, LARGE_OTHER, peers.WAL, SPAWN))
    large = ("--ballast", str(LARGE_MB if scale is not Scale.TINY else 1))
    spawn = compiled("spawn", folder)
    ways: dict[str, Way] = {
        OURS: partial(daemon, folder, count),
        LARGE: partial(daemon, folder, count, "", large),
        peers.WAL: partial(peer, peers.WAL, count, folder),
        SPAWN: lambda: float(spawned(spawn, count, AT_ONCE, peers.PROGRAM)[-1]) if spawn else None,
    }
    if is_root():
        ways |= {
            OTHER_USER: partial(daemon, folder, count, USER),
            LARGE_OTHER: partial(daemon, folder, count, USER, large),
        }
    else:
        report.absent.append(NO_ROOT)
    if checkout:
        befores = {BEFORE: "", BEFORE_OTHER_USER: USER} if is_root() else {BEFORE: ""}
        ways |= {name: partial(earlier, checkout, MEASURE(user), folder, count) for name, user in befores.items()}
    report.add(by_turns(ways, scale.pick(3, 2, 1)), "starts/s")
    report.absent += filter(None, (peers.absent(peers.WAL), None if spawn else NO_COMPILER))
    for name in (OURS, LARGE):
        report.check_ratio(f"{name}, beside {SPAWN} with {AT_ONCE} at once", name, SPAWN, SHARE_OF_C)
    for name in (OTHER_USER, LARGE_OTHER):
        report.check_ratio(f"{name}, beside {SPAWN}", name, SPAWN, SHARE_OF_C_AS_OTHER)
    if checkout:
        for name, before in ((OURS, BEFORE), (OTHER_USER, BEFORE_OTHER_USER)):
            report.check_ratio(f"{name}, beside the earlier checkout", name, before, LEAST_BESIDE_BEFORE)
    return report


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else PROFILED
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        file = Path(name) / "profile"
        print(
            f"{daemon(Path(name), count, options=('--profile', str(file))):,.0f} starts/s while profiled, all threads"
        )
        top(file)


if __name__ == "__main__":
    main()
