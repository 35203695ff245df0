"""Alerts: which ends of runs are told, once each, by a run that no alert answers, across failures and kills."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schedappliance.core import alert_limits
from schedappliance.engine.effects import Happened, LogMessage, StartProgram
from schedappliance.engine.events import (
    AuditDue,
    FilesRead,
    OutputsChecked,
    ProgramNotStarted,
    SpoolSeen,
    StopRequested,
)
from schedappliance.engine.incidents import MOST_EVENTS
from schedappliance.engine.intake import SpoolBacklog
from schedappliance.engine.records import AttemptKey, ProcessKey, RunKey, User
from schedappliance.model.loading import load
from schedappliance.model.options import EVENTS
from schedappliance.store.incidents import Incidents
from tests.support.core import MINUTE, NODE, SECOND, START_MS, Appliance, ended, has_pid, some, spoken

DAY = 24 * 60 * MINUTE
S = START_MS // 1000


def files(notify: str = "", tell: str = "", program: str = "", more: str = "") -> str:
    """A job `j` that runs program `p` each minute, and a stanza whose alerts program `tell` delivers."""
    return (
        f'program "p" {{ argv = ( "/bin/work" ) args = any {program} }}\n'
        f'program "tell" {{ argv = ( "/bin/tell" ) args = any {tell} }}\n'
        f'job "j" {{ every = 1m command = "run p" }}\n'
        f'notify "ops" {{ command = "run tell" {notify} }}\n{more}'
    )


def use(appliance: Appliance, *text: str, **options: str) -> None:
    appliance.turn(appliance.read(files(*text, **options)))


def deliveries(appliance: Appliance) -> list[StartProgram]:
    """All starts of the program that delivers, the first ones first."""
    return [start for start in some(StartProgram, appliance.past) if start.argv[0] == "/bin/tell"]


def told(appliance: Appliance) -> list[str]:
    """The summaries of the alerts whose delivery was started."""
    return [event["summary"] for start in deliveries(appliance) for event in text_of(start)["events"]]


def text_of(start: StartProgram) -> Any:
    assert start.stdin is not None
    return json.loads(start.stdin)


def end_all(appliance: Appliance, status: int = 1) -> None:
    """Ends what runs: deliveries well, other programs with this status."""
    while starts := [start for key in appliance.state.running if (start := start_of(appliance, key))]:
        ends = [ended(s.key.run, 0 if "tell" in s.argv[0] else status, attempt=s.key.attempt) for s in starts]
        appliance.turn(*ends)


def start_of(appliance: Appliance, key: RunKey) -> StartProgram:
    return [start for start in some(StartProgram, appliance.past) if start.key.run == key][-1]


def due(appliance: Appliance, status: int = 1) -> None:
    """The next due time of the job, whose run ends with this status."""
    appliance.after(MINUTE)
    end_all(appliance, status)


@pytest.mark.slow
def test_a_thousand_failures_are_one_alert_and_one_recovery(appliance: Appliance) -> None:
    use(appliance, "again = 0")
    for _ in range(1000):
        due(appliance)
    due(appliance, 0)
    due(appliance, 0)
    assert told(appliance) == [
        "j failed: exit status 1",
        f"j recovered after 1,000 events since {incident_time(0)}",
    ]
    assert appliance.store.incidents.all() == []


def incident_time(minutes: int) -> str:
    return f"2023-11-14T22:{14 + minutes:02d}:20+00:00"


ENDS: dict[str, tuple[str, Callable[[Appliance], object], str]] = {
    "failure": ("", lambda a: a.turn(ended(first(a), 3)), "failed: exit status 3"),
    "signal": ("", lambda a: a.turn(ended(first(a), signal=11)), "failed: ended by signal 11 (SIGSEGV)"),
    "no start": (
        "",
        lambda a: a.turn(ProgramNotStarted(AttemptKey(first(a), 1), "no such file")),
        "failed: no such file",
    ),
    "timeout": (
        "timeout = 5",
        lambda a: [a.after(5_000), a.turn(ended(first(a), signal=15))],
        "timed out: the program's timeout passed",
    ),
    "first of two attempts": ("retries = 1", lambda a: a.turn(ended(first(a), 3)), ""),
    "last of two attempts": (
        "retries = 1 retry_delay = 0",
        lambda a: [a.turn(ended(first(a), 3)), a.turn(ended(first(a), 3, attempt=2))],
        "failed: exit status 3",
    ),
    "cancelled": ("", lambda a: [a.say("sched stop example.com-000000001/1"), a.turn(ended(first(a), signal=15))], ""),
    "stop": (
        "",
        lambda a: [
            a.turn(StopRequested("SIGTERM")),
            a.turn(ended(first(a), signal=15)),
            a.restart(0, a.stanzas),
            a.turn(),
        ],
        "interrupted: the appliance was stopped",
    ),
}


def first(appliance: Appliance) -> RunKey:
    """The run of the job."""
    return next(run.key for run in appliance.history() if run.name == "j")


@pytest.mark.parametrize("name", ENDS)
def test_which_ends_are_told(appliance: Appliance, name: str) -> None:
    policy, end, reason = ENDS[name]
    use(appliance, program=policy)
    appliance.stanzas = files(program=policy)
    appliance.after(MINUTE)
    end(appliance)
    assert told(appliance) == ([f"j {reason}"] if reason else [])


# What happens in the test: a run fails, one succeeds, one times out, one succeeds, one is skipped as the last one goes
# on; one is interrupted, due times are missed, one succeeds; then the files are bad, and the appliance is degraded.
TOLD = {
    "usual": ["failed", "recovered", "timed_out", "recovered", "interrupted", "recovered"],
    "failed": ["failed"],
    "timed_out": ["timed_out"],
    "interrupted": ["interrupted"],
    "missed": ["missed"],
    "skipped": ["skipped"],
    "recovered": [],
    "started": ["started"] * 6,
    "succeeded": ["succeeded"] * 3,
    "output": ["output"],
    "degraded": ["degraded"],
    "reload_refused": ["reload_refused"],
}


@pytest.mark.parametrize("when", TOLD)
def test_only_the_events_of_when_are_told(appliance: Appliance, when: str) -> None:
    assert {"usual", *EVENTS} == {*TOLD, "late"}
    text = files(
        "again = 0" if when == "usual" else f"when = {when} again = 0", program="timeout = 90", tell="args = any"
    )
    appliance.turn(appliance.read(text))
    due(appliance)
    appliance.after(MINUTE, ended(first(appliance), 0))
    appliance.turn(ended(RunKey(1, 2), 0, output=b"said"))
    end_all(appliance)
    appliance.after(MINUTE)
    appliance.after(MINUTE)
    appliance.after(MINUTE)
    end_all(appliance)
    due(appliance, 0)
    appliance.after(MINUTE)
    appliance.restart(5 * MINUTE, text)
    appliance.turn()
    end_all(appliance, 0)
    appliance.turn(appliance.read("sched {"))
    end_all(appliance)
    appliance.turn(OutputsChecked("no free inode"))
    appliance.turn(OutputsChecked(None))
    end_all(appliance)
    assert [dict(start.env)["SCHED_NOTIFY_KIND"] for start in deliveries(appliance)] == TOLD[when]


def test_a_run_that_cannot_start_and_a_rejected_command_are_told(either: Appliance) -> None:
    use(either, more='job "set" { every = 1m command = "config set nowhere.option 1" }\n')
    either.turn(either.read(files(program='env = [ A = "%{nowhere_set}" ]')))
    either.after(MINUTE)
    either.turn()
    assert told(either) == ["j failed: option `nowhere_set` is not set"]


def test_the_first_alert_follows_after_some_events_and_reminders_at_an_interval(appliance: Appliance) -> None:
    use(appliance, "after = 3 again = 1h")
    for _ in range(2):
        due(appliance)
    assert told(appliance) == []
    due(appliance)
    assert told(appliance) == [f"j failed: exit status 1 (3 times since {incident_time(0)})"]
    appliance.say("sched pause j")
    appliance.restart(10 * SECOND, files("after = 3 again = 1h"))
    assert appliance.core.wake()[0] == START_MS + 3 * MINUTE + 60 * MINUTE
    appliance.after(61 * MINUTE)
    end_all(appliance)
    appliance.after(60 * MINUTE)
    end_all(appliance)
    assert told(appliance)[1:] == [f"j still failed: exit status 1 (3 times since {incident_time(0)})"] * 2
    events = [text_of(start)["events"][0] for start in deliveries(appliance)]
    assert [event["reminder"] for event in events] == [False, True, True]
    assert {event["incident"] for event in events} == {1}


def test_no_reminder_follows_after_its_stanza_wants_none(appliance: Appliance) -> None:
    use(appliance, "again = 1h")
    due(appliance)
    appliance.say("sched pause j")
    use(appliance, "again = 0")
    appliance.after(60 * MINUTE)
    assert told(appliance) == ["j failed: exit status 1"]
    assert (len(appliance.store.incidents.all()), appliance.core.wake()[0]) == (1, None)


def test_a_recovery_is_told_only_if_the_failure_was(appliance: Appliance) -> None:
    use(appliance, "after = 2")
    for status in (1, 0, 1, 0):
        due(appliance, status)
    assert told(appliance) == []
    use(appliance, "when = failed")
    for status in (1, 0):
        due(appliance, status)
    assert told(appliance) == ["j failed: exit status 1"]


def test_the_end_of_a_run_is_told_once(appliance: Appliance) -> None:
    use(appliance, "when = ( failed succeeded recovered )")
    for status in (1, 0, 0):
        due(appliance, status)
    assert [text.partition(" after")[0] for text in told(appliance)] == [
        "j failed: exit status 1",
        "j recovered",
        "j succeeded",
    ]


def test_the_program_learns_what_happened(either: Appliance) -> None:
    use(either, more="", tell='env = [ TO = "ops" ]')
    either.after(MINUTE)
    either.after(5 * SECOND, ended(first(either), 3, output="naïve\n".encode()))
    (start,) = deliveries(either)
    variables = dict(start.env)
    assert {name: value for name, value in variables.items() if name.startswith("SCHED_NOTIFY")} == {
        "SCHED_NOTIFY": "ops",
        "SCHED_NOTIFY_KIND": "failed",
        "SCHED_NOTIFY_SUBJECT": f"[{NODE}] j failed: exit status 3",
        "SCHED_NOTIFY_EVENTS": "1",
        "SCHED_NOTIFY_NAME": "j",
        "SCHED_NOTIFY_REASON": "exit status 3",
        "SCHED_NOTIFY_INCIDENT": "1",
        "SCHED_NOTIFY_COUNT": "1",
        "SCHED_NOTIFY_SINCE": str(S + 65),
        "SCHED_NOTIFY_JOB_ID": "example.com-000000001",
        "SCHED_NOTIFY_RUN_ID": "example.com-000000001/1",
        "SCHED_NOTIFY_COMMAND": "run p",
        "SCHED_NOTIFY_STATE": "failed",
        "SCHED_NOTIFY_EXIT_STATUS": "3",
        "SCHED_NOTIFY_OUTPUT": "naïve\n",
    }
    assert (variables["TO"], variables["SCHED_RUN_ID"]) == ("ops", "example.com-000000002/1")
    message = text_of(start)
    (event,) = message.pop("events")
    assert message == {"v": 1, "notify": "ops", "node": NODE, "subject": variables["SCHED_NOTIFY_SUBJECT"]}
    assert (event["at_ms"], event["run"]["due_ms"]) == (START_MS + 65 * SECOND, (S // 60 + 1) * MINUTE)


def test_runs_without_a_declared_job_are_told_if_a_pattern_matches_their_program(either: Appliance) -> None:
    use(either, 'jobs = ( "p" ) again = 0')
    either.turn(either.read(files('jobs = ( "p" ) again = 0').replace("1m", "1d")))
    either.say("sched every 60 run p x")
    either.say("run p")
    end_all(either)
    either.say("run p")
    end_all(either)
    due(either)
    due(either)
    assert told(either) == ["p failed: exit status 1", "example.com-000000002 failed: exit status 1"]
    either.say("run p")
    end_all(either, 0)
    due(either, 0)
    assert [text.partition(" after")[0] for text in told(either)[2:]] == [
        "p recovered",
        "example.com-000000002 recovered",
    ]


def test_the_event_its_incident_and_its_alert_are_one_transaction(either: Appliance) -> None:
    use(either)
    either.after(MINUTE)
    either.database.failing_commits = 1
    either.turn(ended(first(either), 3))
    assert (either.store.incidents.all(), either.state.has_incidents) == ([], False)
    either.after(SECOND)
    end_all(either)
    due(either)
    assert told(either) == ["j failed: exit status 3"]


@pytest.mark.parametrize("when", ["before its start", "while it runs", "before it is claimed"])
def test_a_kill_loses_no_alert_and_repeats_none(appliance: Appliance, when: str) -> None:
    use(appliance, "again = 0")
    appliance.after(MINUTE)
    if when == "before it is claimed":
        appliance.state.places = 0
    appliance.turn(ended(first(appliance), 3))
    survivors = {}
    if when == "while it runs":
        appliance.turn(has_pid(deliveries(appliance)[0]))
        survivors = {deliveries(appliance)[0].key: ProcessKey(300, 7)}
    appliance.restart(SECOND, files("again = 0"), survivors)
    appliance.turn()
    attempts = {"before its start": [1, 2], "while it runs": [1], "before it is claimed": [1]}[when]
    assert [start.key.attempt for start in deliveries(appliance)] == attempts
    assert {start.stdin for start in deliveries(appliance)} == {deliveries(appliance)[0].stdin}
    end_all(appliance)
    appliance.restart(SECOND, files("again = 0"))
    due(appliance)
    assert len(deliveries(appliance)) == len(attempts)


def test_a_delivery_is_tried_again_with_the_same_message_and_its_failure_is_only_logged(appliance: Appliance) -> None:
    use(appliance, 'jobs = ".*"', "retries = 2 retry_delay = 0")
    appliance.after(MINUTE)
    appliance.turn(ended(first(appliance), 3))
    for attempt in (1, 2, 3):
        appliance.turn(ended(deliveries(appliance)[-1].key.run, 75, attempt=attempt))
    assert len(deliveries(appliance)) == 3
    assert len({(start.stdin, start.env[-1]) for start in deliveries(appliance)}) == 1
    errors = [log.message for log in some(LogMessage, appliance.past) if log.level == "error"]
    assert errors == ["run example.com-000000002/1 has not delivered its alert: failed: exit status 75"]
    assert appliance.database.row("SELECT count(*) FROM alerts")[0] == 0
    assert appliance.state.metrics.counters["alerts_total", ("ops", "failed")] == 1
    assert appliance.core.wake()[0] == (S // 60 + 2) * MINUTE


def test_one_delivery_at_a_time_takes_one_place(appliance: Appliance) -> None:
    """A mail server that hangs delays other alerts, and nothing else."""
    others = "".join(f'job "k{number}" {{ every = 1m argv = ( "/bin/k" ) }}\n' for number in range(5))
    use(appliance, more=others)
    appliance.after(MINUTE)
    appliance.turn(*[ended(key, 1) for key in list(appliance.state.running)])
    assert len(deliveries(appliance)) == 1
    appliance.after(MINUTE)
    assert len(appliance.state.running) == 7
    assert "as many runs of `tell` as its `max_running` allows (1)" in appliance.say("sched why example.com-000000012")
    end_all(appliance)
    assert len(told(appliance)) == 6


CHANGES = {
    "the stanza is gone": files().partition("notify")[0],
    "the stanza watches others": files('jobs = "tell"'),
    "the job is gone": files().replace('job "j"', 'job "other"'),
    "the job is switched off": files().replace("every = 1m", "every = 1m enabled = no"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_incident_ends_with_its_job_and_its_stanza(appliance: Appliance, change: str) -> None:
    use(appliance)
    due(appliance)
    appliance.turn(appliance.read(CHANGES[change]))
    assert (appliance.store.incidents.all(), appliance.state.has_incidents, appliance.state.remind_at) == (
        [],
        False,
        None,
    )
    assert told(appliance) == ["j failed: exit status 1"]


def test_an_incident_ends_when_its_job_is_deleted(either: Appliance) -> None:
    use(either, 'jobs = "p"')
    number = either.say("sched every 60 run p")
    either.say("sched pause j")
    due(either)
    assert [incident.subject.name for incident in either.store.incidents.all()] == [number]
    either.say(f"sched delete {number}")
    assert either.store.incidents.all() == []


def test_a_held_appliance_tells_after_its_release(either: Appliance) -> None:
    use(either, "again = 1h")
    either.after(MINUTE)
    either.say("sched hold")
    either.turn(ended(first(either), 1))
    either.after(2 * DAY)
    assert told(either) == []
    either.say("sched pause j")
    either.say("sched release")
    end_all(either)
    assert told(either)[0] == "j failed: exit status 1"


def test_a_reminder_follows_a_clock_that_is_set_back(appliance: Appliance) -> None:
    use(appliance, "again = 1h")
    due(appliance)
    appliance.say("sched pause j")
    appliance.clock.step(-DAY)
    appliance.turn()
    assert appliance.core.wake()[0] == START_MS + MINUTE + 60 * MINUTE - DAY


def test_incidents_are_listed_and_acknowledged(appliance: Appliance) -> None:
    use(appliance, "again = 1h after = 2")
    assert appliance.say("sched incidents") == "no incidents"
    due(appliance)
    assert appliance.data("sched incidents")["incidents"][0]["told_ms"] is None
    due(appliance)
    since = f"{S + 60} (2023-11-14T22:14:20+00:00)"
    assert appliance.say("sched incidents").splitlines() == [
        "INCIDENT\tJOB\tEVENT\tCOUNT\tSINCE\tNOTIFY\tTOLD",
        f"1\tj\tfailed\t2\t{since}\tops\t{S + 120} (2023-11-14T22:15:20+00:00)",
    ]
    assert appliance.say("sched why j").splitlines()[-1] == (
        f"incident 1 since {since}: 2 events, the last one failed; told by notify `ops`: {S + 120} (2023-11-14T22:15:20+00:00)"
    )
    assert appliance.say("sched ack 1") == "incident 1, j: acknowledged by operator"
    assert (appliance.state.remind_at, appliance.data("sched ack j")["incidents"][0]["acked_by"]) == (None, "operator")
    assert appliance.say("sched incidents").endswith("\tacknowledged by operator")
    for _ in range(3):
        due(appliance)
    due(appliance, 0)
    assert [text.partition(" after")[0] for text in told(appliance)][1:] == ["j recovered"]
    assert "no incident has the number, job or program `j`" in appliance.error("sched ack j")


def test_a_number_or_an_id_acknowledges_no_job_of_that_name(appliance: Appliance) -> None:
    jobs = ("x", "2", "example.com-000000001")
    more = "".join(f'job "{name}" {{ every = 1m command = "run p" }}\n' for name in jobs)
    use(appliance, more=more)
    due(appliance)
    names = {one["incident"]: one["subject"] for one in appliance.data("sched incidents")["incidents"]}
    assert set(names.values()) == {"j", *jobs} and names[2] != "2"
    numbers = {name: number for number, name in names.items()}
    first = appliance.store.jobs.get(1)
    assert first is not None
    assert appliance.say("sched ack 2") == f"incident 2, {names[2]}: acknowledged by operator"
    (answer,) = appliance.say("sched ack example.com-000000001").splitlines()
    assert answer.startswith(f"incident {numbers[str(first.declared)]}, {first.declared}: ")


def test_the_list_of_incidents_has_pages(appliance: Appliance) -> None:
    appliance.turn(
        appliance.read(
            'program "p" { argv = ( "/bin/work" ) args = any }\nnotify "ops" { jobs = "p" command = "run p" }\n'
        )
    )
    for _ in range(5):
        number = appliance.say("sched every 1h run p")
        appliance.say(f"sched run {number}")
        end_all(appliance)
    appliance.say("sched delete example.com-000000001")
    line: str | None = "sched incidents limit 2"
    pages = []
    while line:
        answer, text = appliance.ask(f"json {line}"), appliance.say(line).splitlines()
        rows = [row["incident"] for row in json.loads(spoken(answer))["incidents"]]
        assert [row.split("\t")[0] for row in text[1:] if "\t" in row] == [str(row) for row in rows]
        assert answer.note is None or text[-1] == answer.note
        pages.append((rows, answer.note))
        line = answer.next
    assert pages == [
        ([2, 3], "2 more incidents: `sched incidents limit 2 after 3`"),
        ([4, 5], None),
    ]
    assert appliance.say("sched incidents after 5") == "no more incidents"
    assert "invalid number" in appliance.error("sched incidents after one")
    assert "unknown filter `nightly`" in appliance.error("sched incidents nightly")


def test_incidents_of_declared_jobs_are_listed_first(appliance: Appliance) -> None:
    """One user's 500 failing jobs hid the one that a stanza declares."""
    appliance.turn(
        appliance.read(
            'program "p" { argv = ( "/bin/work" ) args = any }\nprogram "mail" { argv = ( "/bin/work" ) }\n'
            'notify "ops" { jobs = ( "p" "vic" ) command = "run mail" }\njob "vic" { every = 1d  command = "run p" }\n'
        )
    )
    for job in [appliance.say("sched every 1h run p") for _ in range(3)] + ["vic"]:
        appliance.say(f"sched run {job}")
        end_all(appliance)
    names = ["vic", *(f"example.com-00000000{number}" for number in (2, 3, 4))]
    line: str | None = "sched incidents limit 1"
    listed = []
    while line:
        answer = appliance.ask(f"json {line}")
        listed += [(row["incident"], row["subject"]) for row in json.loads(spoken(answer))["incidents"]]
        line = answer.next
    assert listed == list(zip([4, 1, 2, 3], names, strict=True))


def test_those_who_watch_learn_of_each_change_of_an_incident(appliance: Appliance) -> None:
    use(appliance, "again = 90")
    appliance.ask("json watch")
    due(appliance)
    due(appliance)
    appliance.after(30 * SECOND)
    appliance.say("sched ack j")
    appliance.say("sched ack j")
    (row,) = appliance.data("sched incidents")["incidents"]
    due(appliance, 0)
    due(appliance)
    appliance.turn(appliance.read("sched {}"))
    events = [event for happened in some(Happened, appliance.past) for event in happened.events]
    changes = [(event["change"], event["incident"]) for event in events if event["kind"] == "incident"]
    assert [(change, incident["count"]) for change, incident in changes] == [
        *(("begun", 1), ("told", 1), ("repeated", 2), ("reminded", 2), ("acknowledged", 2), ("told", 2)),
        *(("recovered", 2), ("begun", 1), ("told", 1), ("ended", 1)),
    ]
    assert changes[4] == ("acknowledged", row)
    assert row["acked_by"] == "operator"


def test_an_incident_of_the_appliance_has_no_job(appliance: Appliance) -> None:
    use(appliance, "when = degraded")
    appliance.turn(OutputsChecked("no free inode"))
    (row,) = appliance.data("sched incidents")["incidents"]
    assert (row["subject"], row["id"], row["last_run"]) == ("appliance", None, None)


def test_what_is_acknowledged_before_it_is_told_is_not_told(appliance: Appliance) -> None:
    use(appliance, "after = 2")
    due(appliance)
    appliance.say("sched ack example.com-000000001")
    for status in (1, 1, 0):
        due(appliance, status)
    assert told(appliance) == []
    assert appliance.data("sched incidents") == {"incidents": [], "undelivered": 0}


def test_alerts_that_wait_for_their_delivery_are_counted(appliance: Appliance) -> None:
    use(appliance)
    appliance.state.places = 1
    appliance.after(MINUTE)
    appliance.say("run p x")
    appliance.turn(ended(first(appliance), 1))
    assert appliance.say("sched incidents").endswith("\n1 alert not delivered yet")


def test_a_start_that_a_shortage_delays_is_told_and_counted_once(appliance: Appliance) -> None:
    use(appliance, "when = started incidents = no")
    appliance.after(MINUTE)
    key = first(appliance)
    appliance.turn(ProgramNotStarted(AttemptKey(key, 1), "too many processes", exhausted=True))
    appliance.after(SECOND)
    assert appliance.started()[0].key == AttemptKey(key, 1)
    assert [dict(start.env)["SCHED_NOTIFY_KIND"] for start in deliveries(appliance)] == ["started"]
    (waits,) = [one for one in appliance.data("metrics")["families"] if one["name"] == "run_wait_seconds"]
    # The run, and the delivery.
    assert sum(waits["samples"][0][1]) == 2


def test_without_incidents_each_event_is_told(appliance: Appliance) -> None:
    """As a service wants it that expects a ping of each run."""
    use(appliance, "when = ( started succeeded failed output ) incidents = no")
    for status in (1, 1, 0):
        due(appliance, status)
    kinds = [dict(start.env)["SCHED_NOTIFY_KIND"] for start in deliveries(appliance)]
    assert kinds == ["started", "failed", "started", "failed", "started", "succeeded"]
    assert appliance.data("sched incidents") == {"incidents": [], "undelivered": 0}


def test_an_alert_collects_what_happens_meanwhile(appliance: Appliance) -> None:
    others = "".join(f'job "k{number}" {{ every = 1m argv = ( "/bin/k" ) }}\n' for number in range(3))
    text = files("collect = 5m again = 0", more=others)
    appliance.turn(appliance.read(text))
    due(appliance)
    due(appliance, 0)
    assert deliveries(appliance) == []
    appliance.restart(SECOND, text)
    appliance.say("sched pause --all")
    appliance.say("sched resume --all")
    for _ in range(4):
        due(appliance, 0)
    (start,) = deliveries(appliance)
    message = text_of(start)
    kinds = [(event["kind"], event["subject"]) for event in message["events"]]
    assert sorted(kinds) == sorted((kind, name) for kind in ("failed", "recovered") for name in ("j", "k0", "k1", "k2"))
    assert message["subject"].endswith(" and 7 more")
    assert dict(start.env)["SCHED_NOTIFY_EVENTS"] == "8"


def test_an_alert_with_many_events_is_followed_by_another_one(appliance: Appliance) -> None:
    use(appliance, "collect = 1d when = failed incidents = no")
    for _ in range(MOST_EVENTS + 1):
        due(appliance)
    appliance.say("sched pause j")
    appliance.after(DAY)
    end_all(appliance)
    assert [len(text_of(start)["events"]) for start in deliveries(appliance)] == [MOST_EVENTS, 1]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """At most three events wait for their delivery."""
    monkeypatch.setattr(alert_limits, "MOST_WAITING", 3)


def hang(appliance: Appliance) -> None:
    """The next due time of the job fails. The programs that deliver alerts do not end."""
    appliance.after(MINUTE)
    appliance.turn(
        *(ended(key, 1) for key in list(appliance.state.running) if start_of(appliance, key).argv[0] == "/bin/work")
    )


def undelivered(appliance: Appliance) -> list[list[str]]:
    """The summaries of the events of each alert that is not delivered."""
    incidents = appliance.store.incidents
    return [[event["summary"] for event in incidents.events(one.job)] for one in incidents.waiting_alerts("ops")]


LATER = "2023-11-14T22:15:20+00:00 left out: too many alerts wait for their delivery"
FAILED = "j failed: exit status 1"


@pytest.mark.usefixtures("few")
def test_while_a_transport_hangs_the_oldest_alerts_give_way(appliance: Appliance) -> None:
    use(appliance, "when = failed incidents = no")
    for _ in range(4):
        hang(appliance)
    assert undelivered(appliance) == [[FAILED], [f"1 earlier event since {LATER}", FAILED], [FAILED]]
    for _ in range(4):
        hang(appliance)
    assert undelivered(appliance) == [[FAILED], [f"5 earlier events since {LATER}", FAILED], [FAILED]]
    assert f"error: notify ops: 5 earlier events since {LATER}" in appliance.logged()
    reasons = [run.reason for run in appliance.history() if run.state == "cancelled"]
    assert set(reasons) == {"too many alerts wait for their delivery"}
    assert appliance.state.metrics.counters["alerts_total", ("ops", "failed")] == 5
    appliance.restart(SECOND, files("when = failed incidents = no"))
    appliance.say("sched pause j")
    end_all(appliance)
    events = [
        [(event["kind"], event["count"]) for event in text_of(start)["events"]] for start in deliveries(appliance)
    ]
    assert events[-2:] == [[("left_out", 5), ("failed", 1)], [("failed", 1)]]
    assert appliance.data("sched incidents")["undelivered"] == 0


GUEST = User(2000, "guest")


def fail_of_guest(appliance: Appliance, number: int) -> None:
    """As many runs of a user fail, whose program the stanza watches too."""
    for _ in range(number):
        assert appliance.ask("run p", GUEST).ok
        appliance.turn(
            *(ended(key, 1) for key in list(appliance.state.running) if start_of(appliance, key).argv[0] == "/bin/work")
        )


@pytest.mark.usefixtures("few")
def test_the_runs_of_one_user_do_not_make_the_alerts_of_others_go(appliance: Appliance) -> None:
    """The alert of another's job, the oldest that waited, was cancelled. So nobody was told."""
    use(appliance, "jobs = ( j p ) when = failed incidents = no")
    hang(appliance)
    hang(appliance)
    appliance.say("sched pause j")
    fail_of_guest(appliance, 9)
    kinds = [[text.partition(":")[0].partition(" earlier")[0] for text in texts] for texts in undelivered(appliance)]
    assert kinds == [["j failed"], ["8", "j failed"], ["p failed"]]
    of_users = appliance.database.rows("SELECT uid, count(*) FROM alerts GROUP BY uid")
    assert of_users == [(-1, 1), (0, 2), (2000, 1)]


@pytest.mark.usefixtures("few")
def test_an_event_in_an_alert_of_another_user_is_delivered_by_the_next_one(
    appliance: Appliance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("schedappliance.store.incidents.MOST_EVENTS", 3)
    use(appliance, "jobs = ( j p ) when = failed collect = 1d incidents = no")
    fail_of_guest(appliance, 1)
    hang(appliance)
    appliance.say("sched pause j")
    fail_of_guest(appliance, 6)
    kinds = [[text.partition(":")[0].partition(" earlier")[0] for text in texts] for texts in undelivered(appliance)]
    assert kinds == [["5", "j failed", "p failed"], ["p failed"]]


@pytest.mark.usefixtures("few")
def test_while_a_transport_fails_the_oldest_alerts_give_way_between_their_attempts(appliance: Appliance) -> None:
    """All attempts get the same alert, so only one that has not begun can say what is left out."""
    use(appliance, "when = failed incidents = no", tell="retries = 99 retry_delay = 1d")
    for _ in range(5):
        hang(appliance)
        appliance.turn(
            *(ended(key, 1, attempt=running.key.attempt) for key, running in appliance.state.running.items())
        )
    summaries = [[text.partition(" since ")[0] for text in texts] for texts in undelivered(appliance)]
    assert summaries == [[FAILED], ["1 earlier event", FAILED], ["1 earlier event", FAILED]]
    messages = [dict(start.env)["SCHED_NOTIFY_EVENTS"] for start in deliveries(appliance)]
    assert messages == ["1", "1", "1", "2", "2"]


@pytest.mark.usefixtures("few")
def test_an_alert_that_has_been_sent_does_not_say_what_is_left_out(appliance: Appliance) -> None:
    """The last event joins the alert that collects, which begins in the same tick. The next alert says it."""
    use(appliance, "when = skipped incidents = no collect = 1m", "retries = 99 retry_delay = 1d", "overlap = skip")
    waiting = []
    for _ in range(6):
        appliance.after(MINUTE)
        for key in [key for key in appliance.state.running if start_of(appliance, key).argv[0] == "/bin/tell"]:
            appliance.turn(ended(key, 1))
        appliance.turn()
        waiting.append([[text.partition(" ")[0] for text in texts] for texts in undelivered(appliance)])
    assert waiting[-2:] == [[["j", "j"], ["j", "j"]], [["j", "j"], ["2", "j"]]]


@pytest.mark.usefixtures("few")
def test_the_oldest_alerts_that_collect_give_way(appliance: Appliance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("schedappliance.store.incidents.MOST_EVENTS", 2)
    use(appliance, "when = failed incidents = no collect = 1d")
    for _ in range(7):
        hang(appliance)
    earlier = f"4 earlier events since {LATER.replace(':15', ':14')}"
    assert undelivered(appliance) == [[earlier, FAILED, FAILED], [FAILED]]
    assert appliance.state.metrics.counters["alerts_total", ("ops", "failed")] == 2


def test_what_waits_is_limited_in_bytes(appliance: Appliance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alert_limits, "MOST_WAITING_BYTES", 200_000)
    use(appliance, "when = output incidents = no")
    for _ in range(6):
        appliance.after(MINUTE)
        (key,) = [key for key in appliance.state.running if start_of(appliance, key).argv[0] == "/bin/work"]
        appliance.turn(ended(key, 0, output=b"x" * 60_000))
    assert appliance.store.incidents.waiting("ops")[1] <= 200_000
    assert [len(events) for events in undelivered(appliance)] == [1, 2, 1]


def test_the_space_of_events_is_what_they_take(appliance: Appliance) -> None:
    use(appliance, "when = ( output reload_refused ) incidents = no")
    appliance.after(MINUTE)
    appliance.turn(ended(first(appliance), 0, output="ü".encode()))
    refuse_strange_file(appliance)
    sizes = appliance.database.rows("SELECT size, length(CAST(event AS BLOB)) FROM alerts")
    assert len(sizes) == 2 and all(size == length for size, length in sizes)


def test_troubles_of_the_appliance_are_told_with_their_end(appliance: Appliance) -> None:
    use(appliance, "when = ( degraded reload_refused recovered ) after = 3")
    appliance.turn(appliance.read("sched {"))
    appliance.turn(appliance.read("sched {{"))
    end_all(appliance, 0)
    appliance.turn(OutputsChecked("no free inode"))
    appliance.turn(OutputsChecked(None))
    end_all(appliance, 0)
    appliance.turn(appliance.read(files("when = ( degraded reload_refused recovered ) after = 3 again = 2d")))
    end_all(appliance, 0)
    assert [text.partition(" since")[0] for text in told(appliance)] == [
        "configuration reload refused: /etc/schedappliance/sched.conf:1:7: E102 `{` is not closed; add `}`",
        "appliance degraded: no free inode",
        "appliance recovered after 1 event",
        "configuration recovered after 1 event",
    ]


def tell_trouble(appliance: Appliance, *, log: str | None = None, spool: str | None = None) -> list[str]:
    """The alerts that are delivered after the appliance has these troubles only."""
    before = len(told(appliance))
    appliance.turn(AuditDue(log), SpoolSeen(SpoolBacklog(), spool))
    end_all(appliance, 0)
    return [text.partition(" since")[0] for text in told(appliance)[before:]]


def test_another_trouble_of_a_degraded_appliance_is_told_once(appliance: Appliance) -> None:
    use(appliance, "when = ( degraded recovered ) again = 0")
    assert tell_trouble(appliance, log="no log") == ["appliance degraded: no log"]
    assert tell_trouble(appliance, log="no log", spool="no spool") == ["appliance degraded: no spool; no log (2 times"]
    for lines in (3, 4):
        assert tell_trouble(appliance, log=f"{lines} lines are elsewhere", spool="no spool") == []
        assert tell_trouble(appliance, spool="another spool") == []
        assert tell_trouble(appliance, log="no log") == []
    assert tell_trouble(appliance) == ["appliance recovered after 2 events"]
    assert tell_trouble(appliance, log="no log") == ["appliance degraded: no log"]


def test_the_trouble_that_people_do_not_know_comes_first(appliance: Appliance) -> None:
    use(appliance, "when = degraded")
    tell_trouble(appliance, spool="no spool")
    assert tell_trouble(appliance, log="no log", spool="no spool") == ["appliance degraded: no log; no spool (2 times"]


def test_another_trouble_ends_an_acknowledgement(appliance: Appliance) -> None:
    use(appliance, "when = degraded again = 1h")
    tell_trouble(appliance, log="no log")
    appliance.say("sched ack 1")
    assert tell_trouble(appliance, log="3 lines are elsewhere") == []
    (row,) = appliance.data("sched incidents")["incidents"]
    assert (row["count"], row["acked_by"]) == (1, "operator")
    assert len(tell_trouble(appliance, log="no log", spool="no spool")) == 1
    (row,) = appliance.data("sched incidents")["incidents"]
    assert (row["incident"], row["count"], row["acked_by"]) == (1, 2, None)
    appliance.after(60 * MINUTE)
    assert told(appliance)[-1].startswith("appliance still degraded: no spool; no log (2 times")


def test_a_restart_tells_only_what_people_do_not_know(appliance: Appliance) -> None:
    use(appliance, "when = ( degraded recovered ) again = 0")
    appliance.after(MINUTE)
    unseen = [start_of(appliance, first(appliance)).key]
    same = files("when = ( degraded recovered ) again = 0")
    appliance.restart(SECOND, same, unseen=unseen)
    appliance.turn()
    appliance.turn(ended(deliveries(appliance)[0].key.run, 0))
    assert [text.partition(":")[0] for text in told(appliance)] == ["appliance degraded"]
    appliance.say("sched ack 1")
    for _ in range(2):
        appliance.restart(SECOND, same, unseen=unseen)
        appliance.turn(AuditDue(), SpoolSeen(SpoolBacklog()))
        assert len(told(appliance)) == 1
    appliance.turn(AuditDue("no log"))
    assert len(told(appliance)) == 2
    assert "appliance degraded: no log; the program of example.com-000000001/1 cannot be seen" in told(appliance)[-1]


def test_files_that_were_mended_while_no_daemon_ran_are_a_recovery(appliance: Appliance) -> None:
    text = files("when = ( reload_refused recovered ) again = 1h")
    appliance.turn(appliance.read(text), appliance.read("sched {"))
    end_all(appliance, 0)
    appliance.after(60 * MINUTE)
    end_all(appliance, 0)
    appliance.restart(SECOND, text)
    appliance.turn()
    end_all(appliance, 0)
    mistake = "reload refused: /etc/schedappliance/sched.conf:1:7: E102 `{` is not closed; add `}`"
    assert [text.partition(" after")[0] for text in told(appliance)] == [
        f"configuration {mistake}",
        f"configuration still {mistake}",
        "configuration recovered",
    ]


def test_a_reminder_names_the_error_not_a_warning(appliance: Appliance) -> None:
    use(appliance, "when = reload_refused again = 1h")
    appliance.turn(
        appliance.read_exactly('sched { backing_store = "/elsewhere" }\n' + files("when = reload_refused again = 1h"))
    )
    end_all(appliance, 0)
    appliance.after(60 * MINUTE)
    first, reminder = told(appliance)[:2]
    assert " E309 restart required" in first
    assert reminder == first.replace("reload refused", "still reload refused")
    codes = [line.split()[1] for line in appliance.state.status.last_reload.lines]
    assert codes[0] == "E309" and "W429" in codes


@pytest.mark.parametrize("size", [6, 4096, 10_000])
@pytest.mark.parametrize("failures", [0, 1, 3])
def test_the_end_of_an_output_is_told_after_a_full_disk_too(appliance: Appliance, failures: int, size: int) -> None:
    use(appliance, "when = ( failed output )", program='on_failure = "run p again"')
    appliance.after(MINUTE)
    output = b"x" * (size - 4) + b"end\n"
    appliance.database.failing_commits = failures
    appliance.turn(ended(first(appliance), 3, output=output))
    for _ in range(3):
        appliance.after(SECOND)
    events = [event for start in deliveries(appliance) for event in text_of(start)["events"]]
    assert [(event["kind"], event["output"]) for event in events] == [("failed", output[-4096:].decode())]
    (answer,) = (start for start in some(StartProgram, appliance.past) if "again" in start.argv)
    assert dict(answer.env)["SCHED_FAILED_OUTPUT"] == output[-4096:].decode()
    assert appliance.store.runs.output(first(appliance)) == (output, size)


def refuse_strange_file(appliance: Appliance) -> None:
    """A mistake in a file whose name is not UTF-8."""
    loaded = load(Path("/etc/\udcff/sched.conf"), lambda _path: b"sched {")
    appliance.turn(FilesRead(None, False, "another digest", None, tuple(loaded.diagnostics), ()))


def test_a_mistake_in_a_file_with_a_strange_name_is_told(appliance: Appliance) -> None:
    use(appliance, "when = reload_refused")
    refuse_strange_file(appliance)
    assert "/etc/\udcff/sched.conf:1:7" in told(appliance)[0]


def test_an_alert_whose_job_is_deleted_is_forgotten(appliance: Appliance) -> None:
    use(appliance, "collect = 1h")
    due(appliance)
    assert appliance.data("sched incidents")["undelivered"] == 1
    appliance.say("sched delete example.com-000000002")
    assert appliance.data("sched incidents")["undelivered"] == 0


def test_a_degraded_appliance_tells_when_it_can(appliance: Appliance) -> None:
    """While the store cannot be written no program starts, so the alert follows when it can."""
    use(appliance, "when = ( degraded recovered )")
    appliance.database.full = True
    appliance.ask("sched in 1d version")
    appliance.after(SECOND)
    assert told(appliance) == []
    appliance.database.full = False
    for _ in range(3):
        appliance.after(SECOND)
        end_all(appliance, 0)
    assert [text.partition(":")[0].partition(" after")[0] for text in told(appliance)] == [
        "appliance degraded",
        "appliance recovered",
    ]


@pytest.mark.parametrize(
    "name",
    [
        *("incidents_of_job", "named_incidents", "incident_of", "collecting", "delete_left_alerts_of", "alert"),
        *(
            "waiting",
            "waiting_alerts",
            "move_events",
            "move_deliveries",
            "users_of_alert",
            "left_out",
            "delete_event",
            "page_of_incidents",
            "all_incidents",
            "mirror",
            "due_reminders",
            "incidents_of",
        ),
    ],
)
def test_what_happens_often_reads_only_the_rows_that_it_needs(appliance: Appliance, name: str) -> None:
    """With 5,000 incidents, each `sched delete` took half a second of the deciding thread."""
    sql = appliance.store.incidents._sql[name]
    parameters = (0,) * max([int(number) for number in re.findall(r"\?(\d)", sql)] or [sql.count("?")])
    plan = [str(row[3]) for row in appliance.database.rows(f"EXPLAIN QUERY PLAN {sql}", parameters)]
    # `json_each` is the list of jobs that are asked for.
    scans = [step for step in plan if step.startswith("SCAN") and not step.startswith("SCAN json_each")]
    assert plan and not [step for step in scans if step not in ("SCAN a", "SCAN jobs")], plan


def test_a_deleted_job_causes_no_look_at_all_incidents(appliance: Appliance, monkeypatch: pytest.MonkeyPatch) -> None:
    use(appliance, more='job "other" { every = 1d command = "run p" }\n')
    due(appliance)
    monkeypatch.delattr(Incidents, "all")
    job = appliance.say("sched in 1d run p").strip()
    appliance.say(f"sched delete {job}")
    assert "incident 1 since" in appliance.say("sched why j")
    assert appliance.say("sched ack 1").startswith("incident 1, j: acknowledged")
    assert "no incident has" in appliance.error("sched ack other")
