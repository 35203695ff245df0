"""`metrics`: what is counted and measured, for people in short, and as data for a program that monitors the appliance.

Rule: the names, units and labels are those that Prometheus expects; the client only adds a prefix.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

from schedappliance.commands.outcome import Outcome
from schedappliance.commands.view import View
from schedappliance.engine.effects import Answer
from schedappliance.engine.metrics import COUNTERS, HISTOGRAMS, JobRuns
from schedappliance.model.commands import Command

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from schedappliance.engine.metrics import Labels, Metrics
    from schedappliance.store.tables import Store

# With more declared jobs than this, there are no rows of single jobs.
MOST_JOBS = 1000
# `JobRuns.row` writes them. `failures`: how many runs failed after the last one that succeeded. `runs`: how many ended in each state.
END_COLUMNS = ("number", "failures", "last_success_ms", "last_end_ms", "last_duration_ms", "runs")
NO_JOBS = ('"jobs": null, "job_ends": null, "paused": null, "off": null',)

Samples = list[tuple["Labels", float]]


def show_metrics(view: View, _command: Command) -> Outcome:
    gauges = list(_gauges(view))
    if not view.order.as_json:
        return Outcome(Answer(_as_text(view, gauges)))
    families = [
        *({"name": name, "type": kind, "labels": labels, "samples": samples} for name, kind, labels, samples in gauges),
        *(
            {"name": name, "type": "counter", "labels": labels, "samples": _counted(view, name)}
            for name, labels in COUNTERS.items()
        ),
        *(
            {"name": name, "type": "histogram", "labels": labels, "bounds": bounds, "samples": _measured(view, name)}
            for name, (labels, bounds) in HISTOGRAMS.items()
        ),
    ]
    data = {
        "at_ms": view.moment.wall,
        "started_ms": view.status.started.wall,
        "families": families,
        "running": sorted(view.ask.running_jobs().items()),
        "end_columns": END_COLUMNS,
    }
    text = json.dumps(data, ensure_ascii=False)
    jobs = view.unless_degraded(lambda: _of_jobs(view)) or NO_JOBS
    return Outcome(Answer("".join((text[:-1], ", ", *jobs, "}")), is_json=True))


def _gauges(view: View) -> Iterator[tuple[str, str, Labels, Samples]]:
    """Name, type, names of labels, and samples of what is measured now."""
    status, store = view.status, view.store
    running, queued, _ = view.ask.counts()
    versions = (status.version, sys.version.split()[0], store.sqlite_version)
    yield "build_info", "gauge", ("version", "python", "sqlite"), [(versions, 1)]
    yield _one("start_time_seconds", status.started.wall / 1000)
    yield _one("last_turn_timestamp_seconds", view.moment.wall / 1000)
    troubles = status.troubles_by_kind
    yield "degraded", "gauge", ("reason",), [((reason,), int(why is not None)) for reason, why in troubles.items()]
    yield _one("held", int(status.hold is not None))
    yield from view.unless_degraded(lambda: _stored(store)) or ()
    yield _one("jobs_limit", view.options.configuration.max_jobs)
    yield "runs", "gauge", ("state",), [(("queued",), queued), (("started",), running)]
    if spool := status.spool:
        waits = (("waiting", spool.waiting), ("in_progress", spool.in_progress))
        yield "spool_files", "gauge", ("state",), [((state,), number) for state, number in waits]
    reload = status.last_reload
    if reload.at_ms is not None:
        yield _one("configuration_last_reload_successful", int(reload.outcome == "accepted"))
        yield _one("configuration_last_reload_timestamp_seconds", reload.at_ms / 1000)
    yield _one("overrides", len(view.options.overrides))
    for name, value in view.ask.measure_devices().items():
        kind = "counter" if name.endswith("_total") else "gauge"
        yield name, kind, (), [((), value)]


def _stored(store: Store) -> list[tuple[str, str, Labels, Samples]]:
    total, jobs = store.jobs.total(), store.jobs.count()
    paused, off = store.jobs.count_paused_and_disabled()
    # Their sum is what `max_jobs` limits.
    states = (("waiting", jobs - paused), ("paused", paused), ("off", off), ("done", total - jobs - off))
    generation = store.settings.last_generation()
    return [
        ("jobs", "gauge", ("state",), [((state,), number) for state, number in states]),
        _one("configuration_generation", generation.number if generation else 0),
    ]


def _one(name: str, value: float) -> tuple[str, str, Labels, Samples]:
    return name, "gauge", (), [((), value)]


def _counted(view: View, name: str) -> Samples:
    samples: Samples = [
        (labels, number) for (family, labels), number in view.ask.metrics().counters.items() if family == name
    ]
    # A counter that begins to exist with its first event shows no increase for it.
    return samples if samples or COUNTERS[name] else [((), 0)]


def _measured(view: View, name: str) -> list[tuple[Labels, Sequence[float], float]]:
    return [
        (labels, counts, round(total, 6))
        for (family, labels), (*counts, total) in view.ask.metrics().histograms.items()
        if family == name
    ]


def _of_jobs(view: View) -> Sequence[str]:
    """The members of the answer about the declared jobs, as pieces of JSON. They are null if there are too many jobs."""
    if len(view.options.configuration.jobs) > MOST_JOBS:
        return NO_JOBS
    metrics, jobs = view.ask.metrics(), view.store.jobs
    if jobs.rewrites not in metrics.columns:
        _read_jobs(metrics, view.store)
    number, name, interval_ms, paused, off = metrics.columns[jobs.rewrites]
    return (
        *('"jobs": {"number": ', number, ', "name": ', name, ', "interval_ms": ', interval_ms),
        *(', "next_run_ms": [', ",".join(metrics.due.values()), "]}"),
        *(', "job_ends": [', ",".join(metrics.rows.values()), '], "paused": ', paused, ', "off": ', off),
    )


def _read_jobs(metrics: Metrics, store: Store) -> None:
    """Reads the declared jobs, and the ended runs of those that are new. Forgets jobs that are not declared any more."""
    columns = store.jobs.declared_columns()
    metrics.columns.clear()
    metrics.columns[store.jobs.rewrites] = (
        columns.number,
        columns.name,
        columns.interval_ms,
        columns.paused,
        columns.off,
    )
    numbers, due = json.loads(columns.number), columns.next_run_ms[1:-1].split(",")
    if list(metrics.due) == numbers:
        # Most rewrites change one job: a pause, for example.
        before = list(metrics.due.values())
        for job, was, now in zip(numbers, before, due, strict=False):
            if was != now:
                metrics.due[job] = now
        return
    metrics.due.clear()
    metrics.due.update(zip(numbers, due, strict=False))
    for job in metrics.jobs.keys() - set(numbers):
        metrics.drop(job)
    new = set(numbers) - metrics.jobs.keys()
    ended, ends = store.counters.ended_runs(new), store.runs.last_ends(new)
    for job in new:
        metrics.put(job, JobRuns(ends[job], ended[job]))


def _as_text(view: View, gauges: list[tuple[str, str, Labels, Samples]]) -> str:
    """A line for each value. A histogram is shown by its number of measurements and their mean."""
    lines = [
        _line(name, names, labels, _number(value)) for name, _, names, samples in gauges for labels, value in samples
    ]
    for name, names in COUNTERS.items():
        lines += [_line(name, names, labels, _number(value)) for labels, value in sorted(_counted(view, name))]
    for name, (names, _) in HISTOGRAMS.items():
        for labels, counts, total in sorted(_measured(view, name)):
            number = sum(counts)
            lines.append(_line(name, names, labels, f"{number} measured, mean {_number(total / number)}"))
    return "".join(f"{line}\n" for line in lines)


def _line(name: str, names: Labels, labels: Labels, value: str) -> str:
    shown = "".join(f" {label}={text}" for label, text in zip(names, labels, strict=True))
    return f"{name}{shown}: {value}"


def _number(value: float) -> str:
    return f"{value:.6f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
