"""The audit line: every command that changes something, or is refused, is logged with who gave it and how it went."""

from __future__ import annotations

import re

from schedappliance.commands.context import NOT_AUTHORIZED_TEXT
from schedappliance.core.state import State
from schedappliance.engine.effects import Answer
from schedappliance.engine.reasons import NOT_AUTHORIZED
from schedappliance.model.commands import FORMS, Command, read_command


def changes_something(line: str) -> bool:
    """Whether a line is a command that may write."""
    command = read_command(line.strip(" \t")).command
    return command is not None and command.bare.form not in WITHOUT_ROWS and changes(command)


def changes(command: Command) -> bool:
    return any(FORMS[level.form].changes for level in command.nest())


# So much of a refused line is logged: whoever may do nothing shall not fill the log.
MOST_REFUSED = 1000
_NAME = re.compile(r"[\w@.$-]+")
# What changes something, but no row.
WITHOUT_ROWS = ("shutdown",)


def audit(state: State, name: str, uid: int, origin: str, line: str, answer: Answer) -> None:
    """One line for every command that changes something or is refused: who, from where, what, and how it went."""
    outcome = "ok" if answer.ok else f"refused: {answer.error}"
    shown = repr(line if answer.ok else line[:MOST_REFUSED])
    if not answer.ok and len(line) > MOST_REFUSED:
        shown += f"... ({len(line)} characters)"
    level = "info" if answer.error not in (NOT_AUTHORIZED_TEXT, NOT_AUTHORIZED) else "warning"
    state.log(level, f"user={_plain(name)} uid={uid} origin={origin} command={shown} {outcome}")


def _plain(name: str) -> str:
    """A name that could be taken for more than a name is quoted."""
    return name if _NAME.fullmatch(name) else repr(name)
