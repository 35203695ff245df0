"""Files that are removed, replaced or cut while the daemon holds them open. Rule: nothing that was accepted is lost."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.daemon import Daemon
from tests.support.waiting import eventually


def remove_log(store: Path) -> None:
    Path(f"{store}-wal").unlink()


def move_log(store: Path) -> None:
    Path(f"{store}-wal").rename(f"{store}-old")


def remove_index(store: Path) -> None:
    Path(f"{store}-shm").unlink()


def remove_both(store: Path) -> None:
    remove_log(store)
    remove_index(store)


def replace_log(store: Path) -> None:
    remove_log(store)
    Path(f"{store}-wal").touch()


def read_without_log(store: Path) -> None:
    """Another program opens the store after its log was removed."""
    remove_log(store)
    with closing(sqlite3.connect(store)) as connection, pytest.raises(sqlite3.OperationalError):
        connection.execute("SELECT * FROM jobs").fetchall()


def read_without_both(store: Path) -> None:
    remove_both(store)
    with closing(sqlite3.connect(store)) as connection:
        connection.execute("SELECT * FROM sqlite_schema").fetchall()


HARMS = (remove_log, move_log, remove_index, remove_both, replace_log, read_without_log, read_without_both)


@pytest.mark.parametrize("harm", HARMS)
def test_no_job_is_lost_with_the_log(daemon: Daemon, harm: Callable[[Path], None]) -> None:
    store = daemon.var / "sched.db"
    daemon.start()
    first = daemon.say("sched in 1h run hello")
    harm(store)
    second = daemon.say("sched in 2h run hello")
    daemon.wait_for_log("was moved or deleted while it was in use")
    daemon.kill()
    daemon.start()
    assert [job["id"] for job in daemon.data("sched list")] == [first.strip(), second.strip()]
    assert daemon.say("sched in 3h run hello") not in (first, second)
    daemon.assert_healthy()


def test_an_idle_daemon_saves_the_log_at_the_audit(daemon: Daemon) -> None:
    daemon.start()
    first = daemon.say("sched in 1h run hello")
    remove_log(daemon.var / "sched.db")
    eventually(lambda: "its content was saved to the store file" in daemon.log, "the audit")
    daemon.kill()
    daemon.start()
    assert [job["id"] for job in daemon.data("sched list")] == [first.strip()]


def test_nothing_is_accepted_after_the_log_was_shortened(daemon: Daemon) -> None:
    """The jobs in the log are lost; another job could take the id of one of them."""
    daemon.start()
    daemon.say("sched in 1h run hello")
    os.truncate(daemon.var / "sched.db-wal", 0)
    answer = daemon.console("sched in 2h run hello")
    assert answer.returncode == 1
    assert "sched.db-wal was shortened; stop the appliance and restore a backup" in answer.stderr
    assert "Degraded:" in daemon.say("summary")


def test_a_store_that_is_missing_beside_its_log_is_told(daemon: Daemon) -> None:
    daemon.start()
    daemon.say("sched in 1h run hello")
    daemon.kill()
    store = daemon.var / "sched.db"
    store.rename(daemon.root / "moved.db")
    message = daemon.serve_rejected()
    assert f"the store is missing, but its log is there: {store}" in message
    assert "put the store file back" in message
    (daemon.root / "moved.db").rename(store)
    daemon.start()
    assert len(daemon.data("sched list")) == 1
