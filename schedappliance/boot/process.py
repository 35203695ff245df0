"""Settings of the daemon's own process: directory, descriptors, signals, the garbage collector, and orphans as PID 1.

Rule: the settings do not affect programs. Programs get default signals, the limits that the daemon started with, and
no capabilities.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from schedappliance.edge import linux

MOST_DESCRIPTORS = 65_536
# A turn of a thousand due jobs makes some ten thousand objects that live until its commit. With Python's own threshold
# of 700 the collector looked through them again and again, which took 5 % of the turn. Few of them form cycles.
YOUNG, MIDDLE, OLD = 50_000, 20, 50
# A thread with a shorter slice than others gets a core as soon as it wakes. Beside four busy loops on two cores, a thread that
# woke every 10 ms waited up to 0.1 ms in 95 % of the cases, and up to 4.9 ms with the usual slice. 0.1 ms is the shortest.
SLICE_NS = 100_000
# Python itself ignores these signals.
_IGNORED_BY_PYTHON = {signal.SIGPIPE, signal.SIGXFSZ}
_FORWARDED = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2}


class Descriptors(NamedTuple):
    """The soft limit on open descriptors: `before` is for the programs, `now` for the daemon."""

    before: int
    now: int


class ProcessMeter:
    """Measures this process. It keeps the file of its memory open, since opening it took up to 60 µs of a scrape."""

    def __init__(self) -> None:
        self._memory: int | None = None
        with contextlib.suppress(OSError):
            self._memory = os.open("/proc/self/statm", os.O_RDONLY)

    def close(self) -> None:
        if self._memory is not None:
            os.close(self._memory)

    def measure(self) -> dict[str, float]:
        """The CPU time, memory and descriptors, by the names of `metrics`. Without /proc, only the CPU time."""
        times = os.times()
        measured: dict[str, float] = {"process_cpu_seconds_total": round(times.user + times.system, 2)}
        if self._memory is not None:
            pages = int(os.pread(self._memory, 200, 0).split()[1])
            measured["process_resident_memory_bytes"] = pages * resource.getpagesize()
            # The size is their number, and 0 before Linux 6.2. Reading the list takes eight times as long, and a descriptor.
            with contextlib.suppress(OSError):
                count = os.stat("/proc/self/fd").st_size  # noqa: PTH116
                measured["process_open_fds"] = count or len(os.listdir("/proc/self/fd")) - 1
        return measured


def raise_limit() -> Descriptors:
    """Raises the limit on descriptors, so that programs can start even with many clients."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard != resource.RLIM_INFINITY else MOST_DESCRIPTORS
    now = min(max(soft, wanted), MOST_DESCRIPTORS) if soft < MOST_DESCRIPTORS else soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (now, hard))
    except (OSError, ValueError):
        now = soft
    return Descriptors(soft, now)


def reset_signals() -> None:
    """Sets ignored signals to their default, and blocks none.

    An ignored SIGCHLD would hide how programs end. A blocked SIGTERM would not stop the daemon.
    """
    for number in signal.valid_signals() - _IGNORED_BY_PYTHON:
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def report_crashes(descriptor: int) -> None:
    """Writes a line to a descriptor, and where it happened, if an error such as SIGBUS ends this process.

    The kernel sends SIGBUS to a process that reads a page of a file in its memory after somebody has shortened the file. SQLite
    has its index there. No code of this package can run then.
    """
    faulthandler.enable(descriptor, all_threads=False)


def keep_capabilities() -> None:
    """Stops programs and the keeper from inheriting ambient capabilities, such as CAP_LEASE, which only the daemon needs.

    Call it before any thread is started: each thread has capabilities of its own.
    """
    # A kernel or a container without ambient capabilities passes none on.
    with contextlib.suppress(OSError):
        linux.clear_ambient_capabilities()


def leave_deleted_directory() -> None:
    """Leaves a working directory that no longer exists, where libraries that ask for it would fail."""
    try:
        Path.cwd()
    except FileNotFoundError:
        os.chdir("/")


def tune_garbage_collector() -> None:
    """Freezes the objects of the start. They live as long as the process, so the collector need not visit them."""
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)


def shorten_slice() -> None:
    """Lets this thread run as soon as it wakes, also while programs use all cores. It gets no more processor time.

    It changes nothing if an operator has set a policy or a negative nice value. The children of this thread would lose that
    value.
    """
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    if os.sched_getscheduler(0) == os.SCHED_OTHER and nice >= 0:
        # A sandbox may forbid the call. Then the thread waits for a core as others do.
        with contextlib.suppress(OSError):
            linux.set_slice(SLICE_NS, nice)


def beside_orphans(main: Callable[[], int]) -> int:
    """Runs `main`. As PID 1 it runs `main` in a child, and reaps the orphans that the kernel gives to PID 1.

    Signals are forwarded to the child. This process ends with it, and with its status.
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
    """Reaps every process that has ended. Returns the status of the child if the child is one of them."""
    status = None
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == child:
                status = ended[1]
    return status
