"""Who holds a lock, told without taking it."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from schedappliance.edge.programs.survivors import holder
from schedappliance.store.tables import open_store


def test_the_holder_of_a_store_is_known_and_a_lock_that_nobody_holds_is_free(tmp_path: Path) -> None:
    path, lock = tmp_path / "sched.db", tmp_path / "sched.db.lock"
    assert holder(lock) is None
    store = open_store(path, "example.com", "0123", 5)
    assert holder(lock) == os.getpid()
    store.close()
    assert (lock.exists(), holder(lock)) == (True, None)


@pytest.mark.parametrize("written", ["", "1\n", "x"])
def test_a_lock_of_somebody_else_than_who_stands_in_it_is_not_an_appliance_s(tmp_path: Path, written: str) -> None:
    lock = tmp_path / "lock"
    lock.write_text(written)
    with lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert holder(lock) is None


def test_asking_does_not_keep_an_appliance_from_starting(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.write_text(f"{os.getpid()}\n")
    holder(lock)
    with lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert holder(lock) == os.getpid()
