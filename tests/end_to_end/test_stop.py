"""A clean stop: at whatever moment the signal comes, nothing is left behind and the exit status is 0."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.support.daemon import STANZAS, Daemon, group, is_running
from tests.support.waiting import PATIENCE_SECONDS, eventually

# The leader dies on TERM. The child catches it, writes that down, and goes on.
LEAVER = """
program "leaver" {
  argv = ( "/bin/sh" "-c" "(trap 'echo heard >> ../heard' TERM; while :; do sleep 0.05; done) & wait" )
  cwd = "%s" kill_after = 0.5
}
"""


def start_leaver(daemon: Daemon) -> int:
    """Starts a leader and a child that has set its trap; returns their process group."""
    daemon.conf.write_text((STANZAS + LEAVER.replace("%s", str(daemon.etc))) % daemon.etc)
    daemon.start()
    daemon.say("run leaver")
    leader = daemon.wait_for_pid()
    eventually(lambda: any(catches(pid, signal.SIGTERM) for pid in group(leader)), "the trap")
    return leader


def catches(pid: int, number: int) -> bool:
    """Whether a process catches a signal."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    (caught,) = [line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")]
    return bool(int(caught, 16) >> (number - 1) & 1)


def end_group(leader: int) -> None:
    for pid in group(leader):
        os.kill(pid, signal.SIGKILL)


def test_a_child_that_outlives_its_leader_is_killed_before_the_appliance_ends(daemon: Daemon) -> None:
    leader = start_leaver(daemon)
    try:
        assert daemon.stop() == 0
        assert group(leader) == []
    finally:
        end_group(leader)
    assert (daemon.root / "heard").read_text() == "heard\n", "TERM came first"
    assert daemon.rows("SELECT state, reason FROM runs") == [("interrupted", "the appliance was stopped")]


def test_a_child_of_an_adopted_leader_is_killed_before_the_appliance_ends(daemon: Daemon) -> None:
    leader = start_leaver(daemon)
    try:
        daemon.kill()
        daemon.start()
        daemon.wait_for_log("was adopted")
        assert daemon.stop() == 0
        assert group(leader) == []
    finally:
        end_group(leader)
    assert (daemon.root / "heard").read_text() == "heard\n", "TERM came first"
    assert daemon.rows("SELECT state FROM runs") == [("interrupted",)]


def test_a_second_signal_does_not_shorten_the_stop(daemon: Daemon) -> None:
    leader = start_leaver(daemon)
    assert daemon.process
    try:
        daemon.process.terminate()
        eventually((daemon.root / "heard").exists, "TERM")
        daemon.process.send_signal(signal.SIGHUP)
        daemon.process.send_signal(signal.SIGINT)
        assert daemon.stop() == 0
        assert group(leader) == []
    finally:
        end_group(leader)


# At these steps the stanza files have not been read, so HUP has nothing to do.
READING = [
    pytest.param("open", "appliance.yaml", id="reads the appliance file"),
    pytest.param("open", "sched.conf", id="reads the stanza file"),
]
OPENING = [
    pytest.param("open", "spool/.lock", id="takes the spool"),
    pytest.param("open", "sched.db.lock", id="takes the store"),
    pytest.param("sqlite3.connect", "sched.db", id="opens the store"),
    pytest.param("open", "console.sock.lock", id="opens the console"),
    pytest.param("os.scandir", "spool/new", id="looks into the spool"),
]


def launch_signalled(daemon: Daemon, event: str, ending: str, number: int) -> None:
    """The daemon sends itself a signal at the first call of a function, so that every step of the start can be tested."""
    sent = False

    def watch(name: str, arguments: tuple[object, ...]) -> None:
        nonlocal sent
        if not sent and name == event and str(arguments[0]).endswith(ending):
            sent = True
            os.kill(os.getpid(), number)

    daemon.launch(partial(sys.addaudithook, watch))


@pytest.mark.parametrize(("event", "ending"), READING + OPENING)
def test_a_term_at_any_step_of_the_start_stops_it_cleanly(daemon: Daemon, event: str, ending: str) -> None:
    launch_signalled(daemon, event, ending, signal.SIGTERM)
    assert daemon.process
    assert daemon.process.wait(PATIENCE_SECONDS) == 0, daemon.log
    assert "Traceback" not in daemon.log
    assert not daemon.socket_path.exists()


@pytest.mark.parametrize(("event", "ending"), [READING[0], OPENING[1]])
def test_a_quit_during_the_start_stops_it_cleanly(daemon: Daemon, event: str, ending: str) -> None:
    launch_signalled(daemon, event, ending, signal.SIGQUIT)
    assert daemon.process
    assert daemon.process.wait(PATIENCE_SECONDS) == 0, daemon.log


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM])
@pytest.mark.parametrize(("event", "ending"), [READING[0], OPENING[1]])
def test_a_signal_without_a_meaning_during_the_start_does_not_end_it(
    daemon: Daemon, event: str, ending: str, number: signal.Signals
) -> None:
    launch_signalled(daemon, event, ending, number)
    eventually(lambda: daemon.ended() or " is ready" in daemon.log, "the start")
    daemon.assert_healthy()
    assert daemon.stop() == 0


@pytest.mark.parametrize(("event", "ending"), READING)
def test_a_hup_before_the_files_are_read_does_not_end_it(daemon: Daemon, event: str, ending: str) -> None:
    launch_signalled(daemon, event, ending, signal.SIGHUP)
    eventually(lambda: daemon.ended() or " is ready" in daemon.log, "the start")
    daemon.assert_healthy()
    assert daemon.stop() == 0


@pytest.mark.parametrize(("event", "ending"), OPENING)
def test_a_hup_at_any_later_step_of_the_start_is_a_reload(daemon: Daemon, event: str, ending: str) -> None:
    launch_signalled(daemon, event, ending, signal.SIGHUP)
    eventually(lambda: daemon.ended() or "origin=signal" in daemon.log, "the reload")
    daemon.assert_healthy()
    assert daemon.stop() == 0


def test_many_signals_right_after_the_handlers_are_set_stop_it_cleanly(daemon: Daemon) -> None:
    daemon.launch()
    process = daemon.process
    assert process
    eventually(lambda: daemon.ended() or catches(process.pid, signal.SIGIO), "the handlers")
    for _ in range(20):
        process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGHUP)
    assert process.wait(PATIENCE_SECONDS) == 0, daemon.log
    daemon.start()
    daemon.assert_healthy()


def test_the_appliance_ends_as_soon_as_the_last_child_has_ended(daemon: Daemon) -> None:
    program = LEAVER.replace("%s", str(daemon.etc)).replace("kill_after = 0.5", "kill_after = 3600")
    daemon.conf.write_text(STANZAS % daemon.etc + program.replace("echo heard >> ../heard", "sleep 0.2; exit"))
    daemon.start()
    daemon.say("run leaver")
    leader = daemon.wait_for_pid()
    eventually(lambda: any(catches(pid, signal.SIGTERM) for pid in group(leader)), "the trap")
    assert daemon.process
    daemon.process.terminate()
    eventually(lambda: not group(leader), "the end of the child")
    assert daemon.process.wait(PATIENCE_SECONDS) == 0


def test_a_program_that_cannot_be_killed_is_left_and_adopted_by_the_next_start(daemon: Daemon) -> None:
    """The daemon may not signal the processes of other users, which has the effect of a disk that does not answer."""
    setpriv = shutil.which("setpriv")
    if os.geteuid() != 0 or setpriv is None:
        pytest.skip("only root can start programs as another user")
    program = 'program "stuck" { argv = ( "/bin/sleep" "600" ) user = nobody kill_after = 0.1 }\n'
    daemon.conf.write_text(daemon.conf.read_text() + program)
    daemon.wrapper = [setpriv, "--bounding-set=-kill"]
    daemon.start()
    daemon.say("run stuck")
    pid = daemon.wait_for_pid()
    assert daemon.stop() == 0
    assert "error run example.com-000000001/1 does not end, although it was killed" in daemon.log
    assert is_running(pid)
    daemon.wrapper = []
    daemon.start()
    daemon.wait_for_log(f"its process {pid} was adopted")
    # The keeper may not signal it either.
    os.kill(pid, signal.SIGKILL)
    daemon.wait_for_state("interrupted")
    assert daemon.stop() == 0
    assert daemon.rows("SELECT state, reason FROM runs") == [("interrupted", "the appliance was stopped")]
