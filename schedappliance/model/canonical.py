"""The canonical line of a command: what the patterns of roles are searched in.

Law: it is made from what the command means, never from how it was typed; commands that differ have lines that differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from schedappliance.model.commands import FORMS, Command
from schedappliance.model.options import STANZAS
from schedappliance.syntax.printer import quoted

# A program of this name must not look like the option.
_WAIT = "--wait"


def canonical(command: Command) -> str:
    """The line: verbs in lower case, single blanks, no `json`; words as they are meant, in double quotes where they need it."""
    levels = [level for level in command.nest() if level.form != "json"]
    if levels[0].form == "run_wait":
        # The run inside it is the same one, not another command.
        del levels[1:]
    return " ".join(part for level in levels for part in (FORMS[level.form].name, *map(_word, _words(level))))


def questions(command: Command) -> Iterator[str]:
    """What must be allowed for a command: its own line, and that of every command inside it."""
    return (canonical(level) for level in command.nest() if level.form != "json")


def _words(command: Command) -> Sequence[str]:
    """The words of a command; those of `config` are a path, whose names are the same in capitals."""
    if not command.form.startswith("config_") or len(command.words) < 2:
        return command.words
    stanza, name, *rest = command.words
    spec = STANZAS.get(stanza)
    scope = [] if spec is None else [stanza, name] if spec.named else [stanza]
    option = [rest[0].lower()] if rest and rest[0] else []
    return [*scope, *option, *rest[1:]]


def _word(text: str) -> str:
    """No bare word holds what a pattern could take for the blank between two words."""
    if not text or text == _WAIT or any(sign.isspace() or sign in "\"'" for sign in text):
        return quoted(text)
    return text
