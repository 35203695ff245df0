"""The audit line: every command that changes something, or is refused, is logged with who gave it and how it went."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from schedappliance.engine.effects import Answer, Log
from schedappliance.engine.records import User
from schedappliance.model.commands import FORMS, Command, read_command

if TYPE_CHECKING:
    from schedappliance.core.state import State


def changes_something(line: str) -> bool:
    """Whether a line is a command that may write."""
    command = read_command(line.strip(" \t")).command
    return command is not None and command.bare.form not in WITHOUT_ROWS and changes(command)


def changes(command: Command) -> bool:
    return FORMS[command.form].changes or (command.inner is not None and changes(command.inner))


# So much of a refused line is logged: whoever may do nothing shall not fill the log.
MOST_REFUSED = 1000
_NAME = re.compile(r"[\w@.$-]+")
# What changes something, but no row.
WITHOUT_ROWS = ("shutdown", "config_begin", "config_rollback")


def audit(state: State, user: User, origin: str, line: str, answer: Answer, aside: bool = False) -> None:
    """One line for every command that changes something or fails: who, from where, what, and how it went.

    `aside`: what it changes is in effect when the transaction of its connection is committed.
    """
    if answer.error is None:
        said = f"user={_plain(user.name)} uid={user.uid} origin={origin} command={line!r} ok"
        state.effects.append(Log("info", f"{said} in a transaction" if aside else said))
    else:
        state.effects.append(rejection_line(state, user, origin, line, answer.error))


def rejection_line(state: State, user: User, origin: str, line: str, error: str) -> Log:
    """The audit line of a command that is refused."""
    shown, why = repr(line[:MOST_REFUSED]) + _rest(line), error[:MOST_REFUSED] + _rest(error)
    said = f"user={_plain(user.name)} uid={user.uid} origin={origin} command={shown} refused: {why}"
    return Log(rejection_level(state), said)


def audit_rollback(state: State, user: User) -> None:
    """A transaction that nobody can commit any more."""
    said = f"user={_plain(user.name)} uid={user.uid} origin=console"
    state.log("info", f"{said} the transaction is rolled back: its connection was closed")


def _rest(text: str) -> str:
    return f"... ({len(text)} characters)" if len(text) > MOST_REFUSED else ""


def rejection_level(state: State) -> str:
    """Where it was said who may do what, whatever is refused may be somebody who tries the doors."""
    return "info" if state.configuration.authorization is None else "warning"


@lru_cache(maxsize=256)
def _plain(name: str) -> str:
    """A name that could be taken for more than a name is quoted."""
    return name if _NAME.fullmatch(name) else repr(name)
