"""`sched hold` through real processes: nothing starts until the release, also after `kill -9`."""

from __future__ import annotations

from tests.support.daemon import Daemon, command
from tests.support.waiting import eventually


def test_a_hold_survives_a_kill_and_forgets_no_due_time(daemon: Daemon) -> None:
    daemon.start()
    daemon.say("sched hold a new disk")
    daemon.say("sched every 1 run append")
    client = daemon.console("run", "hello")
    assert client.stdout == "example.com-000000002/1\n"
    assert client.stderr.startswith("it waits until `sched release`: the appliance is held since ")
    eventually(lambda: "it has been due since" in daemon.say("sched why example.com-000000001"), "a due time")
    daemon.kill()
    daemon.start()
    assert "warning the appliance is held since " in daemon.log
    assert daemon.data("summary")["held"]["reason"] == "a new disk"
    ((first_due,),) = daemon.rows("SELECT next_run_ms FROM jobs WHERE number = 1")
    preview = command("preview", "--config", str(daemon.etc / "appliance.yaml"), "--for", "5s")
    assert preview.stderr == "note: the appliance is held: the preview assumes that it is released now\n"
    assert " run append\n" in preview.stdout
    eventually(lambda: daemon.data("summary")["uptime_s"] >= 2, "two more due times")
    assert [(run["run"], run["state"]) for run in daemon.runs()] == [("example.com-000000002/1", "queued")]
    daemon.say("sched release")
    daemon.say("sched delete example.com-000000001")
    missed = next(run for run in daemon.wait_for_state("missed") if run["id"] == "example.com-000000001")
    assert (missed["reason"], missed["missed_since_ms"]) == ("the appliance was held: a new disk", first_due)
    daemon.wait_for_state("succeeded", 2)
    daemon.say("sched every 30m run append")
    assert daemon.say("sched hold for 1h").startswith("held: nothing new starts until ")
    for period, runs in (("5m", False), ("3h", True)):
        preview = command("preview", "--config", str(daemon.etc / "appliance.yaml"), "--for", period)
        assert preview.stderr.startswith("note: the appliance is held until ")
        assert ("  run  " in preview.stdout) == runs
    daemon.say("sched delete example.com-000000003")
    assert "it now ends at" in daemon.say("sched hold for 1")
    assert "the end of the hold" in daemon.console("run", "hello").stderr
    daemon.wait_for_state("succeeded", 3)
    daemon.assert_healthy()
