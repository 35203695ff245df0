"""`schedappliance jobs`: the last run of a job is found behind many runs of other jobs."""

from __future__ import annotations

from typing import Any, cast

from schedappliance.cli.jobs import ENDED, RUNS_EXAMINED, is_failing, last_runs
from schedappliance.client.console import Session


class Answering:
    """A console on which one job runs all the time, one failed in the night, and one has gone."""

    def __init__(self, runs: int) -> None:
        self.runs = [{"id": "busy", "state": "succeeded", "ended_ms": runs - number} for number in range(runs)]
        self.lines: list[str] = []

    def ask(self, line: str, quiet: bool = False) -> dict[str, Any]:  # noqa: ARG002
        self.lines.append(line.removeprefix("json sched history "))
        if "gone" in line:
            return {"ok": False, "error": "no job has the id or name `gone`", "data": None}
        nightly = [{"id": "nightly", "state": "failed", "ended_ms": 0}]
        return {"ok": True, "data": nightly if "nightly" in line else self.runs}


def test_a_job_that_runs_seldom_is_failing_behind_many_runs_of_others() -> None:
    """`jobs --failing` did not list a job that had failed in the night."""
    answering = Answering(RUNS_EXAMINED)
    last = last_runs(cast(Session, answering), ["busy", "nightly", "gone"])
    assert {job: run["ended_ms"] for job, run in last.items()} == {"busy": RUNS_EXAMINED, "nightly": 0}
    assert is_failing({"last": last["nightly"]}) and not is_failing({"last": last["busy"]})
    assert answering.lines[1:] == [f"{job} state {ENDED} limit 1" for job in ("nightly", "gone")]


def test_no_job_is_asked_for_if_all_runs_are_known() -> None:
    answering = Answering(RUNS_EXAMINED - 1)
    assert last_runs(cast(Session, answering), ["busy", "nightly"]).keys() == {"busy"}
    assert len(answering.lines) == 1
