"""`serve --last-good`: invalid files do not prevent the start, the status says so, and repaired files are accepted."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.daemon import STANZAS, Daemon
from tests.support.waiting import eventually

JOB = 'job "hourly" { every = 1h command = "run hello" }\n'


@pytest.fixture
def stopped(daemon: Daemon) -> Daemon:
    """An appliance that ran with included files and a job, and was stopped."""
    (daemon.etc / "conf.d").mkdir()
    (daemon.etc / "conf.d" / "a.conf").write_text("From_Directory = 1\n")
    (daemon.etc / "empty.d").mkdir()
    daemon.conf.write_text(STANZAS % daemon.etc + JOB + 'include "conf.d"\ninclude "empty.d"\n')
    daemon.start()
    daemon.ask("sched in 600 run hello")
    assert daemon.stop() == 0
    return daemon


def assert_degraded(daemon: Daemon) -> None:
    problem = daemon.data("summary")["degraded"]
    assert problem.startswith("the stanza files are rejected; configuration 1 of 2")
    assert problem.endswith(" is active, from the store")
    assert f"\tDegraded:  {problem}\n" in daemon.say("summary")
    assert f"degraded: {problem}\n" in daemon.say("config status")
    assert f"degraded: {problem}\n" in daemon.log
    status = daemon.data("config status")
    assert (status["degraded"], status["generation"]) == (problem, 1)
    assert status["last_attempt"]["outcome"] == "rejected"
    assert status["last_attempt"]["diagnostics"]


@pytest.mark.parametrize("how", ["broken", "cut", "gone", "an included file is gone"])
def test_invalid_files_do_not_prevent_a_start(stopped: Daemon, how: str) -> None:
    good = stopped.conf.read_text()
    if how == "broken":
        stopped.conf.write_text(good + 'progam "more" { }\n')
    elif how == "cut":
        stopped.conf.write_text(good[: good.index("86400")])
    elif how == "gone":
        stopped.conf.unlink()
    else:
        stopped.conf.write_text(good + 'include "more.conf"\n')
    assert "--last-good" not in stopped.serve_rejected()
    stopped.options = [f"--last-good={stopped.var / 'sched.db'}" if how == "gone" else "--last-good"]
    stopped.start()
    eventually(lambda: stopped.data("config status")["last_attempt"]["outcome"] == "rejected", "the outcome")
    assert_degraded(stopped)
    assert stopped.say("config get from_directory") == "From_Directory = 1\n"
    assert {job["origin"] for job in stopped.data("sched list")} == {"console", "stanza"}
    stopped.say("run hello")
    stopped.wait_for_state("succeeded")
    stopped.conf.write_text(good.replace("86400", "5"))
    eventually(lambda: stopped.data("config status")["generation"] == 2, "the repaired files")
    assert (stopped.data("summary")["degraded"], stopped.data("config status")["degraded"]) == (None, None)
    assert stopped.say("config get message_expiration") == "Message_Expiration = 5\n"
    stopped.assert_healthy()


def test_files_restored_to_their_old_content_keep_their_generation(stopped: Daemon) -> None:
    good = stopped.conf.read_text()
    stopped.conf.write_text(good + "broken {\n")
    stopped.options = ["--last-good"]
    stopped.start()
    eventually(lambda: stopped.data("config status")["last_attempt"]["outcome"] == "rejected", "the outcome")
    jobs = stopped.data("sched list")
    stopped.conf.write_text(good)
    eventually(lambda: stopped.data("config status")["degraded"] is None, "the repaired files")
    assert stopped.data("config status")["generation"] == 1
    assert stopped.data("sched list") == jobs


def test_valid_files_are_used_even_with_last_good(stopped: Daemon) -> None:
    stopped.conf.write_text(stopped.conf.read_text().replace("86400", "5"))
    stopped.options = ["--last-good"]
    stopped.start()
    assert stopped.say("config get message_expiration") == "Message_Expiration = 5\n"
    assert stopped.data("config status")["degraded"] is None
    assert "degraded" not in stopped.log


def test_a_start_without_a_store_says_what_is_missing(daemon: Daemon, tmp_path: Path) -> None:
    daemon.conf.write_text("Broken =\n")
    daemon.options = ["--last-good"]
    assert (
        "error: no store to start from: the files do not name it; give `--last-good=STORE`" in daemon.serve_rejected()
    )
    daemon.options = [f"--last-good={tmp_path / 'absent.db'}"]
    assert f"error: no store to start from: {tmp_path / 'absent.db'} does not exist" in daemon.serve_rejected()
    assert not (tmp_path / "absent.db").exists()
    daemon.conf.write_text(STANZAS % daemon.etc + "Broken =\n")
    daemon.options = ["--last-good"]
    assert f"no store to start from: {daemon.var / 'sched.db'} does not exist" in daemon.serve_rejected()


def test_a_start_from_what_is_no_store_says_what_it_is(daemon: Daemon, tmp_path: Path) -> None:
    daemon.conf.write_text("Broken =\n")
    daemon.options = [f"--last-good={tmp_path}"]
    assert f"error: no store to start from: {tmp_path} is a directory; give" in daemon.serve_rejected()
    (loop := tmp_path / "loop.db").symlink_to(loop)
    daemon.options = [f"--last-good={loop}"]
    assert f"{loop} cannot be read: Too many levels of symbolic links" in daemon.serve_rejected()
