"""The files for outputs: trouble with them is the appliance's own, and never the failure of a program."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support.daemon import Daemon
from tests.support.strace import traced
from tests.support.waiting import eventually


def directory(daemon: Daemon) -> Path:
    return daemon.var / "sched.db.output"


def outputs(daemon: Daemon, runs: list[dict[str, Any]]) -> list[str]:
    return [daemon.data(f"sched show {run['run']}")["output"] for run in runs]


def test_a_removed_directory_is_made_again(daemon: Daemon) -> None:
    daemon.start()
    shutil.rmtree(directory(daemon))
    run = daemon.run("run hello")
    assert (run["state"], outputs(daemon, [run])) == ("succeeded", ["hello\n"])
    assert directory(daemon).stat().st_mode & 0o777 == 0o700
    shutil.rmtree(directory(daemon))
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
    shutil.rmtree(temporary)
    run = daemon.run("run hello")
    assert (run["state"], outputs(daemon, [run])) == ("succeeded", ["hello\n"])
    assert daemon.stop() == 0
    assert not temporary.exists()


def test_the_output_of_a_program_that_lost_its_file_says_so(daemon: Daemon) -> None:
    daemon.start()
    daemon.say("run sleep 1")
    daemon.wait_for_pid()
    shutil.rmtree(directory(daemon))
    assert outputs(daemon, daemon.wait_for_state("succeeded")) == [
        "[... the output cannot be read: No such file or directory ...]\n"
    ]


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
        assert "it waits, since no output can be written" in daemon.say("sched why example.com-000000002/1")
    daemon.wait_for_log("outputs can be written again")
    runs = daemon.wait_for_state("succeeded", 2)
    assert [run["attempts"] for run in runs] == [1, 1]
    assert outputs(daemon, runs) == ["hello\n"] * 2
    assert daemon.data("summary")["degraded"] is None
    assert daemon.log.count("degraded: ") == 1


def test_a_file_in_the_place_of_the_directory_is_named(daemon: Daemon) -> None:
    daemon.start()
    shutil.rmtree(directory(daemon))
    directory(daemon).write_text("")
    daemon.say("run hello")
    daemon.wait_for_log(f"degraded: outputs cannot be written to {directory(daemon)}: Not a directory")
    directory(daemon).unlink()
    assert outputs(daemon, daemon.wait_for_state("succeeded")) == ["hello\n"]
    eventually(lambda: daemon.data("summary")["degraded"] is None, "the end of the trouble")
