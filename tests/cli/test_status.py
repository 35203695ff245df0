"""What `schedappliance status` says of a hold and of incidents, and how long runs have run."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any

import pytest

from schedappliance.cli import status
from schedappliance.cli.errors import UNAVAILABLE, Failure
from schedappliance.cli.runs import took
from schedappliance.cli.status import facts_of, head_of, tables_of
from schedappliance.client.console import Session
from schedappliance.client.errors import Unavailable
from schedappliance.edge.console.protocol import Request, response
from schedappliance.engine.effects import LogMessage
from schedappliance.engine.records import KnownUser, User
from tests.support.answers import NOW_MS
from tests.support.core import OPERATOR, STANZAS, Appliance, ended, has_pid, some

HOLD = {"since_ms": NOW_MS, "user": "alice", "reason": None}


def test_a_hold_without_a_planned_end_lasts_until_the_release() -> None:
    counts = dict.fromkeys(("jobs", "jobs_paused", "programs_running", "runs_queued", "uptime_s"), 0)
    for hold, end in (
        (HOLD, "nothing new starts until `sched release`"),
        (HOLD | {"ends_ms": None}, "nothing new starts until `sched release`"),
        (HOLD | {"ends_ms": NOW_MS}, "nothing new starts until then or `sched release`"),
    ):
        facts = {"health": {"troubles": [], "held": hold}, "summary": counts, "failed": [], "incidents": [], "most": 5}
        assert [line for line in head_of(facts) if line.endswith(end)], hold


def test_the_first_incidents_are_named() -> None:
    """So many failures of one user came after the one of a declared job that the newest 1,000 did not have it."""
    counts = dict.fromkeys(("jobs", "jobs_paused", "programs_running", "runs_queued", "uptime_s"), 0)
    facts = {"health": {"troubles": [], "held": None}, "summary": counts, "failed": [], "most": 5}
    one, *many = [{"subject": name} for name in ("vic", *(f"n-{number}" for number in range(10)))]
    text = "failed and not recovered: vic; see `sched incidents`"
    assert list(head_of({**facts, "incidents": [one, one]}))[1] == text
    text = f"failed and not recovered: vic, {', '.join(row['subject'] for row in many[:9])} and others; see `sched incidents`"
    assert list(head_of({**facts, "incidents": [one, *many]}))[1] == text


class CoreSession(Session):
    """Asks the core without a connection. `lost`: at these commands the connection breaks."""

    def __init__(self, appliance: Appliance, user: User = OPERATOR, lost: str = "nothing") -> None:
        self.appliance, self.user, self.lost = appliance, user, lost

    def ask(self, line: str, instead: str | None = None, quiet: bool = False) -> dict[str, Any]:
        if self.lost in line:
            raise Unavailable("the appliance has ended the connection")
        event = self.appliance.typed(line, self.user)._replace(instead=instead, quiet=quiet)
        self.appliance.turn(event)
        request = Request(line, structured=True)
        answer: dict[str, Any] = json.loads(b"".join(response(request, self.appliance.reply_to(event), False)))
        return answer


def test_what_a_user_may_not_know_of_incidents_is_not_known() -> None:
    """An empty list would mean that there are none. Nobody typed the question, and `top` repeats it each second."""
    role = 'Role "viewer" { allow = ( "^health" "^summary" "^sched (list|history)" ) users = ( "viewer" ) }'
    viewer = User(2000, "viewer")
    with closing(Appliance(None, f"{STANZAS}Authorization {{ {role} }}\n")) as appliance:
        appliance.people[viewer.uid] = KnownUser(*viewer)
        facts = facts_of(CoreSession(appliance, viewer), 5)
        assert facts["incidents"] is None
        assert not [line for line in head_of(facts) if "not recovered" in line]
        assert not [log.message for log in some(LogMessage, appliance.past) if "sched incidents" in log.message]


def facts_of_failures(stanzas: int, jobs: int) -> dict[str, Any]:
    """What `status` learns after each of these jobs has failed, of which so many `notify` stanzas tell."""
    text = STANZAS + "".join(f'job "j{number}" {{ every = 1d command = "run hello" }}\n' for number in range(jobs))
    for number in range(stanzas):
        text += f'program "n{number}" {{ argv = ( "/bin/n" ) }}\nnotify "w{number}" {{ command = "run n{number}" }}\n'
    with closing(Appliance(None, text)) as appliance:
        for number in range(jobs):
            appliance.say(f"sched run j{number}")
            (start,) = [start for start in appliance.started() if start.argv[0] != "/bin/n"]
            appliance.turn(has_pid(start))
            appliance.turn(ended(start.key.run, 1))
        return facts_of(CoreSession(appliance), 5)


@pytest.mark.parametrize(("stanzas", "jobs", "end"), [(2, 6, ""), (11, 10, ""), (2, 11, " and others")])
def test_ten_jobs_with_incidents_are_named_however_many_stanzas_tell_of_them(stanzas: int, jobs: int, end: str) -> None:
    """The line said "and others" when there were none, and named fewer jobs with each further stanza."""
    facts = facts_of_failures(stanzas, jobs)
    assert len(facts["incidents"]) == stanzas * jobs
    names = ", ".join(f"j{number}" for number in range(min(jobs, 10)))
    assert list(head_of(facts))[-2] == f"failed and not recovered: {names}{end}; see `sched incidents`"


def test_no_incidents_are_asked_for_after_those_that_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """There may be 100,000."""
    monkeypatch.setattr(status, "INCIDENTS_PAGE", 6)
    facts = facts_of_failures(1, 14)
    assert [one["subject"] for one in facts["incidents"]] == [f"j{number}" for number in range(12)]


def test_incidents_that_no_answer_tells_are_not_shown_as_none() -> None:
    with closing(Appliance(None)) as appliance, pytest.raises(Failure) as raised:
        facts_of(CoreSession(appliance, lost="sched incidents"), 5)
    assert raised.value.status == UNAVAILABLE


def run(**values: Any) -> dict[str, Any]:
    return {"name": "nightly", "run": "n-000000001/1", "reason": None, "claimed_ms": NOW_MS - 60_000, **values}


def since(*runs: dict[str, Any], age_ms: int = 0) -> list[str]:
    """The column SINCE, so long after the answer."""
    ((_, rows, _),) = tables_of({"live": list(runs), "failed": [], "next": []}, NOW_MS, age_ms)
    return [row[3] for row in rows]


def test_how_long_a_program_has_run_is_what_the_appliance_says() -> None:
    """The clock was set after its start."""
    runs = run(state="started", took_ms=20_000), run(state="queued", took_ms=5_000), run(state="queued", took_ms=None)
    assert since(*runs) == ["20 s", "1 min", "1 min"]
    assert since(runs[0], age_ms=3_000) == ["23 s"]


def test_how_long_a_run_took_is_what_the_appliance_says() -> None:
    ended = run(state="failed", started_ms=NOW_MS, ended_ms=NOW_MS - 600_000, took_ms=3_000)
    assert took(ended) == "3.0 s"
    assert took(run(state="started", started_ms=NOW_MS, ended_ms=None, took_ms=3_000)) == ""
    assert took(run(state="missed", started_ms=None, ended_ms=NOW_MS, took_ms=None)) == ""


def test_failures_of_declared_jobs_come_first() -> None:
    """Ten rows of one user hid them."""
    names = (None, "a", None, "b")
    common = {"state": "failed", "due_ms": NOW_MS, "program": "h", "command": "run h"}
    failures = [run(name=name, run=str(number), **common) for number, name in enumerate(names)]
    ((_, rows, objects),) = tables_of({"live": [], "failed": failures, "next": []}, NOW_MS)
    assert [row[1] for row in rows] == [one["run"] for one in objects] == ["1", "3", "0", "2"]
