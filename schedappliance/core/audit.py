"""The audit line: every command that changes something, or is refused, is logged with who gave it and how it went."""

from __future__ import annotations

from schedappliance.core.state import State
from schedappliance.engine.effects import Answer
from schedappliance.model.commands import FORMS, Command, read_command


def changes_something(line: str) -> bool:
    """Whether a line is a command that may write."""
    command = read_command(line.strip(" \t")).command
    return command is not None and command.bare.form not in WITHOUT_ROWS and changes(command)


def changes(command: Command) -> bool:
    return any(FORMS[level.form].changes for level in command.nest())


# What changes something, but no row.
WITHOUT_ROWS = ("shutdown",)


def audit(state: State, name: str, uid: int, origin: str, line: str, answer: Answer) -> None:
    """One line for every command that changes something: who, from where, what, and how it went."""
    outcome = "ok" if answer.ok else f"refused: {answer.error}"
    state.log("info", f"user={name} uid={uid} origin={origin} command={line!r} {outcome}")
