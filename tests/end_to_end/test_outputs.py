"""The files for outputs: trouble with them is the appliance's own, and never the failure of a program."""

from __future__ import annotations

import os
import random
import re
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from schedappliance.edge.programs.keeper_files import ENDS, SOCKET
from schedappliance.edge.programs.outputs import HELD_BYTES, REPLACED
from tests.support.daemon import Daemon, is_running
from tests.support.file_changes import remove_tree
from tests.support.strace import traced
from tests.support.waiting import eventually


def directory(daemon: Daemon) -> Path:
    return daemon.var / "sched.db.output"


def outputs(daemon: Daemon, runs: list[dict[str, Any]]) -> list[str]:
    return [daemon.data(f"sched show {run['run']}")["output"] for run in runs]


def test_a_removed_directory_is_made_again(daemon: Daemon) -> None:
    daemon.start()
    remove_tree(directory(daemon))
    run = daemon.run("run hello")
    assert (run["state"], outputs(daemon, [run])) == ("succeeded", ["hello\n"])
    assert directory(daemon).stat().st_mode & 0o777 == 0o700
    remove_tree(directory(daemon))
    daemon.wait_for_log(f"the directory {directory(daemon)} was missing and was made again")
    daemon.assert_healthy()


def test_without_a_store_a_cleaned_temporary_directory_is_made_again(
    daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    daemon.conf.write_text('program "hello" { argv = ( "/bin/echo" "hello" ) }\n')
    (daemon.etc / "appliance.yaml").write_text("config: sched.conf\nconsole: { listen: ../var/console.sock }\n")
    daemon.start()
    (temporary,) = tmp_path.glob("schedappliance-*")
    remove_tree(temporary)
    run = daemon.run("run hello")
    assert (run["state"], outputs(daemon, [run])) == ("succeeded", ["hello\n"])
    assert daemon.stop() == 0
    assert not temporary.exists()


def test_the_output_of_a_program_that_lost_its_file_says_so(daemon: Daemon) -> None:
    daemon.start()
    daemon.say("run sleep 1")
    daemon.wait_for_pid()
    remove_tree(directory(daemon))
    note = "cannot be read: No such file or directory"
    assert outputs(daemon, daemon.wait_for_state("succeeded")) == [f"[... the output {note} ...]\n"]
    daemon.wait_for_log(f"warning the output of run example.com-000000001/1 {note}")


def start_waiting(daemon: Daemon, number: int, gate: Path) -> list[Path]:
    """Starts programs that write a line and end when the gate is there. Returns their outputs."""
    script = f"echo written; while [ ! -e {gate} ]; do sleep 0.1; done"
    daemon.conf.write_text(f'{daemon.conf.read_text()}program "wait" {{ argv = ( "/bin/sh" "-c" "{script}" ) }}\n')
    daemon.start()
    for _ in range(number):
        daemon.say("run wait")
    files = [directory(daemon) / f"{job}-1-1" for job in range(1, number + 1)]
    eventually(lambda: all(file.exists() and file.stat().st_size for file in files), "the outputs")
    return files


def test_a_replaced_output_file_is_named_and_not_taken_for_the_output(daemon: Daemon) -> None:
    gate, note = daemon.root / "gate", f"cannot be read: {REPLACED}"
    files = start_waiting(daemon, 5, gate)
    for file in files[:4]:
        file.rename(daemon.root / file.name)
    os.mkfifo(files[0])
    files[1].symlink_to(daemon.root / files[1].name)
    files[2].write_text("of another")
    files[3].mkdir()
    gate.touch()
    replaced = [f"[... the output {note} ...]\n"] * 4
    assert outputs(daemon, daemon.wait_for_state("succeeded", 5)[::-1]) == [*replaced, "written\n"]
    for job in range(1, 5):
        daemon.wait_for_log(f"warning the output of run example.com-00000000{job}/1 {note}")
    files[3].rmdir()

    gate.unlink()
    daemon.say("run wait")
    last = directory(daemon) / "6-1-1"
    eventually(lambda: last.exists() and last.stat().st_size, "the output")
    daemon.kill()
    last.rename(daemon.root / last.name)
    last.write_text("of another")
    daemon.start()
    gate.touch()
    run = daemon.wait_for_state("succeeded", 6)[0]
    assert outputs(daemon, [run]) == [f"[... the output {note} ...]\n"]


def test_an_output_file_that_was_lost_while_no_appliance_ran_is_named(daemon: Daemon) -> None:
    gate = daemon.root / "gate"
    files = start_waiting(daemon, 4, gate)
    daemon.kill()
    for file in files[:3]:
        file.rename(daemon.root / file.name)
    files[0].write_text("of another")
    files[1].symlink_to(daemon.root / files[1].name)
    gate.touch()
    ends = directory(daemon) / ENDS
    eventually(lambda: len(re.findall("^ended ", ends.read_text(), re.MULTILINE)) == 4, "the ends")
    daemon.start()
    runs = daemon.wait_for_state("succeeded", 4)[::-1]
    notes = [f"cannot be read: {reason}" for reason in (REPLACED, REPLACED, "No such file or directory")]
    assert outputs(daemon, runs) == [*(f"[... the output {note} ...]\n" for note in notes), "written\n"]
    for job, note in enumerate(notes, 1):
        daemon.wait_for_log(f"warning the output of run example.com-00000000{job}/1 {note}")


@pytest.mark.parametrize(
    ("error", "text"), [("EIO", "Input/output error"), ("ENOSPC", "No space left on device"), ("EROFS", "Read-only")]
)
def test_while_no_output_can_be_written_runs_wait_and_nothing_fails(daemon: Daemon, error: str, text: str) -> None:
    daemon.start()
    paths = [f"-P{directory(daemon)}/{name}" for name in ("1-1-1", "2-1-1", ".trial")]
    with traced(daemon, *paths, "-e", f"inject=openat:error={error}"):
        daemon.say("run hello")
        daemon.wait_for_log(f"degraded: outputs cannot be written to {directory(daemon)}: {text}")
        daemon.say("run hello")
        assert f"outputs cannot be written to {directory(daemon)}: {text}" in daemon.data("summary")["degraded"]
        assert {run["state"] for run in daemon.runs()} == {"queued"}
        assert "it waits, since the appliance cannot start programs" in daemon.say("sched why example.com-000000002/1")
    daemon.wait_for_log("programs can be started again")
    runs = daemon.wait_for_state("succeeded", 2)
    assert [run["attempts"] for run in runs] == [1, 1]
    assert outputs(daemon, runs) == ["hello\n"] * 2
    assert daemon.data("summary")["degraded"] is None
    assert daemon.log.count("degraded: ") == 1


def test_a_file_in_the_place_of_the_directory_is_named(daemon: Daemon) -> None:
    daemon.start()
    remove_tree(directory(daemon))
    directory(daemon).write_text("")
    daemon.say("run hello")
    daemon.wait_for_log(f"degraded: outputs cannot be written to {directory(daemon)}: Not a directory")
    directory(daemon).unlink()
    assert outputs(daemon, daemon.wait_for_state("succeeded")) == ["hello\n"]
    eventually(lambda: daemon.data("summary")["degraded"] is None, "the end of the trouble")


def test_a_link_in_the_place_of_the_directory_is_not_followed(daemon: Daemon) -> None:
    link, elsewhere = directory(daemon), daemon.root / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "1-1-1").write_text("precious")
    daemon.start()
    link.rename(daemon.root / "aside")
    link.symlink_to(elsewhere)
    daemon.say("run hello")
    reason = f"outputs cannot be written to {link}: a symbolic link, which is not followed; move it away"
    daemon.wait_for_log(f"degraded: {reason}")
    assert daemon.data("summary")["degraded"] == reason
    daemon.stop()
    assert reason in daemon.serve_rejected()
    assert os.listdir(elsewhere) == ["1-1-1"]
    assert (elsewhere / "1-1-1").read_text() == "precious"
    link.unlink()
    daemon.start()
    assert outputs(daemon, daemon.wait_for_state("succeeded")) == ["hello\n"]


def test_a_link_in_the_place_of_the_directory_is_noticed_by_the_audit(daemon: Daemon) -> None:
    daemon.start()
    directory(daemon).rename(daemon.root / "aside")
    directory(daemon).symlink_to(daemon.root / "aside")
    daemon.wait_for_log("a symbolic link, which is not followed; move it away; programs wait")
    directory(daemon).unlink()
    daemon.wait_for_log("programs can be started again")
    daemon.assert_healthy()


@pytest.mark.parametrize("kind", ["directory", "damaged", "random"])
def test_a_file_of_ends_that_cannot_be_used_fails_no_program(daemon: Daemon, kind: str) -> None:
    directory(daemon).mkdir(mode=0o700)
    path = directory(daemon) / ENDS
    if kind == "directory":
        path.mkdir()
    else:
        path.write_bytes(b"ended \377 1 2 3\n" if kind == "damaged" else random.Random(7).randbytes(3000))
    daemon.start()
    assert [daemon.run("run hello")["state"] for _ in range(2)] == ["succeeded"] * 2
    assert path.is_file()
    moved = list(directory(daemon).glob(f"{ENDS}.*"))
    assert [place.is_dir() for place in moved] == [True] * (kind == "directory")
    for place in moved:
        assert f"warning {path} cannot be used (it is not a regular file); it was moved to {place}" in daemon.log
    assert daemon.data("summary")["degraded"] is None
    daemon.assert_healthy()


def test_a_directory_in_place_of_the_file_of_ends_of_a_running_keeper_is_moved_aside(daemon: Daemon) -> None:
    daemon.start()
    daemon.say("run sleep 600")
    daemon.wait_for_pid()
    for name in (ENDS, SOCKET):
        (directory(daemon) / name).unlink()
        (directory(daemon) / name).mkdir()
    daemon.wait_for_log("the files of the keeper in")
    daemon.kill()
    daemon.start()
    assert [run["state"] for run in daemon.runs()] == ["started"], "it was taken over"
    assert daemon.run("run hello")["state"] == "succeeded"


def test_while_no_keeper_can_be_started_runs_wait_and_nothing_fails(daemon: Daemon) -> None:
    """The file of ends is immutable, say."""
    daemon.start()
    path = directory(daemon) / ENDS
    assert daemon.run("run hello")["state"] == "succeeded"
    with traced(daemon, "-P", str(path), "-e", "inject=openat,rename:error=EPERM"):
        (keeper,) = daemon.keepers()
        os.kill(keeper, signal.SIGKILL)
        daemon.wait_for_log("the exit statuses of 0 running programs are lost")
        daemon.say("run hello")
        daemon.wait_for_log(f"degraded: no program can be started: cannot reach the keeper: {path} cannot be used: ")
        assert "`chattr -i` changes that" in daemon.data("summary")["degraded"]
        assert daemon.runs()[0]["state"] == "queued"
        name = daemon.runs()[0]["run"]
        assert "no program can be started: cannot reach the keeper: " in daemon.say(f"sched why {name}")
    daemon.wait_for_log("programs can be started again")
    (run, _) = daemon.wait_for_state("succeeded", 2)
    assert run["attempts"] == 1
    assert daemon.data("summary")["degraded"] is None
    assert daemon.log.count("degraded: ") == 1


# It leases its own output, and a child of it keeps the lease. Then nobody can open the output without delay.
LEASE = """
import fcntl, os, signal, time
print("leased", flush=True)
while True:
    try:
        fcntl.fcntl(1, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        break
    except BlockingIOError:
        time.sleep(0.01)
signal.signal(signal.SIGIO, signal.SIG_IGN)
if os.fork():
    os._exit(0)
time.sleep(600)
"""


def test_a_program_that_leases_its_output_stops_no_other(daemon: Daemon) -> None:
    (daemon.root / "lease.py").write_text(LEASE)
    leasing = f'program "lease" {{ argv = ( "{sys.executable}" "{daemon.root}/lease.py" ) }}\n'
    daemon.conf.write_text(daemon.conf.read_text() + leasing)
    daemon.start()
    daemon.say("run lease")
    pid = daemon.wait_for_pid()
    try:
        eventually(lambda: not is_running(pid), "the end of the leader")
        run = daemon.run("run hello")
        states = {run["run"]: run["state"] for run in daemon.runs()}
        assert states["example.com-000000001/1"] == "started", "the other run waits for no lease"
        assert outputs(daemon, [run]) == ["hello\n"]
        daemon.wait_for_state("succeeded", 2)
        (leased,) = [run for run in daemon.runs() if run["run"] == "example.com-000000001/1"]
        assert outputs(daemon, [leased]) == ["[... the output cannot be read: a process has leased it ...]\n"]
    finally:
        os.killpg(pid, signal.SIGKILL)


def test_what_a_process_of_an_ended_run_writes_is_bounded_and_named(daemon: Daemon) -> None:
    filling = (
        f'program "fill" {{ argv = ( "/bin/sh" "-c" "setsid sleep 600 & echo $!; '
        f'setsid head -c {2 * HELD_BYTES} /dev/zero &" ) }}\n'
    )
    daemon.conf.write_text(daemon.conf.read_text() + filling)
    daemon.start()
    run = daemon.run("run fill")
    daemon.wait_for_log("a process that run example.com-000000001/1 left fills its output: ")
    kept = directory(daemon) / "1-1-1"
    assert kept.stat().st_blocks * 512 < HELD_BYTES
    sleeper = int(outputs(daemon, [run])[0].split()[0])
    daemon.kill()
    daemon.start()
    assert kept.exists(), "the next daemon goes on to watch it"
    os.kill(sleeper, signal.SIGKILL)
    eventually(lambda: not kept.exists(), "the removal of the output")
    daemon.run("run hello")
    eventually(lambda: not daemon.output_files(), "the removal of the other output")
