"""Seeds of random tests, equal in every process of a test run, since every process must collect the same tests."""

from __future__ import annotations

import os
import random

import pytest
from _pytest.mark import ParameterSet


def random_seeds(count: int) -> list[int]:
    """Different seeds in each run. A test that takes one prints it."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    return random.Random(run).sample(range(3, 10**9), count)


def few_and_many(few: int, many: int) -> list[ParameterSet]:
    """Parameters `seed, count` for a comparison with another program, whose own mistakes a new seed may meet.

    A few cases with a fixed seed, so that an ordinary run is deterministic, and many with a random one in slow runs.
    """
    (seed,) = random_seeds(1)
    return [pytest.param(1, few), pytest.param(seed, many, marks=pytest.mark.slow)]
