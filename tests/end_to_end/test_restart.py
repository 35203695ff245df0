"""Kill and restart: nothing is lost, nothing runs twice, and an unknown end is recorded as unknown."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from schedappliance.edge.processors import usable_processors
from schedappliance.edge.programs.survivors import is_stopped
from tests.support.daemon import STANZAS, Daemon, command, group, is_running
from tests.support.waiting import PATIENCE_SECONDS, eventually


def is_past(instant: float) -> Callable[[], bool]:
    return lambda: time.time() > instant


def test_the_list_is_the_same_after_kill_9(daemon: Daemon) -> None:
    daemon.start()
    lines = [f"sched every {60 + n} run hello\nsched at {4_000_000_000 - n} version\n" for n in range(50)]
    daemon.exchange("".join(lines).encode())
    before = daemon.say("json sched list"), daemon.say("sched list")
    assert before[1].count("\n") == 101
    daemon.kill()
    daemon.start()
    assert (daemon.say("json sched list"), daemon.say("sched list")) == before


def test_an_overdue_job_runs_once_at_start_with_one_row_for_missed_due_times(daemon: Daemon) -> None:
    daemon.start()
    daemon.say("sched every 1 run append")
    daemon.kill()
    ((first_due, before),) = daemon.rows("SELECT next_run_ms, occurrence FROM jobs")
    eventually(is_past(first_due / 1000 + 2.2), "two missed due times")
    daemon.start()
    daemon.say("sched delete example.com-000000001")
    run = daemon.wait_for_state("succeeded", before + 1)[-1 - before]
    missed = [run for run in daemon.runs() if run["state"] == "missed"]
    assert len(missed) == 1
    assert missed[0]["missed"] >= 2
    assert missed[0]["missed_since_ms"] == first_due
    assert missed[0]["reason"] == "the appliance was not running"
    assert run["occurrence"] == before + missed[0]["missed"] + 1
    assert run["due_ms"] == first_due + missed[0]["missed"] * 1000
    occurrences = [line.split()[0] for line in daemon.lines("runs")]
    assert len(occurrences) == len(set(occurrences))


def test_an_override_set_by_a_job_lasts_until_a_typed_reload(daemon: Daemon) -> None:
    daemon.start()
    daemon.say("sched in 0.1 config set message_expiration 300")

    def value() -> str:
        return daemon.say("config get message_expiration").strip()

    eventually(lambda: value() == "Message_Expiration = 300", "the job")
    daemon.kill()
    daemon.start()
    assert value() == "Message_Expiration = 300"
    daemon.conf.write_text(daemon.conf.read_text() + "Other_Option = 1\n")
    eventually(lambda: daemon.say("config get other_option") == "Other_Option = 1\n", "the edit")
    assert value() == "Message_Expiration = 300"
    assert daemon.process
    daemon.process.send_signal(signal.SIGHUP)
    daemon.wait_for_log("origin=signal")
    assert value() == "Message_Expiration = 300"
    daemon.conf.write_text("broken {\n")
    assert "Reconfigure failed." in daemon.say("config reload")
    assert value() == "Message_Expiration = 300"
    daemon.conf.write_text(STANZAS % daemon.etc)
    assert daemon.say("config reload").startswith("OK\njobs: ")
    assert value() == "Message_Expiration = 86400"
    daemon.kill()
    daemon.start()
    assert value() == "Message_Expiration = 86400"


SLEEPERS = (
    STANZAS
    + """
program "limited" { argv = ( "/bin/sh" "-c" "printf 0123456789; exec sleep 3600" ) output_limit = 4 }
program "stubborn" {
  argv = ( "/bin/sh" "-c" "(trap '' TERM; exec sleep 3600) & echo $!; wait" )
  timeout = 2 kill_after = 1
}
"""
)


WAITER = 'program "waiter" { argv = ( "/bin/sh" "-c" "read line < %s; exit 4" ) on_interrupt = rerun }\n'


def with_sleepers(daemon: Daemon) -> Daemon:
    daemon.conf.write_text(SLEEPERS % daemon.etc)
    return daemon


def test_a_survivor_of_kill_9_is_adopted_blocks_overlap_and_keeps_its_policy(daemon: Daemon) -> None:
    stanzas = STANZAS % daemon.etc + 'program "long" { argv = ( "/bin/sleep" "3600" ) }\n'
    daemon.conf.write_text(stanzas)
    daemon.start()
    daemon.say("sched every 1 run long")
    pid = daemon.wait_for_pid()
    daemon.kill()
    assert is_running(pid)
    before = len(daemon.rows("SELECT * FROM runs WHERE state = 'skipped'"))
    daemon.start()
    daemon.wait_for_log(f"its process {pid} was adopted")
    skipped = daemon.wait_for_state("skipped", before + 1)
    assert skipped[0]["reason"] == "the job's last run has not ended"
    assert is_running(pid)
    daemon.say("sched delete example.com-000000001")
    daemon.kill()
    # The program was started without a timeout, so none applies to this attempt.
    daemon.conf.write_text(stanzas.replace('"3600" )', '"3600" ) timeout = 1'))
    daemon.start()
    daemon.wait_for_log(f"its process {pid} was adopted", 2)
    daemon.say("sched stop example.com-000000001/1")
    (run,) = daemon.wait_for_state("cancelled")
    assert run["occurrence"] == 1
    assert not is_running(pid)
    assert daemon.rows("SELECT pid, state, ended_ms >= started_ms + 1000 FROM attempts") == [(pid, "cancelled", 1)]
    daemon.assert_healthy()


def test_a_run_whose_program_ended_while_no_appliance_ran_has_its_true_end(daemon: Daemon) -> None:
    daemon.start()
    daemon.say("run sleep 3600")
    pid = daemon.wait_for_pid()
    keepers = daemon.keepers()
    daemon.kill()
    os.killpg(pid, signal.SIGKILL)
    eventually(lambda: "ended " in (daemon.outputs / "keeper.ends").read_text(), "the end in the file of the keeper")
    os.kill(keepers[0], signal.SIGKILL)
    ended_ms = time.time_ns() // 1_000_000
    daemon.start()
    run = daemon.wait_for_state("failed")[0]
    assert (run["run"], run["reason"], run["exit_signal"]) == (
        "example.com-000000001/1",
        "ended by signal 9 (SIGKILL)",
        9,
    )
    assert run["ended_ms"] <= ended_ms
    assert daemon.rows("SELECT state FROM attempts") == [("failed",)]


def test_a_program_that_ended_while_the_daemon_was_stopped_has_its_true_end(daemon: Daemon) -> None:
    daemon.start()
    daemon.say("run sleep 3600")
    pid = daemon.wait_for_pid()
    assert daemon.process is not None
    stopped = daemon.process.pid
    os.kill(stopped, signal.SIGSTOP)
    eventually(lambda: is_stopped(stopped), "the stop of the daemon")
    try:
        os.killpg(pid, signal.SIGKILL)
        eventually(
            lambda: "ended " in (daemon.outputs / "keeper.ends").read_text(), "the end in the file of the keeper"
        )
        ended_ms = time.time_ns() // 1_000_000
    finally:
        os.kill(stopped, signal.SIGCONT)
    run = daemon.wait_for_state("failed")[0]
    assert run["exit_signal"] == signal.SIGKILL
    assert run["ended_ms"] <= ended_ms
    assert daemon.rows("SELECT ended_ms >= started_ms FROM attempts") == [(1,)]


@pytest.mark.parametrize("is_adopted", [False, True])
def test_a_keeper_without_its_files_gets_others_and_keeps_the_true_end(daemon: Daemon, is_adopted: bool) -> None:
    """A cleaner of files removed them. Then the next daemon did not find the keeper, and called its programs interrupted."""
    daemon.start()
    daemon.say("run sleep 3600")
    pid = daemon.wait_for_pid()
    if is_adopted:
        daemon.kill()
        daemon.start()
    for file in daemon.outputs.glob("keeper.*"):
        file.unlink()
    daemon.wait_for_log(f"the files of the keeper in {daemon.outputs} were missing and were made again")
    daemon.kill()
    os.killpg(pid, signal.SIGKILL)
    eventually(
        lambda: "ended " in (daemon.outputs / "keeper.ends").read_text(), "the end in the new file of the keeper"
    )
    daemon.start()
    run = daemon.wait_for_state("failed")[0]
    assert run["exit_signal"] == signal.SIGKILL
    assert "made again" not in daemon.log.rpartition("is ready")[2]


def test_a_keeper_whose_files_were_removed_after_its_daemon_is_taken_over(daemon: Daemon) -> None:
    """Its end was not read, and `on_interrupt` started the program again."""
    gate = daemon.root / "gate"
    os.mkfifo(gate)
    daemon.conf.write_text(daemon.conf.read_text() + WAITER % gate)
    daemon.start()
    daemon.say("run waiter")
    daemon.wait_for_pid()
    daemon.kill()
    shutil.rmtree(daemon.outputs)
    daemon.start()
    gate.write_text("go\n")
    assert daemon.wait_for_state("failed")[0]["exit_status"] == 4
    assert daemon.rows("SELECT attempt FROM attempts") == [(1,)]


def test_a_program_whose_keeper_was_killed_too_is_interrupted(daemon: Daemon) -> None:
    with_sleepers(daemon).start()
    daemon.say("run sleep 3600")
    ended = daemon.wait_for_pid()
    daemon.say("run limited")
    pid = eventually(lambda: (p := daemon.wait_for_pid()) != ended and p, "the second program")
    daemon.kill_with_keeper()
    os.killpg(ended, signal.SIGKILL)
    eventually(lambda: not is_running(ended), "its end")
    daemon.start()
    daemon.wait_for_state("interrupted")
    daemon.wait_for_log(f"its process {pid} was adopted")
    os.killpg(pid, signal.SIGKILL)
    reasons = {run["reason"] for run in daemon.wait_for_state("interrupted", 2)}
    assert "its keeper was killed; its exit status is not known" in reasons
    assert daemon.rows("SELECT output_bytes FROM outputs") == [(10,)]


def test_an_adopted_program_that_ends_is_recorded_with_its_output(daemon: Daemon) -> None:
    with_sleepers(daemon).start()
    daemon.say("run limited")
    pid = daemon.wait_for_pid()
    eventually(lambda: [p for p in daemon.output_files() if p.stat().st_size == 10], "output")
    daemon.kill()
    daemon.start()
    os.killpg(pid, signal.SIGKILL)
    run = daemon.wait_for_state("failed")[0]
    assert run["reason"] == "ended by signal 9 (SIGKILL)"
    (row,) = daemon.rows("SELECT output, output_bytes FROM outputs")
    assert row[1] == 10
    eventually(lambda: not daemon.output_files(), "the removal of the file")


def test_an_adopted_program_keeps_its_output_limit(daemon: Daemon) -> None:
    with_sleepers(daemon).start()
    daemon.say("run limited")
    pid = daemon.wait_for_pid()
    eventually(lambda: [p for p in daemon.output_files() if p.stat().st_size == 10], "output")
    daemon.kill()
    daemon.conf.write_text(daemon.conf.read_text().replace("output_limit = 4", "output_limit = 0"))
    daemon.start()
    os.killpg(pid, signal.SIGKILL)
    daemon.wait_for_state("failed")
    (row,) = daemon.rows("SELECT output, output_bytes FROM outputs")
    assert row == (b"01\n[... 6 bytes left out ...]\n89", 10)


def test_the_timeout_of_an_adopted_program_ends_its_whole_group(daemon: Daemon) -> None:
    with_sleepers(daemon).start()
    daemon.say("run stubborn")
    leader = daemon.wait_for_pid()
    daemon.kill()
    daemon.start()
    daemon.wait_for_state("timed_out")
    ((child,),) = daemon.rows("SELECT output FROM outputs")
    assert int(child) != leader
    try:
        eventually(lambda: not group(leader), "the end of the group")
    finally:
        for pid in group(leader):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_queued_runs_survive_a_stop_in_order(daemon: Daemon, number: signal.Signals) -> None:
    daemon.start()
    places = 8 * usable_processors()
    daemon.exchange(b"run sleep 3600\n" * places + b"run append\n" * 5)
    daemon.wait_for_state("queued", 5)
    eventually(lambda: len(daemon.rows("SELECT 1 FROM attempts WHERE pid IS NOT NULL")) == places, "the programs")
    assert daemon.stop(number) == 0
    daemon.start()
    daemon.wait_for_state("succeeded", 5)
    assert len(daemon.wait_for_state("interrupted", places)) == places
    assert len(daemon.lines("runs")) == 5


TEN_YEARS_MS = 3650 * 86_400_000
MANY_JOBS = 10_000
MOST_MEMORY_KB = 128 * 1024


def test_after_ten_years_off_each_of_many_jobs_has_one_run_and_one_row(daemon: Daemon) -> None:
    daemon.is_copy = False
    daemon.start()
    daemon.drop("many.cmd", "".join(f"sched every {3600 + n} config set a {n}\n" for n in range(MANY_JOBS)))
    daemon.result("many.cmd", "done")
    daemon.kill()
    last = time.time_ns() // 1_000_000 - 1000
    daemon.change(
        f"UPDATE jobs SET next_run_ms = {last} - {TEN_YEARS_MS} / interval_ms * interval_ms",
        f"UPDATE meta SET value = value - {TEN_YEARS_MS} WHERE key = 'last_wall_ms'",
        "UPDATE meta SET value = 'another' WHERE key = 'last_boot_id'",
    )
    daemon.start()
    eventually(lambda: daemon.data("summary").get("runs_succeeded") == MANY_JOBS, "one run each", 3 * PATIENCE_SECONDS)
    intervals = [(job, 1000 * (3599 + job)) for job in range(1, MANY_JOBS + 1)]
    runs = "SELECT job, occurrence, due_ms, missed_count, reason FROM runs WHERE state = ? ORDER BY job"
    assert daemon.rows(runs, "missed") == [
        (job, count, last - interval, count, "the appliance was not running")
        for job, interval in intervals
        for count in [TEN_YEARS_MS // interval]
    ]
    assert daemon.rows(runs, "succeeded") == [
        (job, TEN_YEARS_MS // interval + 1, last, None, None) for job, interval in intervals
    ]
    assert daemon.rows("SELECT number, next_run_ms FROM jobs") == [(job, last + i) for job, i in intervals]
    assert daemon.peak_kb() < MOST_MEMORY_KB
    daemon.assert_healthy()


# The first program redirects its output, so that only the place of the store tells whose process it is.
PRODUCTION = """
sched { backing_store = "../var/sched.db" }
program "quiet" { argv = ( "/bin/sh" "-c" "exec sleep 3600 >/dev/null 2>&1" ) }
program "loud" { argv = ( "/bin/sleep" "3600" ) }
"""


def copy_whole_directory(daemon: Daemon, copy: Daemon) -> None:
    """The copy has the files of the outputs too."""
    shutil.copytree(daemon.var, copy.var, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.sock"))


def back_up(daemon: Daemon, copy: Daemon) -> None:
    target = copy.var / "sched.db"
    assert daemon.store("backup", target).returncode == 0
    assert f"{target} is a copy of {daemon.var}/sched.db" in copy.store("check").stderr
    assert daemon.store("check").stderr == ""


@pytest.mark.parametrize("program", ["quiet", "loud"])
@pytest.mark.parametrize("make", [back_up, copy_whole_directory])
def test_a_copy_of_the_store_adopts_no_program_of_the_original(
    daemon: Daemon, make: Callable[[Daemon, Daemon], None], program: str
) -> None:
    daemon.conf.write_text(PRODUCTION)
    daemon.start()
    daemon.say(f"run {program}")
    pid = daemon.wait_for_pid()
    executed = Path(f"/proc/{pid}/comm")
    eventually(lambda: executed.read_text() == "sleep\n", "the program")
    copy = Daemon(daemon.root / "copy", PRODUCTION)
    make(daemon, copy)
    try:
        copy.start()
        (run,) = copy.runs()
        assert run["state"] == "interrupted"
        assert f"sched.db is a copy of {daemon.var}/sched.db, or was moved from there" in copy.log
        assert "was adopted" not in copy.log
        assert copy.stop() == 0
        copy.start()
        assert copy.log.count("is a copy of") == 1
        assert copy.stop() == 0
    finally:
        copy.end()
    assert is_running(pid)
    daemon.kill()
    daemon.start()
    daemon.wait_for_log(f"its process {pid} was adopted")
    assert "is a copy of" not in daemon.log


def test_a_restored_store_adopts_the_programs_that_write_to_its_output(daemon: Daemon) -> None:
    daemon.conf.write_text(PRODUCTION)
    daemon.start()
    daemon.say("run loud")
    pid = daemon.wait_for_pid()
    backup = daemon.root / "backup.db"
    assert daemon.store("backup", backup).returncode == 0
    daemon.kill()
    for suffix in ("-wal", "-shm"):
        Path(f"{daemon.var}/sched.db{suffix}").unlink()
    backup.replace(daemon.var / "sched.db")
    daemon.start()
    daemon.wait_for_log(f"its process {pid} was adopted")


LATER = """
sched { backing_store = "../var/sched.db" }
program "names" { argv = ( "/bin/sh" "-c" "echo $0; (setsid sleep 3600 & echo $!); exec sleep 3600" ) args = any }
"""


def test_a_restored_store_leaves_the_programs_of_runs_that_it_does_not_know(daemon: Daemon) -> None:
    """It gives the number of a run again while the program of that run lives, with a process that has left its group."""
    daemon.conf.write_text(LATER)
    daemon.start()
    store, backup, later = daemon.var / "sched.db", daemon.root / "backup.db", daemon.root / "later.db"
    assert daemon.store("backup", backup).returncode == 0
    run = daemon.say("run names one").strip()

    def written(name: str) -> list[str]:
        """What the program of the run has written: its name, and the pid of its child."""
        eventually(lambda: len(daemon.say(f"sched output {run}").split()) == 2, name)
        return daemon.say(f"sched output {run}").split()

    leader, (_, child) = daemon.wait_for_pid(), written("one")
    left = [leader, int(child)]
    daemon.kill()
    for suffix in ("", "-wal"):
        Path(f"{store}{suffix}").rename(f"{later}{suffix}")
    Path(f"{store}-shm").unlink()
    backup.rename(store)
    daemon.start()
    assert f"process {leader} belongs to a run that is not in the store" in daemon.log
    output = daemon.outputs / f"{run.partition('-')[2].lstrip('0').replace('/', '-')}-1"
    strange = f"W626 process {leader} ("
    doctor = command("doctor", "--config", str(daemon.etc / "appliance.yaml")).stdout
    assert strange in doctor and f"it writes to {output};" in doctor

    assert daemon.say("run names two").strip() == run, "the number is given again"
    word, other = written("two")
    assert word == "two"
    (aside,) = (path for path in daemon.outputs.glob(f"{output.name.removesuffix('1')}*") if path != output)
    daemon.wait_for_log(
        f"a process still writes to an earlier output {output}; it is in {aside} until the process ends"
    )
    assert aside.read_text().split() == ["one", child]
    assert strange in command("doctor", "--config", str(daemon.etc / "appliance.yaml")).stdout
    daemon.say(f"sched stop {run}")
    daemon.wait_for_state("cancelled")
    eventually(lambda: not is_running(int(other)), "the child of the second one")
    assert daemon.stop() == 0
    assert all(map(is_running, left)), "nobody has stopped the first one"

    store.unlink()
    for suffix in ("", "-wal"):
        Path(f"{later}{suffix}").rename(f"{store}{suffix}")
    daemon.start()
    daemon.wait_for_log(f"its process {leader} was adopted")
    os.kill(leader, signal.SIGINT)
    (row,) = daemon.wait_for_state("failed")
    assert row["reason"] == "ended by signal 2 (SIGINT)", "its keeper has told its end"
    os.kill(int(child), signal.SIGKILL)


def test_a_moved_store_adopts_the_programs_that_write_to_its_output(daemon: Daemon) -> None:
    daemon.conf.write_text(PRODUCTION)
    daemon.start()
    daemon.say("run loud")
    pid = daemon.wait_for_pid()
    daemon.kill()
    moved = Daemon(daemon.root / "moved", PRODUCTION)
    moved.var.rmdir()
    daemon.var.rename(moved.var)
    try:
        moved.start()
        moved.wait_for_log(f"its process {pid} was adopted")
    finally:
        moved.end()


KEPT = """
program "status" { argv = ( "/bin/sh" "-c" "echo begun; while [ ! -e ../gate ]; do sleep 0.05; done; exit $0" )
  args = ( "\\d+" )  cwd = "%s"  overlap = parallel }
"""


@pytest.mark.parametrize("how", ["shutdown --keep", "SIGTERM", "kill -9"])
def test_programs_run_on_over_a_restart_and_have_their_true_exit_statuses(daemon: Daemon, how: str) -> None:
    stanzas = (STANZAS + KEPT.replace("%s", str(daemon.etc))) % daemon.etc
    daemon.conf.write_text(stanzas.replace("sched {", "sched { on_stop = keep"))
    daemon.start()
    daemon.exchange(b"".join(b"run status %d\n" % number for number in range(5)))
    eventually(lambda: len(daemon.rows("SELECT 1 FROM attempts WHERE pid IS NOT NULL")) == 5, "the programs")
    keepers = daemon.keepers()
    if how == "kill -9":
        daemon.kill()
    elif how == "SIGTERM":
        assert daemon.stop() == 0
    else:
        daemon.say(how)
        assert daemon.process
        assert daemon.process.wait(PATIENCE_SECONDS) == 0
    daemon.start()
    daemon.wait_for_log("was adopted", 5)
    assert daemon.keepers() == keepers
    (daemon.root / "gate").touch()
    runs = [*daemon.wait_for_state("failed", 4), *daemon.wait_for_state("succeeded")]
    assert sorted(int(run["command"].split()[-1]) - run["exit_status"] for run in runs) == [0] * 5
    assert {row[0] for row in daemon.rows("SELECT output FROM outputs")} == {b"begun\n"}
    assert daemon.say("shutdown") == ""
    assert daemon.process
    assert daemon.process.wait(PATIENCE_SECONDS) == 0
    assert list(daemon.outputs.iterdir()) == [], "nothing is left behind"


# The environment makes each request so long that the channel to the keeper holds only some of them.
LONG = """
program "long" {{
  argv = ( "/bin/sh" "-c" "echo $SCHED_RUN_ID >> ../runs; exit $1" "sh" )
  args = ( "\\\\d+" ) cwd = "{cwd}" overlap = parallel env = [ LONG = "{long}" ]
}}
"""


def test_runs_that_were_committed_but_never_requested_begin_after_kill_9(daemon: Daemon) -> None:
    stanzas = STANZAS % daemon.etc + LONG.format(cwd=daemon.etc, long="x" * 20_000)
    daemon.conf.write_text(stanzas.replace("sched {", "sched { max_running = 100"))
    # A copy of this process would continue the keeper within a second.
    daemon.is_copy = False
    daemon.start()
    daemon.run("run hello")
    (keeper,) = daemon.keepers()
    requested = 0
    # The daemon looks at the keeper every 10 seconds. If it has continued the keeper meanwhile, all starts were requested.
    while not is_stopped(keeper):
        os.kill(keeper, signal.SIGSTOP)
        eventually(lambda: is_stopped(keeper), "the stop of the keeper")
        daemon.exchange(b"".join(b"run long %d\n" % number for number in range(40)))
        requested += 40
        last = partial(daemon.rows, "SELECT 1 FROM attempts LIMIT 1 OFFSET ?", requested)
        eventually(last, "the commit of all starts")
    daemon.kill()
    daemon.start()
    assert daemon.keepers() == [keeper]
    eventually(lambda: not daemon.rows("SELECT 1 FROM runs WHERE state IN ('queued', 'started')"), "all ends")
    *runs, _ = daemon.runs()
    assert sorted(int(run["command"].split()[-1]) - (run["exit_status"] or 0) for run in runs) == [0] * requested, runs
    assert {run["state"] for run in runs} == {"succeeded", "failed"}
    assert {run["attempts"] for run in runs} == {1}
    assert sorted(daemon.lines("runs")) == sorted(run["run"] for run in runs), "each program ran once"
    assert "the appliance ended before the start" in daemon.log


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may make a time namespace")
def test_another_time_namespace_is_no_step_of_the_clock(daemon: Daemon) -> None:
    """The boot time begins elsewhere there. Jobs ran hours early, and due times before their creation were caught up."""
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("unshare is missing")
    daemon.start()
    daemon.say("sched in 1h run hello")
    (before,) = daemon.data("sched list")
    daemon.kill_with_keeper()
    daemon.is_copy = False
    daemon.wrapper = [unshare, "--time", "--boottime", "100000"]
    daemon.start()
    assert daemon.data("sched list") == [before]
    assert daemon.runs() == []
    assert "the clock was set" not in daemon.log
    daemon.assert_healthy()
