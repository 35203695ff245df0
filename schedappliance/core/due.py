"""The tick: due jobs in the order (next run, id), each claimed in the transaction that advances it."""

from __future__ import annotations

from schedappliance.core.authorization import job_must_wait
from schedappliance.core.clock import remember_tick
from schedappliance.core.orders import claim_runs
from schedappliance.core.state import State
from schedappliance.engine.claims import CatchUp, claim

# Jobs claimed in one transaction: enough to share the cost of a commit, few enough that the console is not kept waiting.
BATCH = 1000


def tick(state: State) -> None:
    """Claims what is due, at most one batch; the loop comes back at once when more is due."""
    now, started = state.moment.wall, state.status.started.wall
    catch_up = CatchUp(state.configuration.catch_up, state.configuration.catch_up_within_ms)
    due = state.store.jobs.due(now, BATCH, state.users.held_jobs())
    if due:
        remember_tick(state)
    guarded = state.configuration.authorization is not None
    for job in due:
        if job.number in state.removed or (guarded and job_must_wait(state, job)):
            continue
        claim_runs(state, job, claim(job, now, started, catch_up, state.status.degraded))
        if state.stopping:
            return
