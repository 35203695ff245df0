"""`sched output` and `logs` of a program that runs: what it has written so far, also under the next daemon."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.daemon import STANZAS, Daemon, begin, command
from tests.support.waiting import PATIENCE_SECONDS, eventually

# It goes on when a line arrives in the pipe.
GROW = """\
program "grow" {
  argv = ( "/bin/sh" "-c" "echo one; read x < ../gate; printf 'two \\\\303'; read x < ../gate; printf '\\\\274\\\\n'; exit 3" )
  cwd = "%s"
}
"""


@pytest.fixture
def gate(daemon: Daemon) -> Iterator[int]:
    """The pipe for which `grow` waits. It is open for reading too, so that nobody waits for its other end."""
    path = daemon.root / "gate"
    os.mkfifo(path)
    gate = os.open(path, os.O_RDWR)
    daemon.conf.write_text(STANZAS % daemon.etc + GROW % daemon.etc)
    daemon.start()
    yield gate
    os.close(gate)


def shown(daemon: Daemon, run: str, begin: int, text: str) -> dict[str, Any]:
    """The part of an output from a place on, as soon as it is this text."""

    def part() -> dict[str, Any] | None:
        part = daemon.data(f"sched output {run} from {begin}")
        return part if part["text"] == text else None

    return eventually(part, f"the output {text!r}")


def logs(daemon: Daemon, *words: str) -> list[str]:
    """The arguments of `logs`."""
    return ["logs", "--endpoint", str(daemon.socket_path), *words]


def test_the_output_of_a_running_program_grows(daemon: Daemon, gate: int) -> None:
    run = daemon.say("run grow").strip()
    part = shown(daemon, run, 0, "one\n")
    assert (part["next"], part["size"], part["ended"], part["state"]) == (4, 4, False, "started")
    done = daemon.console("sched", "output", run)
    note = f"attempt 1 of run {run} still runs; continue with `sched output {run} from 4`\n"
    assert (done.returncode, done.stdout, done.stderr) == (0, "one\n", note)

    os.write(gate, b"\n")
    part = shown(daemon, run, 4, "two ")
    eventually(lambda: daemon.data(f"sched output {run} from 4")["size"] == 9, "the first half of a character")
    daemon.wait_for_pid()
    daemon.kill()
    daemon.start()
    assert shown(daemon, run, part["next"], "")["next"] == 8

    os.write(gate, b"\n")
    part = shown(daemon, run, part["next"], "ü\n")
    eventually(lambda: daemon.data(f"sched output {run}")["ended"], "the end")
    assert daemon.say(f"sched output {run}") == "one\ntwo ü\n"
    assert shown(daemon, run, part["next"], "")["size"] == 11
    daemon.assert_healthy()


def test_an_output_is_followed_until_the_run_ends(daemon: Daemon, gate: int) -> None:
    run = daemon.say("run grow").strip()
    job = run.partition("/")[0]
    path = daemon.root / "out"
    with path.open("w") as out:
        following = begin(*logs(daemon, "-f", job), stdout=out)
    for text in ("one\n", "one\ntwo "):
        eventually(lambda text=text: path.read_text() == text, f"the output {text!r}")  # type: ignore[misc]
        os.write(gate, b"\n")
    _, err = following.communicate(timeout=PATIENCE_SECONDS)
    assert (following.returncode, path.read_text(), err) == (1, "one\ntwo ü\n", f"note: run {run}: failed\n")
    done = command(*logs(daemon, run))
    assert (done.returncode, done.stdout, done.stderr) == (0, "one\ntwo ü\n", err)
    done = command(*logs(daemon, "nightly"))
    assert (done.returncode, done.stderr.partition(";")[0]) == (1, "error: no job has the id or name `nightly`")


@pytest.mark.usefixtures("gate")
def test_a_replaced_output_is_not_shown(daemon: Daemon) -> None:
    run = daemon.say("run grow").strip()
    shown(daemon, run, 0, "one\n")
    # From now on, the daemon knows which file the program got.
    daemon.wait_for_pid()
    (path,) = daemon.output_files()
    path.rename(daemon.root / "aside")
    path.write_text("another one\n")
    answer = daemon.say(f"sched output {run}")
    assert answer.startswith(f"error: the output of run {run} cannot be read: the output file was replaced")
    assert daemon.data("sched history")[0]["state"] == "started"
    daemon.assert_healthy()
