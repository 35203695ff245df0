"""The data that a command may read: its order, and the present appliance (View, Order, Status, Counts).

Rule: nothing here changes. A command writes rows, and returns everything else that it changes as an Outcome.

Every due job with an internal command creates an Order and a View, and reads many of their fields. Therefore they are
no named tuples: creating one takes 1.6 times as long, and reading a field 1.7 times.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from schedappliance.commands.outcome import Rejected
from schedappliance.diagnostics import command_diagnostic
from schedappliance.engine.effects import Answer
from schedappliance.engine.records import CONFIG_USER, reserve_of
from schedappliance.store.failures import StoreFailed

if TYPE_CHECKING:
    from schedappliance.clock import Moment
    from schedappliance.commands.outcome import Transaction
    from schedappliance.engine.intake import SpoolBacklog, WaitingDrop
    from schedappliance.engine.metrics import Metrics
    from schedappliance.engine.options import Options
    from schedappliance.engine.records import Hold, KnownUser, Origin, RunKey, User
    from schedappliance.engine.schedule import Schedules
    from schedappliance.engine.states import Statistics
    from schedappliance.model.calendars.pieces import Zone
    from schedappliance.model.commands import Command
    from schedappliance.store.tables import Store

Value = TypeVar("Value")
# The most runs that a text names.
MOST_NAMED = 3

# Why stanza files that were read have no effect yet.
FILES_UNSTORED = "the stanza files were read; they become active when the store can be written"

# Message and remedy after the last number that SQLite gives.
NO_NUMBERS = ("no job ids are left", "restore a backup, or start with an empty store")


class ReloadResult(NamedTuple):
    """The result of the last reload. `lines`: its diagnostics, one on each line."""

    at_ms: int | None
    outcome: str
    lines: tuple[str, ...] = ()
    diagnostics: tuple[dict[str, Any], ...] = ()


NEVER = ReloadResult(None, "never")


class Counts(NamedTuple):
    """How many programs run, how many runs wait, and the statistics."""

    running: int
    queued: int
    statistics: Statistics


@dataclass(frozen=True, slots=True)
class Status:
    """The status of the appliance.

    `digest`: of the active stanza files. `degraded`: why the store cannot be written, None if it can. `last_good`:
    why the active configuration comes from the store and not from the present files, None if it does not. `outputs`:
    why no program can be started, for example without a place for outputs; None if one can. `watch` and `waits`: as in the event
    WatchChanged. `spool`: the files that are not read yet, None without a spool. `without_spool`: why the spool
    cannot be used, None if it can. `zones`: which time zones cannot be read any more, None if all can. `log`: why nobody
    finds the lines of the log in its file, None if they are there. `unstored`: the drops that were read and wait for the
    store. `has_unstored_files`: whether stanza files that were read wait for it. `warnings`: about the changes of the active
    generation. `unseen`: the runs whose programs cannot be seen. `hold`: the hold that lasts, None if the appliance is not
    held. `last_hold`: also one that is over. `trusted`: the uids of root and of the user of the appliance.
    """

    pid: int
    version: str
    started: Moment
    digest: str = ""
    last_reload: ReloadResult = NEVER
    watch: str = "none"
    waits: str | None = None
    degraded: str | None = None
    last_good: str | None = None
    outputs: str | None = None
    spool: SpoolBacklog | None = None
    without_spool: str | None = None
    log: str | None = None
    zones: str | None = None
    unstored: tuple[WaitingDrop, ...] = ()
    has_unstored_files: bool = False
    warnings: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    last_hold: Hold | None = None
    hold: Hold | None = None
    trusted: frozenset[int] = frozenset({0})

    @property
    def troubles_by_kind(self) -> dict[str, str | None]:
        """Why the appliance is degraded, by the kind of trouble. None: there is no such trouble."""
        return {
            "store": self.degraded,
            "outputs": self.outputs,
            "spool": self.without_spool,
            "files": self.last_good,
            "zones": self.zones,
            "log": self.log,
            "programs": self.why_unseen,
        }

    @property
    def trouble_list(self) -> tuple[str, ...]:
        """Why the appliance is degraded, each reason by itself."""
        return tuple(filter(None, self.troubles_by_kind.values()))

    @property
    def why_unseen(self) -> str | None:
        """Why nobody knows whether the programs of some runs have ended; None if there are no such runs."""
        if not self.unseen:
            return None
        more = len(self.unseen) - MOST_NAMED
        names = ", ".join(self.unseen[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
        return (
            f"the program of {names} cannot be seen from here, since it was started in another pid namespace and its keeper "
            "was killed; its run lasts while a process has its output open"
        )

    @property
    def troubles(self) -> str | None:
        """Why the appliance is degraded; None if it is not."""
        return "; ".join(self.trouble_list) or None

    @property
    def files_wait(self) -> str | None:
        """Why the present stanza files are not active yet, and were not rejected either; None if nothing waits."""
        return "; ".join(filter(None, [FILES_UNSTORED if self.has_unstored_files else None, self.waits])) or None

    @property
    def is_ready(self) -> bool:
        """Whether commands are stored and programs start."""
        return self.degraded is None and self.outputs is None


@dataclass(slots=True)
class Order:
    """A command to be carried out, with the user who gave it and its origin.

    `origin`: the mark of the jobs and overrides that it makes. `arrived_ms`: when a person or a program gave it; None for
    the command of a job. `reply_to`: the request to answer; only a console line has one. `run`: the run that carries it
    out. `on_failure_of`: the run whose failure it answers. `by`: the delegate who gave it on behalf of `user`, if there is one.
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
    by: User | None = None

    @property
    def source(self) -> str:
        """The source of the order, as the audit line names it."""
        if self.run is not None:
            return "job"
        if self.reply_to is not None:
            return "console"
        return "signal" if self.arrived_ms is None else self.origin

    @property
    def as_json(self) -> bool:
        return self.command.form == "json"


@dataclass(frozen=True, slots=True)
class Questions:
    """What a command may ask about the moment at which it asks. All views share one, since each due command needs a view."""

    counts: Callable[[], Counts]
    # The present reason why a queued run waits, from its key and the stored reason.
    why_waits: Callable[[RunKey, str], str]
    # A user as of the last look-up; users are looked up only with an `Authorization`.
    known_user: Callable[[int], KnownUser | None]
    # The drops that are not carried out yet, and why.
    waiting_drops: Callable[[], list[WaitingDrop]]
    # How many programs of a job run, by its number.
    running_jobs: Callable[[], dict[int, int]]
    # How many runs of a guest wait, by the uid.
    waiting_of: Callable[[int], int]
    metrics: Callable[[], Metrics]
    # Whether rows can be written. False only for a command that is carried out without them; see Unrecorded.
    can_store: Callable[[], bool]
    # What the devices measure, by the names of `metrics`.
    measure_devices: Callable[[], Mapping[str, float]]


@dataclass(slots=True)
class View:
    """The data that a command may read."""

    order: Order
    store: Store
    # The active ones.
    options: Options
    status: Status
    moment: Moment
    # The open transaction of the order's connection.
    transaction: Transaction | None
    # The number of changes of the options.
    version: int
    # With the zone data and the `days` that are in effect.
    schedules: Schedules
    ask: Questions

    @property
    def seen(self) -> Options:
        """The options as the connection sees them, including those that its transaction has set."""
        return self.transaction.options if self.transaction else self.options

    @property
    def is_streamed(self) -> bool:
        """Whether the answer may be made while it is sent, after the commit. The turn stores any other answer."""
        return self.order.reply_to is not None

    @property
    def zone(self) -> Zone:
        """The zone in which people see instants."""
        return self.schedules.zones.to_show(self.options.configuration.zone)

    def answer(self, text: str, data: Any) -> Answer:
        """The answer as text, or as data after `json`."""
        if self.order.as_json:
            return Answer(json.dumps(data, ensure_ascii=False), is_json=True)
        return Answer(text)

    def unless_degraded(self, read: Callable[[], Value]) -> Value | None:
        """What `read` returns. While the appliance is degraded, None if the store cannot be read, so that the rest is shown."""
        try:
            return read()
        except StoreFailed:
            if self.status.degraded is None:
                raise
            return None

    def reject(self, code: str, message: str, remedy: str) -> Rejected:
        """The exception that rejects the command."""
        return Rejected([command_diagnostic(code, message, remedy, self.order.text)])


# A guest with so many jobs adds no command with more characters than this.
MANY, LONG = 1000, 1000
# So many runs of one job of a guest may wait. Calling off 100,000 took 6 s in one turn.
MOST_WAITING = 2000


def why_full(view: View, user: User | None) -> tuple[str, str] | None:
    """Why no more jobs of a user are accepted, and the remedy; None if they are. `user`: None for any guest.

    A part of the jobs is kept for root and the user of the appliance, and no guest may have more than half of all. The job
    of a run that waits may be gone, so the waiting runs of a guest count as jobs.
    """
    limit = view.options.configuration.max_jobs
    if not view.store.jobs.has_numbers():
        return NO_NUMBERS
    total, reserve = view.store.jobs.total(), reserve_of(limit)
    is_trusted = user is not None and user.uid in view.status.trusted
    remedy = "delete some, or raise `max_jobs` in `sched`"
    if total >= limit:
        return f"there are already {limit} jobs", remedy
    if total >= limit - reserve and not is_trusted:
        return (
            f"there are already {total} jobs, and {reserve} more are kept for root and the user of the appliance",
            remedy,
        )
    half = half_of(limit)
    if user is None or is_trusted:
        return None
    waiting = view.ask.waiting_of(user.uid)
    if total + waiting >= half and view.store.jobs.of_user(user.uid) + waiting >= half:
        and_waiting = f" and waiting runs ({waiting})" if waiting else ""
        return f"{_named(user)} already has {half} jobs{and_waiting}, half of all that may exist", remedy
    return None


def _named(user: User) -> str:
    """A user whose shares a command takes. That of `on_failure` has only the uid of this user."""
    return f"user {user.uid}" if user.name == CONFIG_USER.name else f"user {user.name}"


def half_of(limit: int) -> int:
    """How many jobs and waiting runs one guest may have. `limit`: how many jobs may exist."""
    return (limit + 1) // 2


def _why_too_long(view: View) -> tuple[str, str] | None:
    """Why a guest may not add so long a command, and the remedy; None if he may.

    `max_jobs` counts jobs, of which the longest takes 160 KB of the disk. The store counts the jobs of each user.
    """
    user = view.order.user
    if len(view.order.text) <= LONG or user.uid in view.status.trusted:
        return None
    if view.store.jobs.of_user(user.uid) + view.ask.waiting_of(user.uid) < MANY:
        return None
    message = (
        f"{_named(user)} already has {MANY:,} jobs or waiting runs, and this command has more than {LONG:,} characters"
    )
    return message, "shorten it, or delete some jobs"


def check_room(view: View) -> None:
    """Raises Rejected when no more jobs are accepted, or none with so long a command."""
    if why := why_full(view, view.order.user) or _why_too_long(view):
        raise view.reject("E509", *why)
