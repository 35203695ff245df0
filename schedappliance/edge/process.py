"""What the process was given at its birth: limits, signals, and as the first process of a container the orphans.

Law: programs find the defaults, whatever the appliance was started with and whatever it needs for itself.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from collections.abc import Callable
from typing import NamedTuple

MOST_DESCRIPTORS = 65_536
# Python ignores these itself, and gives programs the default.
_PYTHON_S = {signal.SIGPIPE, signal.SIGXFSZ}
_FORWARDED = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2}


class Descriptors(NamedTuple):
    """The soft limit on open descriptors, before and now."""

    before: int
    now: int


def raise_limit() -> Descriptors:
    """Many clients must not keep programs from being started."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard != resource.RLIM_INFINITY else MOST_DESCRIPTORS
    now = min(max(soft, wanted), MOST_DESCRIPTORS) if soft < MOST_DESCRIPTORS else soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (now, hard))
    except (OSError, ValueError):
        now = soft
    return Descriptors(soft, now)


def reset_signals() -> None:
    """None is ignored and none blocked: an ignored SIGCHLD would hide how programs end, a blocked SIGTERM would not stop."""
    for number in signal.valid_signals() - _PYTHON_S:
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def beside_orphans(main: Callable[[], int]) -> int:
    """Runs `main`; as PID 1, in a child, so that this process can reap the orphans which the kernel hands to it.

    Signals go on to the child; the first process ends with it, as it ended.
    """
    if os.getpid() != 1:
        return main()
    awaited = {*_FORWARDED, signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return main()
    while True:
        number = signal.sigwait(awaited)
        if number != signal.SIGCHLD:
            os.kill(child, number)
        elif (status := _reap(child)) is not None:
            return os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def _reap(child: int) -> int | None:
    """Every process that has ended; the status of the child when it is one of them."""
    status = None
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == child:
                status = ended[1]
    return status
