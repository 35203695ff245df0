"""The operations of the REST API: which request gives which console command.

Rule: this table is the only source. The routes and the OpenAPI document are made from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from schedappliance.client import answers
from schedappliance.client.questions import command_line
from schedappliance.client.schemas import ANSWERS
from schedappliance.client.wire import joined, joined_as_is

TEXT: dict[str, Any] = {"type": "string"}
WORDS: dict[str, Any] = {"type": "array", "items": {"type": "string"}}
COMMAND: dict[str, Any] = {"type": ["string", "array"], "items": {"type": "string"}}
PAGE, MOST = "100", 1000
LIMIT_SCHEMA: dict[str, Any] = {"type": "integer", "minimum": 1, "maximum": MOST, "default": int(PAGE)}


@dataclass(frozen=True, slots=True)
class Parameter:
    """A value of a request. `word`: stands before it in the command; empty: the value stands alone.

    `default`: is sent if the request has no value.
    """

    name: str
    help: str
    example: Any
    word: str = ""
    schema: Mapping[str, Any] = field(default_factory=lambda: TEXT)
    is_required: bool = False
    default: str | None = None

    def words(self, value: Any) -> list[str]:
        values = list(value) if isinstance(value, list) else [str(value)]
        return [*([self.word] if self.word else []), *values]


@dataclass(frozen=True, slots=True)
class Pages:
    """A list in pages. `rows`: their key in the data; empty: the data are the rows. `cursor`: what follows a row.

    `filter`: the parameter that continues after the cursor. `is_cut`: whether the answer says that there is more;
    otherwise a full page may have a next one.
    """

    filter: str
    cursor: Callable[[Mapping[str, Any]], str]
    rows: str = ""
    is_cut: bool = True


@dataclass(frozen=True, slots=True)
class Operation:
    """`command`: its words; those in braces are parts of the path. `answer`: the type of its data. `examples`: of the path.

    `line`: makes the command of the values of the body, in place of `command` and the parameters.
    """

    method: str
    path: str
    summary: str
    command: str
    answer: Any
    query: tuple[Parameter, ...] = ()
    body: tuple[Parameter, ...] = ()
    status: int = 200
    pages: Pages | None = None
    examples: Mapping[str, Any] = field(default_factory=dict)
    line: Callable[[Mapping[str, Any]], str] | None = None

    def command_of(self, path: Mapping[str, Any], values: Mapping[str, Any]) -> str:
        """The console command of a request. Every value is one word, so no value can become another command."""
        if self.line is not None:
            return self.line(values)
        words = [word.format_map(path) for word in self.command.split()]
        for parameter in (*self.query, *self.body):
            value = values.get(parameter.name, parameter.default)
            if value is not None:
                words += parameter.words(value)
        return joined_as_is(words)


# How `POST /jobs` says when a command is due: the forms of `sched`.
WHEN = ("in", "every", "at", "cron", "calendar")
JOB, RUN = {"job": "nightly"}, {"job": "example.com-000000001", "occurrence": 1}
_LIMIT = Parameter(
    "limit", f"how many rows, {PAGE} by default and at most {MOST}", 2, "limit", LIMIT_SCHEMA, default=PAGE
)
_OUTPUT = Parameter("output", "without outputs", "none", "output", {"enum": ["none"]})


def _schedule(values: Mapping[str, Any]) -> str:
    """Exactly one of WHEN is there. Raises ValueError."""
    forms = [form for form in WHEN if form in values]
    if len(forms) != 1:
        raise ValueError(f"give one of {', '.join(WHEN)}")
    return f"{joined(['sched', forms[0], str(values[forms[0]])])} {_typed(values)}"


def _typed(values: Mapping[str, Any]) -> str:
    """Raises ValueError for a command without a word, of which the appliance would say what nobody has typed."""
    if not values["command"] or str(values["command"]).isspace():
        raise ValueError("the command is empty")
    return command_line(values["command"])


@dataclass(frozen=True)
class CommandAnswer:
    """The answer to a command: its data, and what the response of the console says beside them."""

    data: Any
    note: str | None = None
    next: str | None = None
    exit_status: int | None = None


OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "GET",
        "/jobs",
        "List the jobs that have a next due time, the next one first",
        "sched list",
        tuple[answers.Job, ...],
        query=(
            Parameter("find", "a part of the id, the name or the command", "night", "find"),
            _LIMIT,
            Parameter("after", "continue after this job, as `next` says", "example.com-000000001@0", "after"),
        ),
        pages=Pages("after", lambda row: f"{row['id']}@{row['next_run_ms']}", is_cut=False),
    ),
    Operation(
        "POST",
        "/jobs",
        "Schedule a command",
        "sched in|every|at|cron|calendar WHEN COMMAND",
        answers.NewJob,
        body=(
            Parameter(
                "command", "a command, as a line or as its words", ["run", "hello"], schema=COMMAND, is_required=True
            ),
            Parameter("in", "once, after this time", None),
            Parameter("every", "again after each period", "1d"),
            Parameter("at", "once, at this time", None),
            Parameter("cron", "at the times of a cron expression", None),
            Parameter("calendar", "at the times of a calendar expression", None),
        ),
        status=201,
        line=_schedule,
    ),
    Operation(
        "GET", "/jobs/{job}", "Show a job", "sched show {job}", answers.JobDetails, query=(_OUTPUT,), examples=JOB
    ),
    Operation(
        "DELETE",
        "/jobs/{job}",
        "Delete a job that was scheduled by a command",
        "sched delete {job}",
        answers.DeletedJob,
        examples={"job": "example.com-000000004"},
    ),
    Operation(
        "GET",
        "/jobs/{job}/why",
        "Explain what a job does next, and why",
        "sched why {job}",
        answers.WhyJob,
        examples=JOB,
    ),
    Operation(
        "GET",
        "/jobs/{job}/next",
        "List the next due times of a job",
        "sched next {job}",
        answers.NextDueTimes,
        query=(Parameter("count", "how many, 10 by default", 3, schema={"type": "integer", "minimum": 1}),),
        examples=JOB,
    ),
    Operation("POST", "/jobs/{job}/run", "Run a job now", "sched run {job}", answers.NewRun, status=201, examples=JOB),
    Operation(
        "POST",
        "/jobs/{job}/pause",
        "Pause a job, or the declared jobs whose names match a pattern",
        "sched pause {job}",
        ANSWERS["sched_pause"],
        examples=JOB,
    ),
    Operation(
        "POST",
        "/jobs/{job}/resume",
        "Resume what was paused",
        "sched resume {job}",
        ANSWERS["sched_resume"],
        examples={"job": "night*"},
    ),
    Operation(
        "POST",
        "/jobs/{job}/acknowledge",
        "Acknowledge the incidents of a job",
        "sched ack {job}",
        answers.Acknowledged,
        examples={"job": "broken"},
    ),
    Operation(
        "GET",
        "/runs",
        "List the runs, the last one first",
        "sched history",
        tuple[answers.Run, ...],
        query=(
            Parameter("job", "of this job", "nightly"),
            Parameter("state", "in these states, separated by commas", "succeeded,failed", "state"),
            Parameter("since", "due since: a time, or how long ago", "1d", "since"),
            Parameter("until", "due until: a time, or how long ago", "0", "until"),
            Parameter("active", "not ended before: a time, or how long ago", "1d", "active"),
            _LIMIT,
            Parameter("before", "continue before this run, as `next` says", "example.com-000000001/2", "before"),
        ),
        pages=Pages("before", lambda row: str(row["run"])),
    ),
    Operation(
        "POST",
        "/runs",
        "Start a declared program",
        "run",
        answers.NewRun,
        body=(
            Parameter("program", "the name of the program", "echo", is_required=True),
            Parameter("arguments", "its arguments", ["a b", "--wait"], schema=WORDS),
        ),
        status=201,
    ),
    Operation(
        "GET",
        "/runs/{job}/{occurrence}",
        "Show a run with its output and its attempts",
        "sched show {job}/{occurrence}",
        answers.RunDetails,
        query=(_OUTPUT,),
        examples=RUN,
    ),
    Operation(
        "GET",
        "/runs/{job}/{occurrence}/why",
        "Explain a run",
        "sched why {job}/{occurrence}",
        answers.WhyRun,
        examples=RUN,
    ),
    Operation(
        "GET",
        "/runs/{job}/{occurrence}/output",
        "Read the output of a run, also while it runs",
        "sched output {job}/{occurrence}",
        answers.OutputPart,
        query=(
            Parameter("attempt", "of this attempt, by default the last one", 1, "attempt", {"type": "integer"}),
            Parameter("from", "from this byte on, as `next` of the last part says", 2, "from", {"type": "integer"}),
            Parameter("as", "as bytes in base64", "base64", "as", {"enum": ["base64"]}),
        ),
        examples=RUN,
    ),
    Operation(
        "POST",
        "/runs/{job}/{occurrence}/stop",
        "End the program of a run, or cancel a run that waits",
        "sched stop {job}/{occurrence}",
        answers.StoppedRun,
        examples={"job": "sleeper", "occurrence": 1},
    ),
    Operation(
        "GET",
        "/incidents",
        "List the jobs that have failed and not recovered",
        "sched incidents",
        answers.Incidents,
        query=(
            Parameter("after", "continue after this incident, as `next` says", 0, "after", {"type": "integer"}),
            _LIMIT,
        ),
        pages=Pages("after", lambda row: str(row["incident"]), "incidents"),
    ),
    Operation(
        "POST",
        "/incidents/{incident}/acknowledge",
        "Acknowledge an incident",
        "sched ack {incident}",
        answers.Acknowledged,
        examples={"incident": 1},
    ),
    Operation(
        "POST",
        "/hold",
        "Start nothing new until the release",
        "sched hold",
        answers.Held,
        body=(
            Parameter("for", "until this time has passed", "1h", "for"),
            Parameter("reason", "why", "the database moves"),
        ),
    ),
    Operation("POST", "/release", "End the hold", "sched release", answers.Released),
    Operation(
        "GET",
        "/preview",
        "Show which jobs will run, and which will not",
        "preview",
        ANSWERS["preview"],
        query=(
            Parameter("duration", "how far to look ahead, 24h by default", "2d"),
            Parameter("job", "only these jobs: an id, a name or a pattern", "night*", "job"),
            _LIMIT,
        ),
    ),
    Operation("GET", "/health", "Say what is wrong", "health", answers.Health),
    Operation("GET", "/summary", "Show the statistics", "summary", answers.Summary),
    Operation("GET", "/metrics", "Show what is counted and measured, as data", "metrics", ANSWERS["metrics"]),
    Operation("GET", "/version", "Show the version of the appliance", "version", answers.Version),
    Operation("GET", "/identity", "Show your user and your roles", "authz id", ANSWERS["authz_id"]),
    Operation(
        "GET", "/spool", "List the files in the spool, and the last results", "spool list", ANSWERS["spool_list"]
    ),
    Operation(
        "GET",
        "/spool/{file}",
        "Show the result of a drop",
        "spool why {file}",
        ANSWERS["spool_why"],
        examples={"file": "wrong.cmd"},
    ),
    Operation(
        "POST",
        "/spool/{file}/retry",
        "Drop a failed file again",
        "spool retry {file}",
        ANSWERS["spool_retry"],
        examples={"file": "wrong.cmd"},
    ),
    Operation("GET", "/configuration", "Show the active files", "config status", ANSWERS["config_status"]),
    Operation(
        "GET",
        "/configuration/generations",
        "List the generations of the stanza files",
        "config history",
        ANSWERS["config_history"],
    ),
    Operation(
        "POST", "/configuration/reload", "Read the stanza files again", "config reload", ANSWERS["config_reload"]
    ),
    Operation(
        "POST",
        "/command",
        "Give any console command",
        "COMMAND",
        CommandAnswer,
        body=(
            Parameter(
                "command",
                "the command, as a line or as its words",
                "config get message_expiration",
                schema=COMMAND,
                is_required=True,
            ),
        ),
        line=_typed,
    ),
)
