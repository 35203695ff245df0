"""Roles in a real appliance with real users: root, and `nobody` if the tests run as root.

These tests are a list of attacks: no way in lets a user do what no role allows.
"""

from __future__ import annotations

import grp
import json
import os
import pwd
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from schedappliance.client import Client, NotAuthorized
from schedappliance.core.reload import AUTHORIZATION_LOST
from tests.support.daemon import APPLIANCE_FILE, STANZAS, Daemon
from tests.support.waiting import PATIENCE_SECONDS, eventually

OWN = pwd.getpwuid(os.geteuid()).pw_name
NOBODY = pwd.getpwnam("nobody")
NOBODYS_GROUP = grp.getgrgid(NOBODY.pw_gid).gr_name
NOT_AUTHORIZED = "Not Authorized for this command\n"

ADMIN = f'Role "admin" {{ allow = ( "." ) users = ( "{OWN}" ) }}'
AS_NOBODY = """\
import os, socket, sys
directory = os.open(sys.argv[1], os.O_PATH | os.O_DIRECTORY)
os.setgroups([]); os.setgid({gid}); os.setuid({uid})
connection = socket.socket(socket.AF_UNIX)
connection.connect(f"/proc/self/fd/{{directory}}/console.sock")
connection.sendall(sys.stdin.buffer.read())
connection.shutdown(socket.SHUT_WR)
while received := connection.recv(65536):
    sys.stdout.buffer.write(received)
"""

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may speak as another user")


def stanzas(etc: Path, *roles: str) -> str:
    job = 'job "tick" { every = 1  command = "run append" }\n'
    return f"{STANZAS % etc}{job}Authorization {{ {' '.join(roles)} }}\n"


def may(*allow: str) -> str:
    """A role of the group of the user `nobody`."""
    listed = " ".join(f'"{pattern}"' for pattern in allow)
    return f'Role "{NOBODYS_GROUP}s" {{ allow = ( {listed} ) groups = ( "{NOBODYS_GROUP}" ) }}'


@pytest.fixture
def appliance(daemon: Daemon) -> Daemon:
    """An appliance whose socket every user may open."""
    (daemon.etc / "appliance.yaml").write_text(APPLIANCE_FILE.replace("console.sock", 'console.sock, mode: "0666"'))
    daemon.conf.write_text(stanzas(daemon.etc, ADMIN))
    return daemon.start()


def reload(appliance: Daemon, *roles: str) -> None:
    """Reloads by SIGHUP, which needs no role, and waits for the generation."""
    assert appliance.process
    before = appliance.log.count(" is active; ")
    appliance.conf.write_text(stanzas(appliance.etc, *roles))
    appliance.process.send_signal(signal.SIGHUP)
    eventually(lambda: appliance.log.count(" is active; ") > before, "the reload")


def nobody(appliance: Daemon, *lines: str) -> str:
    """The answers that the user `nobody` gets to these lines on one connection."""
    script = AS_NOBODY.format(uid=NOBODY.pw_uid, gid=NOBODY.pw_gid)
    command = [sys.executable, "-c", script, str(appliance.var)]
    sent = "".join(f"{line}\n" for line in lines)
    return subprocess.run(
        command, input=sent, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=True
    ).stdout


@as_root
def test_a_user_without_a_role_can_do_nothing_at_the_console(appliance: Daemon) -> None:
    lines = ["help", "version", "authz id", "sched list", "RUN 'hello'", "json sched in 5 shutdown", "shutdown"]
    lines += ["nonsense", "sched in x run hello", "sched why nope", "config set program hello argv x"]
    lines += [
        "config begin",
        "config set message_expiration 1",
        "config commit",
        "config reload",
        "run --wait hello",
        "quit",
    ]
    answers = nobody(appliance, *lines)
    assert answers.count(NOT_AUTHORIZED.strip()) == len(lines)
    assert [line for line in answers.splitlines() if NOT_AUTHORIZED.strip() not in line] == []
    asked = json.loads(nobody(appliance, '{"v": 1, "id": 7, "command": "shutdown"}'))
    assert (asked["ok"], asked["id"], asked["error"]) == (False, 7, NOT_AUTHORIZED.strip())
    assert asked["diagnostics"][0]["code"] == "E512"
    message = f"warning user=nobody uid={NOBODY.pw_uid} origin=console command='shutdown' rejected: Not Authorized"
    assert message in appliance.log
    assert {run["user"] for run in appliance.runs()} <= {"@config"}
    appliance.assert_healthy()


@as_root
def test_nested_commands_and_older_jobs_are_checked_against_the_roles(appliance: Daemon) -> None:
    reload(appliance, ADMIN, may("^sched (in|every) ", "^run hello$", "^authz id$"))
    assert f'<Role name="{NOBODYS_GROUP}s"/>' in nobody(appliance, "authz id")
    assert nobody(appliance, "sched in 1 sched in 1 run append") == NOT_AUTHORIZED
    assert nobody(appliance, "sched in 1 shutdown") == NOT_AUTHORIZED
    (allowed, *rest) = nobody(appliance, "sched every 1 RUN  'hello'").splitlines()
    assert allowed.startswith("example.com-") and rest == []
    eventually(lambda: any(run["id"] == allowed and run["state"] == "succeeded" for run in appliance.runs()), "a run")
    reload(appliance, ADMIN)
    eventually(lambda: any(run["id"] == allowed and run["state"] == "failed" for run in appliance.runs()), "an error")
    assert "failed: not authorized, due " in appliance.say(f"sched why {allowed}")
    assert "it will fail: not authorized\n" in appliance.say(f"sched why {allowed}")
    # The declared jobs go on. The job of `nobody` waits until a role allows it.
    done = len([run for run in appliance.runs() if run["user"] == "@config" and run["state"] == "succeeded"])
    eventually(
        lambda: len([r for r in appliance.runs() if r["user"] == "@config" and r["state"] == "succeeded"]) > done,
        "the next run of the declared job",
    )
    appliance.assert_healthy()


@as_root
def test_only_a_delegate_gives_commands_on_behalf_of_another_user(appliance: Daemon) -> None:
    web = f'delegates = ( "{OWN}" )'
    as_own = json.dumps({"v": 1, "id": 7, "command": "sched in 600 run hello", "as": OWN})
    as_nobody = ("--as", "nobody", "sched", "in", "600", "run", "hello")
    # Without an entry in `delegates`, not even root gives commands on behalf of others.
    reload(appliance, ADMIN, may("^sched in ", "^run hello$"))
    assert "may not give commands on behalf of `nobody`" in appliance.console(*as_nobody).stderr
    reload(appliance, web, ADMIN, may("^sched in ", "^run hello$"))
    asked = json.loads(nobody(appliance, as_own))
    assert (asked["ok"], asked["diagnostics"][0]["code"]) == (False, "E512")
    assert asked["error"].startswith(f"user `nobody` may not give commands on behalf of `{OWN}`")
    assert appliance.data("sched list")[0]["user"] == "@config"
    assert appliance.console(*as_nobody).returncode == 0
    (job,) = [job for job in appliance.data("sched list") if job["user"] != "@config"]
    assert job["user"] == "nobody"
    who = f"info user=nobody uid={NOBODY.pw_uid} by={OWN} by_uid={os.geteuid()} origin=console"
    assert f"{who} command='sched in 600 run hello' ok" in appliance.log
    with Client(appliance.socket_path, on_behalf_of="nobody") as sched:
        assert sched.in_(600, "run hello").id
        with pytest.raises(NotAuthorized, match="Not Authorized"):
            sched.command("shutdown")
        with pytest.raises(ValueError, match="cannot be on behalf"):
            sched.submit(["run hello"])
    with (
        Client(appliance.socket_path, on_behalf_of="root") as sched,
        pytest.raises(NotAuthorized, match="nobody may give commands"),
    ):
        sched.version()
    with (
        Client(appliance.socket_path, on_behalf_of="no-such") as sched,
        pytest.raises(NotAuthorized, match="there is no user"),
    ):
        sched.version()


@as_root
def test_a_drop_of_a_user_without_a_role_is_rejected_with_a_result(appliance: Daemon) -> None:
    aside = appliance.var / "spool" / "tmp" / "nobodys.cmd"
    aside.write_text("run hello\n")
    os.chown(aside, NOBODY.pw_uid, NOBODY.pw_gid)
    aside.rename(appliance.var / "spool" / "new" / "nobodys.cmd")
    result = appliance.result("nobodys.cmd", "failed")
    assert (result["accepted"], result["user"], result["results"]) == (False, "nobody", [])
    assert result["diagnostics"][0]["message"] == "user `nobody` has no role"


def test_the_appliance_s_user_may_do_what_a_role_allows(appliance: Daemon) -> None:
    assert appliance.say("authz id").splitlines()[2] == '    <Role name="admin"/>'
    appliance.drop("work.cmd", "run hello\n")
    assert appliance.result("work.cmd", "done")["accepted"]
    reload(appliance, ADMIN.replace('"."', '"^sched list$"'))
    appliance.drop("more.cmd", "sched list\nrun hello\n")
    assert appliance.result("more.cmd", "failed")["diagnostics"][0]["line"] == 2
    assert appliance.say("json sched why x").startswith('{"error": "Not Authorized for this command", "diagnostics": [')
    done = appliance.console("run", "hello")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", NOT_AUTHORIZED)
    done = appliance.console(stdin="sched list\nversion\n")
    assert (done.returncode, done.stderr) == (1, NOT_AUTHORIZED)
    assert done.stdout.startswith("JOB ID")


def test_an_edit_of_the_files_ends_a_lockout(appliance: Daemon) -> None:
    reload(appliance)
    assert appliance.say("config reload") == appliance.say("shutdown") == NOT_AUTHORIZED
    appliance.conf.write_text(stanzas(appliance.etc, ADMIN))
    eventually(lambda: appliance.say("pid") != NOT_AUTHORIZED, "the file's own reload")
    appliance.assert_healthy()


def test_after_a_restart_stored_jobs_are_checked_against_the_roles(appliance: Daemon) -> None:
    job = appliance.say("sched in 2 run hello").strip()
    appliance.kill()
    appliance.conf.write_text(stanzas(appliance.etc, ADMIN.replace('"."', '"^sched history"')))
    appliance.start()
    eventually(lambda: any(run["id"] == job for run in appliance.data("sched history")), "the run")
    (run,) = [run for run in appliance.data("sched history") if run["id"] == job]
    assert (run["state"], run["reason"]) == ("failed", "not authorized")


def test_a_start_without_the_previous_authorization_logs_a_warning(appliance: Daemon) -> None:
    assert appliance.stop() == 0
    appliance.conf.write_text(STANZAS % appliance.etc + "Message_Expiration = 5\n")
    appliance.start()
    assert f"warning {AUTHORIZATION_LOST}" in appliance.log
    assert appliance.data("config status")["warnings"] == [AUTHORIZATION_LOST]


def test_a_start_with_a_file_that_was_cut_off_before_authorization_stays_guarded(appliance: Daemon) -> None:
    appliance.kill()
    whole = appliance.conf.read_text()
    appliance.conf.write_text(STANZAS % appliance.etc)
    appliance.start()
    reason = f"{appliance.conf} holds only the beginning of the active text, without `Authorization`"
    eventually(lambda: appliance.data("config status")["waits"] == reason, "the doubt")
    status = appliance.data("config status")
    assert status["degraded"].startswith(f"{reason}; configuration 1 of ")
    assert f"degraded: {status['degraded']}\n" in appliance.log
    assert (status["generation"], status["warnings"]) == (1, [])
    appliance.conf.write_text(whole)
    eventually(lambda: appliance.data("config status")["degraded"] is None, "the whole file")
    assert appliance.data("config status")["waits"] is None
    appliance.conf.write_text(STANZAS % appliance.etc)
    assert AUTHORIZATION_LOST in appliance.say("config reload")
