"""Programs that run as another user, from the stanza file to the row: started, ended, adopted, not started."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
from pathlib import Path

import pytest

import schedappliance
from tests.support.daemon import STANZAS, Daemon, group, is_running
from tests.support.waiting import eventually

OWN = pwd.getpwuid(os.geteuid()).pw_name
NOBODY = pwd.getpwnam("nobody")

PROGRAMS = rf"""
program "who" {{
  argv = ( "/bin/sh" "-c" "id -u; id -g; id -G; umask; pwd; env" )
  user = nobody  umask = 027  cwd = "/usr"
}}
program "group" {{ argv = ( "/bin/sh" "-c" "id -u; id -G" )  group = "4242" }}
program "stranger" {{ argv = ( "/bin/echo" )  user = no-such-user }}
program "own" {{ argv = ( "/usr/bin/id" "-un" )  user = "{OWN}" }}
program "limited" {{
  argv = ( "/bin/sh" "-c" "(trap '' TERM; exec sleep 3600) & echo $!; wait; exit 3" )
  user = nobody  timeout = 3  kill_after = 0.5
}}
program "sleeper" {{ argv = ( "/bin/sleep" )  args = ( "\\d+" )  user = nobody  timeout = 5  kill_after = 1 }}
program "status" {{ argv = ( "/bin/sh" "-c" "sleep 1; exit 7" )  user = nobody  overlap = parallel }}
"""

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may start a program as another user")


@pytest.fixture
def appliance(daemon: Daemon) -> Daemon:
    daemon.conf.write_text(STANZAS % daemon.etc + PROGRAMS)
    return daemon.start()


def output(appliance: Daemon, line: str) -> list[str]:
    """The output lines of a program, which must succeed."""
    row = appliance.run(line)
    assert row["state"] == "succeeded", row
    rows = appliance.rows("SELECT output FROM outputs WHERE job = ?", int(str(row["id"]).rpartition("-")[2]))
    return bytes(rows[0][0]).decode().splitlines()


@as_root
def test_a_program_runs_as_its_user(appliance: Daemon) -> None:
    uid, gid, groups, umask, cwd, *environment = output(appliance, "run who")
    assert (int(uid), int(gid)) == (NOBODY.pw_uid, NOBODY.pw_gid)
    assert [int(number) for number in groups.split()] == os.getgrouplist("nobody", NOBODY.pw_gid)
    assert (umask, cwd) == ("0027", "/usr")
    own = dict(line.split("=", 1) for line in environment)
    assert (own["USER"], own["LOGNAME"]) == ("nobody", "nobody")
    assert (own["HOME"], own["SHELL"]) == (NOBODY.pw_dir, NOBODY.pw_shell)
    assert own["SCHED_RUN_ID"] == "example.com-000000001/1"
    assert output(appliance, "run group") == ["0", "4242"]


def test_the_appliance_s_own_user_needs_no_root(appliance: Daemon) -> None:
    assert output(appliance, "run own") == [OWN]


def test_one_keeper_starts_all_programs(appliance: Daemon) -> None:
    assert output(appliance, "run hello") == ["hello"]
    keepers = appliance.keepers()
    assert len(keepers) == 1
    output(appliance, "run own")
    assert appliance.keepers() == keepers


def test_no_keeper_is_started_without_programs(daemon: Daemon) -> None:
    daemon.conf.write_text('sched { backing_store = "../var/sched.db" }\n')
    daemon.start()
    daemon.say("version")
    assert daemon.keepers() == []


def test_a_user_that_does_not_exist_is_warned_about_and_fails_the_run(appliance: Daemon) -> None:
    assert "W406 user `no-such-user` does not exist here" in appliance.log
    row = appliance.run("run stranger")
    assert (row["state"], row["reason"]) == ("failed", "there is no user `no-such-user` on this machine")
    appliance.assert_healthy()


@as_root
def test_a_timeout_ends_the_whole_group(appliance: Daemon) -> None:
    appliance.say("run limited")
    leader = appliance.wait_for_pid()
    appliance.wait_for_state("timed_out")
    ((child,),) = appliance.rows("SELECT output FROM outputs")
    assert int(child) != leader
    eventually(lambda: not group(leader) and not is_running(int(child)), "the end of the group")


@as_root
def test_programs_outlive_a_killed_keeper_and_their_runs_are_interrupted(appliance: Daemon) -> None:
    for _ in range(3):
        appliance.say("run status")
    eventually(lambda: len(appliance.rows("SELECT 1 FROM attempts WHERE pid IS NOT NULL")) == 3, "the programs")
    (first,) = appliance.keepers()
    os.kill(first, signal.SIGKILL)
    reasons = {row["reason"] for row in appliance.wait_for_state("interrupted", 3)}
    assert reasons == {"its keeper was killed; its exit status is not known"}
    assert output(appliance, "run who")[0] == str(NOBODY.pw_uid)
    assert appliance.keepers() != [first]
    appliance.assert_healthy()


@as_root
def test_the_timeout_still_ends_an_adopted_survivor(appliance: Daemon) -> None:
    appliance.say("run sleeper 60")
    pid = appliance.wait_for_pid()
    (keeper,) = appliance.keepers()
    appliance.kill()
    assert is_running(keeper)
    assert is_running(pid)
    appliance.start()
    appliance.wait_for_state("timed_out")
    assert not is_running(pid)


@as_root
def test_a_survivor_whose_pid_was_not_recorded_is_found_by_its_environment(appliance: Daemon) -> None:
    """The store looks as if the appliance had been killed between the start and its record."""
    appliance.say("run sleeper 60")
    pid = appliance.wait_for_pid()
    appliance.kill_with_keeper()
    appliance.forget_pids()
    appliance.start()
    appliance.wait_for_log(f"its process {pid} was adopted")


@as_root
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_ends_programs_and_keeper(appliance: Daemon, number: signal.Signals) -> None:
    appliance.say("run sleeper 60")
    pid = appliance.wait_for_pid()
    (keeper,) = appliance.keepers()
    assert os.getsid(keeper) == keeper, "signals from the appliance's terminal do not reach it"
    assert appliance.stop(number) == 0
    assert not is_running(pid)
    assert not is_running(keeper)
    rows = appliance.rows("SELECT r.state, r.reason, a.exit_signal FROM runs r JOIN attempts a USING (job)")
    assert rows == [("interrupted", "the appliance was stopped", signal.SIGTERM)]
    assert "Traceback" not in appliance.log


def test_programs_run_without_the_package(daemon: Daemon) -> None:
    """An upgrade may move the package away under a running daemon."""
    root, copy = Path(schedappliance.__file__).parent.parent, daemon.root / "copy"
    for name in ("schedappliance", "grammar"):
        if (root / name).exists():
            shutil.copytree(root / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    daemon.conf.write_text(STANZAS % daemon.etc + PROGRAMS)
    daemon.wrapper = ["env", "--chdir=/", f"PYTHONPATH={copy}"]
    daemon.start()
    copy.rename(daemon.root / "away")
    assert daemon.run("run own")["state"] == "succeeded"
    daemon.assert_healthy()
