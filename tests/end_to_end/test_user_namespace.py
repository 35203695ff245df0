"""A daemon in a user namespace, as in a rootless container: root there has all capabilities, and some of them count for nothing."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.support.daemon import Daemon, command
from tests.support.processes import PYTHON

STANZAS = """\
sched {{ backing_store = "../var/sched.db" }}
program "user" {{ argv = ( "/bin/true" ) user = "{nobody}" }}
program "group" {{ argv = ( "/bin/true" ) group = "{nobody}" }}
program "nice" {{ argv = ( "/bin/true" ) nice = -5 }}
program "limit" {{ argv = ( "/bin/true" ) limits = [ nofile = 1000000 ] }}
program "own" {{ argv = ( "/bin/true" ) user = "0" nice = 19 }}
"""
NOBODY = 65534


@pytest.fixture
def rootless(daemon: Daemon) -> Daemon:
    namespace = ["unshare", "--user", "--map-root-user", "sh", "-c", 'ulimit -n 4096; exec "$@"', "sh"]
    if os.geteuid() != 0 or subprocess.run([*namespace, "true"], check=False).returncode:
        pytest.skip("needs root and user namespaces")
    daemon.conf.write_text(STANZAS.format(nobody=NOBODY))
    daemon.is_copy = False
    daemon.wrapper = namespace
    return daemon.start()


def test_doctor_and_preview_name_the_programs_that_cannot_run(rootless: Daemon) -> None:
    failing = ("user", "group", "nice", "limit")
    for name in (*failing, "own"):
        rootless.run(f"run {name}")
    reasons = [run["reason"] for run in rootless.runs()]
    states = {run["command"]: run["state"] for run in rootless.runs()}
    assert states == {f"run {name}": "failed" for name in failing} | {"run own": "succeeded"}, reasons
    config = str(rootless.etc / "appliance.yaml")
    told = command("doctor", "--config", config).stdout
    assert [name for name in (*failing, "own") if f"program `{name}` cannot" in told] == list(failing), told
    assert "the user namespace of the appliance does not know the uid 65534" in told
    assert "the user namespace of the appliance does not know the gid 65534" in told
    preview = command("preview", "--for", "1m", "--config", config)
    assert all(f"program `{name}` cannot" in preview.stdout + preview.stderr for name in failing), preview
    rootless.assert_healthy()
    rootless.stop()
    doctor = [*rootless.wrapper, *PYTHON, "doctor", "--config", config]
    alone = subprocess.run(doctor, capture_output=True, text=True, check=False).stdout
    assert [name for name in (*failing, "own") if f"program `{name}` cannot" in alone] == ["user", "group"], alone
