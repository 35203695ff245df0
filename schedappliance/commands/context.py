"""What a command is given to work with, and what it may answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from schedappliance.clock import Moment
from schedappliance.diagnostics import Diagnostic, Source, Span
from schedappliance.engine.effects import Answer, rejection
from schedappliance.engine.intake import Waiting
from schedappliance.engine.options import Options
from schedappliance.engine.reasons import Reason
from schedappliance.engine.records import Job, KnownUser, Origin, RunKey, User
from schedappliance.engine.schedule import Due
from schedappliance.engine.states import RunState
from schedappliance.model.commands import Command
from schedappliance.store.tables import Store


@dataclass(slots=True)
class Statistics:
    """What `summary` shows: counts since the start or the last reset."""

    since: Moment
    ended: dict[RunState, int] = field(default_factory=dict)
    commands: int = 0
    drops: int = 0

    def count(self, state: RunState, number: int = 1) -> None:
        self.ended[state] = self.ended.get(state, 0) + number


class Attempt(NamedTuple):
    """What became of the files when they were last read. `said`: its diagnostics, each on a line."""

    at_ms: int
    outcome: str
    said: tuple[str, ...] = ()
    diagnostics: tuple[dict[str, Any], ...] = ()


NEVER = Attempt(0, "never")
# Momentum's own words.
NOT_AUTHORIZED_TEXT = "Not Authorized for this command"


@dataclass(slots=True)
class Status:
    """What the appliance knows of itself.

    `degraded`: why the store cannot be written, None when it can. `last_good`: why it runs from files that the store
    keeps, None when it runs from those that are there. `spool`: what lies there
    and is not taken, None when there is no spool. `warnings`: of what the active generation has changed.
    """

    pid: int
    version: str
    started: Moment
    statistics: Statistics
    running: int = 0
    queued: int = 0
    digest: str = ""
    last_attempt: Attempt = NEVER
    watch: str = "none"
    waits: str | None = None
    degraded: str | None = None
    last_good: str | None = None
    spool: Waiting | None = None
    warnings: tuple[str, ...] = ()

    @property
    def troubles(self) -> str | None:
        """Everything that makes it less than it should be."""
        return "; ".join(filter(None, (self.degraded, self.last_good))) or None


class Rejected(Exception):
    """A command that is not carried out; nothing was changed. `verbatim`: Momentum's own text, shown as it stands."""

    def __init__(self, diagnostics: Iterable[Diagnostic], verbatim: str | None = None) -> None:
        self.diagnostics = tuple(diagnostics)
        self.verbatim = verbatim
        super().__init__(verbatim or "; ".join(diagnostic.message for diagnostic in self.diagnostics))

    @property
    def answer(self) -> Answer:
        return rejection(self.diagnostics, self.verbatim)


class Order(NamedTuple):
    """A command to be carried out, with who gave it and where from.

    `origin`: what its jobs and overrides are marked with. `arrived_ms`: when a person or a program gave it; None for
    the command of a job. `reply_to`: where the answer is awaited; only a console line has one. `run`: the run that
    carries it out. `on_failure_of`: the run whose failure it answers.
    """

    user: User
    origin: Origin
    text: str
    command: Command
    arrived_ms: int | None = None
    reply_to: int | None = None
    connection: int | None = None
    run: RunKey | None = None
    on_failure_of: RunKey | None = None

    @property
    def source(self) -> str:
        """Where the order came from, as the audit line says it."""
        if self.run is not None:
            return "job"
        if self.reply_to is not None:
            return "console"
        return "signal" if self.arrived_ms is None else self.origin

    @property
    def as_json(self) -> bool:
        return self.command.form == "json"


@dataclass(frozen=True, slots=True)
class Deferred:
    """The command is answered when the files have been read again."""

    typed: bool


@dataclass(frozen=True, slots=True)
class Retried:
    """The command is answered when the failed file of this name is claimed again."""

    name: str


@dataclass(frozen=True, slots=True)
class Transaction:
    """Options that are tried aside, on one connection; `version` is that of the options it began with."""

    options: Options
    version: int
    user: User


@dataclass(frozen=True, slots=True)
class Claimed:
    """The command is answered when this run has been claimed, in the same transaction."""

    key: RunKey


@dataclass(frozen=True, slots=True)
class Awaited:
    """The command is answered when this run has ended."""

    key: RunKey


@dataclass
class Context:
    """One command's surroundings. `streamed`: the answer is sent after the commit, so it may be read while it is sent.

    `on_failure_of`: the run whose failure the command answers. What a command leaves in `to_run` (jobs to be claimed
    now), `passed` (due times of a job that was paused) and `called_off` (jobs whose waiting runs are cancelled, and
    why) is done in the same transaction.
    `why_waits`: why a queued run has not started, from what was recorded of it. `known_user`: who a user was when that
    was looked up last; asked only where there is an `Authorization`.
    `connection`: of a console line; other `options`, and another `transaction`, than it was given are taken over.

    One is made for every due job, so what few commands leave behind takes no room until they do.
    """

    store: Store
    options: Options
    status: Status
    moment: Moment
    user: User
    origin: Origin
    arrived_ms: int | None
    text: str
    streamed: bool
    removed: set[int]
    connection: int | None
    transaction: Transaction | None
    version: int
    why_waits: Callable[[RunKey, str], str]
    known_user: Callable[[int], KnownUser | None]
    on_failure_of: RunKey | None
    as_json: bool
    stop: bool = field(init=False, default=False)
    to_run: tuple[int, ...] = field(init=False, default=())
    passed: tuple[tuple[Job, Due], ...] = field(init=False, default=())
    called_off: tuple[tuple[int, Reason], ...] = field(init=False, default=())

    def answer(self, text: str, data: Any) -> Answer:
        """The answer as text, or as data after `json`."""
        if self.as_json:
            return Answer(json.dumps(data, ensure_ascii=False), is_json=True)
        return Answer(text)

    def refuse(self, code: str, message: str, help: str) -> Rejected:
        source = Source("<command>", self.text)
        return Rejected([Diagnostic(code, message, help, source, Span(0, len(self.text)))])


def check_room(context: Context) -> None:
    """Raises Rejected when no more jobs are accepted."""
    limit = context.options.configuration.max_jobs
    if context.store.jobs.total() >= limit:
        raise context.refuse("E509", f"there are {limit} jobs already", "delete some, or raise `max_jobs` in `sched`")
