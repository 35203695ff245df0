"""Processes of `schedappliance` that start as copies of the test's own process, which has imported all modules.

The imports of a daemon take 0.4 s of processor time, and the tests start more than a thousand processes. Rule: a copy has
the descriptors, signals, streams and environment that a new process would have. A test about the start of Python itself,
about memory or about an environment of its own starts a new process. What a test changes in the code or the surroundings of
a copy, a function does there just before the command runs.
"""

from __future__ import annotations

import faulthandler
import gc
import logging
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from pkgutil import walk_packages
from zoneinfo import ZoneInfo

import schedappliance
from schedappliance.cli.main import main
from schedappliance.diagnostics import Source
from schedappliance.syntax.command import parse_command
from schedappliance.syntax.expressions import parse_cron
from schedappliance.syntax.stanza import parse_stanzas

# What a test changes in a copy.
Change = Callable[[], None]
# The interval of a daemon that is ten seconds in a new process. Many tests wait for it to pass.
INTERVALS = {"AUDIT_MS": 1000}
# The command of a new process.
PYTHON = (sys.executable, "-m", "schedappliance")
for module in walk_packages(schedappliance.__path__, "schedappliance."):
    if not module.name.endswith("__main__"):
        import_module(module.name)
# Each daemon needs these parsers.
parse_stanzas(Source("sched.conf", "A = 1"))
parse_command("version")
parse_cron("0 0 * * *")


def in_copy(command: Sequence[str], change: Change | None = None) -> Change | None:
    """The `preexec_fn` of `Popen` that runs a command of `PYTHON` in a copy; None for another command.

    `change`: runs in the copy first.
    """
    if tuple(command[: len(PYTHON)]) == PYTHON:
        return copy_of(partial(_command, command[len(PYTHON) :], change))
    assert change is None, "only a copy can be changed"
    return None


def copy_of(function: Callable[[], int]) -> Callable[[], None]:
    """The `preexec_fn` of `Popen` that runs a function in a copy, whose exit status is the result."""
    return partial(_run, function)


def _command(arguments: Sequence[str], change: Change | None) -> int:
    _hurry()
    if change is not None:
        change()
    sys.argv = ["schedappliance", *arguments]
    return main()


def _run(function: Callable[[], int]) -> None:
    """Runs in the copy, in place of the command of `Popen`. Does not return."""
    status = 70
    try:
        # One of these descriptors is the pipe by which `Popen` waits for its command.
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        _reset()
        status = function()
        sys.stdout.flush()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(status)


def become(uid: int) -> None:
    """Makes another user of this copy, who need not be allowed to read the interpreter and the package."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def _hurry() -> None:
    """Shortens the intervals, in each module that has imported one."""
    for name, module in sys.modules.items():
        if name.startswith("schedappliance."):
            vars(module).update((key, value) for key, value in INTERVALS.items() if hasattr(module, key))


def _reset() -> None:
    """Takes back what the test's process has set, and sets what Python sets when it starts."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_IGN)
    signal.set_wakeup_fd(-1)
    faulthandler.disable()
    logging.root.handlers.clear()
    tempfile.tempdir = None
    time.tzset()
    ZoneInfo.clear_cache()
    sys.stdin = sys.__stdin__ = open(0, closefd=False)  # type: ignore[misc]  # noqa: SIM115
    sys.stdout = sys.__stdout__ = open(1, "w", closefd=False)  # type: ignore[misc]  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(2, "w", closefd=False, errors="backslashreplace")  # type: ignore[misc]  # noqa: SIM115
    # The collector never looks at the objects of the test, of which there are many.
    gc.freeze()
    gc.enable()
