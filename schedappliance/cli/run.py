"""`schedappliance run`: runs a job or a program now, and with `--wait` shows its output and exits with its status.

Rule: a run is asked for once. An answer that does not come may mean that the run has begun.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Sequence
from typing import Any

from schedappliance.cli import logs
from schedappliance.cli.arguments import positive_duration
from schedappliance.cli.asking import STATUSES, asking_parser, print_json
from schedappliance.cli.errors import (
    FAILED,
    INTERRUPTED,
    OK,
    STILL_QUEUED,
    UNAVAILABLE,
    Failure,
    print_interrupted,
    print_note,
)
from schedappliance.cli.following import Follower, follower_of
from schedappliance.client.errors import Unavailable
from schedappliance.client.wire import joined_as_is, quoted

DESCRIPTION = """\
Run a job now, by its name or id, or start a declared program with arguments, and
print the id of the run. If a job and a program have the same name, run the job.
After `--` there are no options: a name, or an argument of the program, may begin
with `-`.

With --wait, print what the run writes until it ends, including further attempts.
The exit status is then that of the program, or 128 + N if signal N ended the
program. An interrupt does not end the run."""
# The code of a program that is not declared.
UNDECLARED = "E301"


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    statuses = STATUSES | {
        OK: "the run was accepted; with --wait, it has succeeded",
        FAILED: "there is no such job or program, or the run was skipped; with --wait, also:\n"
        "       the run did not succeed, and no exit status is known",
        STILL_QUEUED: "the run has not ended within --timeout; it goes on",
        INTERRUPTED: "interrupted; the run goes on",
    }
    run = asking_parser("run", DESCRIPTION, dict(sorted(statuses.items())))
    run.add_argument("--wait", action="store_true", help="print the output, and wait for the end")
    run.add_argument(
        "--timeout", metavar="DURATION", type=positive_duration, help="longest time to wait: 90s, 15m; implies --wait"
    )
    run.add_argument("name", metavar="JOB|PROGRAM", help="such as nightly, or example.com-000000001")
    run.add_argument("words", metavar="ARG", nargs="*", default=[], help="an argument of the program")
    return run.parse_intermixed_args(arguments)


def run(options: argparse.Namespace) -> int:
    """Raises Unusable and Failure."""
    with follower_of(options) as follower:
        answer = _begin(follower, options.name, options.words)
        follower.has_answered = True
        name = str(answer["data"]["run"])
        if note := answer.get("note"):
            print_note(str(note))
        if options.wait or options.timeout is not None:
            return _wait(follower, name, options)
    if options.json:
        return print_json(answer["data"])
    print(name)
    return OK


def _begin(follower: Follower, name: str, words: Sequence[str]) -> dict[str, Any]:
    """The answer to `sched run` for a job, or to `run` for a program. Raises Failure."""
    run_job, run_program = f"json sched run {quoted(name)}", f"json run {joined_as_is([name, *words])}"
    ask = follower.session.ask
    try:
        answer = ask(run_program) if words else ask(run_job, run_program)
    except Unavailable as unavailable:
        raise Failure(str(unavailable), UNAVAILABLE) from None
    except KeyboardInterrupt:
        print_interrupted()
        raise
    if answer["ok"]:
        return answer
    is_neither = not words and any(one["code"] == UNDECLARED for one in answer.get("diagnostics", ()))
    raise Failure((f"no job and no program named `{name}` can run: " if is_neither else "") + answer["error"], FAILED)


def _wait(follower: Follower, name: str, options: argparse.Namespace) -> int:
    """Shows the output of a run until it ends; the exit status. Raises Failure."""
    ends_ms: int | None = None if options.timeout is None else follower.now() + options.timeout
    goes_on = f"run {name} goes on; `schedappliance stop {name}` ends it"

    def left(milliseconds: int) -> int:
        """The part of a wait that is left before `--timeout`. Raises Failure."""
        if ends_ms is None:
            return milliseconds
        if follower.now() >= ends_ms:
            raise Failure(goes_on, STILL_QUEUED)
        return min(milliseconds, ends_ms - follower.now())

    def ask(line: str) -> Any:
        left(0)
        return follower.ask(line)

    wait, output = logs.pause_of(follower, name), io.StringIO() if options.json else sys.stdout
    try:
        logs.show(ask, name, True, output, lambda milliseconds: wait(left(milliseconds)), needs_reader=False)
    except KeyboardInterrupt:
        print_note(goes_on)
        raise
    end = follower.response(f"sched wait {quoted(name)}")
    if isinstance(output, io.StringIO):
        print_json(end["data"] | {"output": output.getvalue()})
    return int(end.get("exit_status") or (OK if end["ok"] else FAILED))
