"""The clients that wait for the end of a run: `run --wait` and `sched wait`.

Rule: State answers them when the run ends. This module answers those whose time is over, and all others at a stop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from schedappliance.diagnostics import command_diagnostic
from schedappliance.engine.effects import rejection

if TYPE_CHECKING:
    from schedappliance.commands.view import Order
    from schedappliance.core.state import State


def end_waits(state: State) -> None:
    """Answers the orders whose time is over. Their runs go on."""
    now = state.moment.boot
    if state.wait_until is None or now < state.wait_until:
        return
    next_ends: list[int] = []
    for key, waiting in list(state.awaited.items()):
        over = [wait for wait in waiting if wait.until is not None and wait.until <= now]
        next_ends += [wait.until for wait in waiting if wait.until is not None and wait.until > now]
        if over:
            state.set_waiting(key, tuple(wait for wait in waiting if wait not in over))
        message = f"run {state.named(key)} has not ended in time"
        for wait in over:
            _reject(state, wait.order, "E514", message, "wait again, or ask `sched show` for its state")
    state.wait_until = min(next_ends, default=None)


def forget_waits(state: State, connection: int) -> None:
    """Forgets the orders of a connection that was closed."""
    for key, waiting in list(state.awaited.items()):
        others = tuple(wait for wait in waiting if wait.order.connection != connection)
        if len(others) < len(waiting):
            state.set_waiting(key, others)


def answer_all_waits(state: State) -> None:
    """Answers all clients that wait for the end of a run, since this process will not see it."""
    for key, waiting in list(state.awaited.items()):
        message = f"interrupted: the appliance is stopping, and run {state.named(key)} has not ended"
        for order, _ in waiting:
            _reject(state, order, "E505", message, "`sched history` shows its end after the next start")
        state.set_waiting(key, ())


def _reject(state: State, order: Order, code: str, message: str, remedy: str) -> None:
    if order.reply_to is not None:
        answer = rejection([command_diagnostic(code, message, remedy, order.text)])
        state.reply(order, answer, order.as_json)
