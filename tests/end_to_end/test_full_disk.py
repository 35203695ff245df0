"""A full disk under the store: commands fail with a clear error, and nothing is lost or done twice."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from schedappliance.store.schema import APPLICATION_ID, migrations
from tests.support.daemon import STANZAS, Daemon, is_running
from tests.support.waiting import PATIENCE_SECONDS, eventually


@pytest.fixture
def disk(daemon: Daemon) -> Iterator[Path]:
    """Puts the store on its own small file system."""
    yield from small(daemon, "size=2m")


@pytest.fixture
def inodes(daemon: Daemon) -> Iterator[Path]:
    """Puts the store on a file system with few inodes."""
    yield from small(daemon, "size=8m,nr_inodes=60")


def small(daemon: Daemon, options: str) -> Iterator[Path]:
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("only root can mount a small file system")
    done = subprocess.run([mount, "-t", "tmpfs", "-o", options, "tmpfs", daemon.var], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"cannot mount a tmpfs: {done.stderr.decode().strip()}")
    yield daemon.var
    daemon.end()
    subprocess.run(["umount", "-l", daemon.var], check=True)


def fill(disk: Path) -> Path:
    """Fills the remaining space."""
    ballast = disk / "ballast"
    with ballast.open("ab", buffering=0) as file:
        for size in (65536, 4096, 512):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue
    return ballast


def fill_until_rejected(daemon: Daemon, disk: Path) -> Path:
    """Fills the disk until a command fails. After a checkpoint SQLite reuses its log, so once may not suffice."""
    ballast = fill(disk)

    def is_rejected() -> bool:
        answer = daemon.say("config set big " + "x" * 60_000)
        fill(disk)
        return answer.startswith("error: ")

    eventually(is_rejected, "an error")
    return ballast


def test_a_backup_on_a_full_disk_names_that_disk_and_leaves_no_file(daemon: Daemon, disk: Path) -> None:
    """The store is on the small disk too, but has all the space that it needs."""
    daemon.start()
    daemon.say("config set big " + "x" * 60_000)
    fill(disk)
    done = daemon.store("backup", disk / "backup.db")
    assert (done.returncode, done.stdout) == (78, "")
    assert (
        f"cannot write {disk}/backup.db: No space left on device; name a file in a directory with room" in done.stderr
    )
    assert [path.name for path in disk.iterdir() if "backup" in path.name] == []
    daemon.assert_healthy()


def test_a_full_disk_fails_the_command_and_not_the_appliance(daemon: Daemon, disk: Path) -> None:
    daemon.start()
    daemon.say("sched in 900 version")
    ballast = fill_until_rejected(daemon, disk)
    answer = daemon.say("config set big " + "y" * 60_000)
    assert answer.startswith("error: the store cannot be written: "), answer[:200]
    assert "make sure that its disk has free space" in answer
    assert answer.count("\n") == 1
    assert daemon.say("version").startswith("# ")
    assert daemon.say("sched list").count("\n") == 2
    ballast.unlink()
    assert daemon.say("sched in 900 version") == "example.com-000000002\n"
    daemon.kill()
    daemon.start()
    assert daemon.say("sched list").count("\n") == 3
    daemon.assert_healthy()


def test_a_job_that_falls_due_on_a_full_disk_runs_once_when_there_is_space(daemon: Daemon, disk: Path) -> None:
    daemon.conf.write_text(STANZAS % daemon.etc)
    daemon.start()
    daemon.exchange(b"sched in 2 run append\n" * 50)
    ballast = fill_until_rejected(daemon, disk)
    daemon.wait_for_log("the store cannot be written")
    eventually(lambda: daemon.say("version") != "" and daemon.say("sched list") != "")
    ballast.unlink()
    daemon.wait_for_state("succeeded", 50)
    lines = daemon.lines("runs")
    assert len(lines) == len(set(lines)) == 50
    daemon.assert_healthy()
    assert daemon.stop() == 0


def stuck(daemon: Daemon, disk: Path) -> Path:
    """A full disk, and rows that wait to be written: those of programs that ended with much output."""
    programs = [
        'program "wait" {',
        '  argv = ( "/bin/sh" "-c" "head -c 60000 /dev/zero; until [ -e ../gate ]; do sleep 0.1; done" )',
        f'  cwd = "{daemon.etc}"',
        "}",
        'program "slow" { argv = ( "/bin/sleep" "3600" ) timeout = 1 kill_after = 1 }',
    ]
    daemon.conf.write_text(STANZAS % daemon.etc + "\n".join(programs) + "\n")
    daemon.start()
    daemon.exchange(b"run slow\n" + b"run wait\n" * 4)
    eventually(lambda: len(daemon.rows("SELECT 1 FROM attempts WHERE pid IS NOT NULL")) == 5, "the programs")
    ballast = fill_until_rejected(daemon, disk)
    (daemon.root / "gate").write_text("")
    daemon.wait_for_log("cannot be written")
    return ballast


def test_reading_commands_are_answered_while_rows_wait_for_room(daemon: Daemon, disk: Path) -> None:
    stuck(daemon, disk)
    assert daemon.say("version").startswith("# ")
    assert daemon.say("sched list").startswith("JOB ID")


def test_a_timeout_on_a_full_disk_does_not_flood_the_log(daemon: Daemon, disk: Path) -> None:
    ballast = stuck(daemon, disk)
    before = daemon.log.count("cannot be written")
    eventually(lambda: daemon.rows("SELECT strftime('%s') * 1000 - min(started_ms) > 2500 FROM attempts")[0][0])
    assert daemon.log.count("cannot be written") - before < 20
    assert daemon.log.count("degraded: ") == 1
    ballast.unlink()
    daemon.wait_for_state("timed_out")
    daemon.wait_for_state("succeeded", 4)


def test_the_appliance_can_be_stopped_while_its_disk_is_full(daemon: Daemon, disk: Path) -> None:
    stuck(daemon, disk)
    assert daemon.process
    daemon.process.terminate()
    assert daemon.process.wait(PATIENCE_SECONDS) == 0


@pytest.mark.parametrize("was_killed", [False, True], ids=["stopped", "killed"])
def test_it_starts_on_a_full_disk_and_recovers_when_there_is_room(daemon: Daemon, disk: Path, was_killed: bool) -> None:
    daemon.start()
    daemon.say("run sleep 3600")
    pid = daemon.wait_for_pid()
    daemon.exchange(b"sched in 900 version\n" + b"sched in 5 run append\n" * 3)
    if was_killed:
        daemon.kill()
    else:
        assert daemon.stop() == 0
    ballast = fill(disk)
    daemon.start()
    full = "the store cannot be written: database or disk is full"
    assert daemon.data("summary")["degraded"] == full
    assert f"degraded: {full}; trying again every second" in daemon.log
    assert daemon.say("sched in 900 version").startswith(f"error: {full}; nothing was changed; make sure that its disk")
    assert "example.com-000000002" in daemon.say("sched list")
    ballast.unlink()
    daemon.wait_for_log("the store can be written again")
    assert daemon.say("sched in 900 version") == "example.com-000000006\n"
    daemon.wait_for_state("succeeded", 3)
    assert len(set(daemon.lines("runs"))) == len(daemon.lines("runs")) == 3
    if was_killed:
        daemon.wait_for_log(f"its process {pid} was adopted")
    daemon.assert_healthy()
    assert daemon.stop() == 0
    assert daemon.store("check").returncode == 0


def test_edits_are_judged_although_it_started_on_a_full_disk(daemon: Daemon, disk: Path) -> None:
    daemon.start()
    daemon.kill()
    ballast = fill(disk)
    daemon.start()
    assert daemon.data("summary")["degraded"]
    good = daemon.conf.read_text() + "Colour = red\n"
    daemon.conf.write_text(good + "x { }\n")
    eventually(lambda: daemon.data("config status")["last_attempt"]["outcome"] == "rejected", "the rejection")
    daemon.wait_for_log("E201 unknown stanza `x`")
    assert daemon.data("config status")["watch"] == "events"
    daemon.conf.write_text(good)
    eventually(lambda: "when the store can be written" in daemon.say("config status"), "the good edit")
    ballast.unlink()
    eventually(lambda: daemon.say("config get colour") == "Colour = red\n", "its effect")
    assert daemon.data("config status")["waits"] is None
    assert daemon.log.count("E201 unknown stanza `x`") == 1
    daemon.assert_healthy()


def take_inodes(disk: Path) -> Path:
    """Takes all inodes that are left."""
    ballast = disk / "ballast"
    ballast.mkdir()
    with suppress(OSError):
        for number in range(1000):
            (ballast / str(number)).touch()
    assert os.statvfs(disk).f_ffree == 0
    return ballast


@pytest.mark.parametrize("was_killed", [False, True], ids=["stopped", "killed"])
def test_it_starts_without_a_free_inode_and_recovers(daemon: Daemon, inodes: Path, was_killed: bool) -> None:
    daemon.start()
    assert daemon.run("run hello")["state"] == "succeeded"
    daemon.say("sched in 900 version")
    if was_killed:
        daemon.kill_with_keeper()
    else:
        assert daemon.stop() == 0
    ballast = take_inodes(inodes)
    daemon.start()
    if not was_killed:
        assert "degraded: the store cannot be written: database or disk is full" in daemon.log
        assert (
            f"the console's socket {daemon.socket_path} could not be created, and cannot be created again: "
            in daemon.log
        )
        assert (
            "No space left on device; free space on its disk, or inodes: `df -h` and `df -i` show which" in daemon.log
        )
    shutil.rmtree(ballast)
    eventually(daemon.socket_path.exists, "the socket")
    assert "example.com-000000002" in daemon.say("sched list")
    assert daemon.run("run hello")["state"] == "succeeded"
    assert daemon.data("summary")["degraded"] is None
    daemon.assert_healthy()
    assert daemon.stop() == 0
    assert daemon.store("check").returncode == 0


def test_it_can_be_stopped_after_a_start_on_a_full_disk(daemon: Daemon, disk: Path) -> None:
    daemon.start()
    daemon.say("run sleep 3600")
    pid = daemon.wait_for_pid()
    daemon.kill()
    ballast = fill(disk)
    daemon.start()
    assert daemon.stop() == 0
    assert is_running(pid)
    ballast.unlink()
    daemon.start()
    daemon.wait_for_log(f"its process {pid} was adopted")


def test_a_new_store_needs_an_inode(daemon: Daemon, inodes: Path) -> None:
    take_inodes(inodes)
    assert "No space left on device; free space on its disk, or inodes: `df -h` and `df -i`" in daemon.serve_rejected()


def test_a_new_store_needs_room(daemon: Daemon, disk: Path) -> None:
    fill(disk)
    assert "database or disk is full; free space on its disk, or inodes" in daemon.serve_rejected()


def test_an_upgrade_on_a_full_disk_is_tried_again(daemon: Daemon, disk: Path) -> None:
    """The daemon ended with status 78, after which systemd does not start it again, and named no upgrade."""
    *earlier, (newest, _) = migrations()
    with closing(sqlite3.connect(disk / "sched.db")) as connection:
        for _, script in earlier:
            connection.executescript(script)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {newest - 1}")
    ballast = fill(disk)
    daemon.launch()
    eventually(daemon.ended, "the end")
    assert daemon.process
    assert daemon.process.returncode == 1, daemon.log
    error = f"error: cannot upgrade the store {disk}/sched.db from schema {newest - 1}, which needs space: its disk is full; free "
    assert error in daemon.log
    assert "Traceback" not in daemon.log
    ballast.unlink()
    daemon.start()
    assert "upgraded the store" in daemon.log
    daemon.assert_healthy()


@pytest.fixture
def roomy(daemon: Daemon) -> Iterator[Path]:
    """Puts the store on a file system with room for a second of a program that writes much."""
    yield from small(daemon, "size=48m")


def test_a_program_that_writes_much_is_named_and_does_not_fill_the_disk(daemon: Daemon, roomy: Path) -> None:
    """Its output was cut only every ten seconds, and the appliance stood still for the rest of the time."""
    script = "while :; do head -c 1000000 /dev/zero; sleep 0.02; done"
    daemon.conf.write_text(daemon.conf.read_text() + f'program "loud" {{ argv = ( "/bin/sh" "-c" "{script}" ) }}\n')
    daemon.start()
    daemon.say("run loud")
    daemon.wait_for_log("the program of run example.com-000000001/1 could fill the disk: ")
    output = roomy / "sched.db.output" / "1-1-1"
    written = output.stat().st_size
    eventually(lambda: output.stat().st_size > written + 200_000_000, "more output than the disk has room for")
    eventually(lambda: daemon.run("run hello")["state"] == "succeeded", "a command")
    assert daemon.log.count("could fill the disk") == 1
    assert "its program is being ended" in daemon.say("sched stop example.com-000000001/1")
    daemon.wait_for_state("cancelled")
    daemon.assert_healthy()


def test_a_program_can_be_stopped_on_a_full_disk(daemon: Daemon, disk: Path) -> None:
    daemon.start()
    daemon.say("run sleep 600")
    pid = daemon.wait_for_pid()
    ballast = fill_until_rejected(daemon, disk)
    assert "its program is being ended" in daemon.say("sched stop example.com-000000001/1")
    eventually(lambda: not is_running(pid), "the end of the program")
    ballast.unlink()
    (run,) = daemon.wait_for_state("cancelled")
    assert run["run"] == "example.com-000000001/1"
    daemon.assert_healthy()
