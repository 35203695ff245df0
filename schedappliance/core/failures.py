"""`on_failure`: the failure of a run is answered by a job, added in the transaction that records the end, due at once.

Law: what answers a failure is marked with it, and so is all that it starts or schedules; the failure of what is marked
is not answered.
"""

from __future__ import annotations

from schedappliance.core.state import State
from schedappliance.engine import failures
from schedappliance.engine.records import CONFIG_USER, NewJob, RunKey, job_id
from schedappliance.engine.states import FAILURES, RunState


def answer_failure(state: State, key: RunKey, program: str, how: RunState) -> None:
    """Adds the job of `on_failure` when a run of the program has failed for good."""
    declared = state.configuration.programs.get(program)
    if how not in FAILURES or declared is None or declared.on_failure is None:
        return
    if state.store.runs.on_failure_of(key) is not None:
        return
    now, command = state.moment.wall, declared.on_failure.command
    number = state.store.jobs.add(NewJob("run", now, None, command, CONFIG_USER, "stanza", on_failure_of=key), now)
    state.log("info", f"on failure of run {state.named(key)}: job {job_id(state.store.node, number)}: {command.text}")


def failed_environment(state: State, failed: RunKey | None) -> tuple[tuple[str, str], ...]:
    """What a program finds that answers a failure; nothing for all others."""
    ended = state.store.runs.ended(failed) if failed is not None else None
    return failures.environment(state.store.node, ended) if ended is not None else ()
