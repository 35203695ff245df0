"""How long others wait while many stanzas are reloaded, and while a drop of wrong lines is judged.

`python -m benchmarks --only pauses`. One client asks all the time, and a job is due every 20 ms. Only the answers and the
due times during the work count.
"""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter, time, time_ns
from typing import NamedTuple

from benchmarks.appliances import Place, Planned, Session, fill, lay_out, reading, serving, until
from benchmarks.lateness import LEAD_MS
from benchmarks.measuring import Scale, percentile
from benchmarks.reload import CHANGING, replace, typed
from benchmarks.reporting import OURS, Check, Report

TITLE = "pauses"
SPOOL = "node: example.com\nconfig: sched.conf\nconsole: { listen: ../var/console.sock }\nspool: { path: ../spool }\n"
SCHED = 'sched { backing_store = "../var/sched.db" history = 1000000 }\n'
PROGRAMS, DISTANCE_MS, REST_SECONDS = 1000, 20, 0.002
MOST_P99_MS, MOST_MS, MOST_LATE_P50_MS, MOST_WAIT_MS = 10.0, 100.0, 5.0, 300.0
# A percentile of fewer values says little.
SAMPLES = 300


class Answered(NamedTuple):
    """When a client asked, by the wall clock, and how long it waited for the answer."""

    at_ms: float
    wait_ms: float


class Asking:
    """A client that asks all the time."""

    def __init__(self, place: Place) -> None:
        self._session, self._ended = Session(place), threading.Event()
        self.answers: list[Answered] = []
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()

    def _ask(self) -> None:
        while not self._ended.wait(REST_SECONDS):
            at_ms, began = time() * 1000, perf_counter()
            assert self._session.ask("pid").strip().isdigit()
            self.answers.append(Answered(at_ms, (perf_counter() - began) * 1000))

    def end(self) -> list[Answered]:
        self._ended.set()
        self._thread.join()
        self._session.close()
        return self.answers


Window = tuple[float, float]


def timed(work: Callable[[], object]) -> Window:
    """When the work begins and ends, by the wall clock in milliseconds."""
    began = time() * 1000
    work()
    return began, time() * 1000


def during(windows: list[Window], values: list[tuple[float, float]]) -> list[float]:
    """The values, each with its instant, of the instants in one of the windows."""
    return [value for at, value in values if any(begin <= at <= end for begin, end in windows)]


def disturbed(
    place: Place, works: list[Callable[[], object]], seconds: float
) -> tuple[list[float], list[float], list[float]]:
    """The waits for answers, the lateness of jobs, and how long each work took, in milliseconds.

    `seconds`: for how long jobs are due.
    """
    now_ms = time_ns() // 1_000_000
    dues = [now_ms + LEAD_MS + number * DISTANCE_MS for number in range(int(seconds * 1000) // DISTANCE_MS)]
    fill(place, (Planned(at, f"config set message_expiration {n}") for n, at in enumerate(dues)), now_ms)
    file = place.root / "lateness"
    with serving(place, daemon=("--lateness", str(file))), reading(place) as number:
        asking = Asking(place)
        windows = [timed(work) for work in works]
        answers = asking.end()
        until(lambda: number("SELECT NOT EXISTS (SELECT 1 FROM jobs WHERE declared IS NULL)"))
    late_ms: list[float] = json.loads(file.read_text())
    lateness = during(windows, list(zip(map(float, dues), late_ms, strict=True)))
    return during(windows, list(answers)), lateness, [end - begin for begin, end in windows]


def stanzas(sites: int) -> str:
    """As many programs as jobs, none of which is due meanwhile."""
    return SCHED + "".join(
        f'program "site {number}" {{ argv = ( "/bin/true" "--site" "{number}" ) timeout = {60 + number} }}\n'
        f'job "site {number}" {{ every = 30d  command = "run \'site {number}\'" }}\n'
        for number in range(sites)
    )


def reload(place: Place, text: str, number: int) -> None:
    replace(place, text + CHANGING.format(1 + number))
    typed(place)


def drop(place: Place, lines: int, number: int) -> None:
    """Drops wrong lines, each with a different program, and waits for the result."""
    name, spool = f"wrong-{number}", place.root / "spool"
    aside = spool / "tmp" / name
    aside.write_text("".join(f"run 'stie {number} {line}'\n" for line in range(lines)))
    aside.rename(spool / "new" / f"{name}.cmd")
    until(lambda: (spool / "failed" / f"{name}.result").exists())


def run(scale: Scale, folder: Path) -> Report:
    sites, reloads = scale.pick((5000, 5), (5000, 2), (10, 2))
    lines, drops = scale.pick((5000, 9), (5000, 3), (10, 2))
    report = Report(TITLE, f"{reloads} reloads of {sites * 2:,} stanzas; {drops} drops of {lines:,} wrong lines")

    text = stanzas(sites)
    place = lay_out(Path(tempfile.mkdtemp(dir=folder)) / "reload", text)
    works: list[Callable[[], object]] = [partial(reload, place, text, number) for number in range(reloads)]
    waits, lateness, took = disturbed(place, works, scale.pick(60, 30, 4))
    report.add({f"{OURS}, a reload": took}, "ms")
    _check(report, "the console waits during a reload, p99", percentile(waits, 0.99), MOST_P99_MS)
    _check(report, "the console waits during a reload, at most", max(waits), MOST_MS)
    if lateness:
        _check(report, "lateness during a reload, p50", percentile(lateness, 0.5), MOST_LATE_P50_MS)
        _check(report, "lateness during a reload, at most", max(lateness), MOST_MS)
    if min(len(waits), len(lateness)) < SAMPLES:
        report.absent.append(f"percentiles: only {len(waits)} answers and {len(lateness)} due times")

    place = lay_out(Path(tempfile.mkdtemp(dir=folder)) / "drop", stanzas(min(sites, PROGRAMS)), SPOOL)
    works = [partial(drop, place, lines, number) for number in range(drops)]
    waits, lateness, took = disturbed(place, works, 0.1)
    report.add({f"{OURS}, a drop of wrong lines": took}, "ms")
    _check(report, "the console waits during a drop of wrong lines, at most", max(waits), MOST_WAIT_MS)
    return report


def _check(report: Report, what: str, measured: float, wanted: float) -> None:
    report.add({f"{OURS}, {what}": [measured]}, "ms")
    report.checks.append(Check(what, measured, wanted, "ms", at_least=False))
