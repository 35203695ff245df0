"""The subcommands for people on a real daemon: `status`, `jobs`, `runs`, `run`, and those short for console commands."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import Any

import pytest

from tests.support.completion import completed
from tests.support.daemon import Daemon, begin, command
from tests.support.waiting import PATIENCE_SECONDS

STANZAS = """
program "fails" { argv = ( "/bin/sh" "-c" "exit 3" ) }
program "argued" { argv = ( "/bin/sh" "-c" "echo $0 $*" ) args = ( ".*" ".*" ) }
program "killed" { argv = ( "/bin/sh" "-c" "echo on the way; kill -TERM $$" ) }
program "talks" { argv = ( "/bin/sh" "-c" "echo on the way; exec sleep 3600" ) }
program "gated" { argv = ( "/bin/sh" "-c" "echo on the way; until [ -e $0 ]; do sleep 0.05; done; exit 3" ) args = ( "/.*" ) }
program "hangs" { argv = ( "/bin/sleep" "3600" ) }
job "nightly" { every = 1h command = "run fails" }
job "weekly" { every = 7d command = "run hello" }
"""


@pytest.fixture
def appliance(daemon: Daemon) -> Daemon:
    daemon.conf.write_text(daemon.conf.read_text() + STANZAS)
    return daemon.start()


def person(daemon: Daemon, name: str, *words: str) -> subprocess.CompletedProcess[str]:
    return command(name, "--endpoint", str(daemon.socket_path), *words)


def begun(daemon: Daemon, name: str, *words: str) -> subprocess.Popen[str]:
    return begin(name, "--endpoint", str(daemon.socket_path), *words)


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
    assert head.split() == ["JOB", "RUN", "STATE", "DUE", "TOOK", "CPU", "MEMORY", "REASON"]
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
    shown(appliance, "hold", "for", "1h", "upgrade of the disk")
    first, second, *_ = shown(appliance, "status").splitlines()
    assert first == "no trouble"
    assert second.startswith("held since ")
    assert second.endswith(" by root: upgrade of the disk; nothing new starts until then or `sched release`")
    shown(appliance, "release")
    assert "held" not in shown(appliance, "status")


def test_a_cut_list_says_on_stderr_how_to_go_on(appliance: Daemon) -> None:
    for _ in range(3):
        appliance.run("run hello")
    done = person(appliance, "runs", "--since", "2h", "--limit", "1")
    assert done.returncode == 0
    before = done.stdout.splitlines()[-1].split()[2]
    assert done.stderr == f"2 more runs: `schedappliance runs --since 2h --limit 1 --before {before}`\n"


def test_errors_have_the_exit_statuses_of_the_console(appliance: Daemon) -> None:
    unknown = person(appliance, "runs", "nobody")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert unknown.stderr.startswith("error: no job has the id or name `nobody`")
    appliance.stop()
    assert person(appliance, "status").returncode == 69
    assert person(appliance, "jobs").returncode == 69


def test_run_ends_as_the_program_does(appliance: Daemon) -> None:
    done = person(appliance, "run", "argued", "one", "--wait", "--", "--wait")
    assert (done.returncode, done.stdout, done.stderr) == (0, "one --wait\n", "")
    done = person(appliance, "run", "--wait", "nightly")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.endswith(": failed\n")
    assert appliance.runs()[0]["name"] == "nightly"
    done = person(appliance, "run", "killed", "--wait", "--json")
    assert done.returncode == 128 + signal.SIGTERM
    end = json.loads(done.stdout)
    assert (end["state"], end["output"]) == ("failed", "on the way\n")
    assert data(appliance, "run", "weekly")["run"] == appliance.runs()[0]["run"]
    unknown = person(appliance, "run", "nobody")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert unknown.stderr.startswith("error: no job and no program named `nobody` can run: ")
    # One command is logged for each.
    commands = [line.partition("command=")[2] for line in appliance.log.splitlines() if "sched run" in line]
    assert commands == ["'json sched run nightly' ok", "'json sched run weekly' ok"]


def test_a_wait_that_ends_leaves_the_run_alone(appliance: Daemon) -> None:
    done = person(appliance, "run", "hangs", "--timeout", "0.01")
    run = appliance.wait_for_state("started")[0]["run"]
    goes_on = f"run {run} goes on; `schedappliance stop {run}` ends it\n"
    assert (done.returncode, done.stdout, done.stderr) == (75, "", f"error: {goes_on}")

    with begun(appliance, "run", "talks", "--wait") as waiting:
        assert waiting.stdout and waiting.stdout.readline() == "on the way\n"
        waiting.send_signal(signal.SIGINT)
        _, err = waiting.communicate(timeout=PATIENCE_SECONDS)
    run = appliance.runs()[0]["run"]
    assert (waiting.returncode, err) == (130, f"note: run {run} goes on; `schedappliance stop {run}` ends it\n")
    assert [row["state"] for row in appliance.runs()] == ["started", "started"]


def test_a_wait_outlives_the_daemon(appliance: Daemon) -> None:
    with begun(appliance, "run", "talks", "--wait") as waiting:
        assert waiting.stdout and waiting.stdout.readline() == "on the way\n"
        assert waiting.stderr
        appliance.kill()
        assert waiting.stderr.readline() == "note: the appliance does not answer; waiting for its next start\n"
        appliance.start()
        run = appliance.wait_for_state("started")[0]["run"]
        appliance.say(f"sched stop {run}")
        out, err = waiting.communicate(timeout=PATIENCE_SECONDS)
    assert (waiting.returncode, out, err) == (128 + signal.SIGTERM, "", f"note: run {run}: cancelled\n")


def test_the_timeline_shows_what_failed_first_and_counts_the_rest(appliance: Daemon) -> None:
    appliance.run("sched run nightly")
    appliance.run("run hello")
    timeline = data(appliance, "timeline", "--since", "1h", "--until", "3h")
    assert [lane["name"] for lane in timeline["lanes"]] == ["nightly", "weekly", "others (1)"]
    assert [run["state"] for lane in timeline["lanes"] for run in lane["runs"]] == ["failed", "succeeded"]
    assert timeline["lanes"][0]["planned_ms"] and not timeline["lanes"][1]["planned_ms"]
    only = data(appliance, "timeline", "--lanes", "2", "--until", "8d")
    assert [lane["name"] for lane in only["lanes"]] == ["nightly", "others (2)"]
    assert len(only["lanes"][1]["planned_ms"]) == 1
    assert only["left_out"] == ["lanes of 1 jobs, which are in `others` with their next due time"]
    text = shown(appliance, "timeline", "weekly")
    assert text.splitlines()[1].startswith("weekly ") and "nightly" not in text


def test_a_shell_completes_names_that_the_appliance_tells(appliance: Daemon) -> None:
    command = [sys.executable, "-m", "schedappliance", "completion", "bash"]
    script = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE_SECONDS).stdout
    config = appliance.etc / "appliance.yaml"
    assert completed(script, "why ni", config) == ["nightly"]
    assert completed(script, "preview --job w", config) == ["weekly"]
    assert {"nightly", "weekly", "hello", "talks"} <= {*completed(script, "run --wait ", config)}
    assert completed(script, "console sched w", config) == ["wait", "why"]
    assert completed(script, "console sched pause we", config) == ["weekly"]


def test_the_exit_status_is_that_of_the_run_even_if_nobody_reads_its_output(appliance: Daemon) -> None:
    gate = appliance.root / "gate"
    with begun(appliance, "run", "--wait", "gated", str(gate)) as run:
        assert run.stdout and run.stderr
        run.stdout.close()
        gate.touch()
        assert run.stderr.read() == "note: run example.com-000000003/1: failed\n"
    assert run.returncode == 3
    with begun(appliance, "logs", "-f", "example.com-000000003/1") as logs:
        assert logs.stdout
        logs.stdout.close()
    assert logs.returncode == 1
