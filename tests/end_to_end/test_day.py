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


def test_every_job_is_unchanged_after_kill_9(daemon: Daemon) -> None:
    daemon.start()
    daemon.ask("sched every 60 config set message_expiration 300")
    daemon.ask("sched at 4000000000 run hello")
    before = daemon.ask("sched list")
    daemon.kill()
    daemon.start()
    assert daemon.ask("sched list") == before
