"""A day of an operator: schedule, drop, edit, kill, start again."""

from __future__ import annotations

from tests.support.daemon import Daemon
from tests.support.waiting import eventually


def test_a_scheduled_command_runs_once_and_is_in_the_history(daemon: Daemon) -> None:
    daemon.start()
    assert daemon.ask("sched list") == "JOB ID        \t    NEXT RUN TIME\tREC\tCOMMAND\n"
    assert daemon.ask("sched in 0.1 run hello") == "example.com-000000001\n"
    eventually(lambda: "\tsucceeded\t0\trun hello" in daemon.ask("sched history"), "the run")
    assert daemon.ask("sched list").count("\n") == 1
    assert daemon.stop() == 0
