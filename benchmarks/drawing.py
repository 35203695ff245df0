"""How much processor time the pictures of the page take.

Rule: only the processor time counts: the page draws a picture at most once a second, for all who look at it.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from random import Random
from statistics import median
from time import process_time

from benchmarks.measuring import Scale
from benchmarks.reporting import OURS, Report
from schedappliance.model.calendars.zones import Zones, this_machine
from schedappliance.web.appliance.columns import NUMBERS, RunColumns
from schedappliance.web.pictures.calendar import calendar, month_days
from schedappliance.web.pictures.lanes import Lane
from schedappliance.web.pictures.timeline import Span, timeline
from schedappliance.web.rendering.ansi import paint
from schedappliance.web.rendering.times import Times

TITLE = "drawing the page"
NOW_MS, DAY_MS = 1_795_962_003_250, 86_400_000
LANES = 60
MOST_MS, MOST_BYTES = 200.0, 50_000
STATES = ("succeeded",) * 94 + ("failed", "timed_out", "missed", "skipped", "cancelled", "interrupted")


def columns_of(runs: int) -> RunColumns:
    """The runs of a day of so many jobs, in the order in which they were due."""
    dice, columns = Random(1), RunColumns()
    for sequence in range(runs):
        due = NOW_MS - DAY_MS + sequence * DAY_MS // runs
        columns.sequences.append(sequence)
        columns.jobs.append(sequence % LANES + 1)
        columns.occurrences.append(sequence // LANES + 1)
        columns.due.append(due)
        started, ended = due + dice.randrange(500), due + 500 + dice.randrange(60_000)
        columns.started.append(started)
        columns.ended.append(ended)
        columns.took.append(ended - started)
        columns.states.append(NUMBERS[dice.choice(STATES)])
    columns.node = "example.com"
    return columns


def run(scale: Scale, folder: Path) -> Report:  # noqa: ARG001
    runs, rounds, lines = scale.pick((110_000, 7, 10_000), (110_000, 3, 10_000), (600, 1, 100))
    columns, times = (
        columns_of(runs),
        Times(NOW_MS, NOW_MS, Zones(this_machine()).get("Europe/Berlin"), "Europe/Berlin"),
    )
    span = Span(NOW_MS - DAY_MS, NOW_MS, NOW_MS + DAY_MS // 24)
    heads = [Lane(f"job-{number}", columns.id_of(number), "/jobs/1") for number in range(1, LANES + 1)]
    output = (
        "\x1b[32mok\x1b[0m 1,204 prices of a source in 0.8 s, and more words until a hundred characters a line\n"
        * lines
    )
    drawings: dict[str, Callable[[], str]] = {
        f"timeline of {LANES} lanes": lambda: timeline(columns, heads, span, times, "/runs/{}".format),
        "month": lambda: calendar(2026, 11, month_days(columns, [], 2026, 11, times), times),
        "output of a megabyte": lambda: paint(output).html,
    }
    report = Report(TITLE, f"processor time for {runs:,} runs")
    for name, draw in drawings.items():
        values = []
        for _ in range(rounds):
            begin = process_time()
            picture = draw()
            values.append((process_time() - begin) * 1000)
        report.add({f"{OURS}, {name}": values}, "ms")
        report.check_most(name, median(values), MOST_MS, "ms")
        if name.startswith("timeline"):
            size = len(gzip.compress(picture.encode()))
            report.check_most(f"{name}, compressed", size, MOST_BYTES, "bytes")
    report.drawn = tuple(row.name for row in report.rows)
    return report
