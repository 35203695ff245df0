"""What the daemon changes of its own process: signals, the limit on descriptors, orphans as PID 1."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from contextlib import closing

from schedappliance.boot.process import ProcessMeter, beside_orphans, raise_limit

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
