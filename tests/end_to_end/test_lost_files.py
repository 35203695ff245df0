"""Files that are removed, replaced or cut while the daemon holds them open. Rule: nothing that was accepted is lost."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from schedappliance.edge.programs.survivors import boot_id, start_ticks
from schedappliance.store.files import is_mount_point
from tests.support.daemon import STANZAS, Daemon, command, is_running
from tests.support.waiting import PATIENCE_SECONDS, eventually


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


@pytest.mark.parametrize("is_reopened", [False, True])
def test_a_shortened_index_ends_the_daemon_with_a_line_in_the_log(daemon: Daemon, is_reopened: bool) -> None:
    """SQLite has it in memory, so the kernel sends SIGBUS. Nothing that was answered is lost."""
    file, log = daemon.etc / "appliance.yaml", daemon.root / "its.log"
    file.write_text(file.read_text().replace("log: {", f"log: {{ file: {log},"))
    daemon.launch()
    eventually(lambda: log.exists() and " is ready" in log.read_text(), "the start")
    assert daemon.process is not None
    if is_reopened:
        log.rename(daemon.root / "moved")
        daemon.process.send_signal(signal.SIGUSR1)
        eventually(lambda: log.exists() and " opened the log file " in log.read_text(), "the log by its name")
    first = daemon.say("sched in 1h run hello").strip()
    os.truncate(daemon.var / "sched.db-shm", 0)
    with suppress(OSError):
        daemon.say("sched in 2h run hello")
    assert daemon.process.wait(PATIENCE_SECONDS) == -signal.SIGBUS
    assert "Fatal Python error: Bus error" in log.read_text().splitlines()
    log.unlink()
    daemon.launch()
    eventually(lambda: log.exists() and " is ready" in log.read_text(), "the next start")
    assert first in daemon.say("sched list")


@pytest.mark.parametrize("suffix", ["-wal", "-shm", "-journal"])
def test_a_fifo_in_place_of_a_file_of_the_store_stops_nothing_for_ever(daemon: Daemon, suffix: str) -> None:
    """SQLite waits for the other end of a FIFO that it opens."""
    fifo = daemon.var / f"sched.db{suffix}"
    daemon.start()
    first = daemon.say("sched in 1h run hello").strip()
    with daemon.frozen():
        fifo.unlink(missing_ok=True)
        os.mkfifo(fifo)
    reason = f"{fifo} is a FIFO, not a file; move it away"
    daemon.wait_for_log(f"degraded: the store cannot be written: {reason}")
    assert [job["id"] for job in daemon.data("sched list")] == [first]
    doctor = ("doctor", "--config", str(daemon.etc / "appliance.yaml"))
    assert f"{daemon.var}/sched.db: E610 {reason}" in command(*doctor).stdout
    assert reason in daemon.store("check").stderr
    if suffix != "-journal":
        # The content was saved before; and the daemon removes its log and index as it ends.
        daemon.kill()
        assert reason in daemon.serve_rejected()
        assert f"{daemon.var}/sched.db: E610 {reason}" in command(*doctor).stdout
        fifo.unlink()
        daemon.start()
    else:
        fifo.unlink()
        daemon.wait_for_log("the store can be written again")
    assert [job["id"] for job in daemon.data("sched list")] == [first]
    daemon.assert_healthy()


def test_nothing_is_accepted_after_the_log_was_shortened(daemon: Daemon) -> None:
    """The jobs in the log are lost; another job could take the id of one of them.

    The client stays connected: the end of a connection is a turn too, and one that writes while the test shortens the log
    would make it as long as before.
    """
    daemon.start()
    reason = "sched.db-wal was shortened or overwritten; stop the appliance and restore a backup; nothing was changed\n"
    with daemon.connect() as connection, connection.makefile("rw") as lines:

        def ask(line: str) -> str:
            print(line, file=lines, flush=True)
            return lines.readline()

        assert ask("sched in 1h run hello").startswith("example.com-"), daemon.log
        os.truncate(daemon.var / "sched.db-wal", 0)
        assert ask("sched in 2h run hello").endswith(reason), daemon.log
    answer = daemon.console("sched in 3h run hello")
    assert answer.returncode == 1 and answer.stderr.endswith(reason), (answer, daemon.log)
    assert "Degraded:" in daemon.say("summary")
    assert int(daemon.say("pid"))
    assert "degraded: " in daemon.say("config status")
    assert len(daemon.data("sched list")) == 1


LOSS = "jobs, runs and commands that were accepted may be lost: "


def shorten_store(store: Path) -> None:
    os.truncate(store, 8192)


def empty_store(store: Path) -> None:
    os.truncate(store, 0)


def restore_in_place(store: Path) -> None:
    """The copy is as long as the file, or longer."""
    shutil.copyfile(store.parent / "backup", store)


@pytest.mark.parametrize("harm", [shorten_store, empty_store, restore_in_place])
def test_nothing_is_accepted_after_the_store_file_was_overwritten(daemon: Daemon, harm: Callable[[Path], None]) -> None:
    """Its rows are in the file, and no more in the log."""
    store = daemon.var / "sched.db"
    daemon.start()
    daemon.exchange(b"sched in 1h run hello\n" * 40)
    daemon.stop()
    daemon.start()
    assert daemon.store("backup", str(daemon.var / "backup")).returncode == 0
    daemon.say("sched in 2h run hello")
    harm(store)
    reason = f"{store} was shortened or overwritten; stop the appliance and restore a backup"
    assert reason in daemon.say("sched in 3h run hello")
    assert reason in daemon.data("summary")["degraded"]
    daemon.kill()
    assert (
        f"{store}: E620 {LOSS}the store file was shortened or overwritten"
        in command("doctor", "--config", str(daemon.etc / "appliance.yaml")).stdout
    )


def test_an_idle_daemon_notices_a_store_file_that_was_shortened(daemon: Daemon) -> None:
    daemon.start()
    daemon.say("sched in 1h run hello")
    empty_store(daemon.var / "sched.db")
    daemon.wait_for_log("was shortened or overwritten")


def test_a_vacuum_by_another_program_is_no_loss(daemon: Daemon) -> None:
    daemon.start()
    daemon.exchange(f"sched in 1h config set a {'x' * 60_000}\n".encode() * 40)
    daemon.stop()
    daemon.start()
    store = daemon.var / "sched.db"
    before = store.stat().st_size
    daemon.exchange(b"".join(b"sched delete example.com-%09d\n" % number for number in range(1, 41)))
    with closing(sqlite3.connect(store, isolation_level=None)) as other:
        other.execute("VACUUM")
        other.execute("PRAGMA wal_checkpoint(FULL)")
    assert store.stat().st_size < before
    assert daemon.say("sched in 1h run hello").startswith("example.com-")
    daemon.assert_healthy()


def shorten_log(store: Path) -> None:
    os.truncate(f"{store}-wal", 0)


def halve_log(store: Path) -> None:
    os.truncate(f"{store}-wal", Path(f"{store}-wal").stat().st_size // 2)


@pytest.mark.parametrize("harm", [shorten_log, halve_log, remove_log])
@pytest.mark.parametrize("is_running", [True, False], ids=["running", "killed"])
def test_the_next_start_warns_of_what_was_lost_with_the_log(
    daemon: Daemon, harm: Callable[[Path], None], is_running: bool
) -> None:
    """A log that is removed under a running daemon is saved; see above."""
    store = daemon.var / "sched.db"
    daemon.start()
    daemon.say("sched in 1h run hello")
    if not is_running:
        daemon.kill()
    harm(store)
    if is_running:
        if harm is not remove_log:
            assert "was shortened" in daemon.say("sched in 2h run hello")
        daemon.say("sched in 2h run hello")
        daemon.kill()
    is_lost = not (is_running and harm is remove_log)
    doctor = command("doctor", "--config", str(daemon.etc / "appliance.yaml")).stdout
    assert (f"{store}: E620 {LOSS}" in doctor) == is_lost
    for _ in range(2):
        mark = len(daemon.log)
        daemon.start()
        assert (f"warning the store {store}: {LOSS}" in daemon.log[mark:]) == is_lost
        assert daemon.say("sched in 3h run hello").startswith("example.com-")
        assert (daemon.data("summary")["data_loss"] or "").startswith(LOSS if is_lost else "")
        daemon.stop()
    Path(f"{store}.loss").unlink(missing_ok=True)
    daemon.start()
    assert daemon.data("summary")["data_loss"] is None
    assert "E620" not in command("doctor", "--config", str(daemon.etc / "appliance.yaml")).stdout


def test_checks_and_backups_of_a_stopped_store_name_its_loss(daemon: Daemon) -> None:
    store, target = daemon.var / "sched.db", daemon.root / "backup.db"
    daemon.start()
    daemon.stop()
    Path(f"{store}.loss").write_text("the log was shortened\n")
    note = f"note: {store}: {LOSS}the log was shortened; restore a backup, or check "
    for done, printed in (daemon.store("check"), f"{store}: ok\n"), (daemon.store("backup", target), f"{target}\n"):
        assert (done.returncode, done.stdout) == (0, printed)
        assert done.stderr.startswith(note)


def test_a_killed_daemon_with_all_its_files_has_lost_nothing(daemon: Daemon) -> None:
    for _ in range(3):
        daemon.start()
        daemon.say("sched in 1h run hello")
        assert daemon.data("summary")["data_loss"] is None
        assert "E620" not in command("doctor", "--config", str(daemon.etc / "appliance.yaml")).stdout
        daemon.kill()


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


def test_a_backup_beside_the_log_of_another_file_is_not_opened(daemon: Daemon) -> None:
    """SQLite would copy the log into the backup, which then is neither of the two stores."""
    daemon.start()
    daemon.say("sched in 1h run hello")
    backup, store = daemon.root / "backup.db", daemon.var / "sched.db"
    assert daemon.store("backup", backup).returncode == 0
    daemon.say("sched in 2h run hello")
    daemon.kill()
    shutil.copy(backup, store)
    before = store.read_bytes()
    message = daemon.serve_rejected()
    assert f"the store is a backup, but the log of another file is beside it: {store}-wal; move" in message
    assert store.read_bytes() == before
    for suffix in ("-wal", "-shm"):
        Path(f"{store}{suffix}").unlink()
    daemon.start()
    assert len(daemon.data("sched list")) == 1
    # From now on, it has a log of its own.
    daemon.kill()
    daemon.start()
    assert len(daemon.data("sched list")) == 1


def test_reading_does_not_create_a_store_that_was_moved_away(daemon: Daemon) -> None:
    """A new connection would create an empty store, and remove the log that belongs to the moved one."""
    daemon.start()
    first = daemon.say("sched in 1h run hello").strip()
    store = daemon.var / "sched.db"
    store.rename(daemon.root / "moved.db")
    assert "the store file was moved or deleted; put it back" in daemon.say("sched in 2h run hello")
    assert [job["id"] for job in daemon.data("sched list")] == [first]
    assert not store.exists()
    daemon.kill()
    (daemon.root / "moved.db").rename(store)
    daemon.start()
    assert [job["id"] for job in daemon.data("sched list")] == [first]


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root, and setpriv")
def test_a_directory_that_nobody_may_enter_is_not_called_removed(daemon: Daemon) -> None:
    """Nothing was moved or deleted, so there is nothing to put back."""
    daemon.wrapper = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    daemon.start()
    daemon.var.chmod(0o000)
    why = "cannot be looked at: Permission denied"
    daemon.wait_for_log(f"degraded: the store cannot be written: {daemon.var}/sched.db {why}; see to the permissions")
    daemon.wait_for_log(f"the console's socket {daemon.socket_path} {why}")
    daemon.wait_for_log(f"{daemon.var}/spool {why}")
    daemon.var.chmod(0o700)
    for text in ("the store can be written again", "spool: it can be used again"):
        daemon.wait_for_log(text)
    assert "was removed" not in daemon.log
    assert "moved or deleted" not in daemon.log


@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_directory_that_is_moved_is_not_made_again_and_can_be_moved_back(daemon: Daemon, is_replaced: bool) -> None:
    """Nothing is made in a directory that took its place, which may be the mount point of a file system that is missing."""
    daemon.start()
    first = daemon.say("sched in 1h run hello").strip()
    aside, why = daemon.root / "aside", f"the directory {daemon.var} was moved or deleted"
    daemon.var.rename(aside)
    if is_replaced:
        daemon.var.mkdir()
        why = f"another directory has the name {daemon.var} now; move the old one back"
    daemon.wait_for_log(f"degraded: the store cannot be written: {why}")
    daemon.wait_for_log("was removed or replaced, and cannot be created again")
    daemon.wait_for_log(f"{daemon.var}/spool is missing and cannot be made again")
    if is_replaced:
        daemon.var.rmdir()
    assert not daemon.var.exists()
    aside.rename(daemon.var)
    for text in ("the store can be written again", "spool: it can be used again"):
        daemon.wait_for_log(text)
    assert [job["id"] for job in daemon.data("sched list")] == [first]
    eventually(lambda: daemon.data("summary")["degraded"] is None, "the end of all trouble")
    daemon.assert_healthy()


LOCKS = ("sched.db.lock", "spool/.lock")


def test_a_link_on_the_way_to_the_store_that_leads_elsewhere_is_no_longer_the_store(daemon: Daemon) -> None:
    """The daemon went on in the old directory for ever, while the next one with the same files ran its jobs too."""
    first, second, link = (daemon.root / name for name in ("first", "second", "link"))
    daemon.var.rename(first)
    second.mkdir()
    daemon.var.symlink_to(first)
    daemon.start()
    daemon.say("sched in 0.1 run hello")
    daemon.wait_for_state("succeeded")
    link.symlink_to(second)
    link.rename(daemon.var)
    daemon.wait_for_log(
        f"degraded: the store cannot be written: the links in {daemon.var}/sched.db do not lead to the store {first}/sched.db any more"
    )
    daemon.wait_for_log(
        f"the links in {daemon.var}/spool lead to {second}/spool now; until a restart, the appliance uses {first}/spool"
    )
    daemon.wait_for_log(f"the links in {daemon.var} lead to {second} now")
    link.symlink_to(first)
    link.rename(daemon.var)
    daemon.wait_for_log("the store can be written again")
    daemon.say("sched in 0.1 run hello")
    daemon.wait_for_state("succeeded", 2)
    daemon.assert_healthy()


@pytest.mark.parametrize("name", LOCKS)
@pytest.mark.parametrize("harm", ["removed", "replaced"])
def test_a_daemon_whose_lock_file_is_gone_ends_and_the_next_adopts_its_programs(
    daemon: Daemon, name: str, harm: str
) -> None:
    daemon.start()
    daemon.say("run sleep 3600")
    pid = daemon.wait_for_pid()
    lock = daemon.var / name
    lock.unlink()
    if harm == "replaced":
        lock.touch(0o600)
    eventually(daemon.ended, "the end")
    assert daemon.process is not None
    assert daemon.process.returncode == 1
    assert f"error: the lock file {lock} was removed or replaced" in daemon.log
    assert "Traceback" not in daemon.log
    assert is_running(pid)
    daemon.start()
    daemon.wait_for_log(f"its process {pid} was adopted")
    assert lock.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_daemon_that_ends_says_why_in_its_log(daemon: Daemon, form: str) -> None:
    path = daemon.root / "daemon.log"
    file = daemon.etc / "appliance.yaml"
    file.write_text(file.read_text().replace("log: {", f"log: {{ file: {path}, format: {form},"))
    daemon.launch()
    eventually(lambda: daemon.ended() or (path.exists() and " is ready" in path.read_text()), "the start")
    lock = daemon.var / "sched.db.lock"
    lock.unlink()
    eventually(daemon.ended, "the end")
    last = path.read_text().splitlines()[-1]
    message = f"the lock file {lock} was removed or replaced; another appliance could use the same files"
    assert json.loads(last)["message"] == message if form == "json" else last.endswith(f" error {message}")


def test_a_second_appliance_does_not_start_although_the_lock_file_was_removed(daemon: Daemon) -> None:
    """The store file itself is locked too."""
    daemon.start()
    daemon.say("run sleep 3600")
    pid = daemon.wait_for_pid()
    assert daemon.process is not None
    second = Daemon(daemon.root / "second", STANZAS.replace("../var/", f"{daemon.var}/") % daemon.etc)
    with daemon.frozen():
        (daemon.var / "sched.db.lock").unlink()
        error = second.serve_rejected()
    assert f"another appliance holds the store {daemon.var}/sched.db (pid {daemon.process.pid})" in error
    assert is_running(pid)
    assert daemon.rows("SELECT state FROM runs") == [("started",)]


def test_a_daemon_that_lives_keeps_its_store_without_locks_too(daemon: Daemon) -> None:
    """Some file systems have no flock(2). The store names the daemon that uses it."""
    daemon.start()
    daemon.stop()
    with subprocess.Popen(["/bin/sleep", "3600"]) as living:
        mark = f"{living.pid} {start_ticks(living.pid)} {boot_id()}"
        daemon.change(f"UPDATE meta SET value = '{mark}' WHERE key = 'daemon'")
        assert f"another appliance holds the store {daemon.var}/sched.db (pid {living.pid})" in daemon.serve_rejected()
        living.kill()
    daemon.start()
    daemon.assert_healthy()


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_that_everybody_can_take_prevents_no_start(daemon: Daemon, name: str) -> None:
    daemon.start()
    daemon.stop()
    lock = daemon.var / name
    lock.chmod(0o644)
    with lock.open() as foreign:
        fcntl.flock(foreign, fcntl.LOCK_EX)
        daemon.start()
    assert lock.stat().st_mode & 0o777 == 0o600
    daemon.assert_healthy()


def test_only_the_appliance_s_user_can_open_a_lock_file(daemon: Daemon) -> None:
    daemon.start()
    locks = [path for path in daemon.var.rglob("*") if path.name.endswith(".lock")]
    assert sorted(path.name for path in locks) == [".lock", "console.sock.lock", "sched.db.lock"]
    assert {path.stat().st_mode & 0o777 for path in locks} == {0o600}


@pytest.fixture
def bind() -> Iterator[Callable[[Path, Path], None]]:
    """Mounts a file over another one; the end of the test unmounts it."""
    points: list[Path] = []

    def mount(source: Path, point: Path) -> None:
        done = subprocess.run(["mount", "--bind", source, point], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"cannot mount: {done.stderr.strip()}")
        points.append(point)

    yield mount
    for point in filter(is_mount_point, points):
        subprocess.run(["umount", "-l", point], check=True)


def test_a_store_that_is_a_mount_of_its_own_is_rejected(daemon: Daemon, bind: Callable[[Path, Path], None]) -> None:
    daemon.start()
    other = Daemon(daemon.root / "other")
    store = other.var / "sched.db"
    store.touch(0o600)
    bind(daemon.var / "sched.db", store)
    assert f"the store is a mount of its own: {store}; mount its directory instead" in other.serve_rejected()
    doctor = command("doctor", "--config", str(other.etc / "appliance.yaml"))
    assert f"{store}: E610 the store is a mount of its own" in doctor.stdout
    daemon.assert_healthy()


def test_a_spool_on_a_read_only_file_system_is_told(daemon: Daemon, bind: Callable[[Path, Path], None]) -> None:
    """The drop waited, and `health` answered `ok`."""
    daemon.is_copy = False
    daemon.start()
    spool = daemon.var / "spool"
    new = os.open(spool / "new", os.O_RDONLY | os.O_DIRECTORY)
    bind(spool, spool)
    subprocess.run(["mount", "-o", "remount,bind,ro", spool], check=True)
    # The descriptor leads below the mount.
    with os.fdopen(os.open("a.cmd", os.O_WRONLY | os.O_CREAT, 0o600, dir_fd=new), "w") as file:
        file.write("run hello\n")
    os.close(new)
    problem = f"no drop is taken: files in {spool}/new cannot be moved to {spool}/work: Read-only file system"
    daemon.wait_for_log(f"degraded: {problem}")
    assert daemon.console("health").stdout == f"{problem}\n"
    assert problem in command("doctor", "--config", str(daemon.etc / "appliance.yaml")).stdout
    subprocess.run(["mount", "-o", "remount,bind,rw", spool], check=True)
    daemon.wait_for_log("spool: it can be used again")
    eventually(lambda: (spool / "done" / "a.result").exists(), "the result")
    assert daemon.console("health").stdout == "ok\n"
    daemon.assert_healthy()


def test_a_mount_over_a_directory_of_the_spool_is_told(daemon: Daemon, bind: Callable[[Path, Path], None]) -> None:
    """The drops below it cannot be seen, and no drop on it can be claimed."""
    daemon.start()
    new = daemon.var / "spool" / "new"
    bind(daemon.etc, new)
    problem = f"{new} is a mount of its own: drops cannot be claimed or published by renaming them"
    daemon.wait_for_log(f"degraded: no drop is taken and no result is published: {problem}")
    eventually(lambda: problem in str(daemon.data("summary")["degraded"]), "the summary")
    assert (
        f"{new}: E615 it is a mount of its own"
        in command("doctor", "--config", str(daemon.etc / "appliance.yaml")).stdout
    )
    daemon.stop()
    assert f"{problem}; unmount it" in daemon.serve_rejected()


def test_a_mount_over_the_directory_of_outputs_is_told(daemon: Daemon, bind: Callable[[Path, Path], None]) -> None:
    """`health` answered `ok`, and outputs that were below the mount or on it were lost."""
    daemon.is_copy = False
    daemon.start()
    outputs, other = daemon.var / "sched.db.output", daemon.root / "other"
    other.mkdir(mode=0o700)
    bind(other, outputs)
    problem = (
        f"outputs cannot be written to {outputs}: something was mounted over it; unmount it, or restart the appliance"
    )
    daemon.wait_for_log(f"degraded: {problem}")
    assert daemon.console("health").stdout == f"{problem}\n"
    assert problem in daemon.data("summary")["degraded"]
    assert problem in command("doctor", "--config", str(daemon.etc / "appliance.yaml")).stdout
    subprocess.run(["umount", "-l", outputs], check=True)
    daemon.wait_for_log("programs can be started again")
    assert daemon.console("health").stdout == "ok\n"
    assert list(other.iterdir()) == []
    daemon.assert_healthy()


def test_a_directory_of_outputs_whose_file_system_is_unmounted_is_told(
    daemon: Daemon, bind: Callable[[Path, Path], None]
) -> None:
    outputs, other = daemon.var / "sched.db.output", daemon.root / "other"
    for directory in (outputs, other):
        directory.mkdir(mode=0o700)
    bind(other, outputs)
    daemon.start()
    subprocess.run(["umount", "-l", outputs], check=True)
    daemon.wait_for_log(
        f"degraded: outputs cannot be written to {outputs}: its file system was unmounted; mount it again"
    )
    bind(other, outputs)
    daemon.wait_for_log("programs can be started again")
    daemon.assert_healthy()
