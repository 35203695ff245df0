"""What the incidents say about the delivery of their alerts: a time stands there only if somebody was told."""

from __future__ import annotations

from typing import Any

import pytest

from schedappliance.core import alert_limits
from schedappliance.engine.effects import Happened
from schedappliance.engine.records import AttemptKey, ProcessKey, RunKey, User
from tests.core.test_alerts import S, deliveries, due, end_all, files, first, text_of, told, use
from tests.support.core import MINUTE, SECOND, Appliance, ended, some

GUEST, OTHER = User(2000, "guest"), User(2001, "other")
EACH = 'jobs = ".*" incidents = false'
H = 'program "h" { argv = ( "/bin/h" ) overlap = parallel }\n'
FAILED_AT = f"{S + 60} (2023-11-14T22:14:20+00:00)"


def fail_delivery(appliance: Appliance) -> None:
    appliance.turn(ended(deliveries(appliance)[-1].key.run, 75))


def listed(appliance: Appliance) -> str:
    """TOLD of the only incident."""
    return appliance.say("sched incidents").splitlines()[1].split("\t")[-1]


def row(appliance: Appliance) -> dict[str, Any]:
    (row,) = appliance.data("sched incidents")["incidents"]
    return {key: row[key] for key in ("told_ms", "delivery", "delivery_failed")}


def test_an_incident_is_told_when_its_alert_is_delivered(either: Appliance) -> None:
    use(either)
    either.after(MINUTE)
    either.turn(ended(first(either), 1))
    assert listed(either) == "not yet"
    assert row(either) == {"told_ms": None, "delivery": "example.com-000000002", "delivery_failed": False}
    either.after(5 * SECOND, ended(deliveries(either)[0].key.run, 0))
    assert listed(either) == f"{S + 65} (2023-11-14T22:14:25+00:00)"
    assert row(either) == {"told_ms": (S + 65) * SECOND, "delivery": None, "delivery_failed": False}


def test_an_alert_that_was_not_delivered_is_no_time_at_which_people_were_told(either: Appliance) -> None:
    use(either)
    either.after(MINUTE)
    either.turn(ended(first(either), 1))
    fail_delivery(either)
    assert listed(either) == "not delivered by example.com-000000002"
    assert row(either) == {"told_ms": None, "delivery": "example.com-000000002", "delivery_failed": True}
    assert (
        either.say("sched why j")
        .splitlines()[-1]
        .endswith("told by notify `ops`: not delivered by example.com-000000002")
    )
    assert "exit status 75" in either.say("sched why example.com-000000002")
    due(either)
    assert told(either) == ["j failed: exit status 1"], "the next failure of the job makes no other alert"


def test_a_reminder_that_was_not_delivered_leaves_the_time_of_the_alert(appliance: Appliance) -> None:
    use(appliance, "again = 1h")
    due(appliance)
    appliance.say("sched pause j")
    appliance.after(60 * MINUTE)
    assert listed(appliance) == FAILED_AT
    fail_delivery(appliance)
    assert listed(appliance) == f"{FAILED_AT}, then not delivered by example.com-000000003"
    appliance.after(60 * MINUTE)
    end_all(appliance)
    assert listed(appliance) == f"{S + 60 + 7200} (2023-11-15T00:14:20+00:00)"


def test_an_older_alert_that_is_delivered_last_leaves_the_newer_one_to_be_delivered(appliance: Appliance) -> None:
    use(appliance, "again = 1h", "max_running = 2")
    appliance.after(MINUTE)
    appliance.turn(ended(first(appliance), 1))
    appliance.say("sched pause j")
    appliance.after(60 * MINUTE)
    old, new = deliveries(appliance)
    appliance.turn(ended(old.key.run, 0))
    assert row(appliance)["delivery"] == "example.com-000000003"
    appliance.turn(ended(new.key.run, 75))
    assert row(appliance)["delivery_failed"]


def test_an_alert_whose_job_is_deleted_is_not_delivered(appliance: Appliance) -> None:
    use(appliance, "collect = 1h")
    due(appliance)
    assert listed(appliance) == "not yet"
    appliance.say("sched delete example.com-000000002")
    assert listed(appliance) == "not delivered by example.com-000000002"


def test_an_alert_that_gave_way_is_not_delivered(appliance: Appliance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alert_limits, "MOST_WAITING", 1)
    others = "".join(f'job "k{number}" {{ every = 1m argv = ( "/bin/k" ) }}\n' for number in range(3))
    use(appliance, more=others)
    appliance.after(MINUTE)
    appliance.turn(*[ended(key, 1) for key in list(appliance.state.running)])
    gone = [one for one in appliance.data("sched incidents")["incidents"] if one["delivery_failed"]]
    assert gone and len(gone) < 4
    end_all(appliance, 0)
    rows = {one["incident"]: one for one in appliance.data("sched incidents")["incidents"]}
    assert [rows[one["incident"]]["told_ms"] for one in gone] == [None] * len(gone)


def test_those_who_watch_learn_whether_an_alert_was_delivered(appliance: Appliance) -> None:
    use(appliance, "again = 1h")
    appliance.ask("json watch")
    appliance.after(MINUTE)
    appliance.turn(ended(first(appliance), 1))
    fail_delivery(appliance)
    appliance.say("sched pause j")
    appliance.after(60 * MINUTE)
    end_all(appliance)
    events = [event for happened in some(Happened, appliance.past) for event in happened.events]
    changes = [(event["change"], event["incident"]) for event in events if event["kind"] == "incident"]
    assert [(change, one["delivery"], one["delivery_failed"]) for change, one in changes] == [
        ("begun", "example.com-000000002", False),
        ("not_told", "example.com-000000002", True),
        ("reminded", "example.com-000000003", False),
        ("told", None, False),
    ]
    assert changes[-1][1] == appliance.data("sched incidents")["incidents"][0]


def test_a_restart_keeps_what_was_not_delivered(appliance: Appliance) -> None:
    use(appliance)
    appliance.after(MINUTE)
    appliance.turn(ended(first(appliance), 1))
    fail_delivery(appliance)
    before = row(appliance)
    appliance.restart(SECOND, files())
    assert row(appliance) == before


@pytest.mark.parametrize("options", ["collect = 1m", "incidents = false\n collect = 1m"], ids=["incidents", "events"])
def test_a_pause_of_all_jobs_leaves_deliveries_out(either: Appliance, options: str) -> None:
    """What they tell happened before the pause. With `collect`, an alert waits for its time; else for a place."""
    use(either, options)
    either.after(MINUTE)
    either.turn(ended(first(either), 1))
    assert either.say("sched pause --all") == "paused 1 job: j"
    either.after(2 * MINUTE)
    assert told(either) == ["j failed: exit status 1"]
    either.say("sched resume --all")


def test_a_pause_of_all_jobs_leaves_an_alert_in_the_queue(either: Appliance) -> None:
    use(either)
    either.after(MINUTE)
    either.max_running = either.state.places = 1
    either.turn(either.typed("run hello"), ended(first(either), 1))
    busy = [start.key.run for start in either.started()]
    either.turn(either.typed("sched pause --all"))
    either.turn(*[ended(run) for run in busy])
    either.after(5 * SECOND)
    assert told(either) == ["j failed: exit status 1"]


def fail_runs(appliance: Appliance, *users: User) -> None:
    """Each user's run of `h` fails. The runs end in this order."""
    for user in users:
        assert appliance.ask("run h", user).ok
    delivering = {start.key.run for start in deliveries(appliance)}
    appliance.turn(*[ended(key, 1) for key in list(appliance.state.running) if key not in delivering])


def end_delivery(appliance: Appliance, status: int = 0) -> None:
    last = deliveries(appliance)[-1]
    appliance.turn(ended(last.key.run, status, attempt=last.key.attempt))


def jobs_told(appliance: Appliance) -> list[int]:
    """The jobs whose failures were told, in the order in which the deliveries began."""
    events = [event for start in deliveries(appliance) for event in text_of(start)["events"]]
    return [int(event["run"]["run"].partition("/")[0].rpartition("-")[2]) for event in events]


def test_deliveries_take_turns_by_the_user_of_the_run(either: Appliance) -> None:
    """One user's failures delayed the alerts of all others, and of the declared jobs, by hours."""
    use(either, EACH, more=H)
    fail_runs(either, GUEST, GUEST, GUEST, OTHER)
    either.after(MINUTE)
    either.turn(ended(first(either), 1))
    assert "wait before it" not in either.say("sched why example.com-000000010"), "that of the declared job is next"
    assert "; 2 wait before it" in either.say("sched why example.com-000000009")
    for _ in range(5):
        end_delivery(either)
    assert jobs_told(either) == [2, 1, 3, 5, 4]


def test_a_restart_knows_whose_turn_a_delivery_takes(appliance: Appliance) -> None:
    use(appliance, EACH, more=H)
    fail_runs(appliance, GUEST, GUEST, GUEST, OTHER)
    appliance.after(MINUTE)
    appliance.turn(ended(first(appliance), 1))
    appliance.restart(stanzas=files(EACH, more=H), survivors={AttemptKey(RunKey(6, 1), 1): ProcessKey(6, 1)})
    for _ in range(5):
        end_delivery(appliance)
    assert jobs_told(appliance) == [2, 3, 1, 4, 5], "at first, what waits for a place goes by its age"


def test_another_attempt_of_a_delivery_takes_the_same_turn(appliance: Appliance) -> None:
    use(appliance, EACH, "retries = 1 retry_delay = 1m", more=H)
    fail_runs(appliance, GUEST, GUEST, GUEST, OTHER, OTHER)
    appliance.say("sched pause j")
    end_delivery(appliance, 75)
    appliance.after(2 * MINUTE)
    for _ in range(5):
        end_delivery(appliance)
    assert jobs_told(appliance) == [2, 3, 5, 2, 6, 4]


def test_an_alert_that_gets_an_event_of_a_declared_job_gets_its_turn(
    appliance: Appliance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too many alerts wait, so that one gives way in which one event is about the declared job."""
    monkeypatch.setattr(alert_limits, "MOST_WAITING", 6)
    use(appliance, "jobs = ( j h ) collect = 1 incidents = no", more=H)
    for users in ([GUEST], [GUEST], [OTHER], []):
        if users != [OTHER]:
            appliance.after(MINUTE)
        fail_runs(appliance, *users)
        appliance.after(SECOND)
    appliance.say("sched pause j")
    heir = f"example.com-{appliance.store.incidents.waiting_alerts('ops')[2].job:09d}"
    assert "; 2 wait before it" in appliance.say(f"sched why {heir}")
    fail_runs(appliance, GUEST)
    assert len(appliance.store.incidents.waiting_alerts("ops")) == 4, "one has given way"
    assert "wait before it" not in appliance.say(f"sched why {heir}")
