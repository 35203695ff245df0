"""A store that cannot be written for a while: commands fail, nothing starts unrecorded, and then work resumes."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest

from tests.support.daemon import Daemon
from tests.support.strace import traced
from tests.support.waiting import eventually

DUE_AT_ONCE = 10


def failing(error: str) -> Callable[[Daemon], AbstractContextManager[object]]:
    """Makes every write and sync of the store fail with this error."""

    def fail(daemon: Daemon) -> AbstractContextManager[Path]:
        paths = [f"-P{daemon.var}/sched.db{suffix}" for suffix in ("", "-wal")]
        return traced(daemon, *paths, "-e", f"inject=pwrite64,fdatasync,ftruncate:error={error}")

    return fail


@contextmanager
def locked(daemon: Daemon) -> Iterator[None]:
    """Holds a write transaction open in the sqlite3 shell."""
    with closing(sqlite3.connect(daemon.var / "sched.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield


TROUBLES = {
    "a full disk": (failing("ENOSPC"), "database or disk is full"),
    "a read-only disk": (failing("EROFS"), "disk I/O error"),
    "an input or output error": (failing("EIO"), "disk I/O error"),
    "another writer": (locked, "database is locked"),
}


def test_a_drop_that_waits_for_the_store_is_explained(daemon: Daemon) -> None:
    daemon.start()
    with locked(daemon):
        daemon.drop("a.cmd", "sched in 900 pid\n")
        eventually(lambda: "waits until" in daemon.say("spool why a"), "the drop")
        assert daemon.say("spool why a").endswith(": it waits until the store can be written\n")
    assert daemon.result("a.cmd", "done")["results"]
    assert daemon.say("spool why a").startswith("a.cmd: done at ")


@pytest.mark.parametrize("name", TROUBLES)
def test_while_the_store_cannot_be_written_no_run_starts_and_afterwards_each_runs_once(
    daemon: Daemon, name: str
) -> None:
    trouble, reason = TROUBLES[name]
    problem = f"the store cannot be written: {reason}"
    daemon.start()
    with trouble(daemon):
        assert daemon.say("config set a 1").startswith(f"error: {problem}; nothing was changed; ")
        daemon.wait_for_log(f"degraded: {problem}; trying again every second")
        assert daemon.data("summary")["degraded"] == problem
        assert f"\tDegraded:  {problem}\n" in daemon.say("summary")
    daemon.wait_for_log("the store can be written again")
    assert daemon.data("summary")["degraded"] is None
    # Long enough for strace to attach before they are due.
    daemon.exchange(b"sched in 3 run append\n" * DUE_AT_ONCE)
    due = daemon.data("sched list")[-1]["next_run_ms"] / 1000
    with trouble(daemon):
        eventually(lambda: time.time() > due + 1.2, "a second try")
        assert not (daemon.root / "runs").exists()
        assert daemon.rows("SELECT * FROM runs") == []
        assert len(daemon.data("sched list")) == DUE_AT_ONCE
        daemon.assert_healthy()
    daemon.wait_for_state("succeeded", DUE_AT_ONCE)
    lines = daemon.lines("runs")
    assert len(lines) == len(set(lines)) == DUE_AT_ONCE
    # Other reasons may appear in between: a call that strace detaches from halfway fails with its own error.
    assert [daemon.log.count(text) for text in (f"degraded: {problem}", "can be written again")] == [2, 2]
    daemon.kill()
    assert daemon.store("check").returncode == 0
    daemon.start()
    assert len(daemon.runs()) == DUE_AT_ONCE
    daemon.assert_healthy()


def run(*command: Path | str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot {command[0]}: {done.stderr.strip()}")


@pytest.fixture
def partition(daemon: Daemon) -> Iterator[Path]:
    """Puts the store on its own ext4 file system, which turns read-only at an error."""
    if os.geteuid() != 0 or not shutil.which("mke2fs"):
        pytest.skip("only root, with e2fsprogs, can mount a file system that turns read-only")
    image = daemon.root / "image"
    with image.open("wb") as file:
        file.truncate(16 * 1024 * 1024)
    run("mke2fs", "-q", "-t", "ext4", image)
    run("mount", "-o", "loop,errors=remount-ro", image, daemon.var)
    yield image
    daemon.end()
    subprocess.run(["umount", "-l", daemon.var], check=True)


def test_a_disk_that_turns_read_only_is_logged_and_after_its_repair_work_resumes(
    daemon: Daemon, partition: Path
) -> None:
    """`mount -o remount,ro` fails while a file is open for writing. The kernel remounts anyway at a disk error."""
    daemon.start()
    daemon.exchange(b"sched in 2 run append\n" * DUE_AT_ONCE)
    run("mount", "-o", "remount,abort", daemon.var)
    assert "error: the store cannot be written: disk I/O error" in daemon.say("config set a 1")
    eventually(lambda: daemon.data("summary")["degraded"], "degraded")
    eventually(lambda: time.time() * 1000 > daemon.data("sched list")[-1]["next_run_ms"] + 1200, "another try")
    assert not (daemon.root / "runs").exists()
    daemon.assert_healthy()
    assert daemon.stop() == 0
    assert "cannot" in daemon.serve_rejected()
    run("umount", daemon.var)
    run("mount", "-o", "loop", partition, daemon.var)
    daemon.start()
    daemon.wait_for_state("succeeded", DUE_AT_ONCE)
    lines = daemon.lines("runs")
    assert len(lines) == len(set(lines)) == DUE_AT_ONCE
    assert daemon.data("summary")["degraded"] is None
    daemon.assert_healthy()


def test_a_file_beside_the_stanza_files_needs_no_transaction(daemon: Daemon) -> None:
    """While another process holds the write lock, an event that stores nothing must not make the appliance degraded."""
    daemon.start()
    assert daemon.process is not None
    status = Path(f"/proc/{daemon.process.pid}/task/{daemon.process.pid}/status")

    def wake_ups() -> int:
        """The number of times the deciding thread was woken."""
        return int(status.read_text().partition("\nvoluntary_ctxt_switches:")[2].split()[0])

    with locked(daemon):
        for number in range(3):
            before = wake_ups()
            (daemon.etc / f"unrelated-{number}").touch()
            # The event wakes the thread once, and the end of the quiet window once more.
            eventually(lambda before=before: wake_ups() >= before + 2, "a look at the files")  # type: ignore[misc]
    assert daemon.say("version")
    assert "degraded" not in daemon.log
