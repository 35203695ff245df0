"""`schedappliance runs`: the last runs for people, as a table."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from typing import Any

from schedappliance.cli import tables
from schedappliance.cli.asking import answer_of, asking_parser, data_in, print_json, session_of
from schedappliance.cli.errors import OK
from schedappliance.client.states import FAILED
from schedappliance.client.wire import quoted
from schedappliance.clock import lasted_text
from schedappliance.model.values import size_text
from schedappliance.visible import visible

DESCRIPTION = """\
Show the last runs, the newest first: of one job, or of all jobs.

TIME is a due time: `12h` (ago), `yesterday`, `22:00`, `2026-11-28`, or
`"yesterday 22:00"`."""
FAILED_STATES = ",".join(FAILED)
# The default of `--limit`.
EACH = "100"


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    runs = asking_parser("runs", DESCRIPTION)
    states = runs.add_mutually_exclusive_group()
    states.add_argument(
        "--failed", dest="state", action="store_const", const=FAILED_STATES, help=f"short for --state {FAILED_STATES}"
    )
    states.add_argument("--state", metavar="STATE[,STATE...]", help="only runs in these states")
    runs.add_argument("--since", metavar="TIME", help="only runs that were due from TIME on")
    runs.add_argument("--until", metavar="TIME", help="only runs that were due up to TIME")
    runs.add_argument("--before", metavar="RUN", help="only runs that were claimed before RUN")
    runs.add_argument("--limit", metavar="N", default=EACH, help=f"maximum number of runs; default: {EACH}")
    runs.add_argument("job", metavar="JOB", nargs="?", help="name or id of a job; default: all jobs")
    return runs.parse_args(arguments)


def line_of(options: argparse.Namespace) -> str:
    """The console command that the arguments mean."""
    words = ["sched history", *([quoted(options.job)] if options.job is not None else [])]
    for name in ("state", "since", "until", "before", "limit"):
        if (value := getattr(options, name)) is not None:
            words += [name, quoted(value)]
    return " ".join(words)


def run(options: argparse.Namespace) -> int:
    """Raises Unusable and Failure."""
    with session_of(options) as session:
        answer = answer_of(session, line_of(options))
    rows, note = data_in(answer)
    if options.json:
        return print_json(rows)
    tables.show(tables.table(("JOB", "RUN", "STATE", "DUE", "TOOK", "CPU", "MEMORY", "REASON"), map(_cells, rows)))
    if note:
        sys.stdout.flush()
        print(visible(note.replace(answer["next"], _following(options, answer["next"]))), file=sys.stderr)
    return OK


def _following(options: argparse.Namespace, line: str) -> str:
    """The command for the runs that follow. `line`: the console command for them."""
    words = ["schedappliance", "runs", *([options.job] if options.job is not None else [])]
    for name in ("state", "since", "until", "limit"):
        if (value := getattr(options, name)) not in (None, EACH):
            words += ["--failed"] if value == FAILED_STATES else [f"--{name}", value]
    return shlex.join([*words, "--before", line.rpartition(" ")[2]])


def _cells(run: dict[str, Any]) -> tuple[str, ...]:
    memory = "" if run["memory_bytes"] is None else size_text(run["memory_bytes"])
    figures = took(run), lasted_text(run["cpu_ms"]), memory
    return (name_of(run), run["run"], run["state"], tables.time_text(run["due_ms"]), *figures, reason_of(run))


def reason_of(run: dict[str, Any]) -> str:
    """Why a run has its state. One row stands for all due times that were missed."""
    if (run["missed"] or 1) == 1:
        return run["reason"] or ""
    return f"{run['missed']} missed since {tables.time_text(run['missed_since_ms'])}: {run['reason'] or ''}"


def name_of(run: dict[str, Any]) -> str:
    """The name of a run for people: that of its job, or its command."""
    return str(run["name"] or run["command"])


def took(run: dict[str, Any]) -> str:
    """How long the last attempt of a run took; empty before its end."""
    return "" if run["ended_ms"] is None else lasted_text(run["took_ms"])
