"""`sched output`: a part of the output of an attempt, even while its program runs.

Rule: the output of an attempt that has ended is in the store, or nowhere. Only that of a running attempt is in a file.
"""

from __future__ import annotations

from base64 import b64encode
from codecs import utf_8_decode
from typing import TYPE_CHECKING

from schedappliance.commands.lookup import find_past_run
from schedappliance.commands.outcome import AfterReading, Outcome
from schedappliance.commands.phrases import state_text
from schedappliance.commands.view import View
from schedappliance.diagnostics import counted
from schedappliance.engine.output_parts import PART_BYTES, OutputPart, cut_stored
from schedappliance.engine.records import AttemptKey, run_id
from schedappliance.engine.states import TRANSITIONS, RunState
from schedappliance.model.commands import Command, next_page
from schedappliance.model.listings import WantedOutput, read_wanted_output
from schedappliance.syntax.command import Word

if TYPE_CHECKING:
    from schedappliance.engine.events import OutputRead
    from schedappliance.store.history import PastRun
    from schedappliance.store.runs import Attempt


def show_output(view: View, command: Command, reading: OutputRead | None = None) -> Outcome:
    """Shows a part of an output. `reading`: what was read of a running attempt, None if nothing was read yet."""
    wanted = read_wanted_output([Word(word, 0, 0) for word in command.words])
    run = find_past_run(view, wanted.run)
    attempt = _attempt(view, run, wanted.attempt)
    if attempt is None:
        answer = (view.store.runs.answer(run.key) or "").encode()
        part = cut_stored(answer, len(answer), wanted.begin, PART_BYTES)
    elif attempt.state != RunState.STARTED:
        part = cut_stored(attempt.output or b"", attempt.output_bytes or 0, wanted.begin, PART_BYTES)
    elif reading is None or reading.key != attempt.key:
        return Outcome(pending=AfterReading(attempt.key, wanted.begin))
    elif isinstance(reading.part, str):
        name = run_id(view.store.node, run.key)
        raise view.reject("E515", f"the output of run {name} cannot be read: {reading.part}", "the program goes on")
    else:
        part = reading.part
    return _answer(view, command, wanted, run, attempt, part)


def _attempt(view: View, run: PastRun, number: int | None) -> Attempt | None:
    """The attempt with this number, or the last one. None if the run has no attempts. Raises Rejected."""
    if number is None:
        return next(iter(view.store.runs.attempts(run.key, 1)), None)
    attempt = view.store.runs.attempt(AttemptKey(run.key, number))
    if attempt is None:
        has = f"it has {counted(run.attempts, 'attempt')}"
        raise view.reject("E501", f"run {run_id(view.store.node, run.key)} has no attempt {number}", has)
    return attempt


def _answer(
    view: View, command: Command, wanted: WantedOutput, run: PastRun, attempt: Attempt | None, part: OutputPart
) -> Outcome:
    ended = run.state not in TRANSITIONS if attempt is None else attempt.state != RunState.STARTED
    # A character that is not complete is left to the next part.
    text, length = utf_8_decode(part.content, "replace", ended and part.next == part.size)
    part = part._replace(content=part.content[:length], next=part.next - len(part.content) + length)
    if wanted.as_base64:
        text = b64encode(part.content).decode()
    data = {
        "run": run_id(view.store.node, run.key),
        "attempt": attempt.key.attempt if attempt else None,
        "base64" if wanted.as_base64 else "text": text,
        "from": part.begin,
        "next": part.next,
        "size": part.size,
        "ended": ended,
        "truncated": part.lost > 0,
        "state": run.state,
        "attempts": run.attempts,
    }
    note = None if view.order.as_json else _note(view, command, run, attempt, part, ended)
    return Outcome(view.answer(text, data)._replace(note=note))


def _note(
    view: View, command: Command, run: PastRun, attempt: Attempt | None, part: OutputPart, ended: bool
) -> str | None:
    """What the output does not show; None if that is nothing."""
    name = run_id(view.store.node, run.key)
    facts = []
    if attempt is None and not part.size:
        facts.append(f"run {name} has no output: {state_text(run.state, run.reason)}")
    if part.begin:
        facts.append(f"{counted(part.begin, 'byte')} before")
    if part.lost:
        facts.append(f"{counted(part.lost, 'byte')} left out")
    if part.next < part.size:
        facts.append(f"{counted(part.size - part.next, 'byte')} after")
    if attempt is not None and not ended:
        facts.append(f"attempt {attempt.key.attempt} of run {name} still runs")
    if part.next < part.size or (attempt is not None and not ended):
        facts.append(f"continue with `{next_page(command, 'from', str(part.next))}`")
    return "; ".join(facts) or None
