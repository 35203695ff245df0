"""References across stanzas and commands: programs that are run, their arguments, options that are used. Judged from a whole root."""

from __future__ import annotations

import os
from collections.abc import Iterator

from schedappliance.diagnostics import Diagnostic, Source, did_you_mean
from schedappliance.model.configuration import Configuration
from schedappliance.model.programs import Program
from schedappliance.model.templates import references
from schedappliance.syntax.tree import CommandTree


def command_mistakes(tree: CommandTree, source: Source, configuration: Configuration) -> Iterator[Diagnostic]:
    """What a command and the commands inside it refer to and the configuration does not have."""
    for level in tree.nest():
        if level.form == "run":
            yield from _run_mistakes(level, source, configuration)
        elif level.form in ("config_get", "config_set") and level.words:
            name = level.words[0].value.split("=")[0]
            if name.lower() not in configuration.options:
                help = did_you_mean(name, _names(configuration), f"declare it in the stanza file: `{name} = value`")
                yield Diagnostic("W402", f"option `{name}` is declared nowhere", help, source, level.words[0].span)


def _names(configuration: Configuration) -> list[str]:
    return [option.name for option in configuration.options.values()]


def _run_mistakes(level: CommandTree, source: Source, configuration: Configuration) -> Iterator[Diagnostic]:
    name = level.words[0].value
    program = configuration.programs.get(name)
    if program is None:
        declared = ", ".join(f"`{known}`" for known in list(configuration.programs)[:8]) or "none"
        help = did_you_mean(name, configuration.programs, f"declared programs: {declared}")
        yield Diagnostic("E301", f"program `{name}` is not declared", help, source, level.words[0].span)
        return
    if misfit := program.misfit(tuple(word.value for word in level.words[1:])):
        help = "correct the arguments, or `args` of the program"
        yield Diagnostic("E302", misfit, help, source, level.words[-1].span)


def configuration_mistakes(configuration: Configuration) -> Iterator[Diagnostic]:
    """Every reference of a whole configuration, and what depends on this machine."""
    for job in configuration.jobs.values():
        for mistake in command_mistakes(job.tree, job.source, configuration):
            yield mistake.moved(job.source, job.text.inner)
    for program in configuration.programs.values():
        yield from _program_doubts(program, configuration)


def _program_doubts(program: Program, configuration: Configuration) -> Iterator[Diagnostic]:
    for text in (*program.argv, *(value for _, value in program.env)):
        for name, _ in references(text):
            if name.lower() not in configuration.options:
                help = did_you_mean(name, _names(configuration), f"declare it: `{name} = value`")
                message = f"program `{program.name}` uses option `{name}`, which is declared nowhere"
                yield Diagnostic("W402", message, help, program.source, program.span)
    executable = program.argv[0] if program.argv else ""
    if executable and "%" not in executable and not os.access(executable, os.X_OK):
        message = f"`{executable}` cannot be executed here"
        help = "install it, or correct the path; its runs will fail"
        yield Diagnostic("W403", message, help, program.source, program.span)
