"""A daemon in another pid namespace than the programs that an earlier one left: it sees none of their processes."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, command
from tests.support.waiting import eventually

UNSHARE = shutil.which("unshare") or ""
pytestmark = pytest.mark.skipif(os.geteuid() != 0 or not UNSHARE, reason="needs root and unshare")

STANZAS = """\
sched {{ backing_store = "../var/sched.db" }}
program "long" {{
  argv = ( "/bin/sh" "-c" "echo $SCHED_ATTEMPT >> {0}/began; read line < {0}/fifo; echo done; exit 4" )
  on_interrupt = rerun
  kill_after = 1
}}
program "hello" {{ argv = ( "/bin/echo" "hello" ) }}
"""


@pytest.fixture
def left(daemon: Daemon) -> Daemon:
    """The daemon was killed while a program runs, which ends when its FIFO gets a line. The next one starts in a namespace."""
    os.mkfifo(daemon.root / "fifo")
    daemon.conf.write_text(STANZAS.format(daemon.root))
    daemon.start()
    daemon.say("run long")
    daemon.wait_for_pid()
    daemon.is_copy = False
    return daemon


def enter_namespace(daemon: Daemon) -> None:
    daemon.wrapper = [UNSHARE, "--pid", "--fork", "--kill-child", "--mount-proc"]


def let_end(daemon: Daemon) -> None:
    descriptor = os.open(daemon.root / "fifo", os.O_RDWR)
    os.write(descriptor, b"\n")
    eventually(lambda: not daemon_programs(daemon), "the end of the program")
    os.close(descriptor)


def daemon_programs(daemon: Daemon) -> list[int]:
    """The processes that write to an output of this appliance."""
    found = []
    for path in Path("/proc").glob("[0-9]*/fd/1"):
        try:
            if path.readlink().is_relative_to(daemon.outputs) and not path.readlink().name.startswith("keeper."):
                found.append(int(path.parts[2]))
        except OSError:
            continue
    return found


def test_a_keeper_of_another_namespace_is_taken_over(left: Daemon) -> None:
    """The daemon said that the files of the keeper were missing."""
    left.kill()
    enter_namespace(left)
    left.start()
    left.say("sched in 0.1 run hello")
    left.wait_for_state("succeeded")
    let_end(left)
    (run,) = left.wait_for_state("failed")
    assert (run["exit_status"], run["attempts"]) == (4, 1)
    assert left.lines("began") == ["1"]
    assert "were missing" not in left.log
    left.assert_healthy()


def test_a_program_that_cannot_be_seen_from_here_is_not_run_again_before_it_has_ended(left: Daemon) -> None:
    """It ran twice at once, and was called interrupted."""
    left.kill_with_keeper()
    enter_namespace(left)
    left.start()
    (name,) = [run["run"] for run in left.runs()]
    assert [run["state"] for run in left.runs()] == ["started"]
    assert f"run {name} continues" in left.log
    assert "cannot be seen" in left.log
    assert "cannot be seen" in left.say(f"sched why {name}")
    assert "cannot be seen" in left.say("summary")
    assert left.lines("began") == ["1"]
    doctor = command("doctor", "--config", str(left.etc / "appliance.yaml"))
    assert "cannot be seen" in doctor.stdout
    # A stop cannot end it either, and does not wait for it. The next start finds it as it is.
    left.say("shutdown")
    eventually(left.ended, "the stop")
    left.start()
    assert [run["state"] for run in left.runs()] == ["started"]
    let_end(left)
    eventually(lambda: left.lines("began") == ["1", "2"], "the second attempt")
    assert "cannot be seen" not in left.say("summary")
    let_end(left)
    (run,) = left.wait_for_state("failed")
    assert (run["exit_status"], run["attempts"]) == (4, 2)
    left.assert_healthy()


def test_a_program_of_a_namespace_is_found_from_outside_by_its_variables(daemon: Daemon) -> None:
    os.mkfifo(daemon.root / "fifo")
    daemon.conf.write_text(STANZAS.format(daemon.root))
    daemon.is_copy = False
    # Nothing ends with the daemon: the first process of the namespace only waits.
    daemon.wrapper = [
        UNSHARE,
        "--pid",
        "--fork",
        "--mount-proc",
        "sh",
        "-c",
        f'"$@"; read line < {daemon.root}/fifo',
        "sh",
    ]
    daemon.start()
    daemon.say("run long")
    daemon.wait_for_pid()
    for pid in daemon.keepers():
        os.kill(pid, signal.SIGSTOP)
    for pid in daemon_pids(daemon):
        os.kill(pid, signal.SIGKILL)
    for pid in daemon.keepers():
        os.kill(pid, signal.SIGKILL)
    (program,) = daemon_programs(daemon)
    daemon.wrapper = []
    first, daemon.process = daemon.process, None
    daemon.start()
    assert [run["state"] for run in daemon.runs()] == ["started"]
    assert daemon.rows("SELECT pid FROM attempts") == [(program,)]
    assert daemon.lines("began") == ["1"]
    daemon.say(f"sched stop {daemon.runs()[0]['run']}")
    daemon.wait_for_state("cancelled")
    assert not daemon_programs(daemon)
    let_end(daemon)
    assert first
    first.wait()
    daemon.assert_healthy()


def daemon_pids(daemon: Daemon) -> list[int]:
    """The processes of `serve` of this appliance."""
    config = os.fsencode(str(daemon.etc / "appliance.yaml"))
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"serve" in words and config in words and b"unshare" not in words[0] and words[0] != b"sh":
            found.append(int(path.parts[2]))
    return found
