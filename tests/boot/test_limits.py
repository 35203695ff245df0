"""The limits under which the appliance can work."""

from __future__ import annotations

import os
import re
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from schedappliance.boot.limits import FEWEST_DESCRIPTORS, LEAST_ADDRESS_SPACE, LEAST_DATA, check_limits
from schedappliance.diagnostics import Unusable
from tests.support.processes import copy_of
from tests.support.waiting import PATIENCE_SECONDS


@contextmanager
def limited(which: int, number: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(which)
    resource.setrlimit(which, (number, hard))
    try:
        yield
    finally:
        resource.setrlimit(which, (soft, hard))


def told_with_too_few_descriptors() -> int:
    descriptors = {int(name) for name in os.listdir("/proc/self/fd")}
    number = max(descriptors) + 1
    check_limits()
    free = number - len(descriptors)
    limit = number + FEWEST_DESCRIPTORS - free - 3
    with limited(resource.RLIMIT_NOFILE, limit):
        with pytest.raises(Unusable) as raised:
            check_limits()
        assert "of the 48 files that it needs: Too many open files; " in str(raised.value)
        told = re.search(r"raise the limit on open files from (\d+) to (\d+) or more", raised.value.help)
        assert told and int(told[1]) == limit
        assert "`ulimit -n`, or `LimitNOFILE=`" in raised.value.help
    with limited(resource.RLIMIT_NOFILE, int(told[2])):
        check_limits()
    with limited(resource.RLIMIT_NOFILE, int(told[2]) - 1), pytest.raises(Unusable):
        check_limits()
    check_limits()
    return 0


def test_too_few_descriptors_are_told_with_the_limit() -> None:
    """In a process of its own: in that of the tests, other threads and the garbage collector open and close files."""
    copy = copy_of(told_with_too_few_descriptors)
    done = subprocess.run(["true"], preexec_fn=copy, stderr=subprocess.PIPE, text=True, timeout=PATIENCE_SECONDS)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("low", "least", "message", "remedy"),
    [
        (
            resource.RLIMIT_AS,
            LEAST_ADDRESS_SPACE,
            "address space is 1023 MiB, and the appliance needs 1024",
            "LimitAS=",
        ),
        (resource.RLIMIT_DATA, LEAST_DATA, "data is 191 MiB, and the appliance needs 192 MiB", "LimitDATA="),
    ],
)
def test_too_little_memory_is_told_with_the_limit(
    monkeypatch: pytest.MonkeyPatch, low: int, least: int, message: str, remedy: str
) -> None:
    """Under a limit on data, the error said that the machine has no thread left."""
    limits = {
        resource.RLIMIT_AS: (LEAST_ADDRESS_SPACE, -1),
        resource.RLIMIT_DATA: (LEAST_DATA, -1),
        low: (least - 1, -1),
    }
    monkeypatch.setattr(resource, "getrlimit", limits.__getitem__)
    with pytest.raises(Unusable, match=f"the limit on {message}") as raised:
        check_limits()
    assert remedy in raised.value.help
