"""`run [--wait] PROGRAM [ARGS...]` makes a one-time job that is due now; `sched stop` and `sched wait` act on its run.

Rule: when a job whose command is `run` is due, the run of that job starts the program; no second job is made.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from schedappliance.commands.lookup import find_past_run
from schedappliance.commands.outcome import AfterRun, Outcome
from schedappliance.commands.phrases import state_text
from schedappliance.commands.view import Order, View, check_room
from schedappliance.engine.effects import Answer
from schedappliance.engine.records import NewJob, RunKey, run_id
from schedappliance.engine.states import TRANSITIONS, RunState
from schedappliance.model.commands import Command
from schedappliance.model.values import positive_duration

if TYPE_CHECKING:
    from schedappliance.store.tables import Store


def run_program(view: View, command: Command) -> Outcome:
    check_room(view)
    now, mark = view.moment.wall, view.order.on_failure_of
    # While the appliance is held, no due job is claimed, but this run must be known: one can wait for it, and stop it.
    is_claimed = view.status.hold is not None
    due = None if is_claimed else now
    job = NewJob("run", due, None, command, view.order.user, view.order.origin, on_failure_of=mark)
    key = RunKey(view.store.jobs.add(job, now), 1)
    if is_claimed:
        return Outcome(claim=key)
    text = run_id(view.store.node, key)
    return Outcome(view.answer(text, {"run": text}))


def run_and_wait(view: View, command: Command) -> Outcome:
    """Makes the job and claims its run in one transaction, so that no other command comes between them."""
    assert command.inner is not None, "`run --wait` contains the run"
    check_room(view)
    job = NewJob("run", None, None, command.inner, view.order.user, view.order.origin)
    number = view.store.jobs.add(job, view.moment.wall)
    key = RunKey(number, 1)
    return Outcome(claim=key, pending=AfterRun(key))


def stop(view: View, command: Command) -> Outcome:
    """Stops a run: the outcome cancels it if it waits, or ends its program."""
    run = find_past_run(view, command.words[0])
    name = run_id(view.store.node, run.key)
    if run.state not in TRANSITIONS:
        raise view.reject(
            "E501", f"run {name} has ended: {state_text(run.state, run.reason)}", "nothing is left to stop"
        )
    if run.state == RunState.QUEUED:
        return Outcome(
            view.answer(f"{name}: cancelled", {"run": name, "state": "cancelled", "stored": True}), stops_run=run.key
        )
    if run.program is None:
        raise view.reject("E501", f"run {name} has no program that could be stopped", "wait until its command is done")
    text, is_stored = f"{name}: its program is being ended", view.ask.can_store()
    if not is_stored:
        text += "; the store cannot be written, so a start before that may try the run again"
    return Outcome(view.answer(text, {"run": name, "state": "started", "stored": is_stored}), stops_run=run.key)


def wait(view: View, command: Command) -> Outcome:
    """Waits for a run. The answer to a run that has ended comes at once."""
    text, *limits = command.words
    run = find_past_run(view, text)
    if run.state not in TRANSITIONS:
        return Outcome(outcome(view.store, run.key, view.order))
    timeout_ms = positive_duration(limits[0]) if limits else None
    return Outcome(pending=AfterRun(run.key, timeout_ms))


def outcome(store: Store, key: RunKey, order: Order) -> Answer:
    """The answer after a run has ended: its exit status, why it did not succeed, and for `run --wait` its output."""
    is_wait = order.command.bare.form == "sched_wait"
    run = store.runs.ended(key, with_output=not is_wait)
    assert run is not None, key
    name, status = run_id(store.node, key), run.exit.shell_status
    error = None
    if run.state is not RunState.SUCCEEDED:
        error = f"run {name} {run.state.replace('_', ' ')}: {run.reason}"
    data = {"run": name, "state": run.state, "reason": run.reason, "exit_status": status}
    if is_wait:
        output = "" if error else f"{name} succeeded\n"
    else:
        output = data["output"] = run.output.decode(errors="replace")
    if order.as_json:
        return Answer(json.dumps(data, ensure_ascii=False), error, is_json=True, exit_status=status)
    return Answer(output, error, exit_status=status)
