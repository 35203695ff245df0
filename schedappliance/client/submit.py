"""The `submit` command: puts a file into the spool, waits for the answer if asked, and tells it as the console would.

Law: the appliance is the judge; nothing is refused here that it would take. What is not needed is not imported.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schedappliance.client.drop import base_of, drop

if TYPE_CHECKING:
    from schedappliance.clock import Clock
    from schedappliance.diagnostics import Diagnostic

OK, REJECTED, USAGE, STILL_QUEUED, INTERRUPTED = 0, 1, 2, 75, 130

# As the linter: nobody's commands have more, and an endless stdin does not fill the disk.
MAX_BYTES = 16 * 1024 * 1024
FIRST_PAUSE_MS, LONGEST_PAUSE_MS = 5, 250

Result = dict[str, Any]


def run(options: argparse.Namespace, spool: Path) -> int:
    """Queues a file; with `--wait` its answer is the status. Raises Unusable."""
    name = ""
    try:
        title, data = _read(options.file)
        if found := _hopeless(title, data, options.check):
            return _tell(_refusal(found), title, data, options.format)
        if options.wait:
            _must_be_readable(spool)
        base = base_of(options.name or ("stdin" if options.file == "-" else Path(options.file).name))
        try:
            with _uninterrupted():
                name = drop(spool, base, data)
        except OSError as error:
            why = f"cannot write to {error.filename}: {error.strerror}"
            print(f"error: {why}; nothing was queued; try again", file=sys.stderr)
            return REJECTED
        if not options.wait:
            _tell_queued(name, options.format)
            return OK
        result = _wait_for(spool, name, options.timeout)
        if result is None:
            _tell_unanswered(name, options.format)
            return STILL_QUEUED
        return _tell(result, title, data, options.format)
    except _Unreadable as unreadable:
        print(f"error: {unreadable}", file=sys.stderr)
        return USAGE
    except PermissionError as error:
        from schedappliance.diagnostics import Unusable

        raise Unusable(f"you may not read {error.filename}", f"the commands are queued under {name}") from error
    except KeyboardInterrupt:
        print(f"\ninterrupted: {_stays(name)}" if name else "\ninterrupted: nothing was queued", file=sys.stderr)
        return INTERRUPTED


class _Unreadable(Exception):
    pass


def _read(file: str) -> tuple[str, bytes]:
    """The name that diagnostics show, and the content, at most one byte more than the limit."""
    if file == "-":
        return "<stdin>", sys.stdin.buffer.read(MAX_BYTES + 1) if sys.stdin else b""
    try:
        # A pipe is welcome too: `submit <(make-commands)`.
        with open(file, "rb") as opened:  # noqa: PTH123
            return file, opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise _Unreadable(f"cannot read {file}: {error.strerror}") from None


def _hopeless(title: str, data: bytes, check: bool) -> list[Diagnostic]:
    """The errors for which no appliance would take the file: that it holds nothing or too much; all of them if asked."""
    if not check and len(data) <= MAX_BYTES and _holds_a_command(data):
        return []
    from schedappliance.lint.linter import lint_commands
    from schedappliance.syntax.text import decode

    source, found = decode(title, data)
    if source.text or not found:
        found += lint_commands(source, None)
    return [diagnostic for diagnostic in found if diagnostic.is_error]


def _holds_a_command(data: bytes) -> bool:
    return any(line.strip() and not line.startswith(b"#") for line in data.split(b"\n"))


def _refusal(found: list[Diagnostic]) -> Result:
    from schedappliance.diagnostics import as_data

    return {"file": None, "accepted": False, "results": [], "diagnostics": as_data(found)}


def _must_be_readable(spool: Path) -> None:
    """Told before anything is queued; who may not even write hears of that instead."""
    for folder in (spool / "done", spool / "failed"):
        if os.access(spool / "tmp", os.W_OK) and not os.access(folder, os.X_OK):
            from schedappliance.diagnostics import Unusable

            raise Unusable(f"no answer can be read from {folder}", "submit without --wait, or check the permissions")


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Signals come before it or after it: nothing is left aside, and what is queued is known by its name."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _wait_for(spool: Path, name: str, timeout_ms: int | None) -> Result | None:
    from schedappliance.clock import SystemClock
    from schedappliance.progress import progress

    with progress() as told:
        told(f"queued under {name}, waiting for the answer")
        return wait(spool, name, SystemClock(), timeout_ms, lambda ms: select.select([], [], [], ms / 1000))


def wait(spool: Path, name: str, clock: Clock, timeout_ms: int | None, pause: Callable[[int], object]) -> Result | None:
    """The result of a drop, or None when the time is over.

    It is looked for rather than listened for: that needs no watch, works on any file system, and costs two looks.
    """
    begun, pause_ms = clock.moment().boot, FIRST_PAUSE_MS
    while True:
        if (result := _result(spool, name)) is not None:
            return result
        left = LONGEST_PAUSE_MS if timeout_ms is None else begun + timeout_ms - clock.moment().boot
        if left <= 0:
            return None
        pause(min(pause_ms, left))
        pause_ms = min(pause_ms * 3 // 2, LONGEST_PAUSE_MS)


def _result(spool: Path, name: str) -> Result | None:
    import json

    for folder in ("done", "failed"):
        with contextlib.suppress(FileNotFoundError):
            data = (spool / folder / f"{name.removesuffix('.cmd')}.result").read_bytes()
            result: Result = json.loads(data)
            return result
    return None


def _tell_queued(name: str, format: str) -> None:
    print(_as_json({"file": name, "accepted": None}) if format == "json" else name)


def _tell_unanswered(name: str, format: str) -> None:
    if format == "json":
        _tell_queued(name, format)
    print(f"error: no answer yet; {_stays(name)}", file=sys.stderr)


def _stays(name: str) -> str:
    return f"it stays queued under {name}"


def _tell(result: Result, title: str, data: bytes, format: str) -> int:
    """Outputs on stdout as the console prints them, diagnostics on stderr as the linter does, at the places of the file."""
    from schedappliance.client.console import show
    from schedappliance.diagnostics import as_data, from_data, in_order
    from schedappliance.lint import report
    from schedappliance.syntax.text import decode

    source, _ = decode(title, data)
    found = in_order(from_data(row, source) for row in result["diagnostics"])
    if format == "json":
        print(_as_json({**result, "diagnostics": as_data(found)}))
    else:
        for row in result["results"]:
            show({**row, "ok": True}, row["command"], sys.stdout, sys.stderr)
        sys.stdout.flush()
        sys.stderr.write(report.full(found, report.style_of(sys.stderr)))
        if more := result.get("more_diagnostics"):
            print(f"and {more} more", file=sys.stderr)
    return OK if result["accepted"] else REJECTED


def _as_json(data: Any) -> str:
    import json

    return json.dumps(data, ensure_ascii=False)
