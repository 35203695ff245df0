"""`run --wait` from the shell and from the socket: output, status, and what ends the wait early."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.daemon import Daemon, begin, is_running
from tests.support.waiting import PATIENCE_SECONDS, eventually

PROGRAMS = r"""
program "say" { argv = ( "/bin/echo" ) args = any }
program "bare" { argv = ( "/usr/bin/printf" "a\\tb" ) }
program "status" { argv = ( "/bin/sh" "-c" "echo said; exit $0" ) args = ( "\\d+" ) success = ( 0 3 ) }
program "signal" { argv = ( "/bin/sh" "-c" "echo said; kill -$0 $$" ) args = ( "\\d+" ) }
program "late" { argv = ( "/bin/sh" "-c" "echo begun; exec sleep 3600" ) timeout = 1 }
program "nowhere" { argv = ( "/nowhere" ) }
program "again" { argv = ( "/bin/sh" "-c" "echo $SCHED_ATTEMPT; [ $SCHED_ATTEMPT = 2 ]" ) retries = 3 retry_delay = 0.1 }
program "gate" { argv = ( "/bin/sh" "-c" "until [ -e ../gate ]; do sleep 0.05; done; echo open; exit 7" ) cwd = "%s" }
"""


@pytest.fixture
def appliance(daemon: Daemon) -> Daemon:
    daemon.conf.write_text(daemon.conf.read_text() + PROGRAMS % daemon.etc)
    return daemon.start()


@contextmanager
def waiting(appliance: Daemon) -> Iterator[subprocess.Popen[str]]:
    """A client in the shell that waits for a running program, which waits for the gate."""
    with begin("console", "--endpoint", str(appliance.socket_path), "run", "--wait", "gate") as client:
        appliance.wait_for_pid()
        assert client.poll() is None
        yield client
        client.kill()


def request(line: str, request_id: int) -> bytes:
    return json.dumps({"v": 1, "id": request_id, "command": line}).encode() + b"\n"


@pytest.mark.parametrize(
    ("words", "status", "out", "error"),
    [
        (["say", "a b", "--wait", "ü"], 0, "a b --wait ü\n", ""),
        (["bare"], 0, "a\tb", ""),
        (["status", "0"], 0, "said\n", ""),
        (["status", "3"], 3, "said\n", ""),
        (["status", "7"], 7, "said\n", "failed: exit status 7"),
        (["signal", "9"], 137, "said\n", "failed: ended by signal 9 (SIGKILL)"),
        (["late"], 143, "begun\n", "timed out: the program's timeout passed"),
        (["again"], 0, "2\n", ""),
        (["nowhere"], 1, "", "failed: cannot start /nowhere: No such file or directory"),
        (["helo"], 1, "", "program `helo` is not declared; did you mean `hello`?"),
        (["status", "x"], 1, "", "argument 1 `x` of program `status` does not match"),
    ],
)
def test_the_client_prints_the_output_and_exits_with_the_program_s_status(
    appliance: Daemon, words: list[str], status: int, out: str, error: str
) -> None:
    done = appliance.console("run", "--wait", *words)
    assert (done.returncode, done.stdout) == (status, out)
    assert error in done.stderr and bool(done.stderr) == bool(error)


def test_each_line_of_stdin_waits_for_the_one_before_it(appliance: Daemon) -> None:
    done = appliance.console(stdin="run --wait status 7\nsched history\nrun --wait say b\n")
    first, _, history, after = done.stdout.splitlines()
    assert (first, history.split("\t")[2:4], after, done.returncode) == ("said", ["failed", "7"], "b", 7)


def test_the_answers_of_a_connection_keep_their_order(appliance: Daemon) -> None:
    text = appliance.exchange(b"run --wait again\nversion\nrun --wait status 7\njson run --wait say a\n").decode()
    again, version, output, error, data = text.splitlines()
    assert (again, version[:16], output) == ("2", "# schedappliance", "said")
    assert error.startswith("error: run example.com-") and error.endswith(" failed: exit status 7")
    assert json.loads(data)["output"] == "a\n"
    lines = ("run --wait again", "version", "run --wait status 7", "run --wait nowhere")
    asked = b"".join(request(line, number) for number, line in enumerate(lines))
    answers = [json.loads(line) for line in appliance.exchange(asked).splitlines()]
    assert [answer["id"] for answer in answers] == [0, 1, 2, 3]
    assert answers[0] == {"v": 1, "id": 0, "ok": True, "transaction": False, "exit_status": 0, "output": "2\n"}
    assert (answers[2]["ok"], answers[2]["exit_status"], answers[2]["output"]) == (False, 7, "said\n")
    assert (answers[3]["ok"], "exit_status" in answers[3]) == (False, False)


def test_a_waiting_client_is_not_disconnected_as_silent(daemon: Daemon) -> None:
    file = daemon.etc / "appliance.yaml"
    file.write_text(file.read_text().replace("console.sock }", "console.sock, timeout: 1 }"))
    daemon.conf.write_text(daemon.conf.read_text() + PROGRAMS % daemon.etc)
    daemon.start()
    with waiting(daemon) as client:
        for _ in range(2):
            with daemon.connect() as silent:
                assert silent.recv(1) == b""
        (daemon.root / "gate").write_text("")
        assert client.communicate(timeout=PATIENCE_SECONDS)[0] == "open\n"
        assert client.returncode == 7


def test_the_run_continues_if_its_client_disconnects(appliance: Daemon) -> None:
    with waiting(appliance) as client:
        client.send_signal(signal.SIGINT)
        assert client.wait(PATIENCE_SECONDS) == 130
    with appliance.connect() as rude:
        rude.sendall(b"run --wait gate\nrun --wait gate\n")
    appliance.wait_for_state("started", 3)
    (appliance.root / "gate").write_text("")
    assert {run["exit_status"] for run in appliance.wait_for_state("failed", 3)} == {7}
    appliance.assert_healthy()


def test_a_client_that_has_finished_sending_still_gets_its_answer(appliance: Daemon) -> None:
    with appliance.connect() as client:
        client.sendall(b"run --wait gate\n")
        client.shutdown(socket.SHUT_WR)
        appliance.wait_for_pid()
        (appliance.root / "gate").write_text("")
        client.settimeout(PATIENCE_SECONDS)
        received = b"".join(iter(lambda: client.recv(65536), b"")).decode()
    assert received.startswith("open\nerror: run example.com-000000001/1 failed: exit status 7\n")


def test_a_stop_is_reported_to_waiting_clients(appliance: Daemon) -> None:
    with waiting(appliance) as client:
        assert appliance.stop() == 0
        out, error = client.communicate(timeout=PATIENCE_SECONDS)
    assert (client.returncode, out) == (143, "")
    assert error == "error: run example.com-000000001/1 interrupted: the appliance was stopped\n"


def test_a_killed_appliance_leaves_the_client_unanswered_and_the_program_running(appliance: Daemon) -> None:
    with waiting(appliance) as client:
        pid = appliance.wait_for_pid()
        appliance.kill()
        _, error = client.communicate(timeout=PATIENCE_SECONDS)
        assert client.returncode == 69
        assert error.startswith("error: the appliance at ")
    assert is_running(pid)
    os.killpg(pid, signal.SIGKILL)
    eventually(lambda: not is_running(pid), "its end")
