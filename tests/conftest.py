"""Generated inputs are not timed, and Ctrl-C can be tested also where the tests were started in the background."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # A shell has what it starts in the background ignore it, and that is inherited.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The fast tests take under 90 s on two idle cores. These are left out of them: what starts a real daemon for each test,
# and what plays many seeds or inputs.
SLOW = (
    "end_to_end",
    "simulation/test_histories.py",
    "simulation/test_preview.py",
    "edge/programs/test_launcher.py",
    "store/test_reading.py",
    "lint/test_prefixes.py",
    "test_fuzz.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    tests = Path(__file__).parent
    for item in items:
        if item.path.relative_to(tests).as_posix().startswith(SLOW):
            item.add_marker(pytest.mark.slow)
