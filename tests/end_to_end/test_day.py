"""A day of an operator: schedule, drop, edit, kill, start again."""

from __future__ import annotations

from tests.support.daemon import Daemon
from tests.support.waiting import eventually


def test_a_scheduled_command_runs_once_and_is_in_the_history(daemon: Daemon) -> None:
    daemon.start()
    assert daemon.ask("sched list") == "JOB ID        \t    NEXT RUN TIME\tREC\tCOMMAND\n"
    assert daemon.ask("sched in 0.1 run hello") == "example.com-000000001\n"
    eventually(lambda: "\tsucceeded\t0\trun hello" in daemon.say("sched history"), "the run")
    assert daemon.ask("sched list").count("\n") == 1
    assert daemon.stop() == 0


def test_a_declared_calendar_runs_and_keeps_its_due_times_after_a_kill(daemon: Daemon) -> None:
    with daemon.conf.open("a") as conf:
        conf.write('sched { zone = "Europe/Berlin" }\n')
        conf.write('job "ticks" { cron = "* * * * * *"  catch_up = none  command = "run hello" }\n')
        conf.write('job "night" { calendar = "02:30"  command = "run hello" }\n')
    daemon.start()
    eventually(lambda: daemon.say("sched history ticks").count("\tsucceeded\t0\trun hello") > 1, "two runs")
    planned = daemon.ask("sched next night 3")
    assert planned.count("T02:30:00+0") == 3
    daemon.kill()
    daemon.start()
    assert daemon.ask("sched next night 3") == planned
    before = daemon.ask("sched history ticks").count("succeeded")
    eventually(lambda: daemon.say("sched history ticks").count("succeeded") > before, "a run after the restart")
    assert daemon.ask("config set job night calendar 03:30") == "        calendar = 03:30\n"
    assert daemon.ask("sched next night 1").count("T03:30:00+0") == 1
    assert daemon.stop() == 0
