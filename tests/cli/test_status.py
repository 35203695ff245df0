"""What `schedappliance status` says of a hold, and how long runs have run."""

from __future__ import annotations

from typing import Any

from schedappliance.cli.runs import took
from schedappliance.cli.status import head_of, tables_of
from tests.support.answers import NOW_MS

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
