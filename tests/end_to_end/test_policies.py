"""The policies of programs and jobs, also across kill -9: pause, retries, overlap, on_interrupt, umask."""

from __future__ import annotations

import json
import os
import signal

import pytest

from tests.support.daemon import STANZAS, Daemon, group, is_running
from tests.support.waiting import eventually

# Each program appends its attempts to ../notes. `waits` goes on as soon as ../gate exists.
PROGRAMS = r"""
program "fails" {
  argv = ( "/bin/sh" "-c" "echo $SCHED_ATTEMPT >> ../notes; exit 7" ) cwd = "%s"
  retries = 2 retry_delay = 0.1
}
program "fails_slowly" {
  argv = ( "/bin/sh" "-c" "echo $SCHED_ATTEMPT >> ../notes; exit 7" ) cwd = "%s"
  retries = 2 retry_delay = 0.7
}
program "fails_once" {
  argv = ( "/bin/sh" "-c" "echo $SCHED_ATTEMPT >> ../notes; [ $SCHED_ATTEMPT = 2 ]" ) cwd = "%s"
  retries = 5 retry_delay = 0.1
}
program "odd_success" { argv = ( "/bin/sh" "-c" "exit 3" ) success = ( 0 3 ) retries = 5 retry_delay = 0.1 }
program "replaced" {
  argv = ( "/bin/sh" "-c" "echo $SCHED_RUN_ID >> ../notes; exec sleep 3600" ) cwd = "%s"
  overlap = replace kill_after = 1
}
program "replaced_late" {
  argv = ( "/bin/sh" "-c" "trap '' TERM; echo $SCHED_RUN_ID >> ../notes; while :; do sleep 0.05; done" ) cwd = "%s"
  overlap = replace kill_after = 0.3
}
program "queued" {
  argv = ( "/bin/sh" "-c" "echo $SCHED_RUN_ID >> ../notes; until [ -e ../gate ]; do sleep 0.05; done" ) cwd = "%s"
  overlap = queue
}
program "rerun" {
  argv = ( "/bin/sh" "-c" "echo before $SCHED_ATTEMPT; echo $SCHED_ATTEMPT >> ../notes; [ -e ../gate ] || exec sleep 3600" )
  cwd = "%s" on_interrupt = rerun
}
program "reported" {
  argv = ( "/bin/sh" "-c" "printf 'one\\377\\0two\\n'; echo $$ > ../pid; [ -e ../gate ] || sleep 3600; exit 7" )
  cwd = "%s" on_failure = "run report now"
}
program "report" {
  argv = ( "/bin/sh" "-c" "tr '\\0' '\\n' < /proc/self/environ > ../environment; mv ../environment ../notes; exit 1" "sh" )
  cwd = "%s" args = ( "now" ) on_failure = "run report now"
}
program "umask" { argv = ( "/bin/sh" "-c" "umask" ) }
program "own_umask" { argv = ( "/bin/sh" "-c" "umask; : > ../made" ) cwd = "%s" umask = 007 }
"""


@pytest.fixture
def appliance(daemon: Daemon) -> Daemon:
    daemon.conf.write_text((STANZAS + PROGRAMS).replace("%s", str(daemon.etc)))
    return daemon.start()


def wait_for_notes(appliance: Daemon, *expected: str) -> None:
    eventually(lambda: appliance.lines("notes") == list(expected), f"the notes {expected}")


def attempts(appliance: Daemon) -> list[tuple[object, ...]]:
    return appliance.rows("SELECT attempt, state FROM attempts ORDER BY job, occurrence, attempt")


def test_every_retry_starts_the_program_again(appliance: Daemon) -> None:
    appliance.say("run fails")
    (run,) = appliance.wait_for_state("failed")
    assert run["reason"] == "exit status 7"
    assert appliance.lines("notes") == ["1", "2", "3"]
    assert attempts(appliance) == [(1, "failed"), (2, "failed"), (3, "failed")]
    assert len(appliance.runs()) == 1


def test_no_retry_follows_a_success(appliance: Daemon) -> None:
    appliance.say("run fails_once")
    appliance.wait_for_state("succeeded")
    assert appliance.lines("notes") == ["1", "2"]
    appliance.say("run odd_success")
    appliance.wait_for_state("succeeded", 2)
    assert attempts(appliance) == [(1, "failed"), (2, "succeeded"), (1, "succeeded")]


def test_a_retry_that_waits_survives_kill_9(appliance: Daemon) -> None:
    appliance.say("run fails_slowly")
    appliance.wait_for_state("queued")
    assert appliance.lines("notes") == ["1"]
    appliance.kill()
    appliance.start()
    appliance.wait_for_state("failed")
    assert appliance.lines("notes") == ["1", "2", "3"]


def test_a_newer_run_replaces_the_one_that_runs(appliance: Daemon) -> None:
    job = appliance.say("sched every 900 run replaced").strip()
    assert appliance.say(f"sched run {job}") == f"{job}/1\n"
    wait_for_notes(appliance, f"{job}/1")
    old = appliance.wait_for_pid()
    assert appliance.say(f"sched run {job}") == f"{job}/2\n"
    wait_for_notes(appliance, f"{job}/1", f"{job}/2")
    assert not is_running(old)
    (run,) = appliance.wait_for_state("replaced")
    assert (run["occurrence"], run["reason"]) == (1, "a newer run took its place")
    assert appliance.wait_for_state("started")[0]["occurrence"] == 2


def test_when_several_runs_replace_one_that_ignores_term_only_the_newest_starts(appliance: Daemon) -> None:
    job = appliance.say("sched every 900 run replaced_late").strip()
    appliance.say(f"sched run {job}")
    wait_for_notes(appliance, f"{job}/1")
    old = appliance.wait_for_pid()
    appliance.say(f"sched run {job}")
    appliance.say(f"sched run {job}")
    wait_for_notes(appliance, f"{job}/1", f"{job}/3")
    assert group(old) == []
    assert [run["occurrence"] for run in appliance.wait_for_state("replaced", 2)] == [2, 1]


def test_a_queued_run_waits_for_the_running_one_also_across_kill_9(appliance: Daemon) -> None:
    job = appliance.say("sched every 900 run queued").strip()
    for _ in range(3):
        appliance.say(f"sched run {job}")
    appliance.wait_for_state("queued")
    assert appliance.wait_for_state("skipped")[0]["occurrence"] == 3
    wait_for_notes(appliance, f"{job}/1")
    appliance.kill()
    appliance.start()
    appliance.wait_for_log("was adopted")
    appliance.wait_for_state("queued")
    (appliance.root / "gate").write_text("")
    appliance.wait_for_state("succeeded", 2)
    assert appliance.lines("notes") == [f"{job}/1", f"{job}/2"]


def test_an_interrupted_run_is_run_again_and_its_output_is_kept(appliance: Daemon) -> None:
    appliance.say("run rerun")
    pid = appliance.wait_for_pid()
    wait_for_notes(appliance, "1")
    appliance.kill_with_keeper()
    os.killpg(pid, signal.SIGKILL)
    eventually(lambda: not is_running(pid), "its end")
    (appliance.root / "gate").write_text("")
    appliance.start()
    (run,) = appliance.wait_for_state("succeeded")
    assert run["run"] == "example.com-000000001/1"
    assert appliance.lines("notes") == ["1", "2"]
    assert attempts(appliance) == [(1, "interrupted"), (2, "succeeded")]
    outputs = appliance.rows("SELECT attempt, output FROM outputs ORDER BY attempt")
    assert outputs == [(1, b"before 1\n"), (2, b"before 2\n")]


def test_a_program_that_goes_on_after_kill_9_is_not_run_again(appliance: Daemon) -> None:
    appliance.say("run rerun")
    pid = appliance.wait_for_pid()
    wait_for_notes(appliance, "1")
    appliance.kill()
    appliance.start()
    appliance.wait_for_log(f"its process {pid} was adopted")
    assert appliance.wait_for_state("started")
    assert is_running(pid)
    assert appliance.lines("notes") == ["1"]


def reported(appliance: Daemon) -> dict[bytes, bytes]:
    """The environment of the program that answered a failure."""
    path = appliance.root / "notes"
    eventually(path.exists, "the report")
    pairs = (line.partition(b"=") for line in path.read_bytes().splitlines())
    return {name: value for name, _, value in pairs if name.startswith(b"SCHED_FAILED_")}


def test_the_program_of_on_failure_gets_the_failure_byte_for_byte(appliance: Daemon) -> None:
    (appliance.root / "gate").write_text("")
    appliance.say("run reported")
    assert reported(appliance) == {
        b"SCHED_FAILED_JOB_ID": b"example.com-000000001",
        b"SCHED_FAILED_RUN_ID": b"example.com-000000001/1",
        b"SCHED_FAILED_COMMAND": b"run reported",
        b"SCHED_FAILED_DUE_TIME": str(appliance.runs()[-1]["due_ms"] // 1000).encode(),
        b"SCHED_FAILED_STATE": b"failed",
        b"SCHED_FAILED_REASON": b"exit status 7",
        b"SCHED_FAILED_EXIT_STATUS": b"7",
        b"SCHED_FAILED_OUTPUT": b"one\xfftwo",
    }
    answer, first = appliance.wait_for_state("failed", 2)
    assert (answer["command"], answer["on_failure_of"], answer["user"]) == ("run report now", first["run"], "@config")
    appliance.wait_for_log(f"on failure of run {first['run']}: job {answer['id']}: run report now")
    assert len(appliance.runs()) == 2


def test_a_run_interrupted_by_kill_9_is_reported_to_the_program_of_on_failure(appliance: Daemon) -> None:
    appliance.say("run reported")
    pid = appliance.wait_for_pid()
    eventually((appliance.root / "pid").exists, "its output")
    appliance.kill_with_keeper()
    os.killpg(pid, signal.SIGKILL)
    eventually(lambda: not is_running(pid), "its end")
    appliance.start()
    environment = reported(appliance)
    assert (environment[b"SCHED_FAILED_STATE"], environment[b"SCHED_FAILED_EXIT_STATUS"]) == (b"interrupted", b"")
    assert environment[b"SCHED_FAILED_REASON"] == b"the appliance ended while it ran"
    assert environment[b"SCHED_FAILED_OUTPUT"] == b"one\xfftwo"


def test_a_run_interrupted_by_a_stop_is_reported_after_the_next_start(appliance: Daemon) -> None:
    appliance.say("run reported")
    appliance.wait_for_pid()
    appliance.stop()
    assert not (appliance.root / "notes").exists()
    appliance.start()
    environment = reported(appliance)
    assert (environment[b"SCHED_FAILED_STATE"], environment[b"SCHED_FAILED_EXIT_STATUS"]) == (b"interrupted", b"143")


def test_a_program_has_the_umask_of_its_stanza_and_only_the_owner_can_read_the_store(appliance: Daemon) -> None:
    appliance.say("run umask")
    appliance.say("run own_umask")
    appliance.wait_for_state("succeeded", 2)
    assert appliance.rows("SELECT output FROM outputs ORDER BY job") == [(b"0022\n",), (b"0007\n",)]
    assert (appliance.root / "made").stat().st_mode & 0o777 == 0o660
    for path in appliance.var.glob("sched.db*"):
        assert path.stat().st_mode & 0o077 == 0, path
    assert (appliance.var / "sched.db").stat().st_mode & 0o777 == 0o600


def test_a_paused_job_does_not_run_until_it_is_resumed_also_after_kill_9(appliance: Daemon) -> None:
    paused = appliance.say("sched every 1 run append").strip()
    assert appliance.say(f"sched pause {paused}") == ""
    (job,) = appliance.data("sched list")
    before = appliance.rows("SELECT count(*) FROM runs")[0][0]
    appliance.kill()
    appliance.start()
    assert "state: paused\n" in appliance.say(f"sched show {paused}")
    assert "it is paused" in appliance.say(f"sched why {paused}")
    # A newer job with the same interval: when it has run twice, the paused job has been due too.
    other = appliance.say("sched every 1 version").strip()
    eventually(lambda: len(appliance.data(f"sched history {other}")) >= 2, "two runs of another job")
    assert appliance.rows("SELECT count(*) FROM runs WHERE job = ?", int(paused[-9:])) == [(before,)]
    assert " passed while it was paused and will not be caught up; the next is " in appliance.say(
        f"sched resume {paused}"
    )
    missed = appliance.wait_for_state("missed")[-1]
    assert (missed["id"], missed["reason"]) == (paused, "the job was paused")
    assert missed["missed_since_ms"] == job["next_run_ms"]
    first = eventually(lambda: appliance.lines("runs"), "the line of its next run")[0]
    occurrence = int(first.split()[0].rpartition("/")[2])
    assert occurrence == missed["missed"] + before + 1


def test_the_log_says_who_changed_a_job_and_how(appliance: Daemon) -> None:
    job = appliance.say("sched every 900 version").strip()
    for line in (f"sched pause {job}", f"sched resume {job}", f"sched run {job}", f"sched delete {job}"):
        appliance.say(line)
        appliance.wait_for_log(f"origin=console command='{line}' ok")
    appliance.drop("two.cmd", "config set a 1\n# a comment\nsched in 900 version\nsched list\n")
    appliance.result("two.cmd", "done")
    appliance.wait_for_log("origin=spool command='config set a 1' ok")
    appliance.wait_for_log("origin=spool command='sched in 900 version' ok")
    appliance.wait_for_log("origin=spool file='two.cmd' done")
    appliance.say("sched in 0.1 config set b 1")
    appliance.wait_for_log("origin=job command='config set b 1' ok")
    assert "command='sched list'" not in appliance.log


def test_a_rejected_entry_is_in_failed_under_its_own_name_beside_its_result(appliance: Daemon) -> None:
    spool = appliance.var / "spool"
    for _ in range(2):
        (spool / "new" / "a.cmd").mkdir()
        eventually(lambda: os.listdir(spool / "new") == [], "an empty new/")

    def failed_directories() -> list[str]:
        return sorted(p.name for p in (spool / "failed").iterdir() if p.is_dir())

    eventually(lambda: len(failed_directories()) == 2, "the directories")
    assert failed_directories() == ["000000000001~a.cmd", "000000000002~a.cmd"]
    assert json.loads((spool / "failed" / "a.result").read_text())["accepted"] is False
