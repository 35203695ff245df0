"""`schedappliance preview`: prints future runs, from the current files and the current store."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from schedappliance.cli.appliance_file import add_config, appliance_file
from schedappliance.cli.arguments import add_format, count, file_path, job_or_pattern, parser, positive_duration
from schedappliance.cli.errors import OK, UNUSABLE, USAGE, Failure, print_note
from schedappliance.cli.streams import has_reader
from schedappliance.clock import local_text
from schedappliance.diagnostics import Unusable, shortened
from schedappliance.model.appliance_file import ApplianceFile
from schedappliance.model.appliance_paths import appliance_mistake
from schedappliance.model.files import real_path
from schedappliance.model.loading import Loaded, load
from schedappliance.preview.report import Counts, JsonArray, Table, further_rows, summary
from schedappliance.preview.simulation import CopyFailed, Simulation
from schedappliance.progress import progress
from schedappliance.store.failures import StoreFailed
from schedappliance.store.tables import Store

if TYPE_CHECKING:
    from schedappliance.doctor.facts import Needs
    from schedappliance.preview.opening import Opened

DESCRIPTION = """\
Show which jobs would run and when, and which would not run. The preview starts
from the current files and the current store. It runs the appliance's own engine
on a simulated clock and changes nothing, and the appliance may run meanwhile.
Each program is assumed to succeed, and to take as long as the last runs of its
job."""

STATUSES = {OK: "shown", USAGE: "wrong usage", UNUSABLE: "the configuration or the store cannot be used"}

PROGRESS_ROWS = 1000


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    preview = parser("preview", DESCRIPTION, STATUSES)
    add_config(preview)
    preview.add_argument(
        "--store",
        metavar="STORE",
        type=file_path,
        help="start from this store, and from the files that its appliance has accepted last; "
        "no appliance file and no stanza file is read then",
    )
    preview.add_argument(
        "--for",
        dest="period",
        metavar="DURATION",
        type=positive_duration,
        default="24h",
        help="how far to look ahead: seconds, or units as in 15m, 2h30m, 1d; default: 24h",
    )
    preview.add_argument(
        "--job",
        metavar="ID|NAME|PATTERN",
        type=job_or_pattern,
        help="show one job, or the declared jobs whose name or id a shell pattern matches; default: all jobs",
    )
    add_format(preview, table="for people", json="an array")
    preview.add_argument(
        "--limit", metavar="N", type=count, default=1000, help="maximum number of rows, 0 for all; default: 1000"
    )
    return preview.parse_args(arguments)


def run(options: argparse.Namespace) -> int:
    """Raises Failure and Unusable."""
    try:
        with _open_stored(options.store) if options.store else _open_files(options) as opened:
            _print(opened, options)
    except (CopyFailed, StoreFailed) as failed:
        remedy = "make sure that there is free space in memory and in the temporary directory"
        raise Unusable(f"the copy of the store cannot be used: {failed}", remedy) from failed
    return OK


@contextmanager
def _open_stored(path: Path) -> Iterator[Opened]:
    from schedappliance.doctor.observe import observe_needs_at
    from schedappliance.preview.opening import open_stored

    # SQLite keeps the log beside the file to which a link leads.
    store = real_path(path)
    with open_stored(store) as opened:
        _print_needs(observe_needs_at(store, opened.configuration))
        yield opened


@contextmanager
def _open_files(options: argparse.Namespace) -> Iterator[Opened]:
    file, loaded = _load(options)
    # The core takes long to load, and reports of mistakes in the files do not need it.
    from schedappliance.doctor.observe import observe_needs
    from schedappliance.preview.opening import open_simulation

    _print_needs(observe_needs(file, loaded))
    with open_simulation(file, loaded) as opened:
        yield opened


def _print_needs(needs: Needs) -> None:
    from schedappliance.doctor.findings import findings_about_programs
    from schedappliance.doctor.observe import names_in
    from schedappliance.lint import report

    for line in report.lines(findings_about_programs(needs, names_in(needs))).splitlines():
        print_note(line)


def _print(opened: Opened, options: argparse.Namespace) -> None:
    simulation = opened.simulation
    if opened.note:
        print_note(opened.note)
    jobs = _wanted_jobs(simulation.store, options.job)
    if options.format == "json":
        _print_json(simulation, jobs, options)
    else:
        table = Table(simulation.store.node, opened.configuration.jobs, simulation.zone)
        _print_table(simulation, table, jobs, options)


def _load(options: argparse.Namespace) -> tuple[ApplianceFile, Loaded]:
    """The files as the appliance would load them."""
    file = appliance_file(options)
    loaded = load(file.config)
    if not loaded.accepted:
        raise Unusable(diagnostics=loaded.shown())
    if mistake := appliance_mistake(file, loaded):
        raise Unusable(diagnostics=[mistake])
    return file, loaded


def _wanted_jobs(store: Store, word: str | None) -> set[int] | None:
    """The numbers of the jobs that are shown; None: all jobs. Raises Failure if a word names no job."""
    from schedappliance.commands.lookup import matching_jobs

    if word is None:
        return None
    jobs = matching_jobs(store, word)
    if jobs is not None:
        numbers = {job.number for job in jobs}
    else:
        number = store.jobs.meant_by(store.node, word)
        numbers = set() if number is None or store.jobs.get(number) is None else {number}
    if not numbers:
        raise Failure(f"--job: no job has the id or name `{shortened(word)}`, or matches it", USAGE)
    return numbers


def _print_json(simulation: Simulation, jobs: set[int] | None, options: argparse.Namespace) -> None:
    counts = _print_rows(simulation, JsonArray(simulation.store.node), jobs, options)
    if counts.further_ms is not None:
        print_note(further_rows(local_text(counts.further_ms, simulation.zone)))


def _print_table(simulation: Simulation, table: Table, jobs: set[int] | None, options: argparse.Namespace) -> None:
    first_ms, zone = simulation.now_ms, simulation.zone
    last_ms = first_ms + options.period
    census = simulation.store.jobs.census(last_ms) if jobs is None else None
    counts = _print_rows(simulation, table, jobs, options)
    if counts.further_ms is not None:
        print(f"... {further_rows(local_text(counts.further_ms, zone))}")
    else:
        print(summary(counts, f"{local_text(first_ms, zone)} to {local_text(last_ms, zone)}", census))


def _print_rows(
    simulation: Simulation, form: Table | JsonArray, jobs: set[int] | None, options: argparse.Namespace
) -> Counts:
    """Prints each row as soon as it is made. The first row beyond the limit ends the preview.

    `jobs`: those whose rows are shown, beside the rows about the appliance itself; None: all.
    """
    counts, zone = Counts(), simulation.zone
    last_ms = simulation.now_ms + options.period
    sys.stdout.write(form.header())
    with progress() as show:
        for number, row in enumerate(simulation.rows(options.period), 1):
            if not has_reader(sys.stdout):
                break
            # Rows on a terminal show the progress themselves.
            if number % PROGRESS_ROWS == 0 and not sys.stdout.isatty():
                show(f"{counts.rows:,} rows, up to {local_text(row.at_ms, zone)} of {local_text(last_ms, zone)}")
            if jobs is not None and row.key and row.key.job not in jobs:
                continue
            if options.limit and counts.rows == options.limit:
                counts.further_ms = row.at_ms
                break
            counts.add(row)
            sys.stdout.write(form.row(row))
    sys.stdout.write(form.footer())
    return counts
