"""Console lines: each is read, carried out in the transaction of the turn, and answered after its commit.

Rule: with roles, a line waits until its user has been looked up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from schedappliance.commands.view import Order
from schedappliance.core.audit import audit, audit_rollback
from schedappliance.core.authorization import await_users, stranger, user_now
from schedappliance.core.orders import carry_out
from schedappliance.diagnostics import command_diagnostic
from schedappliance.engine.effects import Answer, rejection
from schedappliance.engine.events import ConnectionClosed, LineTyped
from schedappliance.model.commands import is_json, read_command

if TYPE_CHECKING:
    from schedappliance.core.state import State


def line_typed(state: State, event: LineTyped) -> None:
    line = event.line.strip(" \t")
    read = read_command(line)
    guarded = state.configuration.authorization is not None
    if guarded and not state.stopping and await_users(state, event, *([read.command] if read.command else [])):
        return
    state.statistics.commands += 1
    if state.stopping:
        remedy = "try again when it has started"
        _reject(state, event, line, rejection([command_diagnostic("E505", "the appliance is stopping", remedy, line)]))
        return
    if guarded:
        event = event._replace(user=user_now(state, event.user))
    if read.command is None:
        _reject(state, event, line, stranger(state, event.user, line) or rejection(read.diagnostics))
        return
    order = Order(event.user, "console", line, read.command, state.moment.wall, event.reply_to, event.connection)
    if answer := carry_out(state, order):
        state.reply(event, answer, order.as_json)


def _reject(state: State, event: LineTyped, line: str, answer: Answer) -> None:
    audit(state, event.user, "console", line, answer)
    state.reply(event, answer, is_json(line))


def connection_closed(state: State, event: ConnectionClosed) -> None:
    """Rolls back the open transaction of a connection that was closed, after the lines of that connection."""
    if state.users.put_closing_off(event):
        return
    if transaction := state.transactions.pop(event.connection, None):
        audit_rollback(state, transaction.user)
