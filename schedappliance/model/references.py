"""References across stanzas and commands: programs that are run, their arguments, options that are used. Judged from a whole root."""

from __future__ import annotations

import os
from collections.abc import Iterator

from schedappliance.diagnostics import Diagnostic, Related, Source, did_you_mean, shortened
from schedappliance.model.configuration import Configuration, DeclaredJob
from schedappliance.model.programs import Program
from schedappliance.model.values import seconds_text
from schedappliance.syntax.tree import CommandTree


def command_mistakes(tree: CommandTree, source: Source, configuration: Configuration) -> Iterator[Diagnostic]:
    """What a command and the commands inside it refer to and the configuration does not have."""
    for level in tree.nest():
        if level.form == "run":
            yield from _run_mistakes(level, source, configuration)
        elif level.form in ("config_get", "config_set") and level.words:
            name = level.words[0].value.split("=")[0]
            if name.lower() not in configuration.options:
                help = did_you_mean(
                    name, _names(configuration), f"declare it in the stanza file: `{shortened(name)} = value`"
                )
                yield Diagnostic(
                    "W402", f"option `{shortened(name)}` is declared nowhere", help, source, level.words[0].span
                )


def _names(configuration: Configuration) -> list[str]:
    return [option.name for option in configuration.options.values()]


def _run_mistakes(level: CommandTree, source: Source, configuration: Configuration) -> Iterator[Diagnostic]:
    name = level.words[0].value
    program = configuration.programs.get(name)
    if program is None:
        declared = ", ".join(f"`{known}`" for known in list(configuration.programs)[:8]) or "none"
        help = did_you_mean(name, configuration.programs, f"declared programs: {declared}")
        yield Diagnostic("E301", f"program `{shortened(name)}` is not declared", help, source, level.words[0].span)
        return
    if misfit := program.misfit(tuple(word.value for word in level.words[1:])):
        help = "correct the arguments, or `args` of the program"
        yield Diagnostic("E302", misfit.message, help, source, level.words[misfit.index + 1].span)


def configuration_mistakes(configuration: Configuration) -> Iterator[Diagnostic]:
    """Every reference of a whole configuration, and what is doubtful about it."""
    for job in configuration.jobs.values():
        for mistake in command_mistakes(job.tree, job.source, configuration):
            yield mistake.moved(job.source, job.text.inner)
        yield from _overlap_doubts(job, configuration)
    for program in configuration.programs.values():
        yield from _program_doubts(program, configuration)


def _overlap_doubts(job: DeclaredJob, configuration: Configuration) -> Iterator[Diagnostic]:
    """A run may last until its timeout; what comes due before is skipped."""
    program = configuration.programs.get(job.command.words[0]) if job.command.form == "run" else None
    if program is None or program.timeout_ms is None or job.every_ms is None or program.timeout_ms <= job.every_ms:
        return
    period, timeout = seconds_text(job.every_ms), seconds_text(program.timeout_ms)
    message = f"the timeout of program `{program.name}` ({timeout} s) exceeds the period of the job ({period} s)"
    help = (
        "a run that lasts longer than the period makes the next one be skipped; shorten `timeout` or lengthen `every`"
    )
    related = Related(program.source, program.span, "the program")
    yield Diagnostic("W404", message, help, job.source, job.span, (related,))


def _program_doubts(program: Program, configuration: Configuration) -> Iterator[Diagnostic]:
    for use in program.uses:
        if use.option.lower() not in configuration.options:
            help = did_you_mean(use.option, _names(configuration), f"declare it: `{use.option} = value`")
            message = f"program `{program.name}` uses option `{use.option}`, which is declared nowhere"
            yield Diagnostic("W402", message, help, use.source, use.span)
    executable = program.argv[0] if program.argv else ""
    if executable and program.executable and "%" not in executable and not _can_execute(executable):
        message = f"`{executable}` cannot be executed here"
        yield Diagnostic("W403", message, "install it, or correct the path; its runs will fail", *program.executable)


def _can_execute(path: str) -> bool:
    return os.access(path, os.X_OK) and not os.path.isdir(path)  # noqa: PTH112
