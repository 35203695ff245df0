"""The log with a reader that hangs, disappears or comes back: no work waits for the reader."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from schedappliance.boot import audit
from tests.support.daemon import APPLIANCE_FILE, STANZAS, Daemon
from tests.support.waiting import PATIENCE_SECONDS, eventually


@pytest.fixture
def full_pipe() -> Iterator[tuple[int, int]]:
    """Both ends of a full pipe."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * fcntl.fcntl(writing, fcntl.F_GETPIPE_SZ))
    with suppress(BlockingIOError):
        while True:
            os.write(writing, b"x")
    os.set_blocking(writing, True)
    yield reading, writing
    for descriptor in (reading, writing):
        with suppress(OSError):
            os.close(descriptor)


def start_unread(daemon: Daemon, writing: int) -> None:
    daemon.launch(stderr=writing)
    eventually(lambda: daemon.ended() or daemon.socket_path.exists(), "the console")
    assert not daemon.ended()


def test_an_appliance_whose_log_nobody_reads_goes_on(daemon: Daemon, full_pipe: tuple[int, int]) -> None:
    start_unread(daemon, full_pipe[1])
    lines = 12_000
    answers = daemon.exchange(b"config set a 1\n" * lines).decode()
    assert answers == "a = 1\n" * lines
    daemon.say("sched in 0.1 run append")
    daemon.wait_for_state("succeeded")
    daemon.drop("a.cmd", "config set b 1\n")
    daemon.result("a.cmd", "done")


def test_an_appliance_whose_log_nobody_reads_can_be_stopped(daemon: Daemon, full_pipe: tuple[int, int]) -> None:
    start_unread(daemon, full_pipe[1])
    daemon.say("sched in 900 version")
    assert daemon.process
    daemon.process.terminate()
    assert daemon.process.wait(PATIENCE_SECONDS) == 0
    assert not daemon.socket_path.exists()


def test_a_reader_that_comes_back_sees_how_many_lines_are_missing(daemon: Daemon, full_pipe: tuple[int, int]) -> None:
    reading, writing = full_pipe
    start_unread(daemon, writing)
    os.close(writing)
    daemon.exchange(b"config set a 1\n" * 12_000)
    os.set_blocking(reading, False)
    heard = bytearray()

    def is_loss_reported() -> bool:
        daemon.say("config set b 1")
        with suppress(BlockingIOError):
            while part := os.read(reading, 65536):
                heard.extend(part)
        return b" log lines missing here: " in heard

    eventually(is_loss_reported, "the number of lines")
    assert heard.count(b" log lines missing here: ") == 1


def test_an_appliance_whose_reader_has_gone_goes_on_and_stops_cleanly(
    daemon: Daemon, full_pipe: tuple[int, int]
) -> None:
    reading, writing = full_pipe
    start_unread(daemon, writing)
    os.close(writing)
    os.close(reading)
    daemon.say("config set a 1")
    daemon.say("run append")
    daemon.wait_for_state("succeeded")
    assert daemon.process
    daemon.process.terminate()
    assert daemon.process.wait(PATIENCE_SECONDS) == 0


def audit_often() -> None:
    pytest.MonkeyPatch().setattr(audit, "AUDIT_MS", 100)


def log_to(daemon: Daemon, path: Path) -> None:
    file = daemon.etc / "appliance.yaml"
    file.write_text(file.read_text().replace("log: {", f"log: {{ file: {path},"))


def test_a_log_file_that_was_moved_or_removed_is_made_again(daemon: Daemon) -> None:
    path, moved = daemon.root / "daemon.log", daemon.root / "daemon.log.1"
    log_to(daemon, path)
    daemon.launch(audit_often)
    eventually(lambda: daemon.ended() or (path.exists() and " is ready" in path.read_text()), "the start")
    assert path.stat().st_mode & 0o777 == 0o640
    path.rename(moved)
    eventually(lambda: path.exists() and "opened the log file" in path.read_text(), "a log file after the move")
    assert "opened the log file" not in moved.read_text()
    path.unlink()
    eventually(path.exists, "a log file after the removal")
    daemon.say("sched in 900 version")
    eventually(lambda: "sched in 900 version" in path.read_text(), "a line in the new file")
    assert daemon.log == "", "nothing goes to stderr"


def test_health_says_that_the_log_file_is_lost(daemon: Daemon) -> None:
    """The lines went to a file where nobody looks, and `health` said `ok`."""
    path = daemon.root / "daemon.log"
    log_to(daemon, path)
    daemon.launch(audit_often)
    eventually(lambda: daemon.ended() or (path.exists() and " is ready" in path.read_text()), "the start")
    path.rename(daemon.root / "daemon.log.1")
    path.mkdir()
    eventually(lambda: f"{path} is a directory, not a file; move it away" in daemon.say("health"), "the trouble")
    path.rmdir()
    eventually(lambda: daemon.say("health") == "ok\n", "the end of the trouble")
    assert "opened the log file" in path.read_text()


def test_a_log_file_that_cannot_be_opened_prevents_the_start(daemon: Daemon) -> None:
    log_to(daemon, daemon.root / "nowhere" / "log")
    assert "cannot open the log file" in daemon.serve_rejected()


def test_the_lines_of_programs_are_logged_while_they_run_and_after_a_restart(tmp_path: Path) -> None:
    talks = """echo begin; until [ -e ../go ]; do sleep 0.05; done; printf 'a \\033[1m word\\nend' >&2"""
    job = f'job "talk" {{ at = 9999-01-01T00:00:00Z  argv = ( "/bin/sh" "-c" "{talks}" )  cwd = "{tmp_path}/etc" }}\n'
    logging = "log: { format: json, programs: true, fields: { env: test } }"
    appliance_file = APPLIANCE_FILE.replace("log: { level: debug }", logging)
    daemon = Daemon(tmp_path, STANZAS % (tmp_path / "etc") + job, appliance_file).start()

    def rows(event: str) -> list[dict[str, Any]]:
        return [row for row in map(json.loads, daemon.log.splitlines()) if row.get("event") == event]

    try:
        run = daemon.data("sched run talk")["run"]
        (row,) = eventually(lambda: rows("output"), "the first line")
        assert {key: value for key, value in row.items() if key != "time"} == {
            "level": "info",
            "message": "begin",
            "env": "test",
            "event": "output",
            "job": run.partition("/")[0],
            "job_name": "talk",
            "program": "talk",
            "run": run,
        }
        daemon.kill()
        daemon.start()
        (tmp_path / "go").touch()
        eventually(lambda: rows("run"), "the end of the run")
        assert [row["message"] for row in rows("output")] == ["begin", "a \x1b[1m word", "end"]
        order = [row["event"] for row in map(json.loads, daemon.log.splitlines()) if "event" in row]
        assert order == ["output", "output", "output", "run"]
    finally:
        daemon.end()
