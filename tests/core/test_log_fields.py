"""The log of runs: each end is logged once, with its job or program, its duration, and fields for programs."""

from __future__ import annotations

from typing import Any

import pytest

from schedappliance.engine.effects import LogMessage
from tests.support.core import MINUTE, SECOND, STANZAS, Appliance, ended, some

JOB = 'job "nightly" { every = 60 command = "run hello" }\n'
ONE = "example.com-000000001"


def ends(appliance: Appliance) -> list[tuple[str, str, dict[str, Any]]]:
    lines = [(line.level, line.message, dict(line.fields)) for line in some(LogMessage, appliance.effects)]
    return [line for line in lines if line[2].get("event") == "run"]


@pytest.mark.parametrize(
    ("status", "level", "text", "state"),
    [(0, "info", "succeeded", "succeeded"), (3, "warning", "failed: exit status 3", "failed")],
)
def test_the_end_of_a_run_names_its_job_and_its_duration(
    appliance: Appliance, status: int, level: str, text: str, state: str
) -> None:
    appliance.restart(stanzas=STANZAS + JOB)
    appliance.after(MINUTE)
    (start,) = appliance.started()
    appliance.after(1500, ended(start.key.run, status))
    assert ends(appliance) == [
        (
            level,
            f"run {ONE}/1 {text} (nightly, 1.5 s)",
            {
                "event": "run",
                "job": ONE,
                "run": f"{ONE}/1",
                "state": state,
                "job_name": "nightly",
                "program": "hello",
                "duration_ms": 1500,
                "user": "@config",
                "origin": "stanza",
            },
        )
    ]


def test_a_run_without_a_declared_job_is_named_by_its_program(either: Appliance) -> None:
    either.say("run hello")
    (start,) = either.started()
    either.after(SECOND, ended(start.key.run))
    ((level, text, fields),) = ends(either)
    assert (level, text) == ("info", f"run {ONE}/1 succeeded (hello, 1.0 s)")
    assert "job_name" not in fields


def test_a_run_that_never_started_has_no_duration(either: Appliance) -> None:
    either.say("sched every 60 run hello")
    either.after(MINUTE)
    either.after(MINUTE)
    ((level, text, fields),) = ends(either)
    assert (level, text) == ("warning", f"run {ONE}/2 skipped: the job's last run has not ended")
    assert (fields["state"], "duration_ms" in fields) == ("skipped", False)
