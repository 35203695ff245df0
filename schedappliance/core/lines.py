"""Console lines: parsed, carried out in the transaction of the turn, answered after its commit."""

from __future__ import annotations

from collections.abc import Iterable

from schedappliance.commands import perform
from schedappliance.commands.context import Awaited, Claimed, Deferred, Refused, Retried, refusal
from schedappliance.commands.jobs import claimed
from schedappliance.core.audit import audit, audit_rollback, changes
from schedappliance.core.authorization import check, check_user, must_wait, user_now
from schedappliance.core.due import await_answer, follow_up, read_files
from schedappliance.core.programs import stop
from schedappliance.core.state import State, Waiting
from schedappliance.diagnostics import Diagnostic, Source
from schedappliance.engine.effects import Answer, PutBack, Reply
from schedappliance.engine.events import ConnectionClosed, LineTyped
from schedappliance.model.commands import Command, read_command


def line_typed(state: State, event: LineTyped) -> None:
    line = event.line.strip(" \t")
    read = read_command(line)
    if not state.stopping and must_wait(state, event, *([read.command] if read.command else [])):
        return None
    state.status.statistics.commands += 1
    if state.stopping:
        stopping = Diagnostic(
            "E505", "the appliance is stopping", "try again when it has started", Source("<command>", line)
        )
        refused = refusal(Refused([stopping]))
        audit(state, event.user.name, event.user.uid, "console", line, refused)
        return _reply(state, event, refused)
    event = event._replace(user=user_now(state, event.user))
    if read.command is None:
        return _refuse(state, event, line, read.diagnostics)
    return _carry_out(state, event, line, read.command)


def _refuse(state: State, event: LineTyped, line: str, mistakes: Iterable[Diagnostic]) -> None:
    """A line that is no command is logged like one that is refused."""
    try:
        check_user(state, event.user, line)
        answer = refusal(Refused(mistakes))
    except Refused as refused:
        answer = refusal(refused)
    audit(state, event.user.name, event.user.uid, "console", line, answer)
    _reply(state, event, answer)


def connection_closed(state: State, event: ConnectionClosed) -> None:
    """Whoever leaves without a commit has rolled back."""
    if state.users.hold_closing(event):
        return
    if transaction := state.transactions.pop(event.connection, None):
        audit_rollback(state, transaction.user)


def _carry_out(state: State, event: LineTyped, line: str, command: Command) -> None:
    context = state.context(event.user, "console", line, state.moment.wall, True, event.connection)
    opened = context.transaction
    try:
        check(state, event.user, command, line)
        answer = perform(context, command)
    except Refused as refused:
        answer = refusal(refused)
    if isinstance(answer, Awaited):
        state.awaited[answer.key] = Waiting(line, event.user, reply_to=event.reply_to, as_json=context.as_json)
        audit(state, event.user.name, event.user.uid, "console", line, Answer())
        return follow_up(state, context)
    follow_up(state, context)
    if isinstance(answer, Claimed):
        answer = claimed(context, answer)
    if isinstance(answer, Deferred):
        waiting = Waiting(line, event.user, reply_to=event.reply_to, as_json=context.as_json)
        return read_files(state, waiting, answer.typed)
    if isinstance(answer, Retried):
        waiting = Waiting(line, event.user, reply_to=event.reply_to, as_json=context.as_json)
        state.effects.append(PutBack(await_answer(state, waiting), answer.name))
        return None
    if changes(command) or not answer.ok:
        aside = opened is not None and context.transaction is not None and context.transaction is not opened
        audit(state, event.user.name, event.user.uid, "console", line, answer, aside)
    _reply(state, event, answer)
    if context.stop:
        stop(state, f"user {event.user.name} at the console")
    return None


def _reply(state: State, event: LineTyped, answer: Answer) -> None:
    state.effects.append(Reply(event.reply_to, answer))
