"""A new store in a file, in memory, or in each in turn."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from schedappliance.store.tables import Store, open_store


@pytest.fixture(params=["file", pytest.param("memory", marks=pytest.mark.slow)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    store = open_store(tmp_path / "sched.db" if request.param == "file" else None, "example.com", "0123", 5)
    yield store
    store.close()
