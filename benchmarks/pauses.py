"""How long others wait while many stanzas are reloaded, while a drop of wrong lines is judged, and while long lists are sent.

`python -m benchmarks --only pauses`. One client asks all the time, and a job is due every 20 ms. Only the answers and the
due times during the work count.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import closing
from functools import partial
from itertools import chain
from pathlib import Path
from time import perf_counter, time, time_ns
from typing import NamedTuple

from benchmarks.appliances import IDENTITY, NODE, OWNER, Place, Planned, Session, fill, lay_out, reading, serving, until
from benchmarks.disk import writing
from benchmarks.language import lark_stanzas
from benchmarks.lateness import LEAD_MS
from benchmarks.limits import ADD_RUN
from benchmarks.measuring import SAMPLES, Scale, percentile
from benchmarks.reporting import OURS, Report
from schedappliance.store.tables import open_store

TITLE = "pauses for console lines and due jobs"
SPOOL = "node: example.com\nconfig: sched.conf\nconsole: { listen: ../var/console.sock }\nspool: { path: ../spool }\n"
SCHED = 'sched { backing_store = "../var/sched.db" history = 1000000 }\n'
CHANGING = 'program "changing" {{ argv = ( "/bin/true" ) timeout = {} }}\n'
PROGRAMS, DISTANCE_MS, REST_SECONDS = 1000, 20, 0.002
MOST_P99_MS, MOST_MS, MOST_LATE_P50_MS, MOST_WAIT_MS = 10.0, 100.0, 5.0, 300.0
FAR_MS = 86_400_000
NAMES = {0.5: "p50", 0.99: "p99", 1.0: "maximum"}
RELOAD, UNCHANGED, BY_EVENT = "`config reload`", "`config reload`, nothing changed", "a reload by file event"
LARK = "Lark alone, the same stanzas"
DROP = "a drop of wrong lines"
LISTS = (
    *("sched list", "json sched list", "sched history limit 5000", "json sched history limit 5000"),
    "sched history state failed",
)

Work = tuple[str, Callable[[], object]]
Window = tuple[float, float]


class Answered(NamedTuple):
    """When a client asked, by the wall clock, and how long it waited for the answer."""

    at_ms: float
    wait_ms: float


class Meanwhile(NamedTuple):
    """The waits for answers, the lateness of jobs, the disk's own writes, and how long each work took, in milliseconds."""

    waits: list[float]
    lateness: list[float]
    writes: list[float]
    took: dict[str, list[float]]


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


def timed(work: Callable[[], object]) -> Window:
    """When the work begins and ends, by the wall clock in milliseconds."""
    began = time() * 1000
    work()
    return began, time() * 1000


def during(windows: list[Window], values: list[tuple[float, float]]) -> list[float]:
    """The values, each with its instant, of the instants in one of the windows."""
    return [value for at, value in values if any(begin <= at <= end for begin, end in windows)]


def disturbed(place: Place, works: list[Work], seconds: float) -> Meanwhile:
    """`works`: what to do, each with its name; `seconds`: for how long jobs are due."""
    now_ms = time_ns() // 1_000_000
    dues = [now_ms + LEAD_MS + number * DISTANCE_MS for number in range(int(seconds * 1000) // DISTANCE_MS)]
    fill(place, (Planned(at, f"config set message_expiration {n}") for n, at in enumerate(dues)), now_ms)
    left = f"SELECT NOT EXISTS (SELECT 1 FROM jobs WHERE declared IS NULL AND next_run_ms <= {dues[-1]})"
    file, took = place.root / "lateness", dict[str, list[float]]()
    options = ("--lateness", str(file))
    with serving(place, daemon=options), reading(place) as number, writing(place.root) as end_writes:
        asking = Asking(place)
        windows = [timed(work) for _name, work in works]
        answers, writes = asking.end(), end_writes()
        until(lambda: number(left))
    for (name, _work), (begin, end) in zip(works, windows, strict=True):
        took.setdefault(f"{OURS}, {name}", []).append(end - begin)
    late_ms: list[float] = json.loads(file.read_text())
    late = list(zip(map(float, dues), late_ms, strict=True))
    return Meanwhile(during(windows, list(answers)), during(windows, late), during(windows, writes), took)


def stanzas(sites: int) -> str:
    """As many programs as jobs, none of which is due meanwhile."""
    return SCHED + "".join(
        f'program "site {number}" {{ argv = ( "/bin/true" "--site" "{number}" ) timeout = {60 + number} }}\n'
        f'job "site {number}" {{ every = 30d  command = "run \'site {number}\'" }}\n'
        for number in range(sites)
    )


def replace(place: Place, text: str) -> None:
    """Replaces the file as editors do: writes a new file and renames it."""
    aside = place.stanzas.with_name(".aside")
    aside.write_text(text)
    aside.replace(place.stanzas)


def typed(place: Place) -> None:
    """Reloads until the answer `OK`. Its other lines say what changed."""
    with closing(Session(place)) as session:
        answer = session.ask("config reload")
        assert answer == "OK\n", answer


def by_command(place: Place, text: str) -> None:
    """The typed reload comes before the event, which would otherwise read the same files at once."""
    replace(place, text)
    typed(place)


def by_event(place: Place, text: str, generation: int) -> None:
    """Waits from the rename to the log message of the new generation, including the quiet window."""
    replace(place, text)
    until(lambda: b"configuration %d is active" % generation in place.log.read_bytes())


def reloads(folder: Path, scale: Scale, report: Report) -> None:
    sites, rounds = scale.pick((5000, 5), (5000, 2), (10, 2))
    text = stanzas(sites)
    place = lay_out(folder / "reload", text)
    # Every reload of a changed file makes a generation, as the start does.
    works = [
        (
            (BY_EVENT, partial(by_event, place, text + CHANGING.format(generation), generation)),
            (UNCHANGED, partial(typed, place)),
            (RELOAD, partial(by_command, place, text + CHANGING.format(generation + 1))),
        )
        for generation in range(2, 2 * rounds + 2, 2)
    ]
    meanwhile = disturbed(place, list(chain(*works)), scale.pick(30, 15, 4))
    lark = [lark_stanzas(place.stanzas) * 1000 for _ in range(rounds)]
    report.add({**meanwhile.took, LARK: lark}, "ms", f"{sites * 2:,} stanzas")
    _check_waits(report, "reloads", meanwhile)
    if meanwhile.lateness:
        _check(report, "lateness during reloads", meanwhile.lateness, 0.5, MOST_LATE_P50_MS)
        _check(report, "lateness during reloads", meanwhile.lateness, 1.0, MOST_MS)
    report.apart["duration"] = (*meanwhile.took, LARK)


def drop(place: Place, lines: int, number: int) -> None:
    """Drops wrong lines, each with a different program, and waits for the result."""
    name, spool = f"wrong-{number}", place.root / "spool"
    aside = spool / "tmp" / name
    aside.write_text("".join(f"run 'stie {number} {line}'\n" for line in range(lines)))
    aside.rename(spool / "new" / f"{name}.cmd")
    until(lambda: (spool / "failed" / f"{name}.result").exists())


def drops(folder: Path, scale: Scale, report: Report) -> None:
    lines, rounds, sites = scale.pick((5000, 5, PROGRAMS), (5000, 2, PROGRAMS), (10, 2, 10))
    place = lay_out(folder / "drop", stanzas(sites), SPOOL)
    meanwhile = disturbed(place, [(DROP, partial(drop, place, lines, number)) for number in range(rounds)], 0.1)
    report.add(meanwhile.took, "ms", f"{lines:,} lines")
    _check(report, f"wait during {DROP}", meanwhile.waits, 1.0, MOST_WAIT_MS)


def ask_for(place: Place, line: str) -> None:
    """Asks as users do, and reads the whole answer. A note on stderr says that a list is cut."""
    console = [sys.executable, "-m", "schedappliance", "console", "--endpoint", str(place.socket), line]
    subprocess.run(console, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)


def lists(folder: Path, scale: Scale, report: Report) -> None:
    count, rounds = scale.pick((100_000, 5), (100_000, 1), (100, 1))
    place, now_ms = lay_out(folder / "lists", SCHED), time_ns() // 1_000_000
    fill(
        place, (Planned(now_ms + FAR_MS + n, f"config set message_expiration {n % 100}") for n in range(count)), now_ms
    )
    with closing(open_store(place.store, NODE, IDENTITY, now_ms)) as store, store.transaction():
        store._database._connection.executemany(
            ADD_RUN,
            ((10 * count + n, 1, now_ms, "config get node", *OWNER, "console", now_ms, now_ms) for n in range(count)),
        )
    works: list[Work] = [(f"`{line}`", partial(ask_for, place, line)) for _ in range(rounds) for line in LISTS]
    meanwhile = disturbed(place, works, 0.1)
    report.add(meanwhile.took, "ms", f"{count:,} jobs, {count:,} runs")
    _check_waits(report, "long lists", meanwhile)


def _check_waits(report: Report, what: str, meanwhile: Meanwhile) -> None:
    """Also shows how long the disk took to write one page meanwhile: a command cannot be answered sooner."""
    for share in (0.99, 1.0) if meanwhile.writes else ():
        name = f"the disk writes a page during {what}, {NAMES[share]}"
        report.add({name: [percentile(meanwhile.writes, share)]}, "ms", f"of {len(meanwhile.writes):,}")
    if len(meanwhile.waits) < SAMPLES:
        report.absent.append(f"wait during {what}, p99: only {len(meanwhile.waits)} answers")
    else:
        _check(report, f"wait during {what}", meanwhile.waits, 0.99, MOST_P99_MS)
    _check(report, f"wait during {what}", meanwhile.waits, 1.0, MOST_MS)


def _check(report: Report, what: str, values: list[float], share: float, wanted: float) -> None:
    """Checks a percentile of the values, or their maximum."""
    name, measured = f"{what}, {NAMES[share]}", percentile(values, share)
    report.add({f"{OURS}, {name}": [measured]}, "ms", f"of {len(values):,}")
    report.check_most(name, measured, wanted, "ms")


def run(scale: Scale, folder: Path) -> Report:
    report = Report(TITLE, "while one client asks all the time, and a job is due every 20 ms")
    for part in (reloads, drops, lists):
        part(Path(tempfile.mkdtemp(dir=folder)), scale, report)
    report.drawn = tuple(row.name for row in report.rows if "during" in row.name)
    return report
