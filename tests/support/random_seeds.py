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
    """Parameters `seed, count` for a comparison with another program: a few cases, and many in slow runs.

    The seeds are fixed, since a new one may meet a mistake of the other program, and then an unchanged suite would fail.
    """
    return [pytest.param(1, few), pytest.param(2, many, marks=pytest.mark.slow)]


def few_and_many_seeds(few: int, many: int) -> pytest.MarkDecorator:
    """The parameter `seeds` of a comparison with slow and simple code: a few fixed seeds, and many in slow runs."""
    ranges = [range(few), pytest.param(range(1000, 1000 + many), marks=pytest.mark.slow)]
    return pytest.mark.parametrize("seeds", ranges, ids=["few", "many"])
