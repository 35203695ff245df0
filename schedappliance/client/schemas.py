"""The JSON Schema of every answer: `python -m schedappliance.client.schemas DIRECTORY` writes them into files.

The dataclasses here describe the answers for which the clients have no method. Rule: dataclasses are the only source.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Union

from schedappliance.client import answers, shapes
from schedappliance.client.answers import Diagnostic, Job, JobDetails, NewJob, Run, RunDetails
from schedappliance.client.events import EVENTS
from schedappliance.client.wire import Message

DIALECT = "https://json-schema.org/draft/2020-12/schema"


@dataclass(frozen=True)
class Option:
    """An option of a scope; of the global scope without `scope`. `origin`: the place of a value from elsewhere."""

    option: str
    value: Any
    scope: str | None = None
    origin: str | None = None


@dataclass(frozen=True)
class UnsetOption:
    """An option whose override has ended, and its effective value now."""

    scope: str
    option: str
    effective: Any


@dataclass(frozen=True)
class UnsetOptions:
    """The answer of `config unset`."""

    unset: tuple[UnsetOption, ...]


@dataclass(frozen=True)
class InnerStanza:
    """A stanza inside a stanza."""

    stanza: str
    name: str
    options: dict[str, Any]


@dataclass(frozen=True)
class Stanza:
    """A scope of the configuration. A scope that is only named has no `options`."""

    stanza: str
    name: str
    options: dict[str, Any] | None = None
    stanzas: tuple[InnerStanza, ...] = ()


@dataclass(frozen=True)
class Transaction:
    """The answer of `config begin`, `commit` and `rollback`."""

    transaction: str


@dataclass(frozen=True)
class Override:
    """An option that `config set` has set."""

    scope: str
    option: str
    value: str


@dataclass(frozen=True)
class Reloaded:
    """The answer of `config reload`. `dropped`: the overrides that have ended."""

    reloaded: bool
    jobs: dict[str, int]
    dropped: tuple[Override, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class FileDiagnostic(Diagnostic):
    """A mistake in a stanza file. `line_text`: its line, unless this is very long."""

    line_text: str | None


@dataclass(frozen=True)
class LastAttempt:
    """The result of the last reload. Without a time if the start of the appliance waits for the store."""

    time: str | None
    time_ms: int | None
    outcome: str
    diagnostics: tuple[FileDiagnostic, ...]


@dataclass(frozen=True)
class ConfigStatus:
    """The answer of `config status`."""

    generation: int | None
    digest: str
    applied_at: str | None
    applied_at_ms: int | None
    last_attempt: LastAttempt
    warnings: tuple[str, ...]
    watch: str
    waits: str | None
    degraded: str | None
    transaction: str | None
    overrides: tuple[Override, ...]


@dataclass(frozen=True)
class Generation:
    """A row of `config history`."""

    generation: int
    applied_at: str
    applied_at_ms: int
    digest: str
    files: tuple[str, ...]


@dataclass(frozen=True)
class Difference:
    """The answer of `config diff`: a unified diff between two generations."""

    begin: int = field(metadata={"key": "from"})
    to: int
    diff: str


@dataclass(frozen=True)
class Identity:
    """The answer of `authz id`."""

    user: str
    uid: int
    roles: tuple[str, ...]


@dataclass(frozen=True)
class Roles:
    """The answer of `authz roles list`. `authorization`: whether the stanza files have one."""

    authorization: bool
    roles: tuple[str, ...]


@dataclass(frozen=True)
class Allowed:
    """The answer of `authz may`. `denied`: the command that no role allows.

    The other keys decide: the roles of the user, those of the delegate, and the digest of the active stanza files.
    """

    allowed: bool
    denied: str | None
    roles: tuple[str, ...]
    delegate_roles: tuple[str, ...] | None
    digest: str


@dataclass(frozen=True)
class Drop:
    """A row of `spool list`, and with its `result` of `spool why`."""

    file: str
    state: str
    time: str
    time_ms: int
    user: str | None
    answer: str
    result: answers.DropResult | None = None


@dataclass(frozen=True)
class Retried:
    """The answer of `spool retry`."""

    file: str
    retried: bool


@dataclass(frozen=True)
class Reset:
    """The answer of `summary reset`."""

    reset: bool


@dataclass(frozen=True)
class Watching:
    """The answer of `watch`: the number of the last event."""

    seq: int


@dataclass(frozen=True)
class Shutdown:
    """The answer of `shutdown`."""

    shutdown: bool


@dataclass(frozen=True)
class Quit:
    """The answer of `quit`."""

    quit: bool


@dataclass(frozen=True)
class Family:
    """A family of metrics. A sample of a histogram has the counts between its bounds and the sum."""

    name: str
    type: str
    labels: tuple[str, ...]
    samples: tuple[Any, ...]
    bounds: tuple[float, ...] | None = None


@dataclass(frozen=True)
class DeclaredJobs:
    """The declared jobs: each has the same place in all of these lists."""

    number: tuple[int, ...]
    name: tuple[str, ...]
    next_run_ms: tuple[int | None, ...]
    interval_ms: tuple[int | None, ...]


@dataclass(frozen=True)
class Metrics:
    """The answer of `metrics`. `end_columns` names those of `job_ends`. `paused`, `off`: the numbers of jobs."""

    at_ms: int
    started_ms: int
    families: tuple[Family, ...]
    running: Any
    end_columns: tuple[str, ...]
    jobs: DeclaredJobs | None
    job_ends: Any
    paused: tuple[int, ...] | None
    off: tuple[int, ...] | None


@dataclass(frozen=True)
class PreviewRow:
    """A row of `preview`: what will happen at a due time."""

    due_ms: int
    due: str
    at_ms: int
    at: str
    id: str | None
    run: str | None
    declared: str | None
    command: str | None
    mark: str
    reason: str | None
    catch_up: bool
    missed: int | None
    missed_since_ms: int | None
    attempt: int | None
    again_ms: int | None
    note: str | None


_PAUSED = answers.PausedJob | answers.PausedJobs
# The data after `json COMMAND`, by the form of the command.
ANSWERS: dict[str, Any] = {
    **dict.fromkeys(("sched_at", "sched_in", "sched_every", "sched_cron", "sched_calendar"), NewJob),
    "sched_list": tuple[Job, ...],
    "sched_next": answers.NextDueTimes,
    "sched_delete": answers.DeletedJob,
    "sched_history": tuple[Run, ...],
    "sched_show": RunDetails | JobDetails,
    "sched_output": answers.OutputPart,
    "sched_why": answers.WhyRun | answers.WhyJob,
    "sched_run": answers.NewRun,
    "sched_stop": answers.StoppedRun,
    "sched_wait": answers.EndedRun,
    "sched_pause": _PAUSED,
    "sched_resume": _PAUSED,
    "sched_hold": answers.Held,
    "sched_release": answers.Released,
    "sched_incidents": answers.Incidents,
    "sched_ack": answers.Acknowledged,
    "run": answers.NewRun,
    "run_wait": answers.EndedRun,
    **dict.fromkeys(("config_get", "config_eval", "config_set"), Option),
    "config_unset": UnsetOptions,
    **dict.fromkeys(("config_show", "config_showrecurse"), tuple[Stanza, ...]),
    **dict.fromkeys(("config_begin", "config_commit", "config_rollback"), Transaction),
    "config_reload": Reloaded,
    "config_status": ConfigStatus,
    "config_history": tuple[Generation, ...],
    "config_diff": Difference,
    "authz_id": Identity,
    "authz_roles_list": Roles,
    "authz_may": Allowed,
    "spool_list": tuple[Drop, ...],
    "spool_why": tuple[Drop, ...],
    "spool_retry": Retried,
    "help": tuple[answers.HelpEntry, ...],
    "version": answers.Version,
    "pid": answers.Pid,
    "health": answers.Health,
    "summary": answers.Summary,
    "summary_reset": Reset,
    "metrics": Metrics,
    "preview": tuple[PreviewRow, ...],
    "watch": Watching,
    "shutdown": Shutdown,
    "quit": Quit,
}
# What else is sent, or written into the spool.
OTHERS: dict[str, Any] = {
    "response": answers.Response,
    "event": Union[tuple(EVENTS.values())],  # noqa: UP007
    "drop_result": answers.DropResult,
}

_KINDS = {"run --wait" if form == "run_wait" else form.replace("_", " "): kind for form, kind in ANSWERS.items()}
_MOST_WORDS = max(len(name.split()) for name in _KINDS)


def answer_kind(line: str) -> Any:
    """The type of the data after `json LINE`; Any if the line is no command."""
    words = line.lower().split(maxsplit=_MOST_WORDS)[:_MOST_WORDS]
    names = (" ".join(words[:count]) for count in range(len(words), 0, -1))
    return next((_KINDS[name] for name in names if name in _KINDS), Any)


def completed(line: str, response: Message) -> Message:
    """The response to `json LINE`, with the default of each key that is missing, also in its data."""
    whole: Message = shapes.completed(answers.Response, response)
    return whole | {"data": completed_data(line, whole["data"])}


def completed_data(line: str, data: Any) -> Any:
    """The data after `json LINE`, with the default of each key that is missing."""
    return shapes.completed(answer_kind(line), data)


def files() -> dict[str, str]:
    """The text of each file by its name."""
    schemas = {name: shapes.schema(kind) for name, kind in (ANSWERS | OTHERS).items()}
    return {f"{name}.json": json.dumps({"$schema": DIALECT, **one}, indent=2) + "\n" for name, one in schemas.items()}


def write(directory: Path) -> None:
    """Writes the files into a directory."""
    directory.mkdir(exist_ok=True)
    for name, text in files().items():
        (directory / name).write_text(text)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
