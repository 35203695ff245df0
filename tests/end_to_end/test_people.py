"""The subcommands for people on a real daemon: `status`, `jobs`, `runs`, and those that are short for console commands."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.support.daemon import Daemon
from tests.support.waiting import PATIENCE_SECONDS

STANZAS = """
program "fails" { argv = ( "/bin/sh" "-c" "exit 3" ) }
program "hangs" { argv = ( "/bin/sleep" "3600" ) }
job "nightly" { every = 1h command = "run fails" }
job "weekly" { every = 7d command = "run hello" }
"""


@pytest.fixture
def appliance(daemon: Daemon) -> Daemon:
    daemon.conf.write_text(daemon.conf.read_text() + STANZAS)
    return daemon.start()


def person(daemon: Daemon, name: str, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "schedappliance", name, "--endpoint", str(daemon.socket_path), *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)


def shown(daemon: Daemon, name: str, *words: str) -> str:
    done = person(daemon, name, *words)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def data(daemon: Daemon, name: str, *words: str) -> Any:
    return json.loads(shown(daemon, name, "--json", *words))


def test_a_person_on_call_finds_what_failed_and_stops_what_hangs(appliance: Daemon) -> None:
    failed = appliance.run("sched run nightly")
    appliance.run("sched run weekly")
    hanging = appliance.say("run hangs").strip()
    appliance.wait_for_state("started")

    head, line = shown(appliance, "runs", "--failed", "--since", "1h").splitlines()
    assert head.split() == ["JOB", "RUN", "STATE", "DUE", "TOOK", "REASON"]
    assert line.split()[:3] == ["nightly", failed["run"], "failed"]
    assert line.endswith("exit status 3")
    assert [run["run"] for run in data(appliance, "runs", "nightly")] == [failed["run"]]

    assert [job["name"] for job in data(appliance, "jobs", "--failing")] == ["nightly"]
    assert "nightly" in shown(appliance, "jobs", "NIGHT") and "weekly" not in shown(appliance, "jobs", "NIGHT")

    status = shown(appliance, "status")
    assert status.startswith("no trouble\n")
    assert "1 runs failed in 24 h" in status and hanging in status
    assert shown(appliance, "stop", hanging) == f"{hanging}: its program is being ended\n"
    appliance.wait_for_state("cancelled")

    shown(appliance, "pause", "weekly")
    assert [job["name"] for job in data(appliance, "jobs", "--paused")] == ["weekly"]
    assert "paused" in shown(appliance, "why", "weekly")
    shown(appliance, "resume", "weekly")


def test_a_hold_is_seen_at_a_glance(appliance: Daemon) -> None:
    appliance.say("sched hold upgrade of the disk")
    first, second, *_ = shown(appliance, "status").splitlines()
    assert first == "no trouble"
    assert second.startswith("held since ")
    assert second.endswith(" by root: upgrade of the disk; nothing new starts until `sched release`")
    appliance.say("sched release")
    assert "held" not in shown(appliance, "status")


def test_a_cut_list_says_on_stderr_how_to_go_on(appliance: Daemon) -> None:
    for _ in range(3):
        appliance.run("run hello")
    done = person(appliance, "runs", "--limit", "1")
    assert done.returncode == 0
    assert done.stderr.startswith("2 more runs: `sched history limit 1 before ")


def test_errors_have_the_exit_statuses_of_the_console(appliance: Daemon) -> None:
    unknown = person(appliance, "runs", "nobody")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert unknown.stderr.startswith("error: no job has the id or name `nobody`")
    appliance.stop()
    assert person(appliance, "status").returncode == 69
    assert person(appliance, "jobs").returncode == 69
