"""Drops: the files of commands that the spool delivers.

Rule: every line is checked before the first one is carried out, and a drop takes effect as a whole or not at all. Its
mark and its result are stored in the same transaction.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from schedappliance.commands.view import Order
from schedappliance.core.audit import audit, rejection_level, share_of_accepted, share_of_rejected, who_gave
from schedappliance.core.authorization import defer_for_users, denial, rejection_of_stranger, user_now
from schedappliance.core.orders import COSTLY_BYTES, carry_out, stored_output
from schedappliance.diagnostics import Diagnostic, Source, Span, as_data, command_diagnostic, has_errors
from schedappliance.engine.effects import Answer, LogMessage, PublishResult, rejection
from schedappliance.engine.events import DropClaimed, DropPutBack, SpoolSeen
from schedappliance.model.command_file import MAX_COSTLY, SPLIT_COSTLY
from schedappliance.model.references import command_mistakes
from schedappliance.store.database import storable

if TYPE_CHECKING:
    from schedappliance.core.state import State

# The store keeps every result. A command that answers more than this belongs at the console.
MAX_RESULT_BYTES = 1024 * 1024
# Answers of this size are not counted: an id, or the value that the line sets. So a drop of any permitted size may consist
# of lines that schedule jobs or set global options.
UNCOUNTED_BYTES = 512
# At most this many mistakes of a drop get a suggestion, since the deciding thread searches for it.
MOST_SUGGESTIONS = 2
# A file of 20,000 lines can have as many mistakes; a result that listed all of them would be larger than the file.
MOST_DIAGNOSTICS = 500


class _Rejected(Exception):
    def __init__(self, diagnostics: list[Diagnostic]) -> None:
        super().__init__()
        self.diagnostics = diagnostics


def drop_claimed(state: State, event: DropClaimed) -> None:
    """Carries out a drop. A drop that was carried out before a crash is answered again, and never repeated.

    While the appliance stops, a claimed file stays in work/; the next start carries it out.
    """
    if state.stopping or _answer_again(state, event):
        return
    if defer_for_users(state, event, *(line.command for line in event.lines)):
        return
    event = replace(event, user=user_now(state, event.user))
    mistakes = _stranger(state, event) or [
        *event.mistakes,
        *(_unauthorized_lines(state, event) or _wrong_references(state, event)),
    ]
    outputs: list[dict[str, Any]] = []
    if not has_errors(mistakes):
        before = state.remember()
        try:
            with state.store.savepoint():
                outputs = _carry_out_lines(state, event)
        except _Rejected as rejected:
            state.restore(before)
            mistakes = rejected.diagnostics
    _answer(state, event, outputs, mistakes)


def _answer_again(state: State, event: DropClaimed) -> bool:
    """Answers a drop that was carried out already, or whose token was. Returns False for any other drop."""
    if done := state.store.drops.get(event.mark):
        state.effects.append(PublishResult(event.mark, done.name, done.accepted, done.result))
        return True
    if event.token is not None and (first := state.store.drops.by_token(event.user, event.token)):
        result = {**json.loads(first.result), "file": event.name, "repeats": first.name}
        _record(state, event, True, _result_text(result), f"repeats {first.name}")
        return True
    return False


def drop_put_back(state: State, event: DropPutBack) -> None:
    """Answers a `spool retry` after the edge has put the failed file back."""
    parked = state.parked.pop(event.reply_to, None)
    if parked is None or parked.order.reply_to is None:
        return
    order = parked.order
    if event.problem is None:
        text = f"{event.name} is retried"
        data = json.dumps({"file": event.name, "retried": True}, ensure_ascii=False)
        answer = Answer(data, is_json=True) if order.as_json else Answer(text)
    else:
        message = f"{event.name} cannot be retried: {event.problem}"
        answer = rejection([command_diagnostic("E513", message, "drop it again", order.text)])
    audit(state, order.user, order.source, order.text, answer, order.by)
    state.reply(order, answer, order.as_json)


def spool_seen(state: State, event: SpoolSeen) -> None:
    state.status = replace(state.status, spool=event.waiting, without_spool=event.problem)


def reject_drop(state: State, event: DropClaimed, why: str) -> None:
    """Rejects a drop whose rows can never be stored."""
    remedy = "drop fewer commands at once"
    _answer(state, event, [], [Diagnostic("E504", f"the drop cannot be stored: {why}", remedy, event.source)])


def _answer(state: State, event: DropClaimed, outputs: list[dict[str, Any]], mistakes: list[Diagnostic]) -> None:
    accepted = not has_errors(mistakes)
    result = _result(event, accepted, outputs if accepted else [], mistakes)
    outcome = "done" if accepted else f"rejected: {next(d for d in mistakes if d.is_error).brief()}"
    # A rejected drop did nothing, so the same token may come again.
    _record(state, event, accepted, result, outcome, event.token if accepted else None)


def _record(
    state: State, event: DropClaimed, accepted: bool, result: str, outcome: str, token: str | None = None
) -> None:
    """Stores the mark and the result of a drop, logs its outcome, and publishes the result."""
    state.store.drops.add(event.mark, event.name, event.user, state.moment.wall, accepted, result, token)
    if state.pruning.stored_results is not None:
        state.pruning.stored_results += 1
    state.statistics.drops += 1
    state.count("drops_total", "accepted" if accepted else "rejected")
    who = who_gave(event.user)
    text = f"{who} origin=spool file={event.name!r} {outcome}"
    if accepted:
        state.effects.append(LogMessage("info", text, share=share_of_accepted(state, event.user, who)))
    else:
        state.effects.append(LogMessage(rejection_level(state), text, share=share_of_rejected(who)))
    state.effects.append(PublishResult(event.mark, event.name, accepted, result))
    state.tell("drop", mark=event.mark, file=event.name, user=event.user.name, accepted=accepted)


def _stranger(state: State, event: DropClaimed) -> list[Diagnostic]:
    """The diagnostic for a user without any role. It is the only one, so the user learns nothing about the file."""
    answer = rejection_of_stranger(state, event.user, "")
    return _in_file(event, answer, None) if answer else []


def _unauthorized_lines(state: State, event: DropClaimed) -> list[Diagnostic]:
    """The diagnostics of lines that the user's roles do not allow. Other diagnostics would reveal what is declared."""
    mistakes: list[Diagnostic] = []
    for line in event.lines:
        if answer := denial(state, event.user, line.command, line.command.text):
            mistakes += _in_file(event, answer, line.span)
    return mistakes


def _in_file(event: DropClaimed, answer: Answer, span: Span | None) -> list[Diagnostic]:
    """The diagnostics of a rejected command, at its place in the drop."""
    return [replace(mistake, source=event.source, span=span) for mistake in answer.diagnostics]


def _wrong_references(state: State, event: DropClaimed) -> Iterator[Diagnostic]:
    number = 0
    for line in event.lines:
        source = Source.of_command(line.text)
        for mistake in command_mistakes(line.tree, source, state.configuration, number < MOST_SUGGESTIONS):
            number += 1
            yield mistake.moved(event.source, line.place)


def _carry_out_lines(state: State, event: DropClaimed) -> list[dict[str, Any]]:
    outputs: list[dict[str, Any]] = []
    size, spent_before = 0, state.spent
    for line in event.lines:
        order = Order(event.user, "spool", line.command.text, line.command, event.arrived_ms)
        answer = carry_out(state, order)
        assert answer is not None, "no command of a drop waits for an event"
        if answer.diagnostics:
            raise _Rejected(_in_file(event, answer, line.span))
        text = _answer_text(answer)
        outputs.append(_line_result(event.source.position(line.offset)[0], answer, text))
        size += max(0, len(text) - 2 * len(line.text) - UNCOUNTED_BYTES)
        if state.spent > spent_before + MAX_COSTLY * COSTLY_BYTES:
            message = "the jobs that the file runs list or explain too much"
            raise _Rejected([Diagnostic("E108", message, SPLIT_COSTLY, event.source, line.span)])
        if size > MAX_RESULT_BYTES:
            remedy = f"long answers may have {MAX_RESULT_BYTES:,} bytes together; give such commands at the console"
            raise _Rejected([Diagnostic("E108", "the answers are too large", remedy, event.source, line.span)])
    return outputs


def _answer_text(answer: Answer) -> str:
    """Text may be shortened; data may not, since a part of JSON is not JSON."""
    if not answer.is_json:
        return stored_output(answer)
    return answer.output if isinstance(answer.output, str) else "".join(answer.output)


def _line_result(line: int, answer: Answer, text: str) -> dict[str, Any]:
    """The answer to a line of the file. The command is not repeated: its author has it.

    An `error` is the failure of a run that the line claimed; it does not undo the drop.
    """
    error = {} if answer.error is None else {"error": answer.error}
    return {"line": line, **({"data": json.loads(text)} if answer.is_json else {"output": text}), **error}


def _result(event: DropClaimed, accepted: bool, outputs: list[dict[str, Any]], mistakes: list[Diagnostic]) -> str:
    result = {
        "file": event.name,
        "accepted": accepted,
        "user": event.user.name,
        "results": outputs,
        **_diagnostics(mistakes),
    }
    return _result_text(result)


def _diagnostics(mistakes: list[Diagnostic]) -> dict[str, Any]:
    """The diagnostics as data. If there are too many, the errors come first, and the rest is counted.

    The lines of the file are not part of them: in a shared spool, other members of the group may be able to read the result,
    but not the file.
    """
    more = len(mistakes) - MOST_DIAGNOSTICS
    if more <= 0:
        return {"diagnostics": as_data(mistakes)}
    first = sorted(mistakes, key=lambda mistake: not mistake.is_error)[:MOST_DIAGNOSTICS]
    return {"diagnostics": as_data(first), "more_diagnostics": more}


_ENCODER = json.JSONEncoder(ensure_ascii=False)


def _result_text(result: dict[str, Any]) -> str:
    return f"{storable(_laid_out(result))}\n"


def _laid_out(value: Any, margin: str = "\n") -> str:
    """The same text as `json.dumps(value, indent=2)`.

    With an indent, `json.dumps` runs in Python and took longer than the rest of a small drop.
    """
    inner = f"{margin}  "
    if isinstance(value, dict) and value:
        members = (f"{inner}{_ENCODER.encode(name)}: {_laid_out(member, inner)}" for name, member in value.items())
        return f"{{{','.join(members)}{margin}}}"
    if isinstance(value, list) and value:
        return f"[{','.join(f'{inner}{_laid_out(member, inner)}' for member in value)}{margin}]"
    return _ENCODER.encode(value)
