"""Random seeds, equal in every process of a test run, since every process must collect the same tests."""

from __future__ import annotations

import os
import random


def random_seeds(count: int) -> list[int]:
    """Different seeds in each run. A test that takes one prints it."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    return random.Random(run).sample(range(3, 10**9), count)
