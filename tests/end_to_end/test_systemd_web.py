"""The units of the page, under a systemd that has booted a machine of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.machine import Machine, booted
from tests.support.visits import visit

pytestmark = pytest.mark.slow

UNITS = Path(__file__).parents[2] / "etc/systemd"
SERVICE, SOCKET = "schedappliance-web.service", "schedappliance-web.socket"
APPLIANCE_FILE = """\
node: example.com
config: sched.conf
console: { listen: /run/schedappliance/console.sock }
"""
STANZAS = """\
sched { backing_store = "/var/lib/schedappliance/sched.db" }
Authorization {
  delegates = ( "schedappliance-web" )
  Role "page" { allow = ( "." ) users = ( "schedappliance-web" ) }
  Role "team" { allow = ( "^authz " "^sched list" "^health" "^summary" ) users = ( "daemon" ) }
}
"""


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    with booted() as machine:
        machine.install(UNITS)
        etc = machine.root / "etc/schedappliance"
        etc.mkdir(exist_ok=True)
        (etc / "appliance.yaml").write_text(APPLIANCE_FILE)
        (etc / "sched.conf").write_text(STANZAS)
        machine.run("usermod", "--append", "--groups", "schedappliance-web", "daemon")
        machine.run("systemctl", "start", "schedappliance.service", SOCKET)
        yield machine


def _visit(machine: Machine, user: str, path: str) -> tuple[int, str]:
    return visit(machine, "/opt/python/bin/python3", user, path)


def test_the_page_starts_with_the_first_visit_and_knows_its_visitor(machine: Machine) -> None:
    assert machine.show(SERVICE, "ActiveState") == "inactive"
    assert _visit(machine, "nobody", "/")[0] == 0, "not a member of the group"
    assert machine.show(SERVICE, "ActiveState") == "inactive"
    status, body = _visit(machine, "daemon", "/api/v1/identity")
    assert (status, json.loads(body)["user"]) == (200, "daemon")
    assert machine.show(SERVICE, "ActiveState") == "active"
    assert _visit(machine, "daemon", "/")[0] == 200
    assert _visit(machine, "daemon", "/api/v1/runs")[0] == 403, "no role of the visitor allows it"


def test_the_page_is_a_user_of_its_own_without_rights(machine: Machine) -> None:
    machine.run("systemctl", "start", SERVICE)
    pid = machine.show(SERVICE, "MainPID")
    status = dict(
        line.split(":\t", 1) for line in machine.run("cat", f"/proc/{pid}/status").stdout.splitlines() if ":\t" in line
    )
    uid = machine.run("id", "-u", "schedappliance-web").stdout.strip()
    assert status["Uid"].split() == [uid] * 4
    assert {int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


def test_root_is_told_why_the_page_is_not_for_root(machine: Machine) -> None:
    status, body = _visit(machine, "root", "/")
    assert status == 403 and "on behalf of root" in body


def test_a_stopped_page_comes_back_with_a_visit_and_a_killed_one_by_itself(machine: Machine) -> None:
    machine.run("systemctl", "stop", SERVICE)
    assert _visit(machine, "daemon", "/readyz") == (200, "ok\n")
    machine.run("systemctl", "kill", "--signal=KILL", SERVICE)
    assert _visit(machine, "daemon", "/api/v1/identity")[0] == 200
