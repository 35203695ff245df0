"""The loss of a part of the log: the index tells of it, and a file remembers it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from schedappliance.store.database import Database
from schedappliance.store.failures import StoreFailed
from schedappliance.store.loss import MOST_BYTES, loss_of, loss_path_of, lost_pages, remember_loss
from schedappliance.store.maintenance import backup
from schedappliance.store.opening import open_database


def killed(database: Database, directory: Path) -> Path:
    """The files of a store as a killed process leaves them."""
    assert database.path is not None
    for suffix in ("", "-wal", "-shm"):
        shutil.copyfile(f"{database.path}{suffix}", directory / f"killed{suffix}")
    return directory / "killed"


@pytest.fixture
def left(tmp_path: Path) -> Path:
    database = open_database(tmp_path / "sched.db")
    with database.transaction():
        database.execute("CREATE TABLE a (b)")
    with database.transaction():
        database.execute("INSERT INTO a VALUES (1)")
    path = killed(database, tmp_path)
    database.close()
    return path


def test_a_whole_log_has_lost_nothing(left: Path) -> None:
    assert lost_pages(left) == 0
    open_database(left).close()
    assert loss_of(left) is None


def test_the_index_of_another_store_tells_nothing_about_a_backup(left: Path, tmp_path: Path) -> None:
    """Its log was moved away with the old store, and its index was forgotten."""
    backup(left, tmp_path / "backup", lambda _left, _total: None)
    Path(f"{left}-wal").unlink()
    (tmp_path / "backup").replace(left)
    assert lost_pages(left) > 0
    open_database(left).close()
    assert loss_of(left) is None


def test_the_index_counts_the_pages_that_the_log_lacks(left: Path) -> None:
    size = Path(f"{left}-wal").stat().st_size
    os.truncate(f"{left}-wal", size - 1)
    assert lost_pages(left) == 1
    Path(f"{left}-wal").unlink()
    assert lost_pages(left) == (size - 32) // (24 + 4096)


def test_what_was_copied_into_the_store_is_not_lost(tmp_path: Path) -> None:
    database = open_database(tmp_path / "sched.db")
    with database.transaction():
        database.execute("CREATE TABLE a (b)")
    database.execute("PRAGMA wal_checkpoint(PASSIVE)")
    path = killed(database, tmp_path)
    database.close()
    os.truncate(f"{path}-wal", 0)
    assert lost_pages(path) == 0


@pytest.mark.parametrize("content", [b"", b"\0" * 32768, b"\xff" * 32768, b"x" * 99])
def test_an_index_that_is_unknown_tells_nothing(tmp_path: Path, content: bytes) -> None:
    Path(tmp_path / "a-shm").write_bytes(content)
    assert lost_pages(tmp_path / "a") == 0


def test_the_first_loss_is_remembered(tmp_path: Path) -> None:
    path = tmp_path / "sched.db"
    remember_loss(path, "first")
    remember_loss(path, "second")
    assert str(loss_of(path)).endswith(": first")
    assert loss_path_of(path).stat().st_mode & 0o777 == 0o600


def test_what_others_write_there_is_shortened(tmp_path: Path) -> None:
    path = tmp_path / "sched.db"
    loss_path_of(path).write_bytes(b"a\n\xff" + b"x" * 100_000)
    assert len(str(loss_of(path))) < 2 * MOST_BYTES
    loss_path_of(path).write_bytes(b"")
    assert str(loss_of(path)).endswith("the cause is unknown")


@pytest.mark.parametrize(
    "make",
    [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("/etc/passwd"), lambda path: path.symlink_to("missing")],
    ids=["directory", "FIFO", "link", "dangling link"],
)
def test_what_has_the_name_of_the_file_of_a_loss_tells_of_one(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """It keeps the cause of a loss from being remembered. A link is not followed."""
    path = tmp_path / "sched.db"
    make(loss_path_of(path))
    remember_loss(path, "a loss")
    assert str(loss_of(path)).endswith("the cause is unknown")
    assert not loss_path_of(path).is_file() or loss_path_of(path).is_symlink()
    assert not Path(tmp_path / "missing").exists()


def test_a_log_that_is_replaced_during_a_transaction_has_lost_nothing(tmp_path: Path) -> None:
    path = tmp_path / "sched.db"
    log = Path(f"{path}-wal")
    with closing(open_database(path)) as database:
        with database.transaction():
            database.execute("CREATE TABLE a (b)")
        with database.transaction():
            database.execute("INSERT INTO a VALUES (1)")
            log.unlink()
            log.touch()
        with database.transaction():
            database.execute("INSERT INTO a VALUES (2)")
    assert loss_of(path) is None
    with closing(open_database(path)) as database:
        assert database.rows("SELECT b FROM a") == [(1,), (2,)]


@pytest.mark.parametrize("part", [0, 0.5])
def test_a_log_that_is_cut_during_a_transaction_is_noticed_before_its_commit(tmp_path: Path, part: float) -> None:
    """The commit made the log as long as before, with a hole in it, and all that was committed was lost unseen."""
    path = tmp_path / "sched.db"
    log = Path(f"{path}-wal")
    reason = f"{log} was shortened or overwritten; stop the appliance and restore a backup"
    with closing(open_database(path)) as database:
        with database.transaction():
            database.execute("CREATE TABLE a (b)")
        with pytest.raises(StoreFailed, match=re.escape(reason)), database.transaction():
            database.execute("INSERT INTO a VALUES (1)")
            os.truncate(log, int(log.stat().st_size * part))
        with pytest.raises(StoreFailed, match=re.escape(reason)), database.transaction():
            pass
    assert "the log of the store was shortened" in str(loss_of(path))
