"""A daemon in a user namespace, as in a rootless container: root there has all capabilities, and some of them count for nothing."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from tests.support.daemon import Daemon, command
from tests.support.processes import PYTHON
from tests.support.waiting import PATIENCE_SECONDS, eventually

STANZAS = """\
sched {{ backing_store = "../var/sched.db" }}
program "user" {{ argv = ( "/bin/true" ) user = "{nobody}" }}
program "group" {{ argv = ( "/bin/true" ) group = "{nobody}" }}
program "nice" {{ argv = ( "/bin/true" ) nice = -5 }}
program "limit" {{ argv = ( "/bin/true" ) limits = [ nofile = 1000000 ] }}
program "own" {{ argv = ( "/bin/true" ) user = "0" nice = 19 }}
"""
NOBODY = 65534
NOBODY_MAY_ALL = f'Authorization {{ Role "n" {{ allow = ( "." ) users = ( "nobody" "{NOBODY}" "root" ) }} }}\n'


@pytest.fixture
def rootless(daemon: Daemon) -> Daemon:
    """Not yet started."""
    namespace = ["unshare", "--user", "--map-root-user", "sh", "-c", 'ulimit -n 4096; exec "$@"', "sh"]
    if os.geteuid() != 0 or subprocess.run([*namespace, "true"], check=False).returncode:
        pytest.skip("needs root and user namespaces")
    daemon.is_copy = False
    daemon.wrapper = namespace
    return daemon


def test_doctor_and_preview_name_the_programs_that_cannot_run(rootless: Daemon) -> None:
    rootless.conf.write_text(STANZAS.format(nobody=NOBODY))
    rootless.start()
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


def greeting_of(uid: int, path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a user of the machine gets at the console before any line, with the way to its directory open."""
    monkeypatch.chdir(path.parent)
    with socket.socket(socket.AF_UNIX) as client:
        os.seteuid(uid)
        try:
            client.connect(path.name)
        finally:
            os.seteuid(0)
        client.settimeout(PATIENCE_SECONDS)
        return client.recv(10_000).decode()


def test_a_user_whom_the_namespace_does_not_map_has_no_role(rootless: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel names every such user by the number of `nobody`."""
    rootless.var.chmod(0o755)
    file = rootless.etc / "appliance.yaml"
    text = file.read_text().replace("console.sock", 'console.sock, mode: "0666"')
    file.write_text(text.replace("../var/spool", "../var/spool, group: root"))
    rootless.conf.write_text(f"{rootless.conf.read_text()}{NOBODY_MAY_ALL}")
    rootless.start()
    for uid in (1000, 2, NOBODY):
        error = "error: your user is not mapped into the user namespace of the appliance\n"
        assert greeting_of(uid, rootless.socket_path, monkeypatch) == error
    assert rootless.say("authz id").startswith('<AuthzInformation username="root"')
    drop = rootless.var / "spool" / "tmp" / "a.cmd"
    drop.write_text("run hello\n")
    os.chown(drop, 2, 0)
    drop.rename(rootless.var / "spool" / "new" / "a.cmd")
    result = rootless.var / "spool" / "failed" / f"{NOBODY}~a.result"
    eventually(result.exists, "the result")
    assert "the owner of the file is not mapped into the user namespace of the appliance" in result.read_text()
    assert rootless.runs() == []
    rootless.assert_healthy()
