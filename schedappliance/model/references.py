"""References across stanzas and commands: programs that are run, their arguments, options that are used. Judged from a whole root."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

from schedappliance.diagnostics import Diagnostic, Related, Source, Span, did_you_mean, shortened
from schedappliance.model.configuration import Account, Authorization, Configuration, DeclaredJob, Program
from schedappliance.model.files import interpreter
from schedappliance.model.option_paths import option_path
from schedappliance.model.options import GLOBAL, Scope
from schedappliance.model.values import seconds_text
from schedappliance.syntax.command import CommandTree


def command_mistakes(tree: CommandTree, source: Source, configuration: Configuration) -> Iterator[Diagnostic]:
    """What a command and the commands inside it refer to and the configuration does not have."""
    for level in tree.nest():
        if level.form in ("run", "run_wait"):
            yield from _run_mistakes(level, source, configuration)
        elif path := option_path(level, source.text):
            yield from _path_mistakes(level, path, source, configuration)


def _path_mistakes(
    level: CommandTree, path: tuple[str, ...], source: Source, configuration: Configuration
) -> Iterator[Diagnostic]:
    scope, option = Scope(*path[:2]), path[2] if len(path) > 2 else ""
    if scope == GLOBAL and option and option.lower() not in configuration.options:
        declare = f"declare it in the stanza file: `{shortened(option)} = value`"
        help = did_you_mean(option, _names(configuration), declare)
        span = next(word.span for word in level.words if word.value.startswith(option))
        yield Diagnostic("W402", f"option `{shortened(option)}` is declared nowhere", help, source, span)
    elif level.form != "config_eval" and scope.name:
        mistake = undeclared(scope, configuration, source, level.words[1].span)
        yield from [mistake] if mistake else []


def undeclared(scope: Scope, configuration: Configuration, source: Source, span: Span) -> Diagnostic | None:
    """That there is no such program or job, or None."""
    if scope.stanza == "program" and scope.name not in configuration.programs:
        return _undeclared_program(scope.name, configuration, source, span)
    if scope.stanza == "job" and scope.name not in configuration.jobs:
        declared = ", ".join(f"`{known}`" for known in list(configuration.jobs)[:8]) or "none"
        help = did_you_mean(scope.name, configuration.jobs, f"declared jobs: {declared}")
        return Diagnostic("E310", f"job `{shortened(scope.name)}` is not declared", help, source, span)
    return None


def _undeclared_program(name: str, configuration: Configuration, source: Source, span: Span) -> Diagnostic:
    declared = ", ".join(f"`{known}`" for known in list(configuration.programs)[:8]) or "none"
    help = did_you_mean(name, configuration.programs, f"declared programs: {declared}")
    return Diagnostic("E301", f"program `{shortened(name)}` is not declared", help, source, span)


def _names(configuration: Configuration) -> list[str]:
    return [option.name for option in configuration.options.values()]


def _run_mistakes(level: CommandTree, source: Source, configuration: Configuration) -> Iterator[Diagnostic]:
    name = level.words[0].value
    program = configuration.programs.get(name)
    if program is None:
        yield _undeclared_program(name, configuration, source, level.words[0].span)
    elif misfit := program.misfit(tuple(word.value for word in level.words[1:])):
        help = "correct the arguments, or `args` of the program"
        yield Diagnostic("E302", misfit.message, help, source, level.words[misfit.index + 1].span)


def configuration_mistakes(configuration: Configuration) -> Iterator[Diagnostic]:
    """Every reference of a whole configuration, and what is doubtful about it."""
    for job in configuration.jobs.values():
        for mistake in command_mistakes(job.tree, job.source, configuration):
            yield mistake.moved(job.source, job.text.inner)
        yield from _overlap_doubts(job, configuration)
    if configuration.authorization:
        yield from _authorization_doubts(configuration.authorization)
    for program in configuration.programs.values():
        if follows := program.on_failure:
            for mistake in command_mistakes(follows.tree, follows.source, configuration):
                yield mistake.moved(follows.source, follows.text.inner)
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
    if executable and program.executable and "%" not in executable:
        help = "install it, or correct the path; its runs will fail"
        found = interpreter(Path(executable))
        if not _can_execute(executable):
            yield Diagnostic("W403", f"`{executable}` cannot be executed here", help, *program.executable)
        elif found and found.startswith("/") and not _can_execute(found):
            # A line that ends as on Windows names an interpreter that ends so too.
            shown = shortened(found.replace("\r", "\\r"))
            message = f"`{shown}` cannot be executed here, which is to interpret `{executable}`"
            yield Diagnostic("W403", message, help, *program.executable)
    if program.directory and _lacks_directory(program.cwd):
        message = f"there is no directory `{shortened(program.cwd)}` here"
        yield Diagnostic("W407", message, "create it, or correct the path; its runs will fail", *program.directory)
    for account in program.accounts:
        is_number = account.is_number
        if is_number and (account.kind == "group" or program.group is not None):
            continue
        if not _is_known(account):
            message = f"{account.kind} `{shortened(account.name)}` is not known here"
            correct = "name a `group` beside it" if is_number else "correct the name"
            help = f"create it, or {correct}; the program's runs will fail"
            yield Diagnostic("W406", message, help, account.source, account.span)


def _authorization_doubts(authorization: Authorization) -> Iterator[Diagnostic]:
    for role in authorization.roles.values():
        for account in role.accounts:
            if not account.is_number and not _is_known(account):
                message = f"{account.kind} `{shortened(account.name)}` is not known here"
                help = "create it, or correct the name; the role is not given to anybody by it"
                yield Diagnostic("W406", message, help, account.source, account.span)


def _is_known(account: Account) -> bool:
    """May ask a directory service."""
    try:
        if account.kind == "group":
            grp.getgrnam(account.name)
        elif account.is_number:
            pwd.getpwuid(int(account.name))
        else:
            pwd.getpwnam(account.name)
    except KeyError:
        return False
    return True


def _can_execute(path: str) -> bool:
    return os.access(path, os.X_OK) and not os.path.isdir(path)  # noqa: PTH112


def _lacks_directory(path: str) -> bool:
    """One that may not be looked at by this user may be there."""
    try:
        return not stat.S_ISDIR(os.stat(path).st_mode)  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
