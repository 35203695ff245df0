"""The first turn: adopts or records the runs that the last daemon left, then applies the stanza files.

Rule: everything happens in one transaction, before the first tick.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from schedappliance.commands.phrases import hold_text, nothing_starts
from schedappliance.commands.view import ReloadResult
from schedappliance.core.alerts import expect_late_end, reload_ended
from schedappliance.core.calendars import follow_zones_since_last_start, prepare_calendars, read_zones
from schedappliance.core.clock import end_hold, follow_clock_since_last_tick
from schedappliance.core.orders import follow_declared
from schedappliance.core.queue import WaitingRuns
from schedappliance.core.reload import discard_outdated_overrides
from schedappliance.core.runs import count_end, finish_attempt, replace_after_hold
from schedappliance.core.stopping import terminate
from schedappliance.core.unseen import keep_unseen
from schedappliance.engine.attempts import Ending, Lost, NotStarted, Running, policy_of
from schedappliance.engine.effects import DiscardOutput
from schedappliance.engine.events import Remains, Started
from schedappliance.engine.reasons import PERHAPS_NOT_STARTED, WHILE_RUNNING
from schedappliance.engine.records import ProcessKey
from schedappliance.engine.states import RunState
from schedappliance.store.runs import Attempt

if TYPE_CHECKING:
    from schedappliance.core.state import State


def recover(state: State, event: Started) -> None:
    """Makes memory, store and stanza files agree."""
    follow_clock_since_last_tick(state)
    state.steady = state.moment
    # A first try that failed has left its queue behind, and `read_back` would keep the instants of that queue.
    state.queue = WaitingRuns()
    state.read_back()
    end_hold(state)
    state.pruning.count_runs(state.store.runs)
    state.remember_tick()
    _read_counters(state)
    for key, value in event.remains.settings.items():
        state.store.settings.set_meta(key, value)
    _recover_runs(state, event.remains)
    replace_after_hold(state)
    # The delayed runs were claimed earlier than those that changed files cause now, so they come first.
    state.queue.release_delayed(state.moment.boot)
    discard_outdated_overrides(state)
    follow_zones_since_last_start(state)
    changes = follow_declared(state, None, is_new_boot=not state.boot.has_ticked)
    prepare_calendars(state)
    read_zones(state, state.configuration.jobs.values())
    last = state.store.settings.last_generation()
    generation = last.number if last else 0
    if last is None or last.digest != event.digest:
        generation = state.store.settings.add_generation(event.digest, state.moment.wall, event.texts)
    state.status = replace(state.status, digest=event.digest, last_reload=ReloadResult(state.moment.wall, "accepted"))
    if state.status.last_good is None:
        # Otherwise files that are restored to the contents in the store end the degraded state.
        state.attempted_digest = event.digest
        reload_ended(state, None)
    if hold := state.status.hold:
        state.log("warning", f"the appliance is held {hold_text(hold, state.zone)}; {nothing_starts(hold)}")
    state.log("info", f"configuration {generation} is active; {changes}")


def _read_counters(state: State) -> None:
    """Reads the counters of `metrics`, and removes those of programs and `notify` stanzas that are not declared any more."""
    rows = state.store.counters.all()
    configuration = state.configuration
    declared = {"attempts_total": configuration.programs.keys(), "alerts_total": configuration.notify.keys()}
    for key in list(rows):
        name, labels = key
        if name in declared and labels[0] not in declared[name]:
            state.store.counters.delete(key)
            del rows[key]
    state.metrics.counters = Counter({**state.metrics.counters, **rows})


def _recover_runs(state: State, remains: Remains) -> None:
    """Adopts each attempt whose process still runs, and records the end of the others.

    Then ends the runs without an attempt.
    """
    for attempt in state.store.runs.live_attempts():
        survivor = remains.survivors.get(attempt.key)
        if survivor is not None or attempt.key in remains.unseen:
            _adopt(state, attempt, survivor, remains.endings.get(attempt.key))
            continue
        output, output_bytes = remains.outputs.get(attempt.key, (b"", 0))
        reason = WHILE_RUNNING if attempt.process or output_bytes else PERHAPS_NOT_STARTED
        if output_bytes:
            state.store.runs.add_output(attempt.key, output, output_bytes)
        ending = _ending(attempt, remains.endings.get(attempt.key))
        cause = remains.causes.get(attempt.key, Lost(reason))
        finish_attempt(state, replace(_running(state, attempt), ending=ending), cause)
        if not (isinstance(cause, NotStarted) and cause.is_alone):
            # An attempt that was never requested has left nothing, and the next attempt has the same key.
            state.effects.append(DiscardOutput(attempt.key))
    for run in state.store.runs.live():
        if run.state is RunState.STARTED and run.key not in state.running:
            state.store.runs.end(run.key, RunState.INTERRUPTED, WHILE_RUNNING, state.moment.wall)
            state.note_end(run.key, RunState.INTERRUPTED)
            count_end(state, run.key, RunState.INTERRUPTED)
            state.log("warning", f"run {state.named(run.key)} interrupted: {WHILE_RUNNING}")


def _running(state: State, attempt: Attempt) -> Running:
    """The attempt as the last daemon knew it."""
    policy = attempt.policy or policy_of(state.configuration.programs.get(attempt.program))
    started_at = attempt.started_boot_ms
    if state.boot.includes(attempt.boot_id) is False or started_at > state.moment.boot:
        # Times of another boot cannot be compared.
        started_at = state.moment.boot - max(0, state.moment.wall - attempt.started_ms)
    return Running(
        attempt.key,
        attempt.program,
        policy.kill_after_ms,
        None if policy.timeout_ms is None else attempt.started_boot_ms + policy.timeout_ms,
        success=policy.success,
        stopped_by=attempt.stopped_by,
        is_last=attempt.is_last,
        started_at=started_at,
        guest=state.guest(state.store.runs.next_start(attempt.key.run).user),
    )


def _ending(attempt: Attempt, why: str | None) -> Ending | None:
    """Why the program was being ended, None if it was not. `why`: what the keeper knows.

    The rows come first: only they say whether the run was stopped or replaced.
    """
    if attempt.stopped_by is not None:
        return Ending.CANCELLED
    if attempt.replaced:
        return Ending.REPLACED
    return Ending(why) if why is not None else None


def _adopt(state: State, attempt: Attempt, survivor: ProcessKey | None, why: str | None) -> None:
    """Counts a survivor as running, so that overlap, limits and timeout apply to it. None: its process cannot be seen.

    One that was being ended gets TERM again.
    """
    running = _running(state, attempt)
    if survivor is None:
        running = keep_unseen(state, running)
    else:
        state.running[attempt.key.run] = running
        state.store.runs.set_pid(attempt.key, survivor, survivor.namespace or state.boot.namespace)
        state.log("info", f"run {state.named(attempt.key.run)} continues: its process {survivor.pid} was adopted")
    if state.configuration.notify:
        expect_late_end(state, running)
    if ending := _ending(attempt, why):
        terminate(state, running, ending)
