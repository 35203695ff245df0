"""What the deciding thread knows apart from the store: options, running programs, what waits, the effects of this turn.

Rule: a turn that fails can be undone; see State.
"""

# How a turn uses the state, and how a turn that fails is undone. Example: the line `run hello`, whose commit fails.
#
#   remember   copies the fields, and notes how long the lists are.
#   the turn   stores the run, counts it in `live`, adds its program to `running`, and StartProgram to `effects`.
#   COMMIT     fails: the row of the run is gone.
#   restore    sets the fields again, cuts `effects` off, and takes the run out of `live` and its program out of `running`.
#   read_back  before the next decision, reads the mirrors from the rows again. After an error of the disk, only the rows show
#              what was kept.
#
# No effect of this turn has gone out, so nothing has happened. If the commit succeeds, `settle` returns the effects.
#
# What is counted on the way:
#
#   metrics         `count`, `measure` and `count_run` only note values, and `settle` adds them, so a turn that fails counts
#                   nothing. What survives a restart is in `counted`, and goes into rows before the commit (`store_counts`).
#                   Only `observe` adds a time at once. What is kept of the declared jobs is undone as `running` is.
#   states of runs  `note_claim` and `note_end` keep `live`, the queue and the statistics.

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from sys import getsizeof
from typing import Any, NamedTuple

from schedappliance.clock import Moment
from schedappliance.commands.outcome import AfterRun, Transaction
from schedappliance.commands.phrases import time_text
from schedappliance.commands.run import outcome
from schedappliance.commands.view import Counts, Order, Questions, Status
from schedappliance.core.news import News, news_of_turn
from schedappliance.core.pruning import KEEP, Pruning, prune_history
from schedappliance.core.queue import Delayed, WaitingRuns, waiter_of
from schedappliance.core.running import InstantPrograms, LiveRuns, RunningPrograms, Unrecorded, is_below_limit
from schedappliance.core.users import KnownUsers
from schedappliance.engine import reasons
from schedappliance.engine.boots import ThisBoot, this_boot
from schedappliance.engine.clockstep import TOLERANCE_MS
from schedappliance.engine.declared import OverdueJobs
from schedappliance.engine.effects import Answer, Effect, Happened, LogMessage, Reply
from schedappliance.engine.events import LineTyped
from schedappliance.engine.intake import Keep, WaitingDrop
from schedappliance.engine.metrics import HISTOGRAMS, LATENESS, PASSING, CounterKey, Labels, Metrics
from schedappliance.engine.options import Options, Overrides, with_overrides
from schedappliance.engine.records import NONE_UNCLAIMABLE, Hold, RunKey, UnclaimableJobs, User, reserve_of, run_id
from schedappliance.engine.schedule import Schedules
from schedappliance.engine.states import TRANSITIONS, RunState, Statistics
from schedappliance.engine.undoable import Undoable
from schedappliance.model.calendars.pieces import Zone
from schedappliance.model.calendars.zones import Machine, Zones
from schedappliance.model.configuration import Configuration
from schedappliance.store.tables import Store

# A rejected line counts as much as an answer of this size, so that few of them share a turn: the search for what its user
# may have meant takes up to 3 ms.
REJECTED_BYTES = 128 * 1024


class Parked(NamedTuple):
    """An order that waits for the event with its answer. `options`: the active ones when it was parked."""

    order: Order
    options: Options


class WaitingOrder(NamedTuple):
    """An order that waits for the end of a run, at most until this boot instant in milliseconds (None: without limit)."""

    order: Order
    until: int | None


class StateSnapshot(NamedTuple):
    """The state before a turn, or before a part of one, as `restore` needs it.

    The numbers are lengths of lists: `restore` cuts off what was appended since.
    """

    fields: dict[str, Any]
    statistics: Statistics
    pruning: Pruning
    handled: set[int]
    counted: dict[CounterKey, int]
    effects: int
    news: int
    measured: dict[tuple[str, Labels], int]
    waiting_events: int
    # How many changes each of `_undoables` had.
    changes: tuple[int, ...]


@dataclass(kw_only=True)
class State:
    """One appliance in memory, as each function of this package gets it.

    It has many fields, so that one snapshot holds everything that a turn can change.

    Rule: a field holds an immutable value, so a copy of the fields undoes a turn. A new field needs no code for that.
    `remember` and `restore` name the few exceptions.
    """

    # The start of the daemon sets these.

    store: Store
    # This boot of the machine. Its name is stored with each attempt, since a pid means nothing after the next boot.
    boot: ThisBoot
    # How many programs may run at once if no stanza sets `max_running`.
    places: int
    # Asks the devices for what they measure: numbers, by the names that `metrics` shows.
    measure_devices: Callable[[], Mapping[str, float]] = dict
    instant: InstantPrograms = field(default_factory=InstantPrograms)
    # What a command may ask. Made once, for all commands.
    questions: Questions = field(init=False)

    # What is in effect.

    options: Options
    status: Status
    # Gives a job its due times, by the zone data and the `days` that are in effect.
    schedules: Schedules
    # How often the options have changed. `config commit` is rejected if they have changed since `config begin`.
    version: int = 0
    # The digest of the files of the last reload, accepted or not. Only a user's reload tries the same files again.
    attempted_digest: str = ""
    # While the appliance stops, no run starts. It has stopped when the effect Stop was created.
    stopping: bool = False
    stopped: bool = False
    # Whether the programs run on when the appliance stops.
    keeps_programs: bool = False
    # The store cannot be written, and the present command must do without rows.
    unrecorded: Unrecorded | None = None

    # This turn. Core sets the moment and `answered` when it begins; `settle` empties the others.

    moment: Moment
    effects: list[Effect] = field(default_factory=list)
    # The news for the clients that watch, except those about jobs and runs.
    news: list[News] = field(default_factory=list)
    # The jobs that this turn has already claimed, called off or removed, so that the tick skips them.
    handled: set[int] = field(default_factory=set)
    # The due times that changed jobs have passed, until `follow_declared` has claimed them.
    overdue: OverdueJobs = field(default_factory=OverdueJobs)
    # Whether a command of this turn has paused all jobs, so that the tick claims no more of them.
    is_tick_over: bool = False
    # What the turn has cost: the bytes of its answers, and what rejected lines, costly commands and alerts count as.
    spent: int = 0
    # What the turn adds to the counters of the metrics.
    counted: dict[CounterKey, int] = field(default_factory=dict)
    # What the turn adds to the histograms of the metrics, in seconds.
    measured: defaultdict[tuple[str, Labels], list[float]] = field(default_factory=partial(defaultdict, list))

    # Mirrors of rows. `read_back` reads them again.

    # The number of runs that have not ended, by job.
    live: LiveRuns = field(default_factory=LiveRuns)
    queue: WaitingRuns = field(default_factory=WaitingRuns)
    has_incidents: bool = False
    # When the next reminder is due, in wall milliseconds.
    remind_at: int | None = None

    # What runs, and what waits.

    running: RunningPrograms = field(default_factory=RunningPrograms)
    # Until this boot instant nothing starts, since the machine ran out of a resource.
    short_until: int = 0
    # The boot instant from which a running program may be late, or an earlier one: the end of a run does not change it.
    late_from: int | None = None
    # The `notify` stanzas that have told something since their alerts were limited.
    alerted: frozenset[str] = frozenset()
    # The calendar jobs that are due, but whose next due time cannot be known now. They are not claimed.
    unclaimable: frozenset[int] = frozenset()
    # The users that were looked up, and what waits for a look-up.
    users: KnownUsers = field(default_factory=KnownUsers)
    # The orders that wait for an event with their answer, by the number that the event will contain.
    parked: Undoable[int, Parked] = field(default_factory=Undoable)
    next_number: int = 1
    # The orders of the clients that wait for the end of a run.
    awaited: Undoable[RunKey, tuple[WaitingOrder, ...]] = field(default_factory=Undoable)
    # The boot instant at which the first of these waits is over, or an earlier one; None if no wait has a limit.
    wait_until: int | None = None
    # The open transactions of the console, by connection.
    transactions: Mapping[int, Transaction] = field(default_factory=dict)

    # What is counted and compared over many turns.

    # The moment since which the wall clock was not set.
    steady: Moment
    pruning: Pruning
    statistics: Statistics
    metrics: Metrics = field(default_factory=Metrics)
    # Whether a client watches, and which troubles it was told last.
    is_watched: bool = False
    troubles_in_news: str | None = None
    # The troubles for which incidents were opened last. None: there were none. Empty: not known yet, after a start.
    troubles_in_incidents: str | None = ""
    # After the stanzas may have changed: the number of the last incident that was compared with them. None: all were.
    compared_incident: int | None = None

    # What decisions ask

    def __post_init__(self) -> None:
        self.questions = Questions(
            counts=self.counts,
            why_waits=self.why_waits,
            known_user=lambda uid: self.users.last_answer(uid),
            waiting_drops=self.waiting_drops,
            running_jobs=lambda: self.running.count_by_job(),
            waiting_of=lambda uid: self.queue.of_guests.get(uid, 0),
            metrics=lambda: self.metrics,
            can_store=lambda: self.unrecorded is None,
            measure_devices=lambda: self.measure_devices(),
        )

    @property
    def configuration(self) -> Configuration:
        return self.options.configuration

    @property
    def zone(self) -> Zone:
        """The zone in which people see instants."""
        return self.schedules.zones.to_show(self.configuration.zone)

    @property
    def max_running(self) -> int:
        """How many programs may run at once."""
        return self.configuration.max_running or self.places

    @property
    def guests_fit(self) -> bool:
        """Whether a place is free that is not kept for root and the user of the appliance."""
        return self.running.of_guests + self.instant.of_guests < self.max_running - reserve_of(self.max_running)

    @property
    def clock_was_set(self) -> bool:
        """Whether the wall clock was set since the last turn that moved the jobs with it."""
        return abs((self.steady.wall - self.steady.boot) - (self.moment.wall - self.moment.boot)) > TOLERANCE_MS

    @property
    def is_short(self) -> bool:
        """Whether every start would fail now: the machine has run out of a resource, or none can be started."""
        return self.moment.boot < self.short_until or self.status.outputs is not None

    @property
    def may_claim(self) -> bool:
        """Whether due jobs are claimed: not while the appliance stops or is held."""
        return not self.stopping and self.status.hold is None

    @property
    def may_start(self) -> bool:
        """Whether a program may start if there is a place for it."""
        return self.may_claim and not self.is_short

    def unclaimable_jobs(self) -> UnclaimableJobs:
        """The jobs that are not claimed although they are due: their user is being looked up, or their calendar is unknown."""
        jobs = self.users.unclaimable_jobs() if self.users.jobs else NONE_UNCLAIMABLE
        return jobs._replace(numbers=[*jobs.numbers, *self.unclaimable]) if self.unclaimable else jobs

    def runs_in_parallel(self, name: str) -> bool:
        """Whether two runs of one job may run this program at the same time. False for a program that is not declared."""
        program = self.configuration.programs.get(name)
        return program is not None and program.overlap == "parallel"

    def waiting_drops(self) -> list[WaitingDrop]:
        """The drops that are not carried out yet: in the spool, waiting for a look-up of their user, or waiting for the store."""
        spool = self.status.spool
        return [*(spool.held + spool.unfinished if spool else ()), *self.users.waiting_drops(), *self.status.unstored]

    def counts(self) -> Counts:
        return Counts(len(self.running), len(self.queue), self.statistics)

    def named(self, key: RunKey) -> str:
        """The id of a run, as users see it."""
        return run_id(self.store.node, key)

    def guest(self, user: User) -> int | None:
        """The uid of a guest; None for root and the user of the appliance, for whom places are kept."""
        return None if user.uid in self.status.trusted else user.uid

    def why_waits(self, key: RunKey, recorded: str) -> str:
        """Why a queued run waits now.

        `recorded`: the reason that was stored when it was queued, which may be outdated.
        """
        waits = self.queue.find(key)
        if isinstance(waits, Delayed):
            wall_ms = self.moment.wall + waits.boot_ms - self.moment.boot
            return reasons.not_before(recorded, time_text(wall_ms, self.zone))
        if waits.where == "unidentified":
            return reasons.LOOKED_UP
        if waits.where == "blocked":
            return recorded if recorded == reasons.AFTER_REPLACED else reasons.AFTER_EARLIER
        if self.status.hold is not None:
            return reasons.HELD
        is_limited = waits.where == "limited"
        if is_limited and not is_below_limit(self.configuration, self.running, self.instant, waits.program):
            return reasons.no_place_for(waits.program, self.running.count(waits.program), waits.number)
        if self.status.outputs:
            return reasons.NO_OUTPUT
        if self.is_short:
            return reasons.SHORT
        before = None if is_limited else waits.number  # Then it waits for what an earlier run waits for.
        if waits.is_of_guest and len(self.running) < self.max_running:
            return reasons.kept_places(reserve_of(self.max_running), before)
        return reasons.no_place(len(self.running), before)

    # Orders and transactions

    def park(self, order: Order) -> int:
        """Keeps an order until the event with its answer arrives; returns the number that the event will contain."""
        number = self.next_number
        self.next_number += 1
        self.parked[number] = Parked(order, self.options)
        return number

    def close_transaction(self, connection: int) -> Transaction | None:
        """Ends the transaction of a connection and returns it; None if it has none."""
        transaction = self.transactions.get(connection)
        if transaction is not None:
            self.transactions = {key: open_ for key, open_ in self.transactions.items() if key != connection}
        return transaction

    # Effects

    def log(self, level: str, message: str, share: str = "", **fields: Any) -> None:
        """Logs a line. `fields`: what it is about, for programs that read the log. Those that are None are left out."""
        known = tuple([(name, value) for name, value in fields.items() if value is not None]) if fields else ()
        self.effects.append(LogMessage(level, message, fields=known, share=share))

    def reply(self, line: LineTyped | Order, answer: Answer, as_json: bool, is_repeatable: bool = False) -> None:
        """Answers a console line. `as_json`: it was `json COMMAND`, so errors are data. `is_repeatable`: see Reply."""
        assert line.reply_to is not None
        if as_json and answer.error is not None:
            answer = answer._replace(is_json=True)
        size = getsizeof(answer.output) if isinstance(answer.output, str) else 0
        self.spent += size + (REJECTED_BYTES if answer.diagnostics else 0)
        in_transaction = line.connection in self.transactions
        self.effects.append(Reply(line.reply_to, answer, in_transaction, size, is_repeatable))

    def watch(self, is_watched: bool) -> None:
        """Starts or stops collecting news for the clients that watch."""
        self.is_watched = is_watched
        self.troubles_in_news = self.status.troubles
        if not is_watched:
            # Otherwise, the next client that watches would get the earlier news of this turn.
            self.news = []
        self.store.watch(is_watched)

    def tell(self, kind: str, **data: Any) -> None:
        """Collects a piece of news for the clients that watch."""
        if self.is_watched:
            self.news.append({"kind": kind, **data})

    # Metrics

    def count(self, name: str, *labels: str, number: int = 1) -> None:
        """Adds to a counter of `metrics`."""
        self.counted[name, labels] = self.counted.get((name, labels), 0) + number

    def measure(self, name: str, milliseconds: int, *labels: str) -> None:
        """Adds a time to a histogram. One that is negative, since the clock was set back, counts as zero."""
        self.measured[name, labels].append(max(0, milliseconds) / 1000)

    def add_lateness(self, milliseconds: int) -> None:
        """Adds to the lateness of the runs that this turn has claimed, since it is committed later than its moment."""
        for (name, _), values in self.measured.items():
            if name == LATENESS:
                values[:] = [value + milliseconds / 1000 for value in values]

    def count_run(self, job: int, ending: RunState, origin: str, is_declared: bool, duration_ms: int | None) -> None:
        """Counts a run that has ended."""
        key = "runs_total", (str(ending), origin)
        self.counted[key] = self.counted.get(key, 0) + 1
        if is_declared:
            self.store.counters.count_end(job, str(ending))
            if job in self.metrics.jobs:
                self.metrics.note_end(job, ending, self.moment.wall, duration_ms)

    def store_counts(self) -> None:
        """Adds what the transaction has counted to the rows. Memory follows after the commit, in `settle`.

        So a counter never goes back, and counts nothing twice, whenever the daemon is killed.
        """
        stored = {key: number for key, number in self.counted.items() if key[0] not in PASSING}
        if stored:
            self.store.counters.add(stored)

    def observe(self, name: str, values: Iterable[float], labels: Labels = ()) -> None:
        """Adds times in seconds to a histogram at once. A failed turn does not undo this, unlike `measure`."""
        bounds = HISTOGRAMS[name][1]
        histogram = self.metrics.histograms.setdefault((name, labels), [0] * (len(bounds) + 2))
        for seconds in values:
            histogram[bisect_left(bounds, seconds)] += 1
            histogram[-1] += seconds

    # Runs

    def remember_tick(self) -> None:
        """Stores the time of this decision, in the transaction that stores the decision."""
        settings = self.store.settings
        settings.set_meta("last_wall_ms", self.moment.wall)
        settings.set_meta("last_boot_ms", self.moment.boot)
        settings.set_meta("last_boot_id", self.boot.name)

    def note_claim(self, key: RunKey, how: RunState) -> None:
        """Counts a run that was claimed. It may have ended already: `skipped`, for example."""
        self.pruning.stored_runs += 1
        if how in TRANSITIONS:
            self.live.add(key.job)
        else:
            self.statistics.ended[how] += 1
            if self.awaited:
                self._answer_waiting(key)

    def note_end(self, key: RunKey, how: RunState) -> None:
        """Counts a run that has ended, and releases the next run of the job if all earlier ones have ended."""
        self.live.subtract(key.job)
        # `live` counts the blocked runs too. If only these are left, the first of them goes on. Before that, several others may
        # have to end: `overlap` may have been `parallel` when they started.
        if self.queue.number and self.live.of_job(key.job) == self.queue.blocked_of(key.job):
            self.queue.release_job(key.job)
        self.statistics.ended[how] += 1
        if self.awaited:
            self._answer_waiting(key)

    def prune_history(self, stored_before: int) -> None:
        """Removes the oldest ended runs if there are too many. `stored_before`: the stored runs before this turn."""
        prune_history(self.pruning, self.store.runs, self.configuration.history, self.live, stored_before)

    # Clients that wait for the end of a run

    def await_run(self, order: Order, pending: AfterRun) -> None:
        """Lets an order wait for the end of a run."""
        until = None if pending.timeout_ms is None else self.moment.boot + pending.timeout_ms
        self.awaited[pending.run] = (*self.awaited.get(pending.run, ()), WaitingOrder(order, until))
        if until is not None:
            self.wait_until = until if self.wait_until is None else min(until, self.wait_until)

    def set_waiting(self, key: RunKey, waiting: tuple[WaitingOrder, ...]) -> None:
        """Replaces the orders that wait for a run by those that are left."""
        if waiting:
            self.awaited[key] = waiting
        elif key in self.awaited:
            del self.awaited[key]
        if not self.awaited:
            self.wait_until = None

    def _answer_waiting(self, key: RunKey) -> None:
        """Answers the clients that wait for a run, in the transaction that records the end of the run."""
        for order, _ in self.awaited.get(key, ()):
            if order.reply_to is not None:
                self.reply(order, outcome(self.store, key, order), order.as_json)
        self.set_waiting(key, ())

    # The begin and the end of a turn

    def remember(self) -> StateSnapshot:
        """The snapshot that `restore` needs to undo a turn. Its cost does not grow with the number of jobs or programs."""
        return StateSnapshot(
            fields=vars(self).copy(),
            statistics=replace(self.statistics, ended=self.statistics.ended.copy()),
            pruning=replace(self.pruning),
            handled=set(self.handled),
            counted=self.counted.copy(),
            effects=len(self.effects),
            news=len(self.news),
            measured={key: len(values) for key, values in self.measured.items()},
            waiting_events=len(self.users.events),
            changes=tuple([len(undoable.changes) for undoable in self._undoables]),
        )

    def restore(self, before: StateSnapshot) -> None:
        """Undoes everything since a snapshot. The rows must be undone too."""
        vars(self).update(before.fields)
        self.store.watch(self.is_watched)
        self.statistics = before.statistics
        self.pruning = before.pruning
        self.handled, self.overdue = before.handled, OverdueJobs()
        self.counted = before.counted
        del self.effects[before.effects :], self.news[before.news :]
        measured = {key: self.measured[key][:number] for key, number in before.measured.items()}
        self.measured = defaultdict(list, measured)
        self.users.undo_events(before.waiting_events)
        for undoable, changes in zip(self._undoables, before.changes, strict=True):
            undoable.undo(changes)

    def settle(self) -> list[Effect]:
        """Ends a turn after its commit, so that it cannot be undone any more. Returns its effects."""
        effects, self.effects = self.effects, []
        self.handled, self.is_tick_over = set(), False
        for undoable in self._undoables:
            undoable.changes.clear()

        self.metrics.counters.update(self.counted)
        for (name, labels), values in self.measured.items():
            self.observe(name, values, labels)
        self.counted.clear()
        self.measured.clear()

        if self.is_watched:
            effects = [*effects, *self._take_news()]
        return [*effects, *self.users.take_questions(self.moment.boot)] if self.users.wanted else effects

    def _take_news(self) -> list[Happened]:
        """Returns the news of this turn as an effect, and begins to collect those of the next one."""
        if (troubles := self.status.troubles) != self.troubles_in_news:
            self.tell("degraded", troubles=list(self.status.trouble_list))
            self.troubles_in_news = troubles
        news, self.news = self.news, []
        return news_of_turn(self.store, news, self.moment)

    @property
    def _undoables(self) -> tuple[Undoable[Any, Any] | WaitingRuns, ...]:
        metrics = self.metrics
        of_metrics = (metrics.jobs, metrics.rows, metrics.due, metrics.columns)
        return self.running, self.parked, self.awaited, self.live, self.queue, self.pruning.bytes_of_guests, *of_metrics

    # Mirrors of rows

    def read_back(self) -> None:
        """Makes the mirrors of rows and the overrides agree with the store."""
        runs = self.store.runs.live()
        self.live = LiveRuns(run.key.job for run in runs)
        self.read_queue({run.key.job for run in runs if run.state is RunState.STARTED})
        self.options = self.options.following(Overrides(self.store.settings.overrides()))
        self.set_hold(self.store.settings.hold())
        self.read_incidents()
        self.metrics.forget_jobs()

    def read_incidents(self) -> None:
        """Reads the mirror of the incidents."""
        self.has_incidents, self.remind_at = self.store.incidents.mirror()

    def set_hold(self, last: Hold | None) -> None:
        """Sets the last hold, which may be over."""
        lasts = last is not None and last.until_ms is None
        self.status = replace(self.status, last_hold=last, hold=last if lasts else None)

    def read_queue(self, busy: set[int]) -> None:
        """Reads the waiting runs from their rows. Those of a job in `busy` wait for it, unless their program is parallel."""
        known = self.queue.delays()
        alerts, trusted = self.store.incidents.all_users(), self.status.trusted
        self.queue = WaitingRuns()
        for run in self.store.runs.queued():
            waiter = waiter_of(run, alerts.get(run.key.job, ()), trusted)
            if run.retry_at_ms is not None:
                # A boot instant that is known stays, since a step of the wall clock does not move it.
                left = max(0, run.retry_at_ms - self.moment.wall)
                self.queue.delay(known.get(run.key, self.moment.boot + left), waiter)
            elif run.key.job in busy and not self.runs_in_parallel(waiter.program):
                self.queue.block(waiter)
            else:
                self.queue.add(waiter)
            busy.add(run.key.job)


def new_state(
    store: Store,
    configuration: Configuration,
    moment: Moment,
    *,
    pid: int,
    version: str,
    boot_id: str,
    cores: int,
    namespace: str = "",
    keep: Keep = KEEP,
    zones: Zones | None = None,
    uid: int = 0,
) -> State:
    """The state of an appliance that starts. Eight programs per core run at once; the rest wait in order.

    `uid`: of the user of the appliance. `boot_id`: that of this boot, empty if it is hidden. `namespace`: see ThisBoot. `zones`:
    None takes the zone data of this machine, and UTC as its own zone.
    """
    options = with_overrides(configuration, store.settings.overrides())
    state = State(
        store=store,
        boot=this_boot(boot_id, moment, *store.settings.last_tick())._replace(namespace=namespace),
        places=8 * cores,
        options=options,
        status=Status(pid, version, moment, trusted=frozenset({0, uid})),
        schedules=Schedules(zones or Zones(Machine(tz="UTC")), options.configuration.days, options.configuration.zone),
        moment=moment,
        steady=moment,
        pruning=Pruning(keep),
        statistics=Statistics(moment),
    )
    state.set_hold(store.settings.hold())
    return state
