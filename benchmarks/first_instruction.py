"""How long programs that are due at one second take to their first instruction, beside `at`, cron and a loop in C.

Rule: each program prints its time when it begins. At full minutes only `at` and cron start programs, and cron waits until
`at` is done, since it always comes a second late.
"""

from __future__ import annotations

import sqlite3
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from functools import partial
from pathlib import Path
from time import sleep, time

from benchmarks import at_and_cron
from benchmarks.appliances import Planned, fill, is_root, lay_out, reading, serving, until
from benchmarks.at_and_cron import AT, CRON, next_minutes, scheduled
from benchmarks.limits import NO_COMPILER, compiled, spawned
from benchmarks.measuring import Scale, shares
from benchmarks.reporting import OURS, Report
from benchmarks.starts import ENDED, NO_ROOT, OTHER_USER, USER

TITLE = "first instruction of programs due at one second"
LOOP = "a loop in C"
SHARE_OF_AT = 0.4
# The goals of `starts`, as times.
TIMES_C = {OURS: 2.0, OTHER_USER: 2.5}
LEAD_SECONDS, BUSY_SECONDS = 3, 6
Way = Callable[[], list[float]]

STAMPS = "SELECT due_ms, output FROM runs JOIN outputs USING (job, occurrence)"


def stanzas(stamp: Path, user: str) -> str:
    sched = 'sched { backing_store = "../var/sched.db" }\n'
    return sched + f'program "stamp" {{ argv = ( "{stamp}" ) {f"user = {user}" if user else ""} }}\n'


def late_ms(stamps: list[str], second: int) -> list[float]:
    return [int(stamp) / 1e6 - second * 1000 for stamp in stamps]


def next_second() -> int:
    return int(time()) + LEAD_SECONDS


def daemon(folder: Path, stamp: Path, count: int, user: str = "") -> list[float]:
    """The milliseconds of each program of a daemon, read from the outputs that it has stored."""
    second = next_second()
    place = lay_out(Path(tempfile.mkdtemp(dir=folder)) / "ours", stanzas(stamp, user))
    fill(place, (Planned(second * 1000, "run stamp") for _ in range(count)), (second - 10) * 1000)
    with serving(place), reading(place) as number:
        until(lambda: number(ENDED))
    with closing(sqlite3.connect(place.store)) as store:
        rows = store.execute(STAMPS).fetchall()
    assert len(rows) == count
    return late_ms([output.decode() for _due, output in rows], second)


def loop(spawn: Path, stamp: Path, count: int) -> list[float]:
    second = next_second()
    *stamps, _rate = spawned(spawn, count, count, str(stamp), second)
    return late_ms(stamps, second)


def script(folder: Path) -> Path:
    """The program of a machine without a compiler."""
    path = folder / "stamp"
    path.write_text("#!/bin/sh\nexec date +%s%N\n")
    path.chmod(0o755)
    return path


def no_other_user(stamp: Path) -> str | None:
    """Why another user cannot start the program."""
    if not is_root():
        return NO_ROOT
    try:
        subprocess.run([stamp], user=USER, stdout=subprocess.DEVNULL, check=True)
    except PermissionError:
        return f"{OTHER_USER}: {USER} may not enter {stamp.parent}"
    return None


def peer(files: list[Path], minutes: list[int], count: int) -> list[float]:
    """Waits for the outputs of all programs."""
    lists = [until(partial(_complete, file, count)) for file in files]
    return [late for stamps, minute in zip(lists, minutes, strict=True) for late in late_ms(stamps, minute)]


def _complete(file: Path, count: int) -> list[str] | None:
    stamps = file.read_text().splitlines() if file.exists() else []
    return stamps if len(stamps) == count else None


def by_minutes(
    folder: Path, stamp: Path, count: int, ways: dict[str, Way], rounds: int, minutes: list[int]
) -> dict[str, list[float]]:
    """The milliseconds by way. `minutes`: when the peers start their programs; the ways run in between."""
    values: dict[str, list[float]] = {name: [] for name in ways}
    none: AbstractContextManager[dict[str, list[Path]]] = nullcontext({})
    with scheduled(folder, stamp, count, minutes) if minutes else none as files:
        for number in range(rounds):
            if minutes:
                sleep(max(0.0, minutes[number] + BUSY_SECONDS - time()))
            for name, way in ways.items():
                values[name] += way()
        return values | {name: peer(of_peer, minutes, count) for name, of_peer in files.items()}


def run(scale: Scale, folder: Path) -> Report:
    count, rounds = scale.pick((100, 3), (100, 1), (3, 1))
    # Another user must reach the program.
    folder.chmod(0o711)
    report = Report(
        TITLE, f"{count} programs at one second, {rounds} times; from the due time to the first instruction"
    )
    stamp, spawn = compiled("stamp", folder) or script(folder), compiled("spawn", folder)
    ways: dict[str, Way] = {OURS: partial(daemon, folder, stamp, count)}
    if not (no_other := no_other_user(stamp)):
        ways[OTHER_USER] = partial(daemon, folder, stamp, count, USER)
    if spawn:
        ways[LOOP] = partial(loop, spawn, stamp, count)
    report.absent += filter(None, (no_other, None if spawn else NO_COMPILER))
    minutes = []
    if scale is Scale.FULL:
        absent = [why for name in (AT, CRON) if (why := at_and_cron.absent(name))]
        minutes = next_minutes(time(), rounds) if len(absent) < 2 else []
        report.absent += absent
    values = by_minutes(folder, stamp, count, ways, rounds, minutes)
    report.add(shares({name: [of_way] for name, of_way in values.items()}), "ms", f"of {count * rounds} programs")
    check(report)
    return report


def check(report: Report) -> None:
    report.check_ratio(f"beside `{AT}`, p99", f"{OURS}, p99", f"{AT}, p99", SHARE_OF_AT, at_least=False)
    for name, times in TIMES_C.items():
        report.check_ratio(f"{name}, beside {LOOP}, p99", f"{name}, p99", f"{LOOP}, p99", times, at_least=False)
    report.drawn = tuple(row.name for row in report.rows if row.name.endswith("p99"))
