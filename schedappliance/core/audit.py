"""The audit log: one line for every command that changes something or fails. Also decides which commands write rows.

Rule: the line names the user, the origin, the command and the outcome.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from schedappliance.engine.effects import Answer, LogMessage
from schedappliance.engine.records import User
from schedappliance.model.commands import FORMS, Command, read_command

if TYPE_CHECKING:
    from schedappliance.core.state import State


def may_write_rows(line: str) -> bool:
    """Whether a line is a command that may write rows."""
    command = read_command(line.strip(" \t")).command
    return command is not None and command.bare.form not in WITHOUT_ROWS and is_change(command)


def is_change(command: Command) -> bool:
    """Whether a command, or the one inside it, changes anything: rows, the appliance, or a transaction of the console."""
    return FORMS[command.form].changes or (command.inner is not None and is_change(command.inner))


# At most this many characters of a line are logged, so that no user fills the log with long ones. The store holds all of a
# command that was accepted.
MOST_LOGGED = 1000
_NAME = re.compile(r"[\w@.$-]+")
# Commands that change something but write no row.
WITHOUT_ROWS = ("shutdown", "config_begin", "config_rollback")


def audit(
    state: State, user: User, origin: str, line: str, answer: Answer, by: User | None = None, is_pending: bool = False
) -> None:
    """Logs a command with its outcome. `by`: the delegate who gave it on behalf of `user`, if there is one.

    `is_pending`: the change takes effect when the connection commits its transaction.
    """
    if answer.error is None:
        who = who_gave(user, by)
        text = f"{who} origin={origin} command={_shown(line)} ok{' in a transaction' if is_pending else ''}"
        state.effects.append(LogMessage("info", text, share=share_of_accepted(state, user, who)))
    else:
        state.effects.append(rejection_line(state, user, origin, line, answer.error, by))


def rejection_line(state: State, user: User, origin: str, line: str, error: str, by: User | None = None) -> LogMessage:
    """The audit line of a rejected command."""
    who = who_gave(user, by)
    text = f"{who} origin={origin} command={_shown(line)} rejected: {part_of(error)}"
    return LogMessage(rejection_level(state), text, share=share_of_rejected(who))


def share_of_rejected(who: str) -> str:
    """The allowance that the line about a rejection uses. `who`: as from `who_gave`."""
    return f"{who} rejected"


def share_of_accepted(state: State, user: User, who: str) -> str:
    """The allowance that the line about an accepted command or drop uses. Those of trusted users are always logged."""
    return "" if user.uid in state.status.trusted else f"{who} accepted"


def audit_rollback(state: State, user: User, by: User | None) -> None:
    """Logs the rollback of a transaction whose connection was closed."""
    text = "the transaction is rolled back: its connection was closed"
    who = who_gave(user, by)
    state.effects.append(LogMessage("info", f"{who} origin=console {text}", share=share_of_accepted(state, user, who)))


# Few users give most of the commands.
@lru_cache(maxsize=256)
def who_gave(user: User, by: User | None = None) -> str:
    """The first words of an audit line."""
    delegate = f" by={_plain(by.name)} by_uid={by.uid}" if by else ""
    return f"user={_plain(user.name)} uid={user.uid}{delegate}"


def _shown(line: str) -> str:
    return repr(line) if len(line) <= MOST_LOGGED else repr(line[:MOST_LOGGED]) + _rest(line)


def part_of(text: str) -> str:
    """As much of a text as is logged."""
    return text[:MOST_LOGGED] + _rest(text)


def _rest(text: str) -> str:
    return f"... ({len(text)} characters)" if len(text) > MOST_LOGGED else ""


def rejection_level(state: State) -> str:
    """The level of the log for a rejection. With roles, it is a warning, since the command may be an attack."""
    return "info" if state.configuration.authorization is None else "warning"


def _plain(name: str) -> str:
    """The name, in quotes if it holds characters that could be read as another field of the line."""
    return name if _NAME.fullmatch(name) else repr(name)
