"""The units of etc/systemd, under a systemd that has booted a machine of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.machine import Machine, booted
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

UNITS = Path(__file__).parents[2] / "etc/systemd"
UNIT = "schedappliance.service"
APPLIANCE_FILE = """\
node: example.com
config: sched.conf
console: { listen: /run/schedappliance/console.sock }
spool: { path: /var/spool/schedappliance }
"""
STANZAS = """\
sched { backing_store = "/var/lib/schedappliance/sched.db" }
program "slow" { argv = ( "/bin/sh" "-c" "sleep 3; exit 5" ) }
program "whoami" { argv = ( "/bin/sh" "-c" "id -un; cat /proc/self/oom_score_adj" ) }
"""


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with booted() as machine:
        machine.install(UNITS)
        yield machine


@pytest.fixture(autouse=True)
def etc(machine: Machine) -> Iterator[Path]:
    """The configuration of a stopped service."""
    etc = machine.root / "etc/schedappliance"
    etc.mkdir(exist_ok=True)
    (etc / "appliance.yaml").write_text(APPLIANCE_FILE)
    (etc / "sched.conf").write_text(STANZAS)
    yield etc
    machine.run("systemctl", "stop", UNIT, check=False)
    machine.run("systemctl", "reset-failed", UNIT, check=False)


def start(machine: Machine) -> int:
    """Starts the service, which returns when the daemon is ready; returns the pid of the daemon on the machine."""
    machine.run("systemctl", "start", UNIT)
    return int(machine.show(UNIT, "MainPID"))


def test_systemctl_start_returns_when_the_daemon_is_ready(machine: Machine) -> None:
    start(machine)
    assert machine.ask("summary")["ready"] is True
    assert machine.show(UNIT, "StatusText") == "0 jobs, 0 running"
    assert machine.show(UNIT, "ActiveState") == "active"


def test_a_program_outlives_a_crash_and_its_end_is_known(machine: Machine) -> None:
    pid = start(machine)
    run = machine.ask("run slow")["run"]
    eventually(lambda: machine.ask(f"sched show {run}")["attempts"], "the start of the program")
    machine.run("kill", "-KILL", str(pid))
    eventually(lambda: machine.show(UNIT, "NRestarts") == "1" and machine.show(UNIT, "ActiveState") == "active")
    end = machine.ask(f"sched wait {run}")
    assert (end["state"], end["exit_status"]) == ("failed", 5)


def test_a_daemon_that_hangs_is_restarted(machine: Machine) -> None:
    dropin = machine.root / "etc/systemd/system" / f"{UNIT}.d"
    dropin.mkdir(exist_ok=True)
    # The daemon reports each ten seconds.
    (dropin / "watchdog.conf").write_text("[Service]\nWatchdogSec=15\n")
    machine.run("systemctl", "daemon-reload")
    pid = start(machine)
    machine.run("kill", "-STOP", str(pid))
    eventually(lambda: not (machine.root / "proc" / str(pid)).exists(), "the end of the daemon")
    eventually(lambda: machine.show(UNIT, "NRestarts") == "1" and machine.show(UNIT, "ActiveState") == "active")
    (dropin / "watchdog.conf").unlink()
    machine.run("systemctl", "daemon-reload")


def test_systemctl_reload_fails_if_the_files_are_rejected(machine: Machine, etc: Path) -> None:
    start(machine)
    (etc / "sched.conf").write_text(STANZAS + 'job "x" {\n')
    assert machine.run("systemctl", "reload", UNIT, check=False).returncode == 1
    (etc / "sched.conf").write_text(STANZAS + 'job "x" { every = 1h command = "run slow" }\n')
    machine.run("systemctl", "reload", UNIT)
    assert [job["name"] for job in machine.ask("sched list")] == ["x"]


def test_a_start_that_cannot_succeed_is_not_repeated(machine: Machine, etc: Path) -> None:
    (etc / "sched.conf").write_text("sched {\n")
    assert machine.run("systemctl", "start", UNIT, check=False).returncode == 1
    assert machine.show(UNIT, "ExecMainStatus") == "78"
    assert (machine.show(UNIT, "NRestarts"), machine.show(UNIT, "ActiveState")) == ("0", "failed")


@pytest.mark.parametrize(("drop_in", "user"), [("", "schedappliance"), ("strict", "schedappliance"), ("root", "root")])
def test_programs_run_in_each_unit(machine: Machine, drop_in: str, user: str) -> None:
    directory = machine.root / "etc/systemd/system" / f"{UNIT}.d"
    directory.mkdir(exist_ok=True)
    if drop_in:
        (directory / "drop-in.conf").write_bytes((UNITS / f"{UNIT}.d/{drop_in}.conf").read_bytes())
    machine.run("systemctl", "daemon-reload")
    start(machine)
    run = machine.ask("run whoami")["run"]
    assert machine.ask(f"sched wait {run}")["state"] == "succeeded"
    assert machine.ask(f"sched output {run}")["text"] == f"{user}\n0\n"
    machine.run("systemctl", "stop", UNIT)
    assert machine.show(UNIT, "Result") == "success"
    # The owner of the files changes with the next unit.
    for path in ("run", "var/lib", "var/spool"):
        machine.run("rm", "-rf", f"/{path}/schedappliance")
    machine.run("systemd-tmpfiles", "--create", "schedappliance.conf")
    (directory / "drop-in.conf").unlink(missing_ok=True)
    machine.run("systemctl", "daemon-reload")


def test_a_spool_may_have_a_group(machine: Machine, etc: Path) -> None:
    groups = machine.root / "etc/group"
    groups.write_text(f"{groups.read_text()}droppers:x:4242:schedappliance\n")
    (etc / "appliance.yaml").write_text(APPLIANCE_FILE.replace("spool: {", "spool: { group: droppers,"))
    start(machine)
    new = machine.root / "var/spool/schedappliance/new"
    assert (oct(new.stat().st_mode)[-4:], new.stat().st_gid) == ("3770", 4242)
