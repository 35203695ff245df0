"""`config begin|commit|rollback`: changes of the options that are tried aside, on one console connection. The first commit wins."""

from __future__ import annotations

from schedappliance.commands.config import keep
from schedappliance.commands.context import Context, Transaction
from schedappliance.engine.effects import Answer
from schedappliance.model.commands import Command


def begin(context: Context, _command: Command) -> Answer:
    if context.connection is None:
        raise context.refuse("E510", "a transaction belongs to a console connection", "open one with `console`")
    if context.transaction:
        raise context.refuse("E510", "a transaction is open already", "`config commit` or `config rollback` it first")
    context.transaction = Transaction(context.options, context.version, context.user)
    return context.answer("", {"transaction": "open"})


def commit(context: Context, _command: Command) -> Answer:
    """All of it takes effect, or nothing: a transaction that began with older options has lost."""
    transaction = _open(context)
    context.transaction = None
    if transaction.version != context.version:
        message = "the configuration was changed after the transaction began; nothing of it took effect"
        raise context.refuse("E510", message, "begin another one")
    before, after = context.options.overrides, transaction.options.overrides
    for place in sorted(before.keys() | after.keys()):
        if before.get(place) != after.get(place):
            keep(context, place, after.get(place))
    context.options = transaction.options
    return context.answer("OK", {"transaction": "committed"})


def rollback(context: Context, _command: Command) -> Answer:
    _open(context)
    context.transaction = None
    return context.answer("", {"transaction": "rolled back"})


def _open(context: Context) -> Transaction:
    if context.transaction is None:
        raise context.refuse("E510", "no transaction is open on this connection", "open one with `config begin`")
    return context.transaction
