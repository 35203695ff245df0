"""Operators and the store: checks, backups during use, damage. A store that is rejected is never changed."""

from __future__ import annotations

import os
import random
import resource
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NoReturn

import pytest

from schedappliance.boot import audit
from schedappliance.store import opening, schema
from schedappliance.store.damage import Unfinished
from schedappliance.store.files import log_readers
from tests.support.daemon import APPLIANCE_FILE, Daemon, command, is_running
from tests.support.waiting import PATIENCE_SECONDS, eventually

JOBS = 2000
PAGE = 4096


def fill(daemon: Daemon) -> None:
    daemon.drop("many.cmd", f'sched in 90000 config set a "{"x" * 100}"\n' * JOBS)
    daemon.result("many.cmd", "done")


def contents(path: Path) -> dict[str, bytes]:
    """The content of a store and its log. An empty log counts as none; the index of the log holds no data."""
    files = [path, Path(f"{path}-wal")]
    return {file.name: file.read_bytes() for file in files if file.exists() and file.stat().st_size}


def test_the_schema_of_a_store_and_of_none(daemon: Daemon) -> None:
    daemon.start()
    newest = schema.migrations()[-1][0]
    done = daemon.store("schema")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{newest}\n", "")
    daemon.stop()
    (daemon.var / "sched.db").unlink()
    done = daemon.store("schema")
    assert (done.returncode, done.stdout) == (78, "")


def test_a_backup_of_a_running_appliance_opens_and_has_the_jobs(daemon: Daemon) -> None:
    daemon.start()
    fill(daemon)
    daemon.say("sched every 1 config set b 1")
    eventually(lambda: daemon.say("config get b") == "b = 1\n", "a run")
    target = daemon.root / "backup.db"
    done = daemon.store("backup", target)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{target}\n", "")
    daemon.assert_healthy()
    listed = {job["id"]: job for job in daemon.data("sched list")}
    other = Daemon(daemon.root / "other")
    try:
        target.rename(other.var / "sched.db")
        other.start()
        restored = {job["id"]: job for job in other.data("sched list")}
        recurring = next(job_id for job_id, job in listed.items() if job["interval_ms"])
        assert restored.keys() == listed.keys()
        assert {**restored, recurring: None} == {**listed, recurring: None}
        assert other.say("config get b") == "b = 1\n"
        assert other.store("check").stdout == f"{other.var}/sched.db: ok\n"
        other.assert_healthy()
    finally:
        other.end()


def test_only_the_owner_can_read_a_backup(daemon: Daemon) -> None:
    daemon.start()
    target = daemon.root / "backup.db"
    assert daemon.store("backup", target).returncode == 0
    assert target.stat().st_mode & 0o077 == 0


def test_a_backup_does_not_overwrite_a_file(daemon: Daemon) -> None:
    daemon.start()
    target = daemon.root / "backup.db"
    target.write_text("precious")
    done = daemon.store("backup", target)
    assert (done.returncode, done.stdout) == (78, "")
    assert "already exists" in done.stderr
    assert target.read_text() == "precious"
    journal = daemon.var / "sched.db-journal"
    done = daemon.store("backup", journal)
    assert (done.returncode, journal.exists()) == (78, False)
    assert done.stderr == f"error: {journal} is the name of a file that belongs to the store; name another file\n"
    done = daemon.store("backup", daemon.root / "nowhere" / "backup.db")
    assert (done.returncode, done.stdout) == (78, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    daemon.assert_healthy()


def test_a_store_can_be_checked_during_and_after_use(daemon: Daemon) -> None:
    done = daemon.store("check")
    assert done.returncode == 78
    assert "there is no store at" in done.stderr
    daemon.start()
    daemon.say("sched in 900 version")
    assert daemon.store("check").returncode == 0
    daemon.kill()
    before = contents(daemon.var / "sched.db")
    assert daemon.store("check").returncode == 0
    assert contents(daemon.var / "sched.db") == before


def test_a_backup_is_checked_by_its_name(daemon: Daemon) -> None:
    daemon.start()
    target = daemon.root / "backup.db"
    assert daemon.store("backup", target).returncode == 0
    assert daemon.store("check", target).stdout == f"{target}: ok\n"
    link, store = daemon.root / "link", daemon.var / "sched.db"
    link.symlink_to(store)
    Path(f"{store}.loss").write_text("a cause")
    done = daemon.store("check", link)
    assert done.stdout == f"{link}: ok\n"
    assert "a cause" in done.stderr
    assert f"then remove {store}.loss\n" in done.stderr, "beside the file, not beside the link"
    damage(target, 2, 3)
    done = daemon.store("check", target)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout


@pytest.mark.parametrize("empty", [False, True], ids=["missing", "empty"])
def test_the_creation_of_a_store_is_logged(daemon: Daemon, empty: bool) -> None:
    path = daemon.var / "sched.db"
    if empty:
        path.touch()
    daemon.start()
    message = f"the store {path} was an empty file" if empty else f"created the store {path}"
    assert message in daemon.log
    daemon.stop()
    daemon.start()
    assert daemon.log.count(str(path)) == 1


def damage(path: Path, first: int, last: int | None) -> None:
    """Overwrites the pages from `first` up to but excluding `last`."""
    data = bytearray(path.read_bytes())
    end = len(data) if last is None else last * PAGE
    assert len(data) >= end > first * PAGE
    data[first * PAGE : end] = b"\xa5" * (end - first * PAGE)
    path.write_bytes(data)


DAMAGES = {"its head": (0, 1), "its second page": (1, 2), "its middle": (30, 40), "its end": (30, None)}


@pytest.mark.parametrize("where", DAMAGES)
def test_a_damaged_store_is_rejected_and_unchanged(daemon: Daemon, where: str) -> None:
    daemon.start()
    fill(daemon)
    daemon.stop()
    path = daemon.var / "sched.db"
    damage(path, *DAMAGES[where])
    before = contents(path)
    daemon.serve_rejected()
    assert contents(path) == before
    assert daemon.store("check").returncode == (78 if where == "its head" else 1)
    done = daemon.store("backup", daemon.root / "backup.db")
    assert "Traceback" not in done.stderr
    assert contents(path) == before


def test_a_randomly_damaged_store_is_rejected_unchanged_or_works(daemon: Daemon) -> None:
    seed = random.SystemRandom().getrandbits(32)
    print("seed", seed)
    dice = random.Random(seed)
    daemon.start()
    fill(daemon)
    daemon.stop()
    path = daemon.var / "sched.db"
    whole = path.read_bytes()
    for size in (1, 1, 100, PAGE):
        offset = dice.randrange(len(whole) - size)
        spoilt = whole[:offset] + dice.randbytes(size) + whole[offset + size :]
        path.write_bytes(spoilt)
        daemon.log_path.unlink()
        daemon.launch()
        eventually(lambda: " is ready" in daemon.log or daemon.ended(), "the start")
        assert daemon.process
        if daemon.ended():
            assert (daemon.process.returncode, path.read_bytes() == spoilt) == (78, True), daemon.log
            assert daemon.log.startswith("error: ") and str(path) in daemon.log, daemon.log
        else:
            assert daemon.say("sched list").startswith("JOB ID")
            daemon.assert_healthy()
            assert daemon.stop() == 0
        assert "Traceback" not in daemon.log
        assert "Traceback" not in daemon.store("check").stderr


def test_a_truncated_store_is_rejected_and_unchanged(daemon: Daemon) -> None:
    daemon.start()
    fill(daemon)
    daemon.stop()
    path = daemon.var / "sched.db"
    os.truncate(path, path.stat().st_size // PAGE // 2 * PAGE)
    before = contents(path)
    daemon.serve_rejected()
    assert contents(path) == before


def test_a_damaged_store_with_a_log_from_kill_9_is_rejected_and_unchanged(daemon: Daemon) -> None:
    daemon.start()
    fill(daemon)
    daemon.stop()
    daemon.start()
    daemon.say("sched in 90000 version")
    daemon.kill()
    path = daemon.var / "sched.db"
    assert Path(f"{path}-wal").stat().st_size
    damage(path, 30, 40)
    before = contents(path)
    daemon.serve_rejected()
    assert contents(path) == before


def be_the_next_version() -> None:
    """Its schema has one more migration."""
    known = schema.migrations()
    newer = [*known, (known[-1][0] + 1, "CREATE TABLE added (a);")]
    for module in (schema, opening):
        pytest.MonkeyPatch().setattr(module, "migrations", lambda: newer)


def test_a_store_of_an_earlier_version_is_upgraded_once_and_that_is_logged(daemon: Daemon) -> None:
    daemon.start()
    fill(daemon)
    assert daemon.stop() == 0
    daemon.launch(be_the_next_version)
    # The message is logged before the socket is bound.
    daemon.wait_for_log("sched.db from an earlier version")
    daemon.wait_for_log(" is ready", 2)
    daemon.assert_healthy()
    assert daemon.stop() == 0
    daemon.launch(be_the_next_version)
    daemon.wait_for_log(" is ready", 3)
    assert daemon.log.count("from an earlier version") == 1


def test_a_copy_that_is_upgraded_is_named_a_copy_too(daemon: Daemon) -> None:
    daemon.start()
    assert daemon.stop() == 0
    daemon.change("UPDATE meta SET value = '/elsewhere/sched.db' WHERE key = 'place'")
    daemon.launch(be_the_next_version)
    daemon.wait_for_log("sched.db from an earlier version")
    daemon.wait_for_log("sched.db is a copy of /elsewhere/sched.db, or was moved from there")


def check_no_store_at_start() -> None:
    """Without time for the check at start, every store is checked during use."""

    def unfinished(_connection: sqlite3.Connection, **_options: object) -> NoReturn:
        raise Unfinished

    pytest.MonkeyPatch().setattr(opening, "find_damage", unfinished)


def test_a_large_store_is_checked_during_use(daemon: Daemon) -> None:
    daemon.start()
    fill(daemon)
    daemon.kill()
    daemon.launch(check_no_store_at_start)
    daemon.wait_for_log("the store check found no damage")
    daemon.assert_healthy()


def test_damage_found_during_use_ends_the_appliance_but_no_program(daemon: Daemon) -> None:
    daemon.start()
    fill(daemon)
    daemon.stop()
    daemon.start()
    daemon.say("run sleep 600")
    pid = daemon.wait_for_pid()
    daemon.kill()
    whole = contents(daemon.var / "sched.db")
    damage(daemon.var / "sched.db", 60, 70)
    daemon.launch(check_no_store_at_start)
    assert daemon.process
    assert daemon.process.wait(PATIENCE_SECONDS) == 78
    assert f"error: the store is damaged: {daemon.var}/sched.db: " in daemon.log
    assert "Traceback" not in daemon.log
    assert is_running(pid)
    for name, data in whole.items():
        (daemon.var / name).write_bytes(data)
    daemon.start()
    daemon.wait_for_log(f"its process {pid} was adopted", 2)


def test_a_spool_in_use_by_another_appliance_is_rejected_with_its_pid(daemon: Daemon) -> None:
    daemon.start()
    other = Daemon(daemon.root / "other", appliance=APPLIANCE_FILE.replace("../var/spool", str(daemon.var / "spool")))
    error = other.serve_rejected()
    assert daemon.process
    assert f"another appliance uses the spool {daemon.var}/spool (pid {daemon.process.pid})" in error
    assert os.listdir(other.var) == []
    daemon.drop("a.cmd", "sched in 900 version\n")
    daemon.result("a.cmd", "done")
    eventually(lambda: os.listdir(daemon.var / "spool" / "work") == [], "an empty work/")
    daemon.kill()
    try:
        other.start()
        daemon.drop("b.cmd", "sched in 900 version\n")
        daemon.process = other.process
        daemon.result("b.cmd", "done")
        assert len(other.data("sched list")) == 1
    finally:
        other.end()


@pytest.fixture
def read_only_disk(daemon: Daemon) -> Iterator[Path]:
    """A small file system that cannot be written, with a copy of the store that a crash left with its log."""
    daemon.start()
    daemon.say("sched in 900 version")
    daemon.kill()
    place = daemon.root / "read-only"
    place.mkdir()
    for options in (["-t", "tmpfs", "-o", "size=8m", "tmpfs"], ["-o", "remount,ro"]):
        done = subprocess.run(["mount", *options, place], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"cannot mount: {done.stderr.strip()}")
        if "tmpfs" in options:
            for suffix in ("", "-wal"):
                shutil.copy(f"{daemon.var}/sched.db{suffix}", place)
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_read_only_disk_is_reported_in_one_line(daemon: Daemon, read_only_disk: Path) -> None:
    done = daemon.store("backup", read_only_disk / "backup.db")
    assert (done.returncode, done.stdout) == (78, "")
    wanted = f"error: cannot write {read_only_disk}/backup.db: Read-only file system; "
    assert done.stderr.startswith(wanted) and done.stderr.count("\n") == 1, done.stderr
    assert daemon.store("check", read_only_disk / "sched.db").stdout == f"{read_only_disk}/sched.db: ok\n"


def test_a_backup_that_fails_leaves_no_file(daemon: Daemon) -> None:
    """On a disk that is full before the copy is whole. SQLite makes a journal only for a copy of some size."""
    daemon.start()
    for _ in range(40):
        daemon.say(f"sched in 900 config set message_expiration {'9' * 60_000}")
    place = daemon.root / "full"
    place.mkdir()
    options = ["-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    done = subprocess.run(["mount", *options], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot mount: {done.stderr.strip()}")
    try:
        backup = daemon.store("backup", place / "backup.db")
        assert backup.returncode == 78 and f"cannot write {place}/backup.db: No space left" in backup.stderr
        assert list(place.iterdir()) == []
    finally:
        subprocess.run(["umount", "-l", place], check=True)


TOO_LONG = "x" * 300


@pytest.mark.parametrize("target", [TOO_LONG, "x" * 250, "sched.db/below", "loop/below", "nowhere/below"])
def test_a_target_that_cannot_be_written_is_reported_in_one_line(daemon: Daemon, target: str) -> None:
    daemon.start()
    (daemon.var / "loop").symlink_to("loop")
    done = daemon.store("backup", daemon.var / target)
    assert (done.returncode, done.stdout) == (78, "")
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
    assert "backup" not in "".join(os.listdir(daemon.var))
    done = daemon.store("check", daemon.var / target)
    assert done.returncode == 78
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr


def test_a_limit_on_the_size_of_files_is_not_blamed_on_the_store(daemon: Daemon) -> None:
    daemon.start()
    target = daemon.root / "backup.db"
    arguments = ["store", "backup", str(target), "--config", str(daemon.etc / "appliance.yaml")]
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (8192, 8192))
    done = command(*arguments, preexec_fn=limit)
    reason = "File too large; the limit on the size of files is 8,192 bytes: raise `ulimit -f`"
    assert done.returncode == 78
    assert done.stderr.startswith(f"error: cannot write {target}: {reason}"), done.stderr
    assert not target.exists()


def test_a_store_whose_path_cannot_exist_is_rejected_in_one_line(daemon: Daemon) -> None:
    daemon.conf.write_text(f'sched {{ backing_store = "{daemon.var}/{TOO_LONG}" }}\n')
    assert "the name of the store is too long" in daemon.serve_rejected()


# With a small limit, a few outputs make the log too long.
def keep_the_log_short() -> None:
    pytest.MonkeyPatch().setattr(audit, "LOG_LIMIT_BYTES", 100_000)


# Reads the store through the log until its input ends.
READER = """
import sqlite3, sys
store = sqlite3.connect(sys.argv[1], isolation_level=None)
store.execute("BEGIN")
store.execute("SELECT count(*) FROM jobs").fetchone()
print("reads", flush=True)
sys.stdin.read()
"""


@contextmanager
def reader(store: Path) -> Iterator[int]:
    """Another process that holds a snapshot of the store."""
    command_line = [sys.executable, "-c", READER, str(store)]
    with subprocess.Popen(command_line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin and process.stdout
        assert process.stdout.readline() == "reads\n"
        yield process.pid
        process.stdin.close()


def test_a_process_that_keeps_the_log_long_is_named(daemon: Daemon) -> None:
    daemon.launch(keep_the_log_short)
    daemon.wait_for_log(" is ready")
    store = daemon.var / "sched.db"
    with reader(store) as pid:
        daemon.say(f"config set big {'x' * 60_000}")
        daemon.say(f"config set big {'y' * 60_000}")
        daemon.wait_for_log(f"sched.db-wal has 0 MiB, and grows while pid {pid} ({sys.executable} -c")
        assert log_readers(store) == [pid]
    eventually(lambda: log_readers(store) == [], "the end of the read")
    assert daemon.log.count("and grows while") == 1
    daemon.assert_healthy()
