"""How the cost of each operation grows with the jobs, and the cost of a turn with the running programs.

It measures turns of the core in process, on stores of several sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from functools import partial
from itertools import count, islice
from pathlib import Path
from time import perf_counter, time_ns

from benchmarks.appliances import DAY_MS, IDENTITY, NODE, OWNER, STANZAS, Place, Planned, Turning, fill, make
from benchmarks.measuring import Scale, Way, by_turns
from benchmarks.reporting import Report
from schedappliance.engine.effects import Answer, Reply, StartProgram
from schedappliance.engine.events import FilesRead, LineTyped, ProgramStarted
from schedappliance.engine.records import ProcessKey, job_id
from schedappliance.model.loading import load
from schedappliance.store.tables import open_store

TITLE = "growth"
# The growth that an index explains. More than this is a mistake.
MAX_TIMES = 2.0
PAGE = 500
PROGRAMS = 20
LONG_PROGRAMS = """\
sched { backing_store = "../var/sched.db"  max_running = 10000  history = 100000 }
program "long" { argv = ( "/bin/sleep" "infinity" )  timeout = 30d  overlap = parallel }
"""
# A turn copies and visits nothing that grows with the number of running programs.
RUNNING = (100, 10_000)

# The name of a measured turn.
BESIDE = "a turn with one due job beside {:,} running programs"


class Grown:
    """The core with that many jobs. Each operation returns its milliseconds."""

    def __init__(self, place: Place, jobs: int, turning: Turning) -> None:
        self._place, self._turning, self._core = place, turning, turning.core
        self._replies = count(1)
        # Jobs are shown and deleted from the middle onwards, each once.
        self._numbers = iter(range(jobs // 2, jobs))
        self._generations = count(1)

    def operations(self) -> dict[str, Callable[[], float]]:
        return {
            "a turn with one due job": lambda: self._turning.turn() * 1000,
            "accept": partial(self._ask, lambda: "sched in 1d config set message_expiration 5"),
            "delete": partial(self._ask, lambda: f"sched delete {self._job()}"),
            "first page of `sched list`": partial(self._ask, lambda: "sched list"),
            "show": partial(self._ask, lambda: f"sched show {self._job()}"),
            "why": partial(self._ask, lambda: f"sched why {self._job()}"),
            "summary": partial(self._ask, lambda: "summary"),
            "pause": partial(self._ask, lambda: f"sched pause {self._job()}"),
            f"reload that removes {PROGRAMS} programs": self._reload,
        }

    def _job(self) -> str:
        return job_id(NODE, next(self._numbers))

    def _ask(self, line: Callable[[], str]) -> float:
        """Measures from the line to the first page of its answer."""
        typed = LineTyped(line(), OWNER, next(self._replies))
        moment = self._turning.clock.moment()
        began = perf_counter()
        (answer,) = [e.answer for e in self._core.turn([typed], moment) if isinstance(e, Reply)]
        pages = _page(answer)
        milliseconds = (perf_counter() - began) * 1000
        assert answer.ok and pages, answer
        return milliseconds

    def _reload(self) -> float:
        """Loads files with programs, then measures the reload of files without them."""
        self._core.turn([self._read(STANZAS + _programs())], self._turning.clock.moment())
        event = self._read(STANZAS)
        began = perf_counter()
        self._core.turn([event], self._turning.clock.moment())
        milliseconds = (perf_counter() - began) * 1000
        assert "old 0" not in self._turning.state.configuration.programs
        return milliseconds

    def _read(self, text: str) -> FilesRead:
        whole = f"{text}\nGeneration = {next(self._generations)}\n"
        loaded = load(self._place.stanzas, lambda _path: whole.encode())
        assert loaded.accepted, [d.brief() for d in loaded.diagnostics]
        texts = ((str(self._place.stanzas), whole),)
        return FilesRead(None, False, whole, loaded.configuration, tuple(loaded.diagnostics), texts)


def _programs() -> str:
    return "".join(f'program "old {number}" {{ argv = ( "/bin/true" ) }}\n' for number in range(PROGRAMS))


def _due_programs(root: Path, jobs: int, programs: int, first_ms: int) -> Place:
    """Recurrent jobs, and programs that are due at once."""
    place = make(root, jobs, first_ms)
    place.stanzas.write_text(LONG_PROGRAMS)
    fill(place, (Planned(first_ms - 1, "run long") for _ in range(programs)), first_ms - DAY_MS)
    return place


def _with_programs(turning: Turning, programs: int) -> Turning:
    """The core after it has started that many programs. They run on, and their timeouts are far away."""
    events: list[ProgramStarted] = []
    while events or len(turning.state.running) < programs:
        effects = turning.core.turn(events, turning.clock.moment())
        assert events or effects, "no place is free"
        events = [ProgramStarted(e.key, ProcessKey(1, 1)) for e in effects if isinstance(e, StartProgram)]
    return turning


def _milliseconds(turning: Turning) -> float:
    return turning.turn() * 1000


def _page(answer: Answer) -> list[str]:
    if isinstance(answer.output, str):
        return [answer.output]
    rows: Iterator[str] = iter(answer.output)
    lines = list(islice(rows, PAGE))
    if close := getattr(rows, "close", None):
        close()
    return lines


def run(scale: Scale, folder: Path) -> Report:
    sizes = scale.pick((1000, 10_000, 100_000, 1_000_000), (1000, 10_000, 100_000), (20, 60))
    rounds = scale.pick(20, 20, 2)
    report = Report(
        TITLE, f"the real core in process, {rounds} times each by turns; {' '.join(f'{n:,}' for n in sizes)}"
    )
    first = time_ns() // 1_000_000 + 10 * DAY_MS
    names: dict[str, list[str]] = {}
    with ExitStack() as stack:
        ways: dict[str, Way] = {}
        for jobs in sizes:
            place = make(folder / str(jobs), jobs, first)
            store = stack.enter_context(closing(open_store(place.store, NODE, IDENTITY, first)))
            for what, way in Grown(place, jobs, Turning(place, store, first)).operations().items():
                name = f"{what}, {jobs:,} jobs"
                names.setdefault(what, []).append(name)
                ways[name] = way
        for programs in RUNNING:
            number = scale.pick(programs, programs, programs // 50)
            place = _due_programs(folder / f"running {programs}", sizes[0], number, first)
            store = stack.enter_context(closing(open_store(place.store, NODE, IDENTITY, first)))
            # Other users do not get all places.
            turning = _with_programs(Turning(place, store, first, OWNER.uid), number)
            ways[BESIDE.format(programs)] = partial(_milliseconds, turning)
        report.add(by_turns(dict(sorted(ways.items())), rounds), "ms")
    few, many = map(BESIDE.format, RUNNING)
    report.check_ratio(f"{many} and beside {RUNNING[0]}", many, few, MAX_TIMES, False)
    for what, of_sizes in names.items():
        report.check_ratio(
            f"{what}, {sizes[-1]:,} beside {sizes[0]:,} jobs", of_sizes[-1], of_sizes[0], MAX_TIMES, False
        )
    turn = next(iter(names.values()))
    report.apart = {"a turn, whatever the jobs and the running programs": (*turn, few, many)}
    report.columns = tuple(f"{jobs:,} jobs" for jobs in sizes)
    return report
