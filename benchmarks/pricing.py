"""What each piece of code written for speed gains: the core in process, with and without the piece.

`python -m benchmarks --only pricing`. A piece that gains less than 3 % is removed. Rates count CPU seconds of the
process, so other load on the machine matters little.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from time import process_time, time_ns
from typing import Any
from unittest.mock import patch

from benchmarks.appliances import IDENTITY, NODE, Turning
from benchmarks.burn_down import OTHER_OPTIONS, SAME_OPTION, prepared
from benchmarks.measuring import Scale, Way, by_turns
from benchmarks.reporting import OURS, Report
from schedappliance.engine.options import Override, Overrides
from schedappliance.model import commands
from schedappliance.store import runs
from schedappliance.store.database import WriteBatch
from schedappliance.store.runs import NewRun
from schedappliance.store.tables import open_store

TITLE = "what the code that is there for speed gives"
SAME, OTHERS = f"{OURS}, one option", f"{OURS}, other options"
WANTED = 1.03

Without = Callable[[], Any]


def rate(folder: Path, count: int, command: Callable[[int], str], without: Without | None = None) -> float:
    """Due jobs a CPU second, by the core in this process."""
    place, now_ms = prepared(Path(tempfile.mkdtemp(dir=folder)) / "core", count, command), time_ns() // 1_000_000
    with closing(open_store(place.store, NODE, IDENTITY, now_ms)) as store:
        turning = Turning(place, store, now_ms)
        with without() if without else nullcontext():
            began = process_time()
            while store.jobs.next_due() is not None:
                turning.core.turn([], turning.clock.moment())
            return count / (process_time() - began)


@contextmanager
def writes_at_once() -> Iterator[None]:
    """Without the batch: each write is its own statement."""

    def add(batch: WriteBatch, _table: str, sql: str, row: Any) -> None:
        batch._connection.execute(sql, row)

    def add_last(batch: WriteBatch, sql: str, _key: Any, row: Any) -> None:
        batch._connection.execute(sql, row)

    def add_key(batch: WriteBatch, sql: str, key: int) -> None:
        batch._connection.execute(sql, (f"[{key}]",))

    with patch.multiple(WriteBatch, add=add, add_last=add_last, add_key=add_key):
        yield


@contextmanager
def commands_decoded() -> Iterator[None]:
    """Each due job decodes its command."""
    with patch.object(commands, "_cached", commands._decode):
        yield


@contextmanager
def all_columns() -> Iterator[None]:
    """Without the short form: every run is added with all its columns."""
    insertion, rare = runs._insertion, (None,) * 6

    def whole(job: Any, run: NewRun, now_ms: int) -> tuple[str, tuple[Any, ...]]:
        name, row = insertion(job, run, now_ms)
        return ("add_whole_run", (*row, *rare)) if name == "add_run" else (name, row)

    with patch.object(runs, "_insertion", whole):
        yield


def one_dictionary() -> Any:
    """Without the layers: each new override copies all of them."""

    def put(overrides: Overrides, override: Override) -> Overrides:
        new = Overrides.__new__(Overrides)
        new._earlier, new._recent = {**overrides._earlier, override.place: override}, {}
        return new

    return patch.object(Overrides, "put", put)


def run(scale: Scale, folder: Path) -> Report:
    count = scale.pick(10_000, 5000, 50)
    report = Report(TITLE, f"{count:,} due jobs `config set`, each piece left out in turn; rates a CPU second")
    pieces: tuple[tuple[str, str, Callable[[int], str], Without], ...] = (
        ("WriteBatch", SAME, SAME_OPTION, writes_at_once),
        ("cache of commands", SAME, SAME_OPTION, commands_decoded),
        ("runs without their rare columns", SAME, SAME_OPTION, all_columns),
        ("Overrides", OTHERS, OTHER_OPTIONS, one_dictionary),
    )
    ways: dict[str, Way] = {
        SAME: partial(rate, folder, count, SAME_OPTION),
        OTHERS: partial(rate, folder, count, OTHER_OPTIONS),
    }
    ways |= {f"without {what}": partial(rate, folder, count, command, without) for what, _, command, without in pieces}
    report.add(by_turns(ways, scale.pick(15, 5, 1)), "jobs/s")
    for what, whole, _, _ in pieces:
        report.check_ratio(what, whole, f"without {what}", WANTED)
    return report
