"""One stanza for each line of a crontab: jobs with their own program, defaults, standard input and environment files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.daemon import STANZAS, Daemon
from tests.support.waiting import eventually

JOBS = """
defaults {{ env = [ COMMON = "yes" ]  env_file = "{file}"  pass_env = ( "PASSED" )  timeout = 1m }}
job "tick" {{ every = 1  argv = ( "/bin/sh" "-c" "echo $COMMON $OWN $SECRET $PASSED $KEPT >> {out}; cat >> {out}" )
             env = [ OWN = "%{{message_expiration}}" ]  stdin = "from %{{message_expiration}}
" }}
job "never" {{ at = 9999-01-01T00:00:00Z  argv = ( "/bin/sh" "-c" "echo unread" )  stdin = "{much}" }}
job "slow" {{ at = 9999-01-01T00:00:00Z  argv = ( "/bin/sh" "-c" "until [ -e {out}.go ]; do sleep 0.05; done; cat > {out}.slow" )
             stdin = "{much}" }}
"""
MUCH = "much " * 100_000


@pytest.fixture
def appliance(daemon: Daemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Daemon:
    for name in ("PASSED", "KEPT"):
        monkeypatch.setenv(name, f"{name.lower()} by the daemon")
    secrets = tmp_path / "secrets.env"
    secrets.touch(0o600)
    secrets.write_text("SECRET='one'\n")
    jobs = JOBS.format(file=secrets, out=tmp_path / "out", much=MUCH)
    daemon.conf.write_text(STANZAS % daemon.etc + jobs)
    return daemon.start()


def test_a_job_runs_its_program_with_the_defaults_its_input_and_the_file(appliance: Daemon, tmp_path: Path) -> None:
    out = tmp_path / "out"
    eventually(lambda: out.exists() and "from 86400" in out.read_text(), "a run of the job")
    assert out.read_text().startswith("yes 86400 one passed by the daemon\nfrom 86400\n")
    (tmp_path / "secrets.env").write_text("SECRET='two'\n")
    eventually(lambda: "yes 86400 two passed by the daemon\n" in out.read_text(), "a run with the new secret")
    (tmp_path / "secrets.env").write_text("SECRET='three'\nthree\n")
    eventually(lambda: any(run["state"] == "failed" for run in appliance.runs()), "a run that fails")
    failed = next(run for run in appliance.runs() if run["state"] == "failed")
    assert failed["reason"] == f"env_file {tmp_path}/secrets.env:2: missing `NAME=`"
    shown = [
        appliance.ask(line) for line in ("config showrecurse", "sched show tick", "sched history", "sched why tick")
    ]
    assert not any(
        secret in text for secret in ("'one'", "two", "three", "by the daemon") for text in (*shown, appliance.log)
    )
    assert "env_file = " in shown[0] and "pass_env = " in shown[0]


def test_a_program_that_does_not_read_ends_and_the_daemon_answers(appliance: Daemon) -> None:
    assert appliance.run("run never")["state"] == "succeeded"
    assert appliance.say("pid").strip().isdigit()


def test_the_input_outlives_a_killed_daemon(appliance: Daemon, tmp_path: Path) -> None:
    appliance.say("run slow")
    eventually(lambda: any(run["command"] == "run slow" for run in appliance.wait_for_state("started")), "the program")
    appliance.wait_for_pid()
    appliance.kill()
    (tmp_path / "out.go").touch()
    slow = tmp_path / "out.slow"
    eventually(lambda: slow.exists() and slow.read_text() == MUCH, "the whole input")
    appliance.start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may start a program as another user")
def test_a_program_of_another_user_gets_both_too(appliance: Daemon, tmp_path: Path) -> None:
    jobs = f"""
        job "other" {{ at = 9999-01-01T00:00:00Z  user = nobody  argv = ( "/bin/sh" "-c" "id -un; echo $SECRET; cat /dev/stdin" )
                      env_file = "{tmp_path}/secrets.env"  stdin = "text" }}
    """
    appliance.conf.write_text(STANZAS % appliance.etc + jobs)
    assert appliance.ask("config reload").startswith("OK")
    row = appliance.run("run other")
    number = int(str(row["id"]).rpartition("-")[2])
    assert appliance.rows("SELECT output FROM outputs WHERE job = ?", number) == [(b"nobody\none\ntext",)]


def test_a_job_at_boot_runs_once_in_a_boot_also_after_kill_9(daemon: Daemon) -> None:
    text = STANZAS % daemon.etc + 'job "up" { at = boot  argv = ( "/bin/echo" "up" ) }\n'
    daemon.conf.write_text(text)
    daemon.start()
    daemon.wait_for_state("succeeded")
    for _ in range(2):
        daemon.kill()
        daemon.start()
        assert "its time in this boot has passed" in daemon.ask("sched why up")
        assert len(daemon.runs()) == 1
    daemon.stop()
    daemon.change(
        "UPDATE meta SET value = 'another' WHERE key = 'last_boot_id'",
        "UPDATE jobs SET schedule = 'boot another delay 0' WHERE declared = 'up'",
    )
    daemon.start()
    daemon.wait_for_state("succeeded", 2)
