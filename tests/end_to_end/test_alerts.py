"""Alerts of a real daemon that is killed at random instants: each incident is told once, and so is its end."""

from __future__ import annotations

import random

from tests.end_to_end.kills import wait
from tests.support.daemon import Daemon
from tests.support.waiting import eventually

# Every second run of the job fails. A delivery outlives the daemon, so the next one knows that it was started.
STANZAS = """\
sched {{ backing_store = "../var/sched.db" }}
job "unsteady" {{
  every = 1
  argv = ( "/bin/sh" "-c" "[ $(( $(echo $SCHED_RUN_ID | cut -d/ -f2) % 2 )) = 0 ]" )
}}
program "tell" {{
  argv = ( "/bin/sh" "-c" "echo $SCHED_NOTIFY_INCIDENT $SCHED_NOTIFY_KIND >> {lines}; exec sleep 2" )
  timeout = 1m
  max_running = 50
}}
notify "ops" {{ command = "run tell" }}
"""
KILLS = 3


def test_kills_lose_no_alert_and_repeat_none(daemon: Daemon) -> None:
    dice = random.SystemRandom()
    lines = daemon.var / "lines"
    daemon.conf.write_text(STANZAS.format(lines=lines))
    daemon.start()
    for _ in range(KILLS):
        wait(dice.uniform(0.5, 1.5))
        daemon.kill()
        daemon.start()
    eventually(
        lambda: daemon.rows("SELECT seq FROM sqlite_sequence WHERE name = 'incidents' AND seq >= 3"), "incidents"
    )
    daemon.say("sched pause unsteady")
    eventually(lambda: not daemon.rows("SELECT job FROM alerts"), "the end of all deliveries")
    told = [line.split() for line in lines.read_text().splitlines()]
    (last,) = daemon.rows("SELECT seq FROM sqlite_sequence WHERE name = 'incidents'")
    open_ones = [number for (number,) in daemon.rows("SELECT number FROM incidents")]
    numbers = [str(number) for number in range(1, last[0] + 1)]
    assert sorted((n for n, kind in told if kind != "recovered"), key=int) == numbers
    recovered = [number for number in numbers if int(number) not in open_ones]
    assert sorted((n for n, kind in told if kind == "recovered"), key=int) == recovered
