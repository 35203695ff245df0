"""`schedappliance logs`: prints the output of a run, and follows it while it grows.

Rule: a part is asked for when the one before it is written, so that a slow reader delays nobody.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, TextIO

from schedappliance.cli import asking
from schedappliance.cli.appliance_file import add_config, add_endpoint
from schedappliance.cli.arguments import parser
from schedappliance.cli.errors import FAILED, OK, Failure, print_note
from schedappliance.cli.following import Follower, follower_of
from schedappliance.cli.streams import has_reader
from schedappliance.client.events import RunEvent
from schedappliance.client.questions import OutputReader
from schedappliance.client.states import LIVE
from schedappliance.client.wire import quoted

DESCRIPTION = """\
Print the output of the last attempt of a run, even while it runs. JOB, an id or
a name, stands for the newest run of the job that was neither skipped nor
missed. With `-f`, print what the run writes until it ends, including further
attempts."""

STATUSES = asking.STATUSES | {
    OK: "the output was printed; with -f, the run has succeeded",
    FAILED: "there is no such run, or its output cannot be read; with -f, also: the run did\n       not succeed",
}

# How long `-f` waits for more output: no event tells that a file grows. The wait doubles while nothing comes.
SHORTEST_MS, LONGEST_MS = 125, 2000
# How long it waits for a start. An event ends each wait early.
QUEUED_MS = 60_000
STARTED = "queued,started,succeeded,failed,timed_out,interrupted,replaced,cancelled"
_RUN = re.compile(".+/[0-9]+")

# Sends a command as data, and returns the data of its answer.
Ask = Callable[[str], Any]


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    logs = parser("logs", DESCRIPTION, STATUSES)
    add_config(logs)
    add_endpoint(logs)
    logs.add_argument("-f", "--follow", action="store_true", help="wait for more until the run has ended")
    logs.add_argument("name", metavar="RUN|JOB", help="such as example.com-000000001/7, or the name of a job")
    return logs.parse_args(arguments)


def run(options: argparse.Namespace) -> int:
    """Raises Unusable and Failure."""
    with follower_of(options) as follower:
        name = options.name if _RUN.fullmatch(options.name) else newest_run(follower.ask, options.name)
        return show(follower.ask, name, options.follow, sys.stdout, pause_of(follower, name))


def pause_of(follower: Follower, name: str) -> Callable[[int], None]:
    """Waits for this time, or until the state of a run changes."""
    return lambda milliseconds: follower.wait(
        milliseconds, lambda event: isinstance(event, RunEvent) and event.run == name
    )


def newest_run(ask: Ask, job: str) -> str:
    """The id of the newest run of a job. Raises Failure."""
    runs = ask(f"sched history {quoted(job)} state {STARTED} limit 1")
    if not runs:
        raise Failure(f"job {job} has no runs", FAILED)
    return str(runs[0]["run"])


def show(
    ask: Ask, name: str, follow: bool, out: TextIO, pause: Callable[[int], None], needs_reader: bool = True
) -> int:
    """Prints the output of a run; returns the exit status. `needs_reader`: it ends early when nobody reads the output."""
    reader, quiet_ms = OutputReader(name, follow=follow), SHORTEST_MS
    while (question := reader.question) is not None:
        part = question.read(ask(question.line))
        text = reader.take(part)
        out.write(text)
        out.flush()
        if needs_reader and not has_reader(out):
            return FAILED if follow and part.state not in (*LIVE, "succeeded") else OK
        quiet_ms = SHORTEST_MS if text else min(2 * quiet_ms, LONGEST_MS)
        if reader.attempt != part.attempt:
            print_note(f"attempt {reader.attempt}")
        if reader.pause_s:
            pause(QUEUED_MS if part.state == "queued" else quiet_ms)
    if part.state == "succeeded":
        return OK
    print_note(f"run {name}: {part.state.replace('_', ' ')}")
    return FAILED if follow else OK
