"""What the daemon changes of its own process: signals, the limit on descriptors, orphans as PID 1."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TypeVar

import pytest

from schedappliance.boot.process import SLICE_NS, ProcessMeter, beside_orphans, raise_limit, shorten_slice
from schedappliance.edge import linux
from tests.support.scheduling import Attributes, attributes

Value = TypeVar("Value")
RESET = """
import signal
from schedappliance.boot.process import reset_signals
for number in (signal.SIGCHLD, signal.SIGQUIT, signal.SIGUSR1):
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGUSR2))
reset_signals()
ignored = sorted(n for n in signal.valid_signals() if signal.getsignal(n) == signal.SIG_IGN)
print([signal.Signals(n).name for n in ignored], sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())))
"""


def test_only_the_signals_that_python_ignores_stay_ignored() -> None:
    done = subprocess.run([sys.executable, "-c", RESET], capture_output=True, text=True, check=True)
    assert done.stdout == "['SIGPIPE', 'SIGXFSZ'] []\n"


def test_the_limit_on_descriptors_is_raised_to_the_hard_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
        raised = raise_limit()
        assert raised.before == 64
        assert raised.now == resource.getrlimit(resource.RLIMIT_NOFILE)[0] == min(hard if hard > 0 else 65_536, 65_536)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_process_other_than_pid_1_makes_no_child() -> None:
    assert beside_orphans(os.getpid) == os.getpid()
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()


def test_open_descriptors_are_counted() -> None:
    with closing(ProcessMeter()) as process:
        before = process.measure()["process_open_fds"]
        descriptors = os.pipe()
        assert process.measure()["process_open_fds"] == before + 2 == len(os.listdir("/proc/self/fd")) - 1
        for descriptor in descriptors:
            os.close(descriptor)


def test_the_memory_is_measured_each_time() -> None:
    with closing(ProcessMeter()) as process:
        before = process.measure()["process_resident_memory_bytes"]
        ballast = os.urandom(1 << 20) * 64
        assert process.measure()["process_resident_memory_bytes"] >= before + len(ballast) // 2


def _in_thread(work: Callable[[], Value]) -> Value:
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(work).result()


def test_only_the_thread_itself_gets_a_short_slice() -> None:
    """So programs and the other threads of the daemon share the cores as before."""

    def work() -> tuple[Attributes, Attributes]:
        os.setpriority(os.PRIO_PROCESS, 0, nice)
        shorten_slice()
        return attributes(), _in_thread(attributes)

    usual = attributes()
    nice = min(usual.nice + 1, 19)
    own, of_child = _in_thread(work)
    has_slices = usual.slice_ns > 0
    assert own == Attributes(os.SCHED_OTHER, nice, SLICE_NS if has_slices else 0)
    assert of_child == own._replace(slice_ns=usual.slice_ns)


@pytest.mark.parametrize("policy", [os.SCHED_BATCH, os.SCHED_IDLE])
def test_a_policy_of_the_operator_stays(policy: int) -> None:
    def work() -> tuple[Attributes, Attributes]:
        os.sched_setscheduler(0, policy, os.sched_param(0))
        before = attributes()
        shorten_slice()
        return before, attributes()

    before, after = _in_thread(work)
    assert before == after
    assert after.policy == policy


def test_a_sandbox_may_forbid_another_slice(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(nanoseconds: int, nice: int) -> None:
        raise PermissionError(errno.EPERM, f"no {nanoseconds} {nice}")

    monkeypatch.setattr(linux, "set_slice", refuse)
    shorten_slice()


def test_a_machine_without_the_call_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linux, "_SCHED_SETATTR", {})
    with pytest.raises(OSError, match="not implemented"):
        linux.set_slice(SLICE_NS, 0)
