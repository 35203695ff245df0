"""Explains why a program was not started, as the reason of its run.

Rule: this may read the executable, so it never runs on the deciding thread.
"""

from __future__ import annotations

import errno
import os

from schedappliance.edge.programs.accounts import LookUpFailed
from schedappliance.edge.programs.spawner import Unfit

INVALID = "its arguments, its variables or its directory hold a null byte or another invalid character"


def request_failure(error: Exception, argv0: str, cwd: str) -> tuple[int, str]:
    """Why the daemon could not request a start: the error number, 0 for none, and the reason."""
    if isinstance(error, Unfit):
        return 0, str(error)
    if isinstance(error, LookUpFailed):
        return 0, f"the program's user or group cannot be looked up: {error}"
    if isinstance(error, OSError):
        return error.errno or 0, reason("program", error.errno or 0, error.strerror or str(error), argv0, cwd)
    return 0, f"cannot start {argv0}: {INVALID if isinstance(error, ValueError) else 'the appliance itself failed'}"


def reason(part: str, number: int, text: str, argv0: str, cwd: str) -> str:
    """The reason for an error of the keeper.

    `part`: what failed: `program`, its `directory`, or its `user` or a limit of it.
    """
    if part == "user":
        return text
    if part == "directory":
        return f"cannot start in {cwd}: {text}"
    return f"cannot start {argv0}: {_interpreter(argv0, cwd) if number == errno.ENOENT else ''}{text}"


def _interpreter(argv0: str, cwd: str) -> str:
    """The interpreter of a script, if it is missing.

    A carriage return at its end is a frequent mistake, so it is shown.
    """
    directory = script = -1
    try:
        directory = os.open(cwd, os.O_PATH | os.O_CLOEXEC)
        script = os.open(argv0, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
        line, _, _ = os.read(script, 256).partition(b"\n")
    except OSError:
        return ""
    finally:
        for descriptor in (directory, script):
            if descriptor >= 0:
                os.close(descriptor)
    if not line.startswith(b"#!"):
        return ""
    name = line[2:].strip(b" \t").split(b" ")[0].split(b"\0")[0]
    if not name or os.access(name, os.F_OK):
        return ""
    return f"its interpreter {name.decode(errors='replace').encode('unicode_escape').decode()}: "
