"""What the process was given at its birth does not reach programs, and does not hide how they end."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys

import pytest

from schedappliance.edge.process import beside_orphans, raise_limit
from schedappliance.edge.programs.launcher import lowered, may_lower

RESET = """
import signal
from schedappliance.edge.process import reset_signals
for number in (signal.SIGCHLD, signal.SIGQUIT, signal.SIGUSR1):
    signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGUSR2))
reset_signals()
ignored = sorted(n for n in signal.valid_signals() if signal.getsignal(n) == signal.SIG_IGN)
print([signal.Signals(n).name for n in ignored], sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())))
"""


def limits() -> tuple[int, int]:
    return resource.getrlimit(resource.RLIMIT_NOFILE)


def test_no_signal_stays_ignored_or_blocked_but_those_that_python_ignores() -> None:
    done = subprocess.run([sys.executable, "-c", RESET], capture_output=True, text=True, check=True)
    assert done.stdout == "['SIGPIPE', 'SIGXFSZ'] []\n"


def test_the_limit_is_low_for_what_is_started_and_high_again_afterwards() -> None:
    before = limits()
    with lowered(64):
        assert limits() == (64, before[1])
    assert limits() == before
    with pytest.raises(OSError, match="gone"), lowered(64):
        raise OSError("gone")
    assert limits() == before


def test_a_limit_is_never_raised_by_lowering_it() -> None:
    before = limits()
    with lowered(before[0] + 1 if before[0] < before[1] else before[0]):
        assert limits() == before


@pytest.mark.parametrize(("newest", "may"), [(3, True), (31, True), (32, False), (1000, False)])
def test_it_is_not_lowered_where_others_may_need_descriptors_meanwhile(newest: int, may: bool) -> None:
    assert may_lower(64, newest) is may


def test_the_limit_is_raised_as_far_as_it_may_be() -> None:
    soft, hard = limits()
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
        raised = raise_limit()
        assert raised.before == 64
        assert raised.now == limits()[0] == min(hard if hard > 0 else 65_536, 65_536)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_any_process_but_the_first_does_its_work_itself() -> None:
    assert beside_orphans(os.getpid) == os.getpid()
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()
