"""How long a program takes to start from a small and from a large daemon: by the keeper, and by Python alone.

`python -m benchmarks.start_speed`, as root. Every figure is the median of many starts of /bin/true, one at a time.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

from benchmarks.measuring import machine
from schedappliance.edge.programs.accounts import Credentials, credentials
from schedappliance.edge.programs.keeper_link import KeeperLink, Link
from schedappliance.edge.programs.keeper_reports import Ended, reports
from schedappliance.edge.programs.launcher import request_of
from schedappliance.edge.programs.outputs import Outputs
from schedappliance.engine.effects import StartProgram
from schedappliance.engine.records import AttemptKey, RunKey

PROGRAM = ("/bin/true",)
ROUNDS, STARTS = 5, 60
LARGE_MB = 500
WANTED_RATIO = 1.5


def python() -> Callable[[], object]:
    """The way that the daemon avoids: Python copies the whole process to change the user of the copy."""
    return lambda: subprocess.Popen(PROGRAM, start_new_session=True, user="nobody", extra_groups=[]).wait()


class Keeper:
    """A keeper of its own, and starts by it."""

    def __init__(self, directory: Path) -> None:
        # A file of its own: it is given to the user of the program.
        self._output, self._count = os.open(directory / "output", os.O_WRONLY | os.O_CREAT), 0
        self._keeper = KeeperLink(Outputs(directory), 1024, on_open=self._open)
        self.own()
        self.other()
        assert self._link is not None
        rollup = Path(f"/proc/{self._link.pid}/smaps_rollup").read_text().splitlines()[1:]
        sizes = {name: int(rest.split()[0]) / 1024 for name, _, rest in (line.partition(":") for line in rollup)}
        print(f"keeper_rss {sizes['Rss']}\nkeeper_pss {sizes['Pss']}")

    def _open(self, link: Link) -> None:
        self._link = link
        link.control.setblocking(True)

    def own(self) -> None:
        self._start(None)

    def other(self) -> None:
        self._start(credentials("nobody", None))

    def _start(self, account: Credentials | None) -> None:
        self._count += 1
        effect = StartProgram(AttemptKey(RunKey(1, self._count), 1), PROGRAM, (), "/", 0o022, 0, started_ms=1)
        self._keeper.start(request_of(effect, {}, account), [self._output], lambda _link: None)
        while not any(isinstance(report, Ended) for report in reports(self._link.receive() or "")):
            continue


def measure(megabytes: int) -> None:
    """Runs in its own process: allocates the memory, then starts programs by each way in turn."""
    ballast = bytearray(os.urandom(1024)) * (megabytes * 1024)
    keeper = Keeper(Path(tempfile.mkdtemp()))
    ways: dict[str, Callable[[], object]] = {"own": keeper.own, "other": keeper.other, "python": python()}
    took: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(STARTS):
        for name, start in ways.items():
            began = perf_counter()
            start()
            took[name].append(perf_counter() - began)
    for name, seconds in took.items():
        print("\n".join(f"{name} {one * 1000}" for one in seconds))
    assert len(ballast) == megabytes * 1024 * 1024


def measured(megabytes: int, times: dict[str, list[float]]) -> None:
    command = [sys.executable, "-m", "benchmarks.start_speed", "--megabytes", str(megabytes)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for name, value in (line.split() for line in out.splitlines()):
        times.setdefault(name, []).append(float(value))


def compare() -> None:
    print(f"machine:  {machine()}")
    print(f"workload: {ROUNDS * STARTS} starts of {PROGRAM[0]} by each way, from the call to the end; medians")
    both: list[dict[str, list[float]]] = [{}, {}]
    # In turn, so that other load meets both alike.
    for _ in range(ROUNDS):
        for megabytes, times in zip((0, LARGE_MB), both, strict=True):
            measured(megabytes, times)
    small, large = ({name: median(values) for name, values in times.items()} for times in both)
    for name in ("own", "other", "python"):
        ratio = large[name] / small[name]
        wanted = f" (wanted: at most {WANTED_RATIO})" if name != "python" else ""
        print(
            f"{name + ':':9} {small[name]:.2f} ms, with {LARGE_MB} MB {large[name]:.2f} ms: {ratio:.2f} times{wanted}"
        )
    print(f"memory of the keeper: {small['keeper_rss']:.1f} MB, of it {small['keeper_pss']:.1f} MB its own share")


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures starts.")
    parser.add_argument("--megabytes", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.megabytes is not None:
        measure(options.megabytes)
    else:
        compare()


if __name__ == "__main__":
    main()
