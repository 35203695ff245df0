"""What a program is started with, as the options are now; or the reason why it cannot be started."""

from __future__ import annotations

from dataclasses import dataclass

from schedappliance.engine.options import Options
from schedappliance.engine.reasons import Reason, undeclared, unfit
from schedappliance.model.commands import Command
from schedappliance.model.configuration import Program
from schedappliance.model.templates import Unset, expand


@dataclass(frozen=True, slots=True)
class Launch:
    program: Program
    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...]


def prepare(options: Options, command: Command) -> Launch | Reason:
    """The values of options are put in; nothing is split or expanded again."""
    name, *arguments = command.words
    program = options.configuration.programs.get(name)
    if program is None:
        return undeclared(name)
    if wrong := program.wrong_arguments(tuple(arguments)):
        return unfit(wrong.message)
    try:
        argv = (*(expand(text, options.value) for text in program.argv), *arguments)
        env = tuple((name, expand(text, options.value)) for name, text in program.env)
    except Unset as unset:
        return unfit(str(unset))
    return Launch(program, argv, env)
