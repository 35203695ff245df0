"""`schedappliance submit`: puts a command file into the spool and, with `--wait`, prints its result as the console would.

Rule: the appliance decides; nothing that it would accept is rejected here. Most imports wait until they are needed.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schedappliance.cli.appliance_file import add_config, add_endpoint, appliance_file, endpoint_of
from schedappliance.cli.arguments import add_format, drop_name, duration, file_path, parser, path_text
from schedappliance.cli.errors import (
    FAILED,
    INTERRUPTED,
    OK,
    STILL_QUEUED,
    UNAVAILABLE,
    UNUSABLE,
    USAGE,
    Failure,
    print_error,
    print_note,
)
from schedappliance.cli.streams import MAX_BYTES, read_stdin
from schedappliance.client.drop import Result, base_of, check_results_readable, drop, wait_for_result
from schedappliance.client.places import path_in
from schedappliance.clock import SystemClock

if TYPE_CHECKING:
    from schedappliance.diagnostics import Diagnostic

DESCRIPTION = """\
Put a file of commands into the spool of an appliance, which need not be
running, and print the name under which the file is queued. With --wait, print
the answers of its commands instead, or the mistakes in the file."""

STATUSES = {
    OK: "queued; with --wait: accepted; with --wait-runs: its runs have succeeded",
    FAILED: "rejected; or not queued, because the file could not be written",
    USAGE: "wrong usage, or FILE cannot be read",
    UNAVAILABLE: "with --wait-runs: no appliance answers",
    STILL_QUEUED: "no result, or with --wait-runs no end of the runs, within --timeout",
    UNUSABLE: "no spool, or no permission to write to it",
    INTERRUPTED: "interrupted; stderr says whether the file is queued",
}


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    submit = parser("submit", DESCRIPTION, STATUSES, "[options] FILE")
    add_config(submit)
    submit.add_argument(
        "--spool", metavar="DIR", type=file_path, help="the spool directory; no appliance file is read then"
    )
    add_endpoint(submit)
    submit.add_argument("--check", action="store_true", help="queue nothing if lint finds an error in the file itself")
    submit.add_argument("--wait", action="store_true", help="wait for the result and print it")
    submit.add_argument(
        "--wait-runs",
        action="store_true",
        help="like --wait, then wait for the runs that FILE started; exit with the highest of their statuses",
    )
    submit.add_argument(
        "--timeout",
        metavar="DURATION",
        type=duration,
        help="how long --wait waits: seconds, or units as in 15m; default: no limit",
    )
    submit.add_argument(
        "--name", type=drop_name, help="the beginning of the name in the spool; default: the name of FILE"
    )
    add_format(submit, full="answers as at the console, mistakes as lint prints them", json="one object")
    submit.add_argument("file", metavar="FILE", type=path_text, help="a file of commands, or - for stdin")
    options = submit.parse_args(arguments)
    options.wait = options.wait or options.wait_runs
    if options.timeout is not None and not options.wait:
        raise Failure("--timeout needs --wait", USAGE)
    return options


def run(options: argparse.Namespace) -> int:
    """Raises Unusable and Failure."""
    spool = options.spool or _configured_spool(options)
    endpoint = endpoint_of(options) if options.wait_runs else None
    started_ms = SystemClock().moment().boot
    name = ""
    try:
        title, data = _read(options.file)
        if diagnostics := _errors(title, data, options.check):
            return _print_result(_rejection(diagnostics), title, data, options.format)
        if options.wait:
            check_results_readable(spool)
        base = base_of(options.name or ("stdin" if options.file == "-" else Path(options.file).name))
        with _uninterrupted():
            name = _drop(spool, base, data)
        if not options.wait:
            _print_queued(name, options.format)
            return OK
        result = _wait(spool, name, options.timeout)
        if result is None:
            if options.format == "json":
                _print_queued(name, options.format)
            print_error(f"no result yet; {_stays_queued(name)}")
            return STILL_QUEUED
        if endpoint is not None and result["accepted"]:
            left_ms = None if options.timeout is None else started_ms + options.timeout - SystemClock().moment().boot
            return _wait_for_runs(endpoint, result, title, data, options.format, left_ms)
        return _print_result(result, title, data, options.format)
    except KeyboardInterrupt:
        print(f"\ninterrupted: {_stays_queued(name) if name else 'nothing was queued'}", file=sys.stderr)
        return INTERRUPTED


def _configured_spool(options: argparse.Namespace) -> Path:
    file = appliance_file(options)
    return path_in(file, "spool.path", file.spool, "--spool DIR")


def _read(file: str) -> tuple[str, bytes]:
    """The name that diagnostics show, and the content, at most one byte more than the limit."""
    if file == "-":
        return "<stdin>", read_stdin()
    try:
        # A pipe is accepted too: `submit <(make-commands)`.
        with open(file, "rb") as opened:  # noqa: PTH123
            return file, opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise Failure(f"cannot read {file}: {error.strerror}", USAGE) from None


def _errors(title: str, data: bytes, check: bool) -> list[Diagnostic]:
    """The errors for which any appliance would reject the file: no command, or too large. With `check`, all errors."""
    if not check and len(data) <= MAX_BYTES and _has_command(data):
        return []
    from schedappliance.lint.linter import lint_commands
    from schedappliance.model.command_file import SPLIT_DROP
    from schedappliance.syntax.text import decode

    source, diagnostics = decode(title, data, SPLIT_DROP)
    if source.text or not diagnostics:
        diagnostics += lint_commands(source, None)
    return [diagnostic for diagnostic in diagnostics if diagnostic.is_error]


def _has_command(data: bytes) -> bool:
    return any(line.strip() and not line.startswith(b"#") for line in data.split(b"\n"))


def _rejection(diagnostics: list[Diagnostic]) -> Result:
    from schedappliance.diagnostics import as_data

    return {"file": None, "accepted": False, "results": [], "diagnostics": as_data(diagnostics)}


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Delays signals, so that an interrupt leaves nothing in tmp/ and the name of a queued file is known."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _drop(spool: Path, base: str, data: bytes) -> str:
    try:
        return drop(spool, base, data)
    except OSError as error:
        reason = f"cannot write to {error.filename}: {error.strerror}"
        raise Failure(f"{reason}; nothing was queued; try again", FAILED) from None


def _wait(spool: Path, name: str, timeout_ms: int | None) -> Result | None:
    from schedappliance.progress import progress

    with progress() as show:
        show(f"queued under {name}, waiting for the result")
        return wait_for_result(spool, name, SystemClock(), timeout_ms)


def _wait_for_runs(endpoint: Path, result: Result, title: str, data: bytes, form: str, left_ms: int | None) -> int:
    """Prints an accepted result, waits for its runs, and returns the worst of their exit statuses. Raises Failure."""
    from schedappliance.client import Client, Error, TimedOut

    if form != "json":
        _print_result(result, title, data, form)
        sys.stdout.flush()
    end_ms = None if left_ms is None else SystemClock().moment().boot + left_ms
    statuses, ends = [OK], []
    with Client(endpoint) as client:
        for run in _runs_of(result, title, data):
            left_s = None if end_ms is None else max(0.001, (end_ms - SystemClock().moment().boot) / 1000)
            try:
                end = client.wait(run, timeout=left_s)
            except KeyboardInterrupt:
                print(f"\ninterrupted: run {run} goes on", file=sys.stderr)
                return INTERRUPTED
            except TimedOut:
                raise Failure(f"run {run} has not ended in time; it goes on", STILL_QUEUED) from None
            except Error as error:
                raise Failure(f"run {run} goes on: {error}", UNAVAILABLE) from None
            status = 128 + end.exit_signal if end.exit_signal is not None else end.exit_status
            statuses.append(status or (OK if end.succeeded else FAILED))
            ends.append({"run": run, "state": end.state, "reason": end.reason, "exit_status": status})
            if form != "json" and not end.succeeded:
                print_note(f"run {run}: {end.state.replace('_', ' ')}" + (f": {end.reason}" if end.reason else ""))
    if form == "json":
        _print_result({**result, "runs": ends}, title, data, form)
    return max(statuses)


def _runs_of(result: Result, title: str, data: bytes) -> list[str]:
    """The ids of the runs that the lines of a drop have started: those of `run` and `sched run`."""
    from schedappliance.syntax.command import outer_form
    from schedappliance.syntax.text import decode

    lines = decode(title, data)[0].text.split("\n")
    runs = []
    for row in result["results"]:
        line = lines[row["line"] - 1]
        if outer_form(line) in ("run", "sched_run"):
            runs.append(row["output"].split()[0])
        elif "data" in row and isinstance(row["data"], dict) and "run" in row["data"]:
            runs.append(row["data"]["run"])
    return runs


def _stays_queued(name: str) -> str:
    return f"it stays queued under {name}"


def _print_queued(name: str, form: str) -> None:
    print(_as_json({"file": name, "accepted": None}) if form == "json" else name)


def _print_result(result: Result, title: str, data: bytes, form: str) -> int:
    """Outputs on stdout as the console prints them; diagnostics on stderr as the linter does, with places in the file."""
    from schedappliance.cli.console import show
    from schedappliance.diagnostics import as_data, from_data, in_order
    from schedappliance.lint import report
    from schedappliance.syntax.text import decode
    from schedappliance.visible import write_as_is

    source, _ = decode(title, data)
    diagnostics = in_order(from_data(row, source) for row in result["diagnostics"])
    if form == "json":
        print(_as_json({**result, "diagnostics": as_data(diagnostics)}))
    else:
        for row in result["results"]:
            show({**row, "ok": True}, sys.stdout, sys.stderr)
        sys.stdout.flush()
        write_as_is(sys.stderr, report.full(diagnostics, report.style_of(sys.stderr)))
        if more := result.get("more_diagnostics"):
            print(f"and {more} more", file=sys.stderr)
    return OK if result["accepted"] else FAILED


def _as_json(data: Any) -> str:
    from schedappliance.visible import json_text

    return json_text(data)
