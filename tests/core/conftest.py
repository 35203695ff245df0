"""Appliances for the tests of the core: on a file, in memory, or on each in turn."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.core import Appliance


@pytest.fixture
def appliance(tmp_path: Path) -> Iterator[Appliance]:
    """On a file, so that it can be started again."""
    appliance = Appliance(tmp_path / "sched.db")
    yield appliance
    appliance.close()


@pytest.fixture(params=["file", "memory"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Appliance]:
    """On a file and in memory."""
    appliance = Appliance(tmp_path / "sched.db" if request.param == "file" else None)
    yield appliance
    appliance.close()
