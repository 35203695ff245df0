"""How the benchmarks measure: several runs in turn, their median and spread, together with the machine and its disk."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TypeVar

SYNC_BYTES = 4096
SYNC_SECONDS = 0.3
SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
# A p99 of fewer values says little.
SAMPLES = 300

Value = TypeVar("Value")
Way = Callable[[], float | None]


class Scale(StrEnum):
    """The size of a measurement: full, quick, or just enough to show that a workload works."""

    FULL = "full"
    QUICK = "quick"
    TINY = "tiny"

    def pick(self, full: Value, quick: Value, tiny: Value) -> Value:
        return {Scale.FULL: full, Scale.QUICK: quick, Scale.TINY: tiny}[self]


def machine() -> str:
    models = [
        row.split(":", 1)[1].strip() for row in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in row
    ]
    return f"{models[0] if models else platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def sync_rate(directory: Path, seconds: float = SYNC_SECONDS) -> float:
    """How often a second the disk can overwrite one page with fdatasync: the limit of all commits."""
    path = directory / "sync_rate"
    with path.open("wb", buffering=0) as file:
        file.write(bytes(SYNC_BYTES))
        os.fsync(file.fileno())
        began, count = perf_counter(), 0
        while (took := perf_counter() - began) < seconds:
            os.pwrite(file.fileno(), os.urandom(SYNC_BYTES), 0)
            os.fdatasync(file.fileno())
            count += 1
    path.unlink()
    return count / took


def by_turns(ways: Mapping[str, Way], rounds: int) -> dict[str, list[float]]:
    """Runs every way once in every round, so that other load meets all alike. None: the way is not available."""
    values_by_name: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, way in ways.items():
            if (value := way()) is not None:
                values_by_name.setdefault(name, []).append(value)
    return values_by_name


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(int(share * len(values)), len(values) - 1)]


def shares(runs: Mapping[str, list[list[float]]]) -> dict[str, list[float]]:
    """The percentiles of each run, by the names of the ways and of the percentiles. Short runs have no p99."""
    return {
        f"{name}, {share}": [percentile(values, part) for values in of_way]
        for share, part in SHARES.items()
        for name, of_way in runs.items()
        if share != "p99" or min(map(len, of_way)) >= SAMPLES
    }


def shown(value: float) -> str:
    """Three significant digits, or all digits before the point."""
    if value == 0:
        return "0"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 0.1 else 4
    return f"{value:,.{digits}f}"


def spread(values: list[float]) -> str:
    """The median, the minimum and the maximum of the runs."""
    return f"{shown(median(values))} ({shown(min(values))} to {shown(max(values))})"
