"""Mistakes, put into the real engine, that the simulation must find within a few seeds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pytest import MonkeyPatch

from schedappliance.core import alert_limits, alerts, calendars, recovery
from schedappliance.core import runs as programs
from schedappliance.core import turn as core
from schedappliance.core.running import LiveRuns
from schedappliance.core.state import State
from schedappliance.core.turn import Core
from schedappliance.engine import attempts, boots, incidents, schedule
from schedappliance.engine.attempts import AttemptEnd, Cause, Ending, NotStarted, Running
from schedappliance.engine.boots import ThisBoot
from schedappliance.engine.effects import StartProgram
from schedappliance.engine.events import Event, ProgramEnded, Remains
from schedappliance.engine.incidents import Incident
from schedappliance.engine.metrics import CounterKey, Metrics
from schedappliance.engine.records import Job, User
from schedappliance.engine.schedule import Due, Schedules, what_is_due
from schedappliance.model.calendars.clock_changes import FIXED, ClockRule, Instants
from schedappliance.model.calendars.local_times import LocalTimes
from schedappliance.model.calendars.pieces import Zone
from schedappliance.model.configuration import Program
from schedappliance.model.schedules import Every, Schedule
from schedappliance.store import runs
from schedappliance.store.incidents import Incidents
from schedappliance.store.jobs import Jobs
from schedappliance.store.queries import queries
from tests.simulation.machine import Machine


def claim_and_advance_in_two_transactions(patch: MonkeyPatch) -> None:
    tick, advance, ticking = core.tick, Jobs.advance, [False]

    def ticks(state: State) -> None:
        ticking[0] = True
        try:
            tick(state)
        finally:
            ticking[0] = False

    def advances(jobs: Jobs, number: int, occurrence: int, next_run_ms: int | None) -> None:
        advance(jobs, number, occurrence, next_run_ms)
        if ticking[0]:
            jobs._database.execute("COMMIT")
            jobs._database.execute("BEGIN IMMEDIATE")

    patch.setattr(core, "tick", ticks)
    patch.setattr(Jobs, "advance", advances)


def start_before_commit(patch: MonkeyPatch) -> None:
    launch, turn, machines = programs._launch, Machine._turn, list[Machine]()

    def turns(machine: Machine, events: list[Event]) -> None:
        machines[:] = [machine]
        turn(machine, events)

    def launches(state: State, program: Program, start: StartProgram, user: User, waited_ms: int | None) -> None:
        launch(state, program, start, user, waited_ms)
        effect = state.effects.pop()
        machines[0].perform(machines[0].view([state.configuration]), effect)

    patch.setattr(Machine, "_turn", turns)
    patch.setattr(programs, "_launch", launches)


def next_is_now_and_a_period(patch: MonkeyPatch) -> None:
    def drifts(every: Schedule, next_run_ms: int, now_ms: int) -> Due:
        due = what_is_due(every, next_run_ms, now_ms)
        return due._replace(next_ms=now_ms + every.interval_ms) if isinstance(every, Every) else due

    patch.setattr(schedule, "what_is_due", drifts)


def an_exit_is_applied_twice(patch: MonkeyPatch) -> None:
    """Removes the engine's own guard against illegal moves, which would find the mistake at once."""
    ended = programs.program_ended

    def twice(state: State, event: ProgramEnded) -> None:
        running = state.running.get(event.key.run)
        ended(state, event)
        if running is not None and running.key == event.key:
            state.running[event.key.run] = running
            ended(state, event)

    def any_move(_old: Any, new: Any) -> Any:
        return new

    patch.setitem(core._HANDLERS, ProgramEnded, twice)
    patch.setattr(runs, "move", any_move)


def survivors_are_ignored(patch: MonkeyPatch) -> None:
    recover = recovery._recover_runs
    patch.setattr(recovery, "_recover_runs", lambda state, remains: recover(state, Remains({}, remains.outputs)))


def _prune_otherwise(patch: MonkeyPatch, right: str, wrong: str) -> None:
    statements = queries(runs.Runs.file)
    for name in ("oldest_ended", "oldest_ended_of_user"):
        assert right in statements[name]
        patch.setitem(statements, name, statements[name].replace(right, wrong))


def the_newest_are_pruned(patch: MonkeyPatch) -> None:
    _prune_otherwise(patch, "ORDER BY r.sequence", "ORDER BY r.sequence DESC")


def a_replaced_run_is_tried_again(patch: MonkeyPatch) -> None:
    """Retries a replaced run if its last attempt did not start or was being ended by its timeout."""
    conclude = attempts.conclude

    def judges(running: Running, cause: Cause, *rest: Any) -> AttemptEnd:
        forgets = isinstance(cause, NotStarted) or running.term_at is not None
        return conclude(replace(running, ending=None) if forgets else running, cause, *rest)

    patch.setattr(programs, "conclude", judges)


def the_next_daemon_forgets_a_stop(patch: MonkeyPatch) -> None:
    patch.setattr(recovery, "_ending", lambda attempt, _why: Ending.REPLACED if attempt.replaced else None)


def no_failure_is_counted(patch: MonkeyPatch) -> None:
    patch.setattr(runs.Runs, "failures", lambda _runs, _key: 0)


def programs_start_without_outputs(patch: MonkeyPatch) -> None:
    patch.setattr(State, "is_short", property(lambda state: state.moment.boot < state.short_until))


def due_jobs_run_while_held(patch: MonkeyPatch) -> None:
    patch.setattr(State, "may_claim", property(lambda state: not state.stopping))


def a_hold_outlasts_its_planned_end(patch: MonkeyPatch) -> None:
    patch.setattr(core, "end_hold", lambda _state: None)


def a_failed_look_up_counts_as_an_attempt(patch: MonkeyPatch) -> None:
    conclude = attempts.conclude

    def judges(running: Running, cause: Cause, *rest: Any) -> AttemptEnd:
        end = conclude(running, cause, *rest)
        return replace(end, began=True) if isinstance(cause, NotStarted) and cause.is_alone else end

    patch.setattr(programs, "conclude", judges)


def a_hidden_boot_is_another_boot(patch: MonkeyPatch) -> None:
    """Programs that outlived the daemon are forgotten."""
    includes = ThisBoot.includes
    patch.setattr(ThisBoot, "includes", lambda boot, name: includes(boot, name) is True)


def a_hidden_boot_is_this_boot(patch: MonkeyPatch) -> None:
    """The pid of a process of another boot is trusted."""
    includes = ThisBoot.includes
    patch.setattr(ThisBoot, "includes", lambda boot, name: includes(boot, name) is not False)


def a_start_in_a_hidden_boot_is_a_boot(patch: MonkeyPatch) -> None:
    """Jobs of `at = boot` run again at each start."""
    patch.setattr(boots, "_may_be_one_boot", lambda _last, _now: False)


def a_failed_commit_is_counted(patch: MonkeyPatch) -> None:
    """What a turn that is undone has counted stays, and the next commit stores it."""
    restore = State.restore

    def forgetful(state: State, before: Any) -> None:
        counted = state.counted
        restore(state, before)
        state.counted = counted

    patch.setattr(State, "restore", forgetful)


def a_counter_is_stored_after_its_commit(patch: MonkeyPatch) -> None:
    """A crash between the two commits loses it."""
    late: dict[CounterKey, int] = {}
    store_counts = State.store_counts

    def store_later(state: State) -> None:
        counted, earlier = state.counted, late.copy()
        late.clear()
        late.update(counted)
        state.counted = earlier
        store_counts(state)
        state.counted = counted

    patch.setattr(State, "store_counts", store_later)


def a_look_ahead_does_not_wait_for_its_due_time(patch: MonkeyPatch) -> None:
    def wait(core: Core, sleep_until: Callable[[int], object]) -> None:
        sleep_until(core.state.moment.wall)

    patch.setattr(Core, "_wait_for_moment", wait)


def an_abandoned_look_ahead_stays_in_memory(patch: MonkeyPatch) -> None:
    patch.setattr(LiveRuns, "undo", lambda _live, _down_to: None)


def metrics_keep_an_end_that_is_undone(patch: MonkeyPatch) -> None:
    patch.setattr(
        State, "_undoables", property(lambda one: (one.running, one.parked, one.awaited, one.live, one.queue))
    )


def metrics_keep_the_due_times_of_jobs_that_moved(patch: MonkeyPatch) -> None:
    patch.setattr(Jobs, "_note_rewrite", lambda _jobs: None)


def metrics_keep_the_due_time_of_an_advanced_job(patch: MonkeyPatch) -> None:
    patch.setattr(Metrics, "note_due", lambda _metrics, _job, _next_run_ms: None)


MUTANTS: tuple[Callable[[MonkeyPatch], None], ...] = (
    claim_and_advance_in_two_transactions,
    start_before_commit,
    next_is_now_and_a_period,
    an_exit_is_applied_twice,
    survivors_are_ignored,
    the_newest_are_pruned,
    a_replaced_run_is_tried_again,
    the_next_daemon_forgets_a_stop,
    no_failure_is_counted,
    programs_start_without_outputs,
    due_jobs_run_while_held,
    a_hold_outlasts_its_planned_end,
    a_failed_look_up_counts_as_an_attempt,
    a_hidden_boot_is_another_boot,
    a_hidden_boot_is_this_boot,
    a_start_in_a_hidden_boot_is_a_boot,
    a_failed_commit_is_counted,
    a_counter_is_stored_after_its_commit,
    a_look_ahead_does_not_wait_for_its_due_time,
    an_abandoned_look_ahead_stays_in_memory,
    metrics_keep_an_end_that_is_undone,
    metrics_keep_the_due_times_of_jobs_that_moved,
    metrics_keep_the_due_time_of_an_advanced_job,
)


def an_incident_forgets_that_it_was_told(patch: MonkeyPatch) -> None:
    put = Incidents.put
    patch.setattr(Incidents, "put", lambda table, one: put(table, one._replace(told_ms=None, delivery=None)))


def an_alert_that_was_not_started_is_lost(patch: MonkeyPatch) -> None:
    patch.setattr(programs, "PERHAPS_NOT_STARTED", "another reason")


def memory_decides_what_was_told(patch: MonkeyPatch) -> None:
    """A commit that fails does not undo it."""
    with_event, runs_told = incidents.with_event, set[object]()

    def forgetful(before: Incident | None, *rest: Any) -> tuple[Incident, bool]:
        incident, is_told = with_event(before, *rest)
        is_known = is_told and rest[-1] in runs_told
        runs_told.update([rest[-1]] if is_told else [])
        return incident, is_told and not is_known

    patch.setattr(alerts, "with_event", forgetful)


def a_late_run_is_not_remembered(patch: MonkeyPatch) -> None:
    patch.setattr(Incidents, "note_late", lambda _table, _run, _notify: None)


def an_event_that_stands_for_others_counts_as_one(patch: MonkeyPatch) -> None:
    patch.setattr(alert_limits, "MOST_WAITING", 1)
    left_out = incidents.left_out
    patch.setattr(alert_limits, "left_out", lambda events, *rest: left_out(events, *rest) | {"count": len(events)})


# Histories with alerts find these.
ALERT_MUTANTS: tuple[Callable[[MonkeyPatch], None], ...] = (
    an_incident_forgets_that_it_was_told,
    an_alert_that_was_not_started_is_lost,
    memory_decides_what_was_told,
    a_late_run_is_not_remembered,
    an_event_that_stands_for_others_counts_as_one,
)


def _change_fixed_times(patch: MonkeyPatch, rule: ClockRule) -> None:
    """Gives another rule for clock changes to the expressions with fixed times."""
    make = Instants.__init__

    def makes(instants: Instants, zone: Zone, times: LocalTimes, own: ClockRule) -> None:
        make(instants, zone, times, rule if own == FIXED else own)

    patch.setattr(Instants, "__init__", makes)


def a_repeated_time_runs_twice(patch: MonkeyPatch) -> None:
    _change_fixed_times(patch, ClockRule("run", "both"))


def a_skipped_time_is_dropped(patch: MonkeyPatch) -> None:
    _change_fixed_times(patch, ClockRule("omit", "first"))


def other_zone_data_forgets_what_is_overdue(patch: MonkeyPatch) -> None:
    follow = calendars._move

    def moves(state: State, moved: Callable[[Job, Schedules], int | None]) -> list[calendars.MovedJob]:
        def forgets(job: Job, schedules: Schedules) -> int | None:
            now = state.moment.wall
            return schedules.of(job).next_after(now) if (job.next_run_ms or now) <= now else moved(job, schedules)

        return follow(state, forgets)

    patch.setattr(calendars, "_move", moves)


# Histories with calendars find these.
CALENDAR_MUTANTS: tuple[Callable[[MonkeyPatch], None], ...] = (
    a_repeated_time_runs_twice,
    a_skipped_time_is_dropped,
    other_zone_data_forgets_what_is_overdue,
)
