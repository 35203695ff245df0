"""A turn: the deciding thread handles a batch of events, and everything that is due.

Rule: a turn is one transaction, and its effects go out only after the commit. Most turns need few steps, so a step is
called only if a cheap comparison shows that it has work. `_HANDLERS` names the handler of each event.
"""

# The good path. Example: the line `sched in 5 run hello` and the end of a program have arrived, and a job is due.
#
#   turn          Neither event waits for a user, so both are handled in this turn (`pending`).
#   commit        BEGIN. Memory follows the rows and the clock (`_begin`).
#   _handle_all   `line_typed` adds a job; `program_ended` ends a run.
#   _do_due_work  `tick` claims the due job. Its program starts, or its run waits in the queue.
#   COMMIT        `settle` returns the effects: a reply, the start of a program, log lines.
#   wake          tells the loop when the next job is due: in 5 seconds.
#
# What can go wrong, and what then happens:
#
#   the commit fails                   `restore` undoes everything since BEGIN. `degraded` decides what is tried again.
#   a user must be looked up           The event waits in `users`. A later turn puts it in again (`_with_released`).
#   another process locks the store    The commit fails, as above. But a turn whose events change only memory, while
#                                      nothing is due, has no transaction, and succeeds.
#
# The look-ahead. Example: a job is due at 12:00:00.000, and no event arrives.
#
#   11:59:59.925   The loop wakes and counts the due jobs (`wake_early`). One job needs a lead of 4 ms.
#   11:59:59.996   `look_ahead`: BEGIN, then the job is claimed as of its due time, and the loop sleeps (`sleep_until`).
#   12:00:00.000   COMMIT, and the effects go out.
#
# If an event arrives first, or the clock is set, the decisions are undone (ROLLBACK and `restore`), and a turn follows.
#
# docs/architecture.md, "Three flows", follows a line and a due job through all files.

from __future__ import annotations

from collections.abc import Callable, Iterable, Set
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from schedappliance.clock import Moment
from schedappliance.core import outputs, runs
from schedappliance.core.alert_limits import limit_alerts
from schedappliance.core.alerts import COMPARE_AGAIN_MS, follow_troubles, go_on_comparing, note_late_runs, remind
from schedappliance.core.authorization import defer_job_for_users
from schedappliance.core.calendars import release_unclaimable, zones_changed
from schedappliance.core.clock import end_hold, follow_clock
from schedappliance.core.degraded import UNSTORED, Degraded, DueWork, Step, by_room
from schedappliance.core.drops import drop_claimed, drop_put_back, spool_seen
from schedappliance.core.orders import (
    MOST_SPENT,
    answer_parked,
    claim_runs,
    connection_closed,
    follow_local_times,
    line_typed,
)
from schedappliance.core.places import has_place
from schedappliance.core.pruning import next_history_prune, next_results_prune, prune_long_runs, prune_results
from schedappliance.core.recovery import recover
from schedappliance.core.reload import files_read, reload_requested, watch_changed
from schedappliance.core.run_stops import record_stop
from schedappliance.core.stopping import finish_stopping, send_signals, stop, stop_ends_at
from schedappliance.core.waits import end_waits
from schedappliance.engine.effects import EndWatches
from schedappliance.engine.events import (
    AuditDue,
    ConnectionClosed,
    DropClaimed,
    DropPutBack,
    Event,
    FilesRead,
    LineTyped,
    NobodyWatches,
    OutputEmptied,
    OutputFlooded,
    OutputRead,
    OutputsChecked,
    OutputUnreadable,
    PreviewMade,
    ProgramEnded,
    ProgramNotStarted,
    ProgramOutput,
    ProgramStarted,
    ProgramStopped,
    ReloadRequested,
    Remains,
    SpoolSeen,
    Started,
    StopRequested,
    UserLookedUp,
    WatchChanged,
    ZonesChanged,
)
from schedappliance.engine.records import job_id
from schedappliance.engine.schedule import NoSchedule, catch_up_of, claim, claim_single
from schedappliance.store.failures import StoreFailed

if TYPE_CHECKING:
    from schedappliance.core.state import State
    from schedappliance.engine.effects import Effect
    from schedappliance.engine.records import Job, RunKey

# Jobs claimed in one turn: enough to share the cost of a commit, few enough that console lines do not wait long.
BATCH = 1000
# A look-ahead begins LEAD_MS before the due time, and 1 ms earlier for each JOBS_PER_MS due jobs. On a machine on which it is
# late, it begins up to MOST_LEAD_MS before. It should have decided EARLY_MS before the due time.
LEAD_MS, MOST_LEAD_MS, JOBS_PER_MS, EARLY_MS = 4, 40, 15, 2
# The longest lead. Earlier than this, the due jobs are not counted.
HORIZON_MS = 75
# A look-ahead that wakes later than this after the due time, as after a suspend, is undone: its rows would have a wrong time.
MOST_OVERSLEPT_MS = 1000
# While jobs wait for the look-up of their user, the loop sleeps no longer. Finding a later due time may take a walk through
# all jobs of this user.
MOST_SLEPT_MS = 60_000

# Sleeps until a wall time, but not longer than until an event. Returns the moments before and after.
SleepUntil = Callable[[int], tuple[Moment, Moment]]


class Wake(NamedTuple):
    """When the next turn is due if no event arrives: wall time and boot time in milliseconds, None for never."""

    wall: int | None
    boot: int | None

    def is_due(self, moment: Moment) -> bool:
        return (self.wall is not None and self.wall <= moment.wall) or (
            self.boot is not None and self.boot <= moment.boot
        )


def next_lead(lead_ms: int, late_ms: int) -> int:
    """The lead of the next look-ahead. `late_ms`: how long after the due time the last one had decided; negative: before it.

    On some machines, code that has not run for a second takes 15 ms instead of 0.5. The lead grows at once, and shrinks slowly.
    """
    if late_ms > -EARLY_MS:
        return min(lead_ms + late_ms + 2 * EARLY_MS, MOST_LEAD_MS)
    return max(lead_ms - 1, LEAD_MS) if late_ms < -2 * LEAD_MS else lead_ms


class Abandoned(Exception):
    """A look-ahead is undone, since something else has happened before its due time."""


class Core:
    """Takes events and the time, and returns effects.

    The same store, events and times give the same rows and effects.
    """

    def __init__(self, state: State) -> None:
        self.state = state
        self._degraded = Degraded(state, self)
        # True after a rollback: memory does not agree with the rows.
        self._stale = False
        # What `wake` said after the last turn. None from the begin of a transaction until the next `wake`.
        self._wake: Wake | None = None
        # The due time of the last look-ahead. Each due time gets at most one: its decisions may be undone, and that must not
        # repeat.
        self._looked_at: int | None = None
        # How long before the due time the next look-ahead begins, apart from the time for many due jobs.
        self._lead_ms = LEAD_MS

    @property
    def is_settled(self) -> bool:
        """Whether all events that arrived are stored."""
        return self._degraded.retry_at is None

    def start(self, remains: Remains, digest: str, texts: tuple[tuple[str, str], ...]) -> list[Effect]:
        """Runs the first turn, which recovers what the last daemon left. Raises StoreFailed for a store that is damaged.

        If the store cannot be written now, the appliance starts degraded, and the first turn is tried again.
        """
        event = Started(remains, digest, texts)
        before = self.state.remember()
        try:
            with self.state.store.transaction():
                recover(self.state, event)
                self.state.store_counts()
        except StoreFailed as failure:
            if not failure.passing:
                raise
            self.state.restore(before)
            self._stale = True
            return self._degraded.postpone([event], failure)
        return self.state.settle()

    def turn(self, events: Iterable[Event], moment: Moment) -> list[Effect]:
        """Handles the events, then everything that is due, in one transaction. A failed commit undoes all of it."""
        state = self.state
        state.moment = moment
        state.spent = 0
        arrived = list(events)
        if not self._needs_transaction(arrived):
            for event in arrived:
                _HANDLERS[type(event)](state, event)
            return state.settle()
        self._wake = None
        pending = [*self._degraded.backlog, *self._with_released(arrived)]
        if self._degraded.is_disk_full:
            # One transaction for all events would probably fail again, so each event gets its own transaction.
            return self._degraded.one_by_one(by_room(pending))
        try:
            effects = self.commit(partial(_handle_all, state, pending))
        except StoreFailed as failure:
            if not failure.passing:
                # The due work comes before the lines: if it fails too, they are answered by an appliance that knows its trouble.
                return self._degraded.one_by_one(by_room(pending))
            return self._degraded.postpone(pending, failure)
        return effects if self.is_settled else self._degraded.leave_degraded(effects)

    def look_ahead(self, moment: Moment, sleep_until: SleepUntil) -> list[Effect]:
        """A turn without events. Shortly before a due time, it decides what is due then, sleeps until then, and commits.

        If something else happens first, the decisions are undone, and the next turn decides.
        """
        state = self.state
        state.moment = moment
        state.spent = 0
        due_ms = self._wake.wall if self._wake else None
        begin = self._next_look_ahead()
        if due_ms is None or begin is None or begin > moment.wall or state.clock_was_set:
            return self.turn((), moment)
        before = state.remember()
        self._looked_at = due_ms
        state.moment = Moment(due_ms, moment.boot + due_ms - moment.wall)
        try:
            with state.store.transaction():
                self._decide(partial(_handle_all, state, ()))
                state.store.write_deferred()
                self._wait_for_moment(sleep_until)
        except (StoreFailed, Abandoned) as why:
            state.restore(before)
            # After a failed commit, only the rows show what was stored. The next turn tells a failure that lasts.
            self._stale |= isinstance(why, StoreFailed)
        else:
            self._wake = None
            state.store.repairs.clear()
        return state.settle()

    def _wait_for_moment(self, sleep_until: SleepUntil) -> None:
        """Sleeps until the moment of this look-ahead. Raises Abandoned."""
        state = self.state
        moment = state.moment
        if state.users.wanted:
            # The next turn asks for them now, so they may be known at the due time.
            raise Abandoned
        ready, now = sleep_until(moment.wall)
        self._lead_ms = next_lead(self._lead_ms, ready.wall - moment.wall)
        # Both clocks are read in whole milliseconds, so the boot time may seem to come one later.
        has_come = now.wall >= moment.wall and now.boot >= moment.boot - 1
        # The time that the decision took does not count: the next turn would decide as slowly.
        if not has_come or now.boot - max(ready.boot, moment.boot) > MOST_OVERSLEPT_MS:
            raise Abandoned
        if now.wall > moment.wall:
            state.add_lateness(now.wall - moment.wall)

    def wake_early(self) -> Wake:
        """As `wake`, but early enough for `look_ahead`."""
        wake = self.wake()
        begin = self._next_look_ahead()
        return wake if begin is None else wake._replace(wall=begin)

    def _next_look_ahead(self) -> int | None:
        """From which wall time on `look_ahead` may decide about the next due time; None if a turn does at that time.

        Long before, this is the begin of the last HORIZON_MS.
        """
        state = self.state
        due, boot = self._wake or Wake(None, None)
        if due is None or due == self._looked_at or state.status.hold is not None:
            return None
        left = due - state.moment.wall
        if left > HORIZON_MS:
            return due - HORIZON_MS
        if left <= 0 or (boot is not None and boot - state.moment.boot <= left):
            return None
        try:
            lead = self._lead_ms + state.store.jobs.count_due(due, BATCH) // JOBS_PER_MS
            return due - min(lead, HORIZON_MS)
        except StoreFailed:
            return None

    def note_duration(self, seconds: float) -> None:
        """Measures how long the last turn took. Only the loop knows it."""
        self.state.observe("turn_duration_seconds", (seconds,))

    def _needs_transaction(self, events: list[Event]) -> bool:
        """False if no event writes rows and nothing is due. Such a turn works even while another process locks the store.

        Only a turn changes what is due, so the result of `wake` after the last turn still holds.
        """
        if self._degraded.backlog or self._wake is None or not all(isinstance(event, UNSTORED) for event in events):
            return True
        state = self.state
        has_new_troubles = bool(state.configuration.notify) and state.troubles_in_incidents != state.status.troubles
        # Only a transaction puts the files of the store back in their place.
        has_lost_files = AuditDue in map(type, events) and not state.store.is_in_place
        return has_new_troubles or has_lost_files or self._wake.is_due(state.moment) or state.clock_was_set

    def _with_released(self, arrived: list[Event]) -> list[Event]:
        """Takes the answers about users out, and puts in the events that they release.

        If the commit fails, the answers stay known, and the released events are tried again as the others are.
        """
        state = self.state
        boot = state.moment.boot
        if not _awaits_users(state) and UserLookedUp not in map(type, arrived):
            return arrived
        released = state.users.learn([event for event in arrived if isinstance(event, UserLookedUp)], boot)
        for uid in state.queue.awaited_users():
            if state.users.are_usable((uid,), boot):
                state.queue.release_user(uid)
        # The released events are older than all events of users that have arrived, so they come before these.
        first = next((number for number, event in enumerate(arrived) if isinstance(event, _OF_USERS)), 0)
        others = (event for event in arrived[first:] if not isinstance(event, UserLookedUp))
        return [*arrived[:first], *released, *others]

    def commit(self, work: Callable[[], None]) -> list[Effect]:
        """Does the work in a transaction and returns the effects. Raises StoreFailed after undoing all of it."""
        before = self.state.remember()
        try:
            with self.state.store.transaction():
                self._decide(work)
        except StoreFailed:
            self.state.restore(before)
            self._stale = True
            raise
        # Not before the commit: if it fails, the log lines about repairs are undone, and the next turn repeats them.
        self.state.store.repairs.clear()
        return self.state.settle()

    def _decide(self, work: Callable[[], None]) -> None:
        self._begin()
        work()
        self.state.store_counts()

    def _begin(self) -> None:
        """Makes memory agree with the rows, and the jobs with the clock, before anything is decided."""
        state = self.state
        if self._degraded.backlog and self._degraded.is_starting:
            # The first turn (`recover`) follows the clock itself, from the last tick in the store on.
            self.refresh()
            return
        if state.clock_was_set:
            follow_clock(state)
        self.refresh()
        if state.status.hold is not None:
            end_hold(state)
            runs.replace_after_hold(state)
        for repair in state.store.repairs:
            state.log("warning", repair)
        if state.status.degraded:
            # Only a write shows whether the store can be written.
            state.remember_tick()
        if state.queue.number:
            # A run that waited for its next attempt was claimed earlier, so it comes before the runs claimed in this turn.
            state.queue.release_delayed(state.moment.boot)

    def take_step(self, step: Step, stored_before: int, ended: Set[RunKey]) -> None:
        """Handles one event by itself, or does everything that is due. See `_do_due_work`."""
        if isinstance(step, DueWork):
            _do_due_work(self.state, stored_before, ended)
        else:
            _HANDLERS[type(step)](self.state, step)

    def refresh(self) -> None:
        """Reads the mirrors of rows back after a failed commit."""
        if self._stale:
            self.state.read_back()
            self._stale = False

    def wake(self) -> Wake:
        """When the next turn is due if no event arrives."""
        self._wake = self._next_turn()
        return self._wake

    def _next_turn(self) -> Wake:
        """As `wake`. While the appliance stops or is degraded, only signals are due, and its end or the next try."""
        state = self.state
        degraded = self._degraded
        # Programs whose ends wait in the backlog get no signal, so their deadlines do not count.
        deadlines = degraded.deadlines() if degraded.backlog else _next_signals(state)
        retry_at = degraded.retry_at
        if retry_at is None:
            if state.stopped:
                # Nothing is due any more: the loop only waits for its devices.
                return Wake(None, None)
            if state.stopping:
                ends_at = stop_ends_at(state)
                return Wake(None, min(deadlines if ends_at is None else [*deadlines, ends_at], default=None))
            try:
                return Wake(_next_due(state), min(deadlines + _next_steps(state), default=None))
            except StoreFailed:
                retry_at = degraded.retry_soon()
        return Wake(None, min([retry_at, *deadlines]))


def _next_due(state: State) -> int | None:
    """When the next job or the next reminder is due, or the hold ends, in wall milliseconds."""
    if state.status.hold is not None:
        return state.status.hold.ends_ms
    until_ms = state.moment.wall + MOST_SLEPT_MS
    instants = state.store.jobs.next_due(state.unclaimable_jobs(), until_ms), state.remind_at
    return min((instant for instant in instants if instant is not None), default=None)


def _next_signals(state: State) -> list[int]:
    first = state.running.next_deadline() if state.running.deadlines else None
    return [] if first is None else [first]


def _next_steps(state: State) -> list[int]:
    """When a waiting run may start, and when old rows are to be looked at, in boot milliseconds."""
    steps = [state.wait_until, state.late_from, state.queue.next_attempt() if state.queue.number else None]
    boot_ms = state.moment.boot
    if _awaits_users(state):
        steps.append(state.users.next_step(boot_ms))
    if state.compared_incident is not None:
        steps.append(boot_ms + COMPARE_AGAIN_MS)
    pruning = state.pruning
    if pruning.is_behind or pruning.is_long or pruning.stored_results:
        steps.append(next_history_prune(pruning, state.configuration.history, state.live, boot_ms))
        steps.append(next_results_prune(pruning, boot_ms))
    if state.queue.number and state.queue.has_ready:
        if state.moment.boot < state.short_until:
            steps.append(state.short_until)
        elif has_place(state) and state.queue.has_ready_for(state.guests_fit):
            # A run could start and has not: the first turn of a daemon starts none. So the next turn follows at once.
            steps.append(state.moment.boot)
    return [step for step in steps if step is not None]


def _handle_all(state: State, events: Iterable[Event]) -> None:
    stored_before = state.pruning.stored_runs
    for event in events:
        _HANDLERS[type(event)](state, event)
    _do_due_work(state, stored_before)


def _do_due_work(state: State, stored_before: int, ended: Set[RunKey] = frozenset()) -> None:
    """Does the work that is due: claims jobs, starts waiting runs, sends signals, prunes.

    `stored_before`: the number of stored runs before this turn. `ended`: programs that have ended and get no signal.
    """
    if state.queue.number:
        # This is repeated after the events, since one of them may have delayed a run by zero milliseconds.
        state.queue.release_delayed(state.moment.boot)

    # Alerts
    if state.configuration.notify and state.troubles_in_incidents != state.status.troubles:
        follow_troubles(state)
    if state.late_from is not None and state.late_from <= state.moment.boot:
        note_late_runs(state, ended)
    if state.may_claim and state.remind_at is not None and state.remind_at <= state.moment.wall:
        remind(state)
    if state.compared_incident is not None:
        go_on_comparing(state)
    if state.alerted:
        limit_alerts(state)

    # Jobs and programs
    if state.may_claim:
        tick(state)
    # A job of the tick may have stopped or held the appliance.
    if state.queue.number and state.may_claim:
        runs.start_queued(state)
    if state.instant.places:
        state.instant.leave()
    if state.running.deadlines:
        send_signals(state, ended)

    # Clients that wait, and the stop
    if state.wait_until is not None:
        end_waits(state)
    if state.stopping:
        finish_stopping(state)

    # Old rows
    pruning = state.pruning
    if pruning.stored_runs > state.configuration.history or pruning.is_behind:
        state.prune_history(stored_before)
    if pruning.is_long:
        prune_long_runs(pruning, state.store.runs)
    if _has_old_results(state):
        prune_results(pruning, state.store.drops, state.moment)


def _awaits_users(state: State) -> bool:
    """Whether a question about a user has no answer yet, or an event or a job waits for one."""
    users = state.users
    return bool(users.asked or users.events or users.jobs)


def _has_old_results(state: State) -> bool:
    """Whether results of drops may be too many or too old."""
    pruning = state.pruning
    results = pruning.stored_results
    return results is None or results > pruning.keep.number or state.moment.boot >= pruning.results_due_ms


def tick(state: State) -> None:
    """Claims at most one batch of due jobs, in the order (next run, id).

    If more are due, the next turn follows at once.
    """
    now = state.moment.wall
    started = state.status.started.wall
    due = state.store.jobs.due(now, BATCH, state.unclaimable_jobs())
    if not due:
        return
    state.remember_tick()
    state.instant.begin(due)
    guarded = state.configuration.authorization is not None
    schedules = state.schedules
    last_hold = state.status.last_hold
    spent_before = state.spent
    for job in due:
        if job.number in state.handled or (guarded and defer_job_for_users(state, job)):
            continue
        decision = claim_single(state.configuration, job)
        if decision is None:
            try:
                schedule = schedules.of(job)
            except NoSchedule as reason:
                _leave_unclaimed(state, job, reason)
                continue
            catch_up = catch_up_of(state.configuration, job)
            decision = claim(job, schedule, now, started, catch_up, state.status.degraded, last_hold)
        claim_runs(state, job, decision)
        if not state.may_claim or state.is_tick_over:
            # The command of this job has stopped, held or paused the appliance.
            return
        if state.spent > spent_before + MOST_SPENT:
            # The commands of jobs have read enough for one turn, or enough alerts were made.
            return


def _leave_unclaimed(state: State, job: Job, reason: NoSchedule) -> None:
    """Keeps a due job as it is until other zone data or other stanza files arrive; then its due times are caught up."""
    state.unclaimable |= {job.number}
    state.log("error", f"job {job_id(state.store.node, job.number)} cannot run: {reason}")


def _nobody_watches(state: State, _event: NobodyWatches) -> None:
    """Stops collecting news. A client whose `watch` came just before would get no events, so it is disconnected."""
    state.watch(False)
    state.effects.append(EndWatches())


def _stop_requested(state: State, event: StopRequested) -> None:
    stop(state, event.reason, keeps=event.on_stop and state.configuration.on_stop == "keep")


def _audit_due(state: State, event: AuditDue) -> None:
    if event.log != state.status.log:
        state.status = replace(state.status, log=event.log)
    release_unclaimable(state)


def _follow_zones(state: State, event: ZonesChanged) -> None:
    """Takes other time zone data: for calendars, then for the local times of declared jobs."""
    zones_changed(state, event)
    follow_local_times(state)


# The events whose order a user can see.
_OF_USERS = (LineTyped, DropClaimed, ConnectionClosed, UserLookedUp)

_HANDLERS: dict[type, Callable[[State, Any], None]] = {
    Started: recover,
    LineTyped: line_typed,
    ConnectionClosed: connection_closed,
    DropClaimed: drop_claimed,
    DropPutBack: drop_put_back,
    SpoolSeen: spool_seen,
    ProgramStarted: runs.program_started,
    ProgramNotStarted: runs.program_not_started,
    OutputsChecked: outputs.outputs_checked,
    OutputEmptied: outputs.output_emptied,
    OutputFlooded: outputs.output_flooded,
    OutputUnreadable: outputs.output_unreadable,
    OutputRead: answer_parked,
    PreviewMade: answer_parked,
    ProgramEnded: runs.program_ended,
    ProgramOutput: outputs.output_kept,
    ProgramStopped: record_stop,
    FilesRead: files_read,
    WatchChanged: watch_changed,
    ReloadRequested: reload_requested,
    ZonesChanged: _follow_zones,
    StopRequested: _stop_requested,
    NobodyWatches: _nobody_watches,
    AuditDue: _audit_due,
}
