"""References across stanzas and commands, and from the stanzas to this machine: programs, options, accounts, directories.

Rule: references are checked only if the whole configuration is known.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from schedappliance.diagnostics import Diagnostic, Related, Source, Span, did_you_mean, shortened
from schedappliance.kinds import not_a_directory
from schedappliance.model.calendars.zones import Zones, this_machine
from schedappliance.model.configuration import (
    Account,
    Authorization,
    Configuration,
    DeclaredJob,
    Notify,
    Program,
    is_number,
)
from schedappliance.model.env_file import UnusableEnvFile, read_env_file
from schedappliance.model.files import interpreter
from schedappliance.model.option_paths import GLOBAL, Scope, option_path
from schedappliance.model.schedules import Every
from schedappliance.model.values import duration_text, words_as_list
from schedappliance.syntax.command import CommandTree

# A remedy lists at most this many declared names.
_MOST_LISTED = 8
# The mistakes of one file whose remedies may name what is nearest.
MOST_SUGGESTIONS = 20
# What happens to the next run of a program that is still active, by its `overlap`.
_IF_ACTIVE = {
    "skip": "the next one is skipped",
    "queue": "the next one waits, and those after it are skipped",
    "replace": "the next one ends it",
}


def command_mistakes(
    tree: CommandTree, source: Source, configuration: Configuration, suggest: bool = True
) -> Iterator[Diagnostic]:
    """The references of a command, and of the commands inside it, that the configuration does not declare.

    `suggest`: whether a remedy may name the nearest program, job or option, which takes milliseconds if there are many.
    """
    for level in tree.nest():
        if level.form in ("run", "run_wait"):
            yield from _run_mistakes(level, source, configuration, suggest)
        elif path := option_path(level, source.text):
            yield from _path_mistakes(level, path, source, configuration, suggest)


def _run_mistakes(
    level: CommandTree, source: Source, configuration: Configuration, suggest: bool
) -> Iterator[Diagnostic]:
    name = level.words[0].value
    program = configuration.programs.get(name)
    if configuration.is_faulty(Scope("program", name)):
        return
    if program is None:
        yield _undeclared_program(name, configuration, source, level.words[0].span, suggest)
    elif wrong := program.wrong_arguments(tuple(word.value for word in level.words[1:])):
        remedy = "correct the arguments, or `args` of the program"
        yield Diagnostic("E302", wrong.message, remedy, source, level.words[wrong.index + 1].span)


def _path_mistakes(
    level: CommandTree, path: tuple[str, ...], source: Source, configuration: Configuration, suggest: bool
) -> Iterator[Diagnostic]:
    scope, option = Scope(*path[:2]), path[2] if len(path) > 2 else ""
    if scope == GLOBAL and option and option.lower() not in configuration.options:
        declare = f"declare it in the stanza file: `{shortened(option)} = value`"
        remedy = did_you_mean(option, _option_names(configuration) if suggest else (), declare)
        span = next(word.span for word in level.words if word.value.startswith(option))
        yield Diagnostic("W402", f"option `{shortened(option)}` is not declared", remedy, source, span)
    elif level.form != "config_eval" and scope.name:
        mistake = undeclared(scope, configuration, source, level.words[1].span, suggest)
        yield from [mistake] if mistake else []


def undeclared(
    scope: Scope, configuration: Configuration, source: Source, span: Span, suggest: bool = True
) -> Diagnostic | None:
    """The diagnostic for a stanza of a program or job that does not exist; None when it does."""
    if configuration.is_faulty(scope):
        return None
    job = configuration.jobs.get(scope.name)
    if scope.stanza == "program" and job and job.own_program and scope not in configuration.blocks:
        message = f"program `{shortened(scope.name)}` is declared by {Scope('job', scope.name).title}"
        return Diagnostic("E508", message, "write `job` instead of `program`", source, span)
    if scope.stanza == "program" and scope.name not in configuration.programs:
        return _undeclared_program(scope.name, configuration, source, span, suggest)
    if scope.stanza == "job" and scope.name not in configuration.jobs:
        declared = f"declared jobs: {_listed(configuration.jobs)}"
        remedy = did_you_mean(scope.name, configuration.jobs if suggest else (), declared)
        return Diagnostic("E310", f"job `{shortened(scope.name)}` is not declared", remedy, source, span)
    if scope.stanza == "days" and scope.name not in configuration.days:
        declared = f"declared `days`: {_listed(configuration.days)}"
        remedy = did_you_mean(scope.name, configuration.days if suggest else (), declared)
        return Diagnostic("E311", f"days `{shortened(scope.name)}` are not declared", remedy, source, span)
    if scope.stanza == "notify" and scope.name not in configuration.notify:
        declared = f"declared `notify`: {_listed(configuration.notify)}"
        remedy = did_you_mean(scope.name, configuration.notify if suggest else (), declared)
        return Diagnostic("E312", f"notify `{shortened(scope.name)}` is not declared", remedy, source, span)
    return None


def _undeclared_program(
    name: str, configuration: Configuration, source: Source, span: Span, suggest: bool
) -> Diagnostic:
    declared = f"declared programs: {_listed(configuration.programs)}"
    remedy = did_you_mean(name, configuration.programs if suggest else (), declared)
    return Diagnostic("E301", f"program `{shortened(name)}` is not declared", remedy, source, span)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in list(names)[:_MOST_LISTED]) or "none"


def _option_names(configuration: Configuration) -> list[str]:
    return [option.name for option in configuration.options.values()]


def configuration_mistakes(configuration: Configuration, is_whole: bool = True) -> Iterator[Diagnostic]:
    """Every wrong reference in a configuration, and the doubts about it on this machine.

    `is_whole` False: a zone of `sched` may stand elsewhere.
    """
    # Imported here, since every import of the tables of commands leads to this module.
    from schedappliance.model.calendar_references import CalendarChecks

    number = 0
    zones, faulty = Zones(this_machine()), configuration.is_faulty
    calendars = CalendarChecks(zones, configuration.days, configuration.zone, is_whole, faulty)
    for job in configuration.jobs.values():
        for mistake in calendars.mistakes(job, number < MOST_SUGGESTIONS):
            number += 1
            yield mistake
        for mistake in command_mistakes(job.tree, job.source, configuration, number < MOST_SUGGESTIONS):
            number += 1
            yield mistake.moved(job.source, job.text.inner)
        if isinstance(job.schedule, Every):
            yield from timeout_doubts(job, configuration, job.schedule.interval_ms, "period")
    for notify in configuration.notify.values():
        yield from _notify_mistakes(notify, configuration)
        if notify.at:
            yield from calendars.mistakes_of_expressions(notify.at)
    if configuration.authorization:
        yield from _authorization_doubts(configuration.authorization)
    defaults = configuration.defaults.program if configuration.defaults else None
    programs = list(configuration.programs.values())
    if defaults:
        programs = [defaults, *(_without_inherited(program, defaults) for program in programs)]
    for program in programs:
        if command := program.on_failure:
            for mistake in command_mistakes(command.tree, command.source, configuration, number < MOST_SUGGESTIONS):
                number += 1
                yield mistake.moved(command.source, command.text.inner)
        for doubt in _option_doubts(program, configuration, number < MOST_SUGGESTIONS):
            number += 1
            yield doubt
        yield from _machine_doubts(program)


def _notify_mistakes(notify: Notify, configuration: Configuration) -> Iterator[Diagnostic]:
    """The mistakes in the command of a `notify` stanza, and the doubts about its patterns and its program."""
    command = notify.command
    mistakes = list(command_mistakes(command.tree, command.source, configuration))
    yield from (mistake.moved(command.source, command.text.inner) for mistake in mistakes)
    program = configuration.programs.get(notify.program)
    if program and program.timeout_ms is None and not configuration.is_faulty(Scope("program", program.name)):
        message = f"program `{program.name}`, which delivers alerts, has no `timeout`"
        remedy = "add `timeout = 2m` to it; while it hangs, no other alert goes out by it"
        yield Diagnostic("W429", message, remedy, command.source, command.text.span)
    faulty = [scope.name for scope in configuration.faulty if scope.stanza in ("job", "program")]
    names = (*configuration.jobs, *configuration.programs, *faulty)
    source, items = notify.patterns_place or (notify.source, ())
    for pattern, item in zip(notify.jobs or (), items, strict=True):
        if "" not in faulty and not any(pattern.matches(name) for name in names):
            message = f"pattern `{shortened(pattern.text)}` matches no job and no program"
            remedy = did_you_mean(pattern.text, names, "correct it; it must match the whole name")
            yield Diagnostic("W428", message, remedy, source, item.span)


def _without_inherited(program: Program, defaults: Program) -> Program:
    """A program without what it takes from `defaults`, whose mistakes are reported once."""
    return replace(
        program,
        uses=tuple(use for use in program.uses if use not in defaults.uses),
        accounts=tuple(account for account in program.accounts if account not in defaults.accounts),
        directory=None if program.directory == defaults.directory else program.directory,
        env_file_place=None if program.env_file_place == defaults.env_file_place else program.env_file_place,
        on_failure=None if program.on_failure is defaults.on_failure else program.on_failure,
    )


def timed_program(job: DeclaredJob, configuration: Configuration) -> Program | None:
    """The program that a job runs, if its timeout counts: runs of a program with `overlap = parallel` wait for none."""
    program = configuration.programs.get(job.command.words[0]) if job.command.form == "run" else None
    return program if program and program.timeout_ms is not None and program.overlap in _IF_ACTIVE else None


def timeout_doubts(job: DeclaredJob, configuration: Configuration, distance_ms: int, noun: str) -> Iterator[Diagnostic]:
    """W404 at `timeout`, or at the job if many programs have it from `defaults`. `noun`: what the distance is."""
    program = timed_program(job, configuration)
    if program is None or program.timeout_ms is None or program.timeout_ms <= distance_ms:
        return
    timeout, distance = duration_text(program.timeout_ms), duration_text(distance_ms)
    message = f"the timeout of program `{program.name}` ({timeout}) is longer than the {noun} of job `{job.name}` ({distance})"
    longer = "lengthen `every`" if isinstance(job.schedule, Every) else "let the job be due less often"
    remedy = f"shorten `timeout` or {longer}; while a run lasts longer than that, {_IF_ACTIVE[program.overlap]}"
    place, defaults = program.timeout_place, configuration.defaults
    if place and not (defaults and place == defaults.program.timeout_place):
        yield Diagnostic("W404", message, remedy, *place, (Related(job.source, job.span, "the job"),))
    else:
        related = (Related(*place, "the timeout, from `defaults`"),) if place else ()
        yield Diagnostic("W404", message, remedy, job.source, job.span, related)


def _option_doubts(program: Program, configuration: Configuration, suggest: bool) -> Iterator[Diagnostic]:
    for use in program.uses:
        if use.option.lower() not in configuration.options:
            names = _option_names(configuration) if suggest else ()
            remedy = did_you_mean(use.option, names, f"declare it: `{use.option} = value`")
            user = f"program `{program.name}`" if program.name else "`defaults`"
            message = f"{user} uses option `{use.option}`, which is not declared"
            yield Diagnostic("W402", message, remedy, use.source, use.span)


def _machine_doubts(program: Program) -> Iterator[Diagnostic]:
    """Doubts about the executable, the directory and the accounts of a program on this machine."""
    executable = program.argv[0] if program.argv else ""
    if executable and program.executable and "%" not in executable and (doubt := _executable_doubt(executable)):
        yield Diagnostic("W403", *doubt, *program.executable)
    if program.directory and _lacks_directory(program.cwd):
        unusable = not_a_directory(Path(program.cwd))
        message = unusable.message if unusable else f"directory `{shortened(program.cwd)}` does not exist here"
        remedy = "correct the path" if unusable else "create it, or correct the path"
        yield Diagnostic("W407", message, f"{remedy}; runs of the program will fail", *program.directory)
    if program.env_file and program.env_file_place and (reason := _env_file_doubt(program.env_file)):
        remedy = "correct the file or the path; runs of the program will fail"
        yield Diagnostic("W422", reason, remedy, *program.env_file_place)
    for account in program.accounts:
        # The kernel takes any number; a user's number is looked up only for the user's groups.
        if account.is_number and (account.kind == "group" or program.group is not None):
            continue
        if not _is_known(account):
            correction = "name a `group` too" if account.is_number else "correct the name"
            remedy = f"create it, or {correction}; runs of the program will fail"
            yield _unknown(account, remedy)


def _authorization_doubts(authorization: Authorization) -> Iterator[Diagnostic]:
    yield from _delegates_without_role(authorization)
    accounts = [*authorization.accounts]
    for role in authorization.roles.values():
        accounts += role.accounts
    for account in accounts:
        if not account.is_number and not _is_known(account):
            yield _unknown(account, "create it, or correct the name; until then, this name has no effect")


def _delegates_without_role(authorization: Authorization) -> Iterator[Diagnostic]:
    """Delegates who can give no command, for nobody. A role of a group or of a number may be theirs."""
    roles = authorization.roles.values()
    users = {user for role in roles for user in role.users}
    if any(role.groups for role in roles) or any(map(is_number, users)):
        return
    for account in authorization.accounts:
        if not account.is_number and account.name not in users:
            message = f"delegate `{shortened(account.name)}` has no role, so it can give no command"
            remedy = "add the name to `users` of a role: the roles of both users must allow a command"
            yield Diagnostic("W408", message, remedy, account.source, account.span)


def _unknown(account: Account, remedy: str) -> Diagnostic:
    message = f"{account.kind} `{shortened(account.name)}` does not exist here"
    return Diagnostic("W406", message, remedy, account.source, account.span)


def _is_known(account: Account) -> bool:
    """Whether this machine knows a user or group; may ask a directory service."""
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


def _executable_doubt(executable: str) -> tuple[str, str] | None:
    """Why an executable cannot be started here, and the remedy. None if nothing is against it."""
    remedy = "install it, or correct the path; runs of the program will fail"
    if not _can_execute(executable):
        if " " in executable and _can_execute(executable.split()[0]):
            remedy = f"split the words: `argv = {words_as_list(executable)}`; no shell does"
        return f"cannot execute `{executable}` here", remedy
    script_runner = interpreter(Path(executable))
    if script_runner and script_runner.startswith("/") and not _can_execute(script_runner):
        # A carriage return, from a line that ends as on Windows, is part of the name.
        shown = shortened(script_runner.replace("\r", "\\r"))
        return f"cannot execute `{shown}` here, the interpreter of `{executable}`", remedy
    return None


def _can_execute(path: str) -> bool:
    return os.access(path, os.X_OK) and not os.path.isdir(path)  # noqa: PTH112


def _env_file_doubt(path: str) -> str | None:
    """Why an environment file cannot be used here. A file that this user may not read can be right for the appliance."""
    try:
        read_env_file(path)
    except UnusableEnvFile as unusable:
        return None if unusable.number in (errno.EACCES, errno.EPERM) and os.geteuid() != 0 else str(unusable)
    return None


def _lacks_directory(path: str) -> bool:
    """Whether a directory is certainly missing; one that this user may not look at may exist."""
    try:
        return not stat.S_ISDIR(os.stat(path).st_mode)  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False
