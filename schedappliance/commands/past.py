"""A run as the answers tell it: in a phrase for people, as data for programs."""

from __future__ import annotations

from typing import Any

from schedappliance.clock import iso
from schedappliance.commands.context import Context
from schedappliance.engine.records import job_id, run_id
from schedappliance.engine.states import RunState
from schedappliance.store.runs import PastRun

# Each is searched for among all that wait; of more, the first ones are.
WAITING_LOOKED_UP = 20


def time_text(milliseconds: int) -> str:
    return f"{milliseconds // 1000} ({iso(milliseconds)})"


def state_text(state: str, reason: str | None) -> str:
    return state.replace("_", " ") + (f": {reason}" if reason else "")


def outcome_text(context: Context, run: PastRun) -> str:
    """A run and what became of it."""
    return f"{run_id(context.store.node, run.key)} {state_text(run.state, run.reason)}"


def as_now(context: Context, runs: list[PastRun]) -> list[PastRun]:
    """The runs, those that wait with what they wait for now: which limit, and after how many others."""
    waiting = {run.key for run in [run for run in runs if run.state == RunState.QUEUED][-WAITING_LOOKED_UP:]}
    return [
        run._replace(reason=context.why_waits(run.key, run.reason or "")) if run.key in waiting else run for run in runs
    ]


def run_data(node: str, run: PastRun) -> dict[str, Any]:
    return {
        "run": run_id(node, run.key),
        "id": job_id(node, run.key.job),
        "name": run.name,
        "occurrence": run.key.occurrence,
        "due_ms": run.due_ms,
        "state": run.state,
        "reason": run.reason,
        "missed": run.missed_count,
        "missed_since_ms": run.missed_since_ms,
        "command": run.command,
        "user": run.user,
        "origin": run.origin,
        "attempts": run.attempts,
        "claimed_ms": run.claimed_ms,
        "ended_ms": run.ended_ms,
        "exit_status": run.exit_status,
        "exit_signal": run.exit_signal,
        "has_output": run.has_output,
        "on_failure_of": run_id(node, run.on_failure_of) if run.on_failure_of else None,
    }
