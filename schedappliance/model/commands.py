"""What each console command means: the one table of command forms, and the typed Command that is kept with a job.

Law: a command that comes out of here is well formed by itself; whether the programs it names exist is asked elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from schedappliance.diagnostics import Diagnostic, Source, Span
from schedappliance.model.option_paths import PATHS
from schedappliance.model.options import STANZAS
from schedappliance.model.values import Unfit, instant, period, positive_duration
from schedappliance.syntax.command import CommandError, CommandTree, outer_form, parse_command
from schedappliance.syntax.grammars import GRAMMAR_VERSION
from schedappliance.syntax.printer import quoted

MAX_LINE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class CommandForm:
    """One form of command. `drop`: may stand in the spool; `changes`: is logged with user, origin and outcome.

    `instead`: what to do where it may be neither scheduled nor dropped, if that is not the same for all.
    """

    usage: str
    help: str
    drop: bool = False
    changes: bool = False
    schedulable: bool = True
    recurrent: bool = True
    instead: str = ""

    @property
    def name(self) -> str:
        """The words that make the form: its usage without what is put in capitals."""
        return " ".join(word for word in self.usage.split() if word.islower())


FORMS: dict[str, CommandForm] = {
    "sched_at": CommandForm(
        "sched at WHEN COMMAND",
        "run COMMAND once at WHEN, a Unix timestamp or an ISO 8601 time with zone; prints the job's id",
        drop=True,
        changes=True,
    ),
    "sched_in": CommandForm(
        "sched in SECONDS COMMAND",
        "run COMMAND once, that long from now: 90, 1.5, 15m, 2h30m, 1d; prints the job's id",
        drop=True,
        changes=True,
    ),
    "sched_every": CommandForm(
        "sched every SECONDS COMMAND",
        "run COMMAND every so many seconds, first one period from now; prints the job's id",
        drop=True,
        changes=True,
    ),
    "sched_list": CommandForm("sched list", "list the jobs, the next to run first", drop=True),
    "sched_delete": CommandForm(
        "sched delete ID", "delete a job, and call off its runs that wait", drop=True, changes=True
    ),
    "sched_history": CommandForm("sched history [ID]", "the last runs, of one job or of all", drop=True),
    "sched_show": CommandForm(
        "sched show ID", "everything about one job, or about one run, ID/OCCURRENCE, with its output", drop=True
    ),
    "sched_why": CommandForm("sched why ID", "why a job runs next, did not run, or will not run", drop=True),
    "sched_run": CommandForm("sched run ID", "run a job now; its due times do not move", drop=True, changes=True),
    "sched_pause": CommandForm(
        "sched pause ID", "keep a job from running until it is resumed; its runs that wait are called off", True, True
    ),
    "sched_resume": CommandForm("sched resume ID", "let a paused job run again", drop=True, changes=True),
    "run": CommandForm(
        "run PROGRAM [ARGS...]", "start a declared program now; prints the run's id", drop=True, changes=True
    ),
    "run_wait": CommandForm(
        "run --wait PROGRAM [ARGS...]",
        "start a declared program now and wait for its end; prints its output, exits with its status",
        changes=True,
        schedulable=False,
        instead="nobody waits for the answer there; leave `--wait` out",
    ),
    "config_get": CommandForm(
        "config get [SCOPE] OPTION",
        "show an option as it is set in a scope: globally, or in `sched`, `program NAME`, `job NAME`",
        drop=True,
    ),
    "config_eval": CommandForm(
        "config eval [SCOPE] OPTION", "show the value of an option that counts: as set, its default, or the global one"
    ),
    "config_set": CommandForm(
        "config set [SCOPE] OPTION [=] VALUE", "set an option until the next `config reload`", True, True
    ),
    "config_unset": CommandForm(
        "config unset [SCOPE] [OPTION]", "take back what `config set` has set, of an option or of a stanza", True, True
    ),
    "config_show": CommandForm("config show [SCOPE]", "show one level of the configuration that runs"),
    "config_showrecurse": CommandForm("config showrecurse [SCOPE]", "show all of it, as a stanza file"),
    "config_begin": CommandForm(
        "config begin",
        "begin a transaction: what follows on this connection is tried aside",
        changes=True,
        schedulable=False,
    ),
    "config_commit": CommandForm(
        "config commit", "put the changes of the transaction in effect", changes=True, schedulable=False
    ),
    "config_rollback": CommandForm(
        "config rollback", "forget the changes of the transaction", changes=True, schedulable=False
    ),
    "config_reload": CommandForm(
        "config reload", "read the files again; drops what `config set` has set", changes=True
    ),
    "config_status": CommandForm("config status", "which files are active, what was tried last, and what is set"),
    "config_history": CommandForm("config history", "the generations of the stanza files that were active"),
    "config_diff": CommandForm(
        "config diff [GENERATION]", "what changed from a generation, or the one before, to the active one"
    ),
    "authz_id": CommandForm("authz id", "show who you are to the appliance, and your roles"),
    "authz_roles_list": CommandForm("authz roles list", "list the roles that the files declare"),
    "spool_list": CommandForm("spool list", "list what lies in the spool, and the last results of dropped files"),
    "spool_why": CommandForm("spool why NAME", "what a dropped file was answered, or why it is not taken"),
    "spool_retry": CommandForm(
        "spool retry NAME", "take a failed file again, as a new one", changes=True, schedulable=False
    ),
    "help": CommandForm("help [COMMAND]", "list the commands, or explain one"),
    "version": CommandForm("version", "show the version"),
    "pid": CommandForm("pid", "show the process id of the appliance"),
    "summary": CommandForm("summary", "show what the appliance has done"),
    "summary_reset": CommandForm("summary reset", "set the statistics back to zero", changes=True),
    "shutdown": CommandForm("shutdown", "stop the appliance", changes=True, recurrent=False),
    "quit": CommandForm("quit", "leave the console", schedulable=False),
    "json": CommandForm("json COMMAND", "the same answer as data, on one line", drop=True),
}


class Command(NamedTuple):
    """What a line means. `milliseconds`: the due time of `at`, the wait of `in`, the period of `every`.

    `text` is the command as it was given, without the blanks at both ends.
    """

    form: str
    words: tuple[str, ...]
    milliseconds: int | None
    inner: Command | None
    text: str

    def nest(self) -> Iterator[Command]:
        command: Command | None = self
        while command is not None:
            yield command
            command = command.inner

    @property
    def bare(self) -> Command:
        """The command without the prefix `json`."""
        if self.form != "json":
            return self
        command = self
        while command.form == "json" and command.inner is not None:
            command = command.inner
        return command


# `json.dumps` would make an encoder for each command: 7 µs instead of 4.
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def pack(command: Command) -> str:
    """The stored form of a command, so that nothing is parsed again on the way to a run."""
    return _encode(_as_data(command))


def _as_data(command: Command) -> list[Any]:
    inner = None if command.inner is None else _as_data(command.inner)
    return [command.form, command.words, command.milliseconds, inner, command.text]


def unpack(packed: str, grammar: int, text: str) -> Command | None:
    """The command of a stored row; None when its text is no command any more.

    The text is parsed again when another grammar stored the row, or when `packed` is damaged.
    """
    if grammar == GRAMMAR_VERSION:
        with suppress(ValueError, TypeError):
            return _from_data(json.loads(packed))
    return read_command(text).command


def _from_data(data: list[Any]) -> Command:
    """Raises ValueError or TypeError when `pack` cannot have made this."""
    form, words, milliseconds, inner, text = data
    if form not in FORMS:
        raise ValueError(form)
    return Command(form, tuple(words), milliseconds, _from_data(inner) if inner else None, text)


class ReadCommand(NamedTuple):
    """A line read: its tree, if it could be parsed; its meaning, if nothing in `diagnostics` is an error."""

    tree: CommandTree | None
    command: Command | None
    diagnostics: tuple[Diagnostic, ...] = ()


def read_command(line: str, name: str = "<command>") -> ReadCommand:
    """What a line means, with every mistake in it."""
    source = Source(name, line)
    try:
        tree = parse_command(source)
    except CommandError as error:
        return ReadCommand(None, None, (_with_usage(error),))
    if tree.inner is None or not any(scheduling_mistakes(tree, source)):
        with suppress(Unfit):
            return ReadCommand(tree, _meaning(tree, line))
    mistakes = tuple(_mistakes(tree, source))
    assert mistakes, "what has no meaning has a mistake"
    return ReadCommand(tree, None, mistakes)


def is_json(line: str) -> bool:
    """Whether a line is `json COMMAND`, even if the command is wrong: its error is data then, as its answer would be."""
    return outer_form(line) == "json"


def check_command(source: Source) -> tuple[CommandTree | None, list[Diagnostic]]:
    """The tree of a line, if it can be parsed, and every mistake in it."""
    try:
        tree = parse_command(source)
    except CommandError as error:
        return None, [_with_usage(error)]
    return tree, list(_mistakes(tree, source))


def _with_usage(error: CommandError) -> Diagnostic:
    """Names the words that are missing, where the grammar knows only that some are."""
    unfinished = " ".join(error.unfinished.lower().split())
    usage = next((form.usage for form in FORMS.values() if form.name == unfinished), None)
    return replace(error.diagnostic, help=f"usage: `{usage}`") if usage else error.diagnostic


def _meaning(tree: CommandTree, line: str) -> Command:
    """Raises Unfit when a word does not mean what it should."""
    command: Command | None = None
    for level in reversed(list(tree.nest())):
        words = tuple([word.value for word in level.words])
        milliseconds = _milliseconds(level) if level.form in _TIMES else None
        if read_path := PATHS.get(level.form):
            words = read_path(level, line)
        if level.form == "run_wait":
            command = Command("run", words, None, None, _waited_for(level))
        command = Command(level.form, words, milliseconds, command, level.text)
    assert command is not None
    return command


def _waited_for(tree: CommandTree) -> str:
    """The line of the run that `run --wait` waits for. A program `--wait` needs no quotes only behind the option."""
    program = tree.words[0].span
    name = tree.text[program.start - tree.span.start : program.end - tree.span.start]
    rest = tree.text[program.end - tree.span.start :]
    return f'run "{name}"{rest}' if name == "--wait" else f"run {name}{rest}"


_TIMES = {"sched_at": instant, "sched_in": positive_duration, "sched_every": period}


def _milliseconds(tree: CommandTree) -> int:
    return _TIMES[tree.form](tree.words[0].value)


def _mistakes(tree: CommandTree, source: Source) -> Iterator[Diagnostic]:
    if tree.inner is not None:
        yield from scheduling_mistakes(tree, source)
    for level in tree.nest():
        if read_time := _TIMES.get(level.form):
            try:
                read_time(level.words[0].value)
            except Unfit as unfit:
                yield Diagnostic(unfit.code, unfit.message, unfit.help, source, level.words[0].span)
        elif read_path := PATHS.get(level.form):
            try:
                read_path(level, source.text)
            except Unfit as unfit:
                usage = f"; usage: `{FORMS[level.form].usage}`" if unfit.code in ("E109", "E508") else ""
                help = f"{unfit.help}{usage}"
                yield Diagnostic(unfit.code, unfit.message, help, source, unfit.span or level.span)


def scheduling_mistakes(
    tree: CommandTree, source: Source, scheduled: bool = False, recurrent: bool = False
) -> Iterator[Diagnostic]:
    """What may not be scheduled, or not again and again; the arguments say how the outermost command is."""
    command: CommandTree | None = tree
    while command is not None:
        if scheduled and (why_not := _why_not_scheduled(command, recurrent)):
            yield Diagnostic("E303", *why_not, source, Span(command.start, _head_end(command)))
        scheduled = scheduled or command.form in _TIMES
        recurrent = recurrent or command.form == "sched_every"
        command = command.inner


def _why_not_scheduled(command: CommandTree, recurrent: bool) -> tuple[str, str] | None:
    """Why a command may not run later, or not again and again, and what to do instead."""
    form = FORMS[command.form]
    if not form.schedulable:
        return f"`{form.name}` cannot be scheduled", form.instead or "it is for the console"
    if recurrent and not form.recurrent:
        return f"`{form.name}` cannot be recurrent", "schedule it once, with `sched in` or `sched at`"
    if recurrent and command.form == "sched_every":
        help = "each period would add one more recurrent job; schedule the inner command alone"
        return "`sched every` inside `sched every`", help
    return None


def _head_end(command: CommandTree) -> int:
    if command.words:
        return command.words[0].end
    return command.inner.start - 1 if command.inner else command.span.end


def drop_mistakes(tree: CommandTree, source: Source) -> Iterator[Diagnostic]:
    """What a command file may not hold: commands whose effect is more than rows."""
    command = tree
    while command.form == "json" and command.inner is not None:
        command = command.inner
    form = FORMS[command.form]
    if not form.drop:
        help = form.instead or "a drop may hold `sched ...`, `config get|set|unset` and `run`; use the console for this"
        yield Diagnostic("E304", f"`{form.name}` cannot stand in a drop", help, source, command.span)


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
