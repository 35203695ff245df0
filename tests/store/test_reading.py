"""Reading a store changes no byte in its directory, whoever uses the store and however it was left."""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from schedappliance.diagnostics import Unusable
from schedappliance.engine.records import AttemptKey, NewJob, RunKey, User
from schedappliance.engine.states import RunState
from schedappliance.store import maintenance
from schedappliance.store.reading import read_only, unknown_attempts
from schedappliance.store.runs import NewRun
from schedappliance.store.tables import open_store
from tests.store.test_runs import job
from tests.support.store_files import count_drops, file_states, fill
from tests.support.waiting import PATIENCE_SECONDS

PAGES = 300


USER = """
import os, sys
from pathlib import Path
from tests.support.store_files import fill
from schedappliance.store.tables import open_store
store = open_store(Path(sys.argv[1]), "example.com", "0123", 5)
fill(store, int(sys.argv[2]), 300)
print("filled", flush=True)
sys.stdin.read()
store.close()
"""
EVERY_WAY = ["in use", "stopped", "stopped, with an empty log", "killed", "killed, without the index"]


@pytest.fixture(params=EVERY_WAY)
def store(request: pytest.FixtureRequest, public_path: Path) -> Iterator[Path]:
    """A store of 300 rows: in use, stopped cleanly, or left by SIGKILL, with or without the index of its log."""
    path = public_path / "var" / "sched.db"
    path.parent.mkdir()
    with used(path) as user:
        if request.param.startswith("stopped"):
            user.communicate(timeout=PATIENCE_SECONDS)
        elif request.param.startswith("killed"):
            user.kill()
            user.wait(PATIENCE_SECONDS)
            assert Path(f"{path}-wal").stat().st_size
        if request.param.endswith("log"):
            Path(f"{path}-wal").touch()
        if request.param.endswith("index"):
            Path(f"{path}-shm").unlink()
        yield path


@contextmanager
def used(path: Path, first: int = 0) -> Iterator[subprocess.Popen[str]]:
    """A process that writes 300 rows and keeps the store open until it is stopped."""
    command = [sys.executable, "-c", USER, str(path), str(first)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as user:
        assert user.stdin
        assert user.stdout
        assert user.stdout.readline() == "filled\n"
        try:
            yield user
        finally:
            user.kill()


def stopped(path: Path) -> None:
    store = open_store(path, "example.com", "0123", 5)
    fill(store, 0, PAGES)
    store.close()


def test_a_store_is_read_without_a_trace(store: Path) -> None:
    before = file_states(store.parent)
    assert count_drops(store) == PAGES
    assert file_states(store.parent) == before


def test_check_and_backup_leave_no_trace(store: Path, tmp_path: Path) -> None:
    before = file_states(store.parent)
    assert maintenance.check(store) == []
    maintenance.backup(store, tmp_path / "backup.db", lambda _left, _total: None)
    assert file_states(store.parent) == before
    assert count_drops(tmp_path / "backup.db") == PAGES


def test_an_attempt_is_unknown_only_if_the_store_has_never_known_it(tmp_path: Path) -> None:
    """A missing row is none of its signs, even if an older run is still there: pruning keeps a run that lives."""
    path, key, command = tmp_path / "sched.db", RunKey(1, 2), job().command
    assert command is not None
    with closing(open_store(path, "example.com", "0123", 5)) as store:
        assert unknown_attempts(path, [(1, 1, 1, 5000)]) == [(1, 1, 1, 5000)], "it has had no job"
        with store.transaction():
            for _ in range(2):
                store.jobs.add(NewJob("every", 5000, 5000, command, User(0, "root"), "console"), 0)
            store.jobs.advance(1, 3, 20_000)
            store.jobs.remove(2, 0)
            store.runs.add(job(1), NewRun(key, 5000, RunState.STARTED, attempts=1), 5000)
            store.runs.add_attempt(AttemptKey(key, 1), "hello", "boot", 5000, 70)
    known = [(1, 2, 1, 5000), (1, 3, 1, 10_000), (2, 1, 1, 10_000)]
    unknown = [(1, 2, 1, 5001), (1, 2, 2, 10_000), (1, 4, 1, 15_000), (3, 1, 1, 15_000)]
    assert unknown_attempts(path, [*known, *unknown]) == unknown


def test_a_store_that_cannot_be_written_can_be_read(store: Path) -> None:
    """Root may write regardless of permissions, so another user reads."""
    place = store.parent
    for path in (place, *place.iterdir()):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = file_states(place)
    script = (
        "import os, sys\nfrom pathlib import Path\nfrom tests.support.store_files import count_drops\n"
        "if os.geteuid() == 0: os.setuid(65534)\nprint(count_drops(Path(sys.argv[1])))\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(store)], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (f"{PAGES}\n", "")
    assert file_states(place) == before


def test_a_store_that_is_written_meanwhile_is_read_as_of_one_instant(tmp_path: Path) -> None:
    path = tmp_path / "sched.db"
    store = open_store(path, "example.com", "0123", 5)
    fill(store, 0, PAGES)

    def look(reader: sqlite3.Connection) -> tuple[int, int]:
        first = reader.execute("SELECT count(*) FROM drops").fetchone()[0]
        fill(store, PAGES, 10 * PAGES)
        return first, reader.execute("SELECT count(*) FROM drops").fetchone()[0]

    assert read_only(path, look) == (PAGES, PAGES)
    assert count_drops(path) == 11 * PAGES
    store.close()


@pytest.mark.parametrize("store", EVERY_WAY[1:], indirect=True)
def test_an_appliance_that_starts_meanwhile_is_not_blocked_and_the_read_is_consistent(store: Path) -> None:
    """Files that were read without locks and then changed are read again."""
    locked = Path(f"{store}-shm").exists()
    calls: list[Path] = []

    def look(reader: sqlite3.Connection) -> int:
        calls.append(store)
        if len(calls) == 1:
            with used(store, PAGES) as user:
                user.communicate(timeout=PATIENCE_SECONDS)
        return int(reader.execute("SELECT count(*) FROM drops").fetchone()[0])

    assert read_only(store, look) == (PAGES if locked else 2 * PAGES)
    assert len(calls) == (1 if locked else 2)
    assert count_drops(store) == 2 * PAGES


def test_a_store_that_changes_all_the_time_is_finally_rejected(tmp_path: Path) -> None:
    path = tmp_path / "sched.db"
    stopped(path)

    def look(_reader: sqlite3.Connection) -> None:
        os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))

    with pytest.raises(Unusable, match="changes while it is read"):
        read_only(path, look)


def test_a_file_that_is_not_a_store_is_rejected_and_keeps_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database, but long enough to look like one\n" * 100)
    before = file_states(tmp_path)
    with pytest.raises(Unusable, match="cannot be read"):
        maintenance.check(tmp_path / "text")
    with pytest.raises(Unusable, match="there is no store at"):
        maintenance.check(tmp_path / "nothing")
    (loop := tmp_path / "loop").symlink_to(loop)
    with pytest.raises(Unusable, match=r"cannot read the store .*: Too many levels of symbolic links"):
        maintenance.check(loop)
    loop.unlink()
    assert file_states(tmp_path) == before


def test_a_backup_needs_no_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some file systems, such as that of most USB sticks, have none."""
    path, target = tmp_path / "sched.db", tmp_path / "backup.db"
    open_store(path, "example.com", "0123", 5).close()

    def link(source: Path, name: Path) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), str(source), None, str(name))

    monkeypatch.setattr(os, "link", link)
    maintenance.backup(path, target, lambda _left, _total: None)
    assert maintenance.check(target) == []
    assert sorted(os.listdir(tmp_path)) == ["backup.db", "sched.db", "sched.db.lock"]
