"""Seeds that nobody chose, the same in every process of a test run: each of them must collect the same tests."""

from __future__ import annotations

import os
import random


def random_seeds(count: int) -> list[int]:
    """Other ones in each run; a test that takes one prints it."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    return random.Random(run).sample(range(3, 10**9), count)
