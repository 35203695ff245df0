"""An appliance whose store is a file, since a preview reads the store of another process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.core import Appliance


@pytest.fixture
def appliance(tmp_path: Path) -> Iterator[Appliance]:
    appliance = Appliance(tmp_path / "sched.db", stanzas="A = 1\n")
    yield appliance
    appliance.close()
