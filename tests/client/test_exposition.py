"""The text format of Prometheus, as its own client library reads it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from schedappliance.client.exposition import HELP, exposition
from schedappliance.engine.metrics import COUNTERS, HISTOGRAMS
from tests.support.core import Appliance, ended, has_pid

STANZAS = """\
program "hello" { argv = ( "/bin/echo" "hello" ) }
job "nightly" { every = 1h command = "run hello" }
job "off" { every = 1h enabled = false command = "run hello" }
"""


@pytest.fixture
def appliance() -> Iterator[Appliance]:
    appliance = Appliance(None, STANZAS)
    yield appliance
    appliance.close()


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """The value of each sample, by its name and labels. Raises ValueError if Prometheus could not read the text."""
    values: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = sample.name, tuple(sample.labels.items())
            assert key not in values, key
            values[key] = sample.value
    return values


def value(text: str, name: str, **labels: str) -> float:
    return samples(text)[f"schedappliance_{name}", tuple(labels.items())]


def test_everything_that_is_counted_is_read(appliance: Appliance) -> None:
    appliance.say("sched run nightly")
    (start,) = appliance.started()
    appliance.turn(has_pid(start))
    appliance.after(2500, ended(start.key.run))
    appliance.after(3_600_000)
    text = exposition(appliance.data("json metrics"))
    assert value(text, "up") == 1
    assert value(text, "runs_total", state="succeeded", origin="stanza") == 1
    assert value(text, "run_duration_seconds_bucket", program="hello", le="1") == 0
    assert value(text, "run_duration_seconds_bucket", program="hello", le="5") == 1
    assert value(text, "run_duration_seconds_sum", program="hello") == 2.5
    assert value(text, "run_duration_seconds_count", program="hello") == 1
    assert value(text, "job_running", job_name="nightly") == 1
    names = {name for name, _ in samples(text)}
    assert {f"schedappliance_{name}_count" for name in HISTOGRAMS if name != "turn_duration_seconds"} <= names
    assert "# TYPE schedappliance_commands_total counter" in text


def test_a_job_that_is_switched_off_is_neither_due_nor_failing(appliance: Appliance) -> None:
    of_alerts = {"job_next_due_timestamp_seconds", "job_interval_seconds", "job_consecutive_failures"}

    def shown(job: str) -> set[str]:
        text = exposition(appliance.data("json metrics"))
        return {name.removeprefix("schedappliance_") for name, labels in samples(text) if ("job_name", job) in labels}

    appliance.say("sched run nightly")
    appliance.turn(ended(appliance.history()[-1].key, 3))
    assert of_alerts <= shown("nightly") and not of_alerts & shown("off")
    appliance.turn(appliance.read(STANZAS.replace("every = 1h command", "every = 1h enabled = false command")))
    left = shown("nightly")
    assert not of_alerts & left and {"job_last_run_ok", "job_runs_total", "job_paused"} <= left
    appliance.turn(appliance.read(STANZAS))
    assert of_alerts <= shown("nightly")


def test_each_metric_has_a_help(appliance: Appliance) -> None:
    data = appliance.data("json metrics")
    assert {*COUNTERS, *HISTOGRAMS, *(family["name"] for family in data["families"])} <= set(HELP)
    typed = {line.split()[2] for line in exposition(data).splitlines() if line.startswith("# TYPE")}
    helped = {line.split()[2] for line in exposition(data).splitlines() if line.startswith("# HELP")}
    assert typed == helped


def test_an_appliance_that_does_not_answer_is_down() -> None:
    assert samples(exposition(None)) == {("schedappliance_up", ()): 0}


def test_a_metric_that_this_version_does_not_know_is_written_without_a_help(appliance: Appliance) -> None:
    data = appliance.data("json metrics")
    data["families"].append({"name": "moons", "type": "gauge", "labels": ["planet"], "samples": [[["Mars"], 2]]})
    assert value(exposition(data), "moons", planet="Mars") == 2


def test_with_too_many_jobs_no_job_is_named(appliance: Appliance) -> None:
    data = appliance.data("json metrics") | {"jobs": None, "job_ends": None, "paused": None, "off": None}
    assert not [name for name, labels in samples(exposition(data)) if "job_name" in dict(labels)]


@given(st.text(st.characters(exclude_categories=["Cs"])), st.floats(0, 1e12))
def test_every_label_and_value_is_read_as_it_was(text: str, number: float) -> None:
    data: dict[str, Any] = {
        "families": [{"name": "x", "type": "gauge", "labels": ["label"], "samples": [[[text], number]]}],
        "jobs": None,
    }
    assert value(exposition(json.loads(json.dumps(data))), "x", label=text) == pytest.approx(number, abs=1e-6)
