"""Programs: their environment, how they end, and how their output is stored."""

from __future__ import annotations

import os
import pwd
import signal
import time
from itertools import pairwise

import pytest

from tests.support.daemon import STANZAS, Daemon, group, is_running
from tests.support.waiting import PATIENCE_SECONDS, eventually

PROGRAMS = r"""
program "env" { argv = ( "/usr/bin/env" ) env = [ EXPIRY = "%{message_expiration}" LITERAL = "%%{x}" ] }
program "fds" { argv = ( "/bin/ls" "-l" "/proc/self/fd" ) }
program "where" { argv = ( "/bin/sh" "-c" "pwd; umask; cat /proc/$$/stat; cat" ) cwd = "/usr" }
program "home" { argv = ( "/bin/pwd" ) }
program "lost" { argv = ( "/bin/pwd" ) cwd = "/proc/nowhere" }
program "nodir" { argv = ( "/bin/pwd" ) cwd = "/etc/passwd" }
program "none" { argv = ( "/nonexistent/program" ) }
program "denied" { argv = ( "/etc/passwd" ) }
program "directory" { argv = ( "/etc" ) }
program "unset" { argv = ( "/bin/echo" "%{never_set}" ) }
program "option" { argv = ( "/usr/bin/printf" "<%s>" "%{message_expiration}" "a%%{b" ) }
program "two" { argv = ( "/bin/echo" ) args = ( "[a-z]+" "\\d{1,3}" ) }
program "any" { argv = ( "/usr/bin/printf" "<%s>" ) args = any }
program "much" { argv = ( "/bin/sh" "-c" "head -c 1000000 /dev/zero | tr '\\0' x; echo end" ) output_limit = 1k }
program "mute" { argv = ( "/bin/echo" "hello" ) output_limit = 0 }
program "binary" { argv = ( "/usr/bin/printf" "\\377\\000\\001\\n" ) }
program "both" { argv = ( "/bin/sh" "-c" "echo out; echo err >&2; exit 3" ) }
program "busy" { argv = ( "/bin/sh" "-c" "head -c 64000000 /dev/zero | tail -c 64000000 | wc -c" ) }
program "signal" { argv = ( "/bin/sh" "-c" "kill -9 $$" ) }
program "daemonizes" { argv = ( "/bin/sh" "-c" "sleep 60 & echo $!" ) }
program "polite" { argv = ( "/bin/sleep" "3600" ) timeout = 1 kill_after = 20 }
program "stubborn" {
  argv = ( "/bin/sh" "-c" "(trap '' TERM; sleep 3600 & wait; sleep 3600) & echo $!; trap '' TERM; wait; sleep 3600" )
  timeout = 2  kill_after = 0.5
}
program "leaver" { argv = ( "/bin/sh" "-c" "(trap '' TERM; exec sleep 3600) & echo $!; wait" )  timeout = 2  kill_after = 0.5 }
program "deaf" { argv = ( "/bin/sh" "-c" "trap '' TERM; while :; do sleep 1; done" ) kill_after = 0.5 }
"""


@pytest.fixture
def appliance(daemon: Daemon) -> Daemon:
    daemon.conf.write_text(STANZAS % daemon.etc + PROGRAMS)
    return daemon.start()


def output(appliance: Daemon, line: str) -> bytes:
    row = appliance.run(line)
    rows = appliance.rows("SELECT output FROM outputs WHERE job = ?", int(str(row["id"]).rpartition("-")[2]))
    return bytes(rows[0][0]) if rows else b""


def test_the_environment_is_exactly_the_documented_one(appliance: Daemon) -> None:
    environment = dict(line.split("=", 1) for line in output(appliance, "run env").decode().splitlines())
    user = pwd.getpwuid(os.geteuid())
    own = {name: environment.pop(name) for name in list(environment) if name.startswith("SCHED_")}
    assert environment.pop("PATH").split(":")[-1] == "/bin"
    assert environment == {
        "HOME": user.pw_dir,
        "USER": user.pw_name,
        "LOGNAME": user.pw_name,
        "SHELL": user.pw_shell or "/bin/sh",
        "LANG": "C.UTF-8",
        "EXPIRY": "86400",
        "LITERAL": "%{x}",
    }
    assert own["SCHED_RUN_ID"] == "example.com-000000001/1"
    assert own["SCHED_JOB_ID"] == "example.com-000000001"
    assert (own["SCHED_ATTEMPT"], own["SCHED_NODE"]) == ("1", "example.com")
    assert abs(int(own["SCHED_DUE_TIME"]) - time.time()) < 60


def test_a_program_starts_in_a_clean_state(appliance: Daemon) -> None:
    lines = [line.split(" ", 8)[-1] for line in output(appliance, "run fds").decode().splitlines()[1:]]
    targets = dict(line[line.index(" -> ") - 1 :].split(" -> ") for line in lines)
    assert targets["0"] == "/dev/null"
    assert targets["1"] == targets["2"]
    assert targets.pop("3").endswith("/fd")
    assert sorted(targets) == ["0", "1", "2"]
    cwd, umask, status = output(appliance, "run where").decode().splitlines()
    assert (cwd, umask) == ("/usr", "0022")
    pid, _, rest = status.partition(" ")
    _, _, group, session, terminal = rest.rpartition(")")[2].split()[:5]
    assert (group, session, terminal) == (pid, pid, "0")
    assert output(appliance, "run home") == b"/\n"


def test_an_argument_must_match_as_a_whole_and_is_never_split(appliance: Daemon) -> None:
    assert output(appliance, "run two ab 12") == b"ab 12\n"
    for line in (
        "run two ab",
        "run two ab 12 x",
        "run two ab 1234",
        "run two 'ab\\n' 12",
        "run hello x",
        "run sleep ''",
    ):
        assert appliance.say(line).startswith("error: "), line
    assert output(appliance, "run any 'a  b' \"\" -x $HOME '*'") == b"<a  b><><-x><$HOME><*>"


def test_an_option_is_inserted_at_launch_and_never_splits_an_argument(appliance: Daemon) -> None:
    assert output(appliance, "run option") == b"<86400><a%{b>"
    appliance.say("config set message_expiration 'x y %{z} \"'")
    assert output(appliance, "run option") == b'<x y %{z} "><a%{b>'
    row = appliance.run("run unset")
    assert (row["state"], row["reason"]) == ("failed", "option `never_set` is not set")


REASONS = {
    "lost": "cannot start in /proc/nowhere: No such file or directory",
    "nodir": "cannot start in /etc/passwd: Not a directory",
    "none": "cannot start /nonexistent/program: No such file or directory",
    "denied": "cannot start /etc/passwd: Permission denied",
    "directory": "cannot start /etc: Permission denied",
    "both": "exit status 3",
    "signal": "ended by signal 9 (SIGKILL)",
}


def test_a_failure_is_recorded_with_its_reason(appliance: Daemon) -> None:
    for name, reason in REASONS.items():
        row = appliance.run(f"run {name}")
        assert (row["state"], row["reason"]) == ("failed", reason)
        assert f"its last run: {row['run']} failed: {reason}, due " in appliance.say(f"sched why {row['id']}")
    appliance.assert_healthy()
    eventually(lambda: not appliance.output_files(), "no output left")


def test_output_is_stored_up_to_its_limit(appliance: Daemon) -> None:
    assert output(appliance, "run binary") == b"\xff\x00\x01\n"
    assert output(appliance, "run both") == b"out\nerr\n"
    text = output(appliance, "run much")
    assert text.startswith(b"x" * 512 + b"\n[... 998980 bytes left out ...]\nxxx")
    assert text.endswith(b"xend\n")
    output(appliance, "run mute")
    assert appliance.stop() == 0
    sizes = [row[0] for row in appliance.rows("SELECT output_bytes FROM outputs ORDER BY job")]
    assert sizes == [4, 8, 1_000_004, 6]
    assert not appliance.output_files()


def test_a_run_shows_what_its_program_took_with_its_descendants(appliance: Daemon) -> None:
    run = appliance.run("run busy")
    assert 64_000_000 < run["memory_bytes"] < 128_000_000
    assert 0 < run["cpu_ms"] <= PATIENCE_SECONDS * 1000


def test_a_run_ends_with_its_process_not_with_its_output(appliance: Daemon) -> None:
    child = int(output(appliance, "run daemonizes"))
    assert is_running(child)
    os.kill(child, signal.SIGKILL)


def test_a_timeout_ends_a_program_that_obeys_term_at_once(appliance: Daemon) -> None:
    ended = appliance.run("run polite")
    assert ended["state"] == "timed_out"
    assert appliance.rows("SELECT exit_signal FROM attempts") == [(signal.SIGTERM,)]


@pytest.mark.parametrize("name", ["stubborn", "leaver"])
def test_a_timeout_ends_the_whole_group_also_processes_that_ignore_term(appliance: Daemon, name: str) -> None:
    assert appliance.say(f"run {name}") == "example.com-000000001/1\n"
    leader = appliance.wait_for_pid()
    appliance.wait_for_state("timed_out")
    ((child,),) = appliance.rows("SELECT output FROM outputs")
    assert int(child) != leader
    eventually(lambda: not group(leader) and not is_running(int(child)), "the end of the group")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_ends_programs_first_by_term_then_by_kill(appliance: Daemon, number: signal.Signals) -> None:
    appliance.exchange(b"run sleep 3600\nrun deaf\n")
    eventually(lambda: len(appliance.rows("SELECT 1 FROM attempts WHERE pid IS NOT NULL")) == 2, "both programs")
    pids = [row[0] for row in appliance.rows("SELECT pid FROM attempts ORDER BY job")]
    eventually(lambda: len(group(pids[1])) == 2, "the trap")
    assert appliance.stop(number) == 0
    assert [is_running(pid) for pid in pids] == [False, False]
    rows = appliance.rows(
        "SELECT r.state, r.reason, a.exit_signal, r.ended_ms FROM runs r JOIN attempts a USING (job) ORDER BY 1, job"
    )
    assert [row[:3] for row in rows] == [
        ("interrupted", "the appliance was stopped", signal.SIGTERM),
        ("interrupted", "the appliance was stopped", signal.SIGKILL),
    ]
    assert rows[0][3] + 300 < rows[1][3]


def test_two_thousand_jobs_of_one_second_all_run_once_in_order(appliance: Daemon) -> None:
    count = 2000
    due = int(time.time()) + 1
    appliance.drop("many.cmd", f"sched at {due} run append\n" * count)
    eventually(
        lambda: appliance.rows("SELECT count(*) FROM runs WHERE state = 'succeeded'") == [(count,)],
        "all runs",
        3 * PATIENCE_SECONDS,
    )
    lines = appliance.lines("runs")
    assert len(lines) == len(set(lines)) == count
    started = appliance.rows("SELECT pid, started_ms FROM attempts JOIN runs USING (job) ORDER BY sequence")
    pids = [row[0] for row in started]
    assert all(pids), "also of one that ended before it was examined"
    assert sum(before > after for before, after in pairwise(pids)) <= 1, "pids only grow until the kernel wraps around"
    assert [row[1] for row in started] == sorted(row[1] for row in started)
    assert appliance.rows("SELECT count(*) FROM (SELECT job FROM runs ORDER BY sequence) ") == [(count,)]
    appliance.assert_healthy()
