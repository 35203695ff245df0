"""The directory of the outputs is moved or removed while no daemon runs: the keeper lives, and knows how its programs end."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, is_running
from tests.support.waiting import eventually

STANZAS = """\
sched {{ backing_store = "../var/sched.db" }}
program "long" {{
  argv = ( "/bin/sh" "-c" "echo $SCHED_ATTEMPT >> {0}/began; read line < {0}/fifo; exit 4" )
  on_interrupt = rerun
}}
"""


def move(outputs: Path) -> None:
    outputs.rename(outputs.with_name("moved"))


@pytest.fixture
def left(daemon: Daemon) -> Daemon:
    return killed(daemon)


def killed(daemon: Daemon) -> Daemon:
    """The daemon was killed while a program runs, which ends when its FIFO gets a line."""
    os.mkfifo(daemon.root / "fifo")
    daemon.conf.write_text(STANZAS.format(daemon.root))
    daemon.start()
    daemon.say("run long")
    daemon.wait_for_pid()
    daemon.kill()
    return daemon


@pytest.mark.parametrize("harm", [move, shutil.rmtree])
@pytest.mark.parametrize("when", ["at once", "later", "after the end"])
def test_the_next_daemon_takes_the_keeper_over(left: Daemon, harm: Callable[[Path], None], when: str) -> None:
    """The keeper was not found any more, or lost the end: the program ran a second time, beside itself."""
    (keeper,) = left.keepers()
    harm(left.outputs)
    if when != "at once":
        eventually((left.outputs / "keeper.sock").exists, "the socket of the keeper")
    if when == "after the end":
        (left.root / "fifo").write_text("\n")
        eventually((left.outputs / "keeper.ends").exists, "the end")
    left.start()
    if when != "after the end":
        assert left.keepers() == [keeper]
        (left.root / "fifo").write_text("\n")
    (run,) = left.wait_for_state("failed")
    assert (run["exit_status"], run["attempts"]) == (4, 1)
    assert left.lines("began") == ["1"]
    left.assert_healthy()


@pytest.mark.parametrize("has_ends", [True, False])
@pytest.mark.parametrize("leaves_link", [True, False])
def test_a_keeper_is_known_after_a_move_of_the_directory_above(left: Daemon, leaves_link: bool, has_ends: bool) -> None:
    """Its arguments have the old path of its directory, and the program ran a second time."""
    (keeper,) = left.keepers()
    moved = left.root / "moved"
    left.var.rename(moved)
    if leaves_link:
        left.var.symlink_to(moved)
    else:
        for file in (left.conf, left.etc / "appliance.yaml"):
            file.write_text(file.read_text().replace("../var/", "../moved/"))
        left.var = moved
    for name in ("keeper.sock", *(() if has_ends else ("keeper.ends",))):
        (left.outputs / name).unlink()
    left.start()
    assert is_running(keeper)
    (left.root / "fifo").write_text("\n")
    (run,) = left.wait_for_state("failed")
    assert (run["exit_status"], run["attempts"]) == (4, 1)
    assert left.lines("began") == ["1"]


def test_a_keeper_that_has_followed_its_directory_is_known_to_a_restored_copy(left: Daemon) -> None:
    (keeper,) = left.keepers()
    moved = left.root / "moved"
    left.var.rename(moved)
    (moved / "sched.db.output" / "keeper.sock").unlink()
    eventually((moved / "sched.db.output" / "keeper.sock").exists, "the socket in the renamed directory")
    shutil.copytree(moved, left.var, ignore=shutil.ignore_patterns("*.sock", "sched.db.output"))
    left.start()
    assert left.keepers() == [keeper]
    (left.root / "fifo").write_text("\n")
    (run,) = left.wait_for_state("failed")
    assert (run["exit_status"], run["attempts"]) == (4, 1)
    assert left.lines("began") == ["1"]


def test_the_next_daemon_takes_the_keeper_of_a_directory_over_that_was_unmounted(daemon: Daemon) -> None:
    daemon.outputs.mkdir(mode=0o700)
    mount = ["mount", "-t", "tmpfs", "-o", "mode=700", "tmpfs", str(daemon.outputs)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a file system")
    try:
        (keeper,) = killed(daemon).keepers()
    finally:
        subprocess.run(["umount", "-l", daemon.outputs], check=True)
    daemon.start()
    assert daemon.keepers() == [keeper]
    (daemon.root / "fifo").write_text("\n")
    (run,) = daemon.wait_for_state("failed")
    assert (run["exit_status"], run["attempts"]) == (4, 1)
    assert daemon.lines("began") == ["1"]


def test_a_keeper_makes_nothing_below_another_directory(left: Daemon) -> None:
    """What it made would be in the way when the directory of the store is moved back."""
    (keeper,) = left.keepers()
    left.var.rename(left.root / "moved")
    left.var.mkdir()
    (left.root / "fifo").write_text("\n")
    eventually(lambda: left.keepers() != [keeper], "the end of the keeper")
    assert list(left.var.iterdir()) == []
    left.var.rmdir()
    (left.root / "moved").rename(left.var)
    left.start()
    (run,) = left.wait_for_state("failed")
    assert (run["exit_status"], run["attempts"]) == (4, 1)
