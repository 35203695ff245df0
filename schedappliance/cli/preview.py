"""`schedappliance preview`: from the files and the store, as they are, to rows on stdout."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from schedappliance.cli.arguments import add_format, count, parser, positive_duration
from schedappliance.cli.configuration import add_config, appliance_file
from schedappliance.cli.errors import OK, UNUSABLE, USAGE
from schedappliance.clock import SystemClock, iso
from schedappliance.core.recovery import Found
from schedappliance.diagnostics import Unusable
from schedappliance.edge.programs.survivors import boot_id, find_survivors
from schedappliance.edge.users import known_user
from schedappliance.engine.records import ProcessKey
from schedappliance.lockfile import lock_holder
from schedappliance.model.appliance_file import ApplianceFile
from schedappliance.model.loading import Loaded, load, spool_mistake
from schedappliance.preview.report import Counts, Json, Table, more, summary
from schedappliance.preview.rows import Mark
from schedappliance.preview.simulation import Beginning, CopyFailed, Simulation
from schedappliance.progress import progress
from schedappliance.store.database import open_database
from schedappliance.store.failures import StoreFailed
from schedappliance.store.reading import private_copy
from schedappliance.store.tables import Store

DESCRIPTION = """\
Show what would run, when, and what would not, from the files and the store as
they are. The appliance's own engine runs on a simulated clock; nothing is changed,
and the appliance may run meanwhile. Each program is assumed to succeed, and to
take as long as the last runs of its job."""

STATUSES = {OK: "shown", USAGE: "wrong usage", UNUSABLE: "the configuration or the store cannot be used"}

IN_MEMORY = "the jobs live in memory: without a `backing_store` only the declared ones are known"
NO_STORE = "there is no store yet: only the declared jobs are known"
NOT_RUNNING = "no appliance uses the store: this is what would happen if it started now"
PROGRESS_ROWS = 1000


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    preview = parser("preview", DESCRIPTION, STATUSES)
    add_config(preview)
    preview.add_argument(
        "--for",
        dest="period",
        metavar="DURATION",
        type=positive_duration,
        default="24h",
        help="how far to look ahead: seconds, or units as in 15m, 2h30m, 1d; default: 24h",
    )
    add_format(preview, table="for people", json="an array")
    preview.add_argument(
        "--limit", metavar="N", type=count, default=1000, help="the most rows to show, 0 for all; default: 1000"
    )
    return preview.parse_args(arguments)


def run(options: argparse.Namespace) -> int:
    """Raises Unusable."""
    file, loaded = _load(options)
    try:
        _preview(file, loaded, options.period, options.limit, options.format)
    except (CopyFailed, StoreFailed) as failed:
        remedy = "see that there is room in memory and in the temporary directory"
        raise Unusable(f"the copy of the store cannot be used: {failed}", remedy) from failed
    return OK


def _load(options: argparse.Namespace) -> tuple[ApplianceFile, Loaded]:
    """The files as the appliance would load them."""
    file = appliance_file(options)
    loaded = load(file.config)
    if not loaded.accepted:
        raise Unusable(diagnostics=loaded.shown())
    if mistake := spool_mistake(file, loaded.configuration):
        raise Unusable(diagnostics=[mistake])
    return file, loaded


def _preview(file: ApplianceFile, loaded: Loaded, milliseconds: int, limit: int, format: str) -> None:
    path = loaded.configuration.backing_store
    stored = path is not None and path.exists()
    in_use = path is not None and lock_holder(Path(f"{path}.lock")) is not None
    # What comes due while the store is copied belongs to what will happen.
    moment = SystemClock().moment()
    database = private_copy(path) if path is not None and stored else open_database(None)
    try:
        node = file.node or os.uname().nodename
        boot = boot_id()
        beginning = Beginning(database, loaded, moment, in_use, node, boot, os.cpu_count() or 1, known_user)
        simulation = Simulation(beginning)
        simulation.start(_found(simulation.store, boot, in_use))
        for note in _notes(path, stored, in_use):
            print(f"note: {note}", file=sys.stderr)
        if format == "json":
            _print_json(simulation, milliseconds, limit)
        else:
            _print_table(simulation, Table(simulation.store.node, loaded.configuration.jobs), milliseconds, limit)
    finally:
        database.close()


def _notes(path: Path | None, stored: bool, in_use: bool) -> Iterator[str]:
    if path is None:
        yield IN_MEMORY
    elif not stored:
        yield NO_STORE
    elif not in_use:
        yield NOT_RUNNING


def _found(store: Store, boot: str, in_use: bool) -> Found:
    """The programs that run. An appliance knows all that it has started; else they are looked for as it would."""
    attempts = store.runs.live_attempts()
    if in_use:
        return Found({a.key: a.process or ProcessKey(0, 0) for a in attempts}, {})
    return Found(find_survivors(attempts, store.node, store.identity, boot), {})


def _print_json(simulation: Simulation, milliseconds: int, limit: int) -> None:
    array = Json(simulation.store.node)
    counts = _print(simulation, array, milliseconds, limit)
    if left_out := more(counts.hidden):
        print(f"note: {left_out}", end="", file=sys.stderr)


def _print_table(simulation: Simulation, table: Table, milliseconds: int, limit: int) -> None:
    first_ms = simulation.now_ms
    last_ms = first_ms + milliseconds
    census = simulation.store.jobs.census(last_ms)
    counts = _print(simulation, table, milliseconds, limit)
    if left_out := more(counts.hidden):
        sys.stdout.write(f"... and {left_out}")
    sys.stdout.write(summary(counts, first_ms, last_ms, census))


def _print(simulation: Simulation, shown: Table | Json, milliseconds: int, limit: int) -> Counts:
    """Rows are printed as they are made; those beyond the limit are made all the same, and counted."""
    counts = Counts()
    last_ms = simulation.now_ms + milliseconds
    sys.stdout.write(shown.header())
    with progress() as told:
        for row in simulation.rows(milliseconds):
            counts.count(row)
            if limit == 0 or counts.rows <= limit or row.mark is Mark.STOPS:
                sys.stdout.write(shown.row(row))
            else:
                counts.hidden += 1
            if counts.rows % PROGRESS_ROWS == 0 and (counts.hidden or not sys.stdout.isatty()):
                told(f"{counts.rows:,} rows, up to {iso(row.at_ms)} of {iso(last_ms)}")
    sys.stdout.write(shown.footer())
    return counts
