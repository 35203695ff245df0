"""Appliances for the end-to-end tests; none of them outlives its test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.daemon import Daemon


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """An appliance that is not started yet."""
    daemon = Daemon(tmp_path)
    yield daemon
    daemon.end()
