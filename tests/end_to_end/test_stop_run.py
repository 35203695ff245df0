"""`sched stop` and `sched wait` on real programs: the whole group ends, also if the daemon is killed meanwhile."""

from __future__ import annotations

from tests.support.daemon import Daemon, group
from tests.support.waiting import eventually

# The shell and its child ignore TERM.
STUBBORN = """\
program "stubborn" {
  argv = ( "/bin/sh" "-c" "trap '' TERM; echo $$; sleep 1000; true" )
  kill_after = 1 retries = 2 retry_delay = 0 on_interrupt = rerun
}
"""


def begun(daemon: Daemon, number: int) -> tuple[str, int]:
    """The run and the process group of a program that ignores TERM by now."""
    run = daemon.say("run stubborn").strip()
    output = daemon.var / "sched.db.output" / f"{number}-1-1"
    pid = int(eventually(lambda: output.read_text() if output.exists() else "", "the program"))
    assert group(pid)
    return run, pid


def test_a_stopped_run_ends_for_good_also_after_a_kill_of_the_daemon(daemon: Daemon) -> None:
    daemon.conf.write_text(daemon.conf.read_text() + STUBBORN)
    daemon.start()
    run, pid = begun(daemon, 1)
    with daemon.connect() as client:
        client.sendall(f"sched wait {run}\n".encode())
        assert daemon.say(f"sched stop {run}") == f"{run}: its program is being ended\n"
        assert client.recv(1000).decode().startswith(f"error: run {run} cancelled: stopped by ")
    assert group(pid) == []

    run, pid = begun(daemon, 2)
    daemon.say(f"sched stop {run}")
    daemon.kill()
    daemon.start()
    newest, first = daemon.wait_for_state("cancelled", 2)
    assert (newest["run"], newest["attempts"], newest["reason"]) == (run, 1, first["reason"])
    eventually(lambda: group(pid) == [], "the end of the group")
    daemon.assert_healthy()
