"""How a subcommand ends: the exit statuses, and errors and notes on stderr. Rule: nothing else prints an error."""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from typing import TextIO

from schedappliance.visible import visible

OK, FAILED, USAGE, UNAVAILABLE, STILL_QUEUED, UNUSABLE, INTERRUPTED = 0, 1, 2, 69, 75, 78, 130
# What the machine can lack or fail at in any read or write. No bug of the program causes these errors.
TROUBLE = (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM)


class Failure(Exception):
    """The subcommand cannot continue. The message is printed, and `status` is the exit status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def check_exists(path: Path) -> None:
    """Raises Failure if no file or directory can be reached at a path that the user named."""
    try:
        path.stat()
    except OSError as error:
        is_missing = error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)
        why = "no such file or directory" if is_missing else error.strerror
        raise Failure(f"{why}: {path}", USAGE) from error


def print_error(message: str, stream: TextIO | None = None) -> None:
    """`error: MESSAGE`, on stderr unless another stream is named."""
    print(f"error: {message}", file=stream or sys.stderr)


def print_note(message: str) -> None:
    """`note: MESSAGE`, on stderr, for a limit of the output that its reader must know."""
    print(f"note: {visible(message)}", file=sys.stderr)


def print_late(seconds: float) -> None:
    """A note that the appliance has not answered for so long, and is still waited for."""
    print_note(f"no answer for {seconds:g} seconds; waiting; an interrupt does not take back the command")


def print_interrupted() -> None:
    """A note for who does not wait for the answer to a command."""
    print_note("interrupted; the appliance may still carry out the command")


def exit_status(error: Exception) -> int:
    """Prints an error and returns its exit status. An exception that is a bug in the program is raised again."""
    if isinstance(error, Failure):
        print_error(str(error))
        return error.status
    # Imported only after a failure: the import takes 15 ms of processor time, a whole console command takes 50.
    from schedappliance.diagnostics import Unusable

    if isinstance(error, OSError) and error.errno in TROUBLE:
        print_error(": ".join(filter(None, (error.strerror, str(error.filename or "")))))
        return FAILED
    if not isinstance(error, Unusable):
        raise error
    if error.diagnostics:
        from schedappliance.diagnostics import in_order
        from schedappliance.lint import report

        print(report.full(in_order(error.diagnostics)), file=sys.stderr, end="")
    if error.message:
        print_error(str(error))
    # systemd does not start a service again that ended with UNUSABLE.
    return FAILED if error.is_passing else UNUSABLE
