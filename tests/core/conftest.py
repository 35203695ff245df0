"""Appliances for the tests of the core: with a store in a file, in memory, or each in turn."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.core import Appliance


@pytest.fixture
def appliance(tmp_path: Path) -> Iterator[Appliance]:
    """An appliance with a store in a file, so that it can be restarted."""
    appliance = Appliance(tmp_path / "sched.db")
    yield appliance
    appliance.close()


@pytest.fixture(params=[pytest.param("file", marks=pytest.mark.slow), "memory"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Appliance]:
    """An appliance with a store in a file, then one in memory."""
    appliance = Appliance(tmp_path / "sched.db" if request.param == "file" else None)
    yield appliance
    appliance.close()
