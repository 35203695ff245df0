"""The data of `json metrics` as Prometheus reads them: the text format, version 0.0.4.

Rule: each metric of the data is written, whether this version knows it or not. The label of a job is `job_name`, since
Prometheus itself uses `job`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

PREFIX = "schedappliance_"
# Prometheus knows these names without a prefix.
OF_PROCESS = "process_"

HELP = {
    "up": "Whether the daemon answered.",
    "build_info": "The versions of the daemon, of Python and of SQLite.",
    "start_time_seconds": "When the daemon started; histograms begin at 0 then.",
    "last_turn_timestamp_seconds": "When the daemon decided last.",
    "degraded": "Whether the daemon works with a trouble, by its reason.",
    "held": "Whether `sched hold` is in force.",
    "jobs": "The jobs, by state. All states together are limited.",
    "jobs_limit": "How many jobs there may be: `max_jobs` of `sched`.",
    "runs": "The runs that have not ended, by state.",
    "spool_files": "The files in the spool, by state.",
    "configuration_generation": "The number of the active configuration.",
    "configuration_last_reload_successful": "Whether the last stanza files were accepted.",
    "configuration_last_reload_timestamp_seconds": "When stanza files were accepted or rejected last.",
    "overrides": "The options that `config set` has changed.",
    "console_clients": "The clients of the console.",
    "watchers": "The clients that watch.",
    "store_bytes": "The size of the store.",
    "store_log_bytes": "The size of the log of the store.",
    "log_lines_lost_total": "Lines of the log that could not be written.",
    "runs_total": "Runs that have ended, by state and by the origin of their job.",
    "due_times_missed_total": "Due times at which no run could begin.",
    "attempts_total": "Attempts that have ended, by program and result.",
    "commands_total": "Lines of the console, by command and outcome.",
    "drops_total": "Files of the spool, by outcome.",
    "reloads_total": "Reloads, by outcome.",
    "alerts_total": "Alerts, by `notify` stanza and outcome.",
    "run_lateness_seconds": "From the due time to the begin of the run.",
    "run_wait_seconds": "From the begin of the run to the start of its program.",
    "run_duration_seconds": "From the start of the first attempt to the end of the run.",
    "turn_duration_seconds": "How long the turns of the daemon took.",
    "process_cpu_seconds_total": "The processor time of the daemon.",
    "process_resident_memory_bytes": "The memory of the daemon.",
    "process_open_fds": "The open descriptors of the daemon.",
    "job_runs_total": "Runs of a declared job that have ended, by state.",
    "job_last_run_ok": "Whether the last run of a job succeeded.",
    "job_consecutive_failures": "The runs of a job that failed since the last one that succeeded.",
    "job_running": "The programs of a job that run.",
    "job_paused": "Whether a job is paused.",
    "job_last_success_timestamp_seconds": "When a run of a job succeeded last.",
    "job_last_end_timestamp_seconds": "When a run of a job ended last.",
    "job_next_due_timestamp_seconds": "When a job is due next.",
    "job_interval_seconds": "The interval of a job that is due at one.",
    "job_last_duration_seconds": "How long the last run of a job took.",
}

Labels = Sequence[tuple[str, str]]


def exposition(data: Mapping[str, Any] | None) -> str:
    """All metrics of an answer to `json metrics`; without an answer, only that the daemon is down."""
    lines = [*_family("up", "gauge", [((), int(data is not None))])]
    if data is not None:
        for family in data["families"]:
            lines += _histogram(family) if family["type"] == "histogram" else _values(family)
        lines += _of_jobs(data)
    return "".join(f"{line}\n" for line in lines)


def _values(family: Mapping[str, Any]) -> Iterator[str]:
    samples = [(list(zip(family["labels"], labels, strict=True)), value) for labels, value in family["samples"]]
    return _family(family["name"], family["type"], samples)


def _histogram(family: Mapping[str, Any]) -> Iterator[str]:
    """Each bucket counts what was at most its bound, so the counts are added up."""
    name, bounds = family["name"], [*map(str, family["bounds"]), "+Inf"]
    yield from _head(name, "histogram")
    for values, counts, total in family["samples"]:
        labels = list(zip(family["labels"], values, strict=True))
        sums = list(accumulate(counts))
        for bound, number in zip(bounds, sums, strict=True):
            yield _sample(f"{name}_bucket", [*labels, ("le", bound)], number)
        yield _sample(f"{name}_sum", labels, total)
        yield _sample(f"{name}_count", labels, sums[-1])


def _of_jobs(data: Mapping[str, Any]) -> Iterator[str]:
    """The metrics of each declared job; none if there are too many jobs."""
    if data["jobs"] is None:
        return
    jobs = data["jobs"]
    numbers, names = jobs["number"], jobs["name"]
    ends_of = {row[0]: dict(zip(data["end_columns"], row, strict=True)) for row in data["job_ends"]}
    ends: list[dict[str, Any]] = [ends_of.get(number, {}) for number in numbers]
    running, paused, off = dict(data["running"]), set(data["paused"]), set(data.get("off", ()))
    # No run will end what an alert says about a job that is switched off: that it is overdue, or that it fails.
    is_on = [number not in off for number in numbers]
    yield from _family(
        "job_runs_total",
        "counter",
        [
            ((("job_name", name), ("state", state)), number)
            for name, end in zip(names, ends, strict=True)
            for state, number in sorted(end.get("runs", {}).items())
        ],
    )
    gauges: dict[str, list[float | None]] = {
        "job_last_run_ok": [None if end.get("last_end_ms") is None else int(not end["failures"]) for end in ends],
        "job_consecutive_failures": _only_where(is_on, (end.get("failures") for end in ends)),
        "job_running": [running.get(number, 0) for number in numbers],
        "job_paused": [int(number in paused) for number in numbers],
        "job_last_success_timestamp_seconds": _seconds(end.get("last_success_ms") for end in ends),
        "job_last_end_timestamp_seconds": _seconds(end.get("last_end_ms") for end in ends),
        "job_next_due_timestamp_seconds": _seconds(_only_where(is_on, jobs["next_run_ms"])),
        "job_interval_seconds": _seconds(_only_where(is_on, jobs["interval_ms"])),
        "job_last_duration_seconds": _seconds(end.get("last_duration_ms") for end in ends),
    }
    for gauge, values in gauges.items():
        samples = [
            ((("job_name", name),), value) for name, value in zip(names, values, strict=True) if value is not None
        ]
        yield from _family(gauge, "gauge", samples)


def _only_where(holds: Iterable[bool], values: Iterable[int | None]) -> list[float | None]:
    return [value if this else None for this, value in zip(holds, values, strict=True)]


def _seconds(milliseconds: Iterable[float | None]) -> list[float | None]:
    return [None if value is None else value / 1000 for value in milliseconds]


def _family(name: str, kind: str, samples: Iterable[tuple[Labels, float]]) -> Iterator[str]:
    yield from _head(name, kind)
    for labels, value in samples:
        yield _sample(name, labels, value)


def _head(name: str, kind: str) -> Iterator[str]:
    if name in HELP:
        yield f"# HELP {_full(name)} {HELP[name]}"
    yield f"# TYPE {_full(name)} {kind}"


def _sample(name: str, labels: Labels, value: float) -> str:
    shown = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels)
    return f"{_full(name)}{{{shown}}} {value}" if shown else f"{_full(name)} {value}"


def _full(name: str) -> str:
    return name if name.startswith(OF_PROCESS) else f"{PREFIX}{name}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
