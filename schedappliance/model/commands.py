"""The console commands: the table of their forms, the meaning of a line, and how a command is stored and authorized.

Rule: a Command is well formed by itself. references.py checks whether the programs and jobs that it names exist.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain, takewhile
from typing import Any, NamedTuple

from schedappliance.diagnostics import Diagnostic, InvalidValue, Source, Span
from schedappliance.model.command_words import CHECKS, OF_JOBS, read_jobs, spelled
from schedappliance.model.listings import ALL, FILTERS, WITH_KEYWORDS, is_pattern, read_listing
from schedappliance.model.moments import read_when
from schedappliance.model.option_paths import PATHS
from schedappliance.model.options import STANZAS
from schedappliance.model.values import period, positive_duration
from schedappliance.syntax.command import CommandError, CommandTree, outer_form, parse_command
from schedappliance.syntax.grammars import GRAMMAR_VERSION
from schedappliance.syntax.printer import quoted

MAX_LINE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class CommandForm:
    """One form of command.

    `drop`: a drop may contain it. `changes`: it changes something, so it is logged with user, origin and outcome.
    `instead`: a remedy of its own for a form that can be neither scheduled nor dropped.
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
        """The words that make the form: its usage up to the first word in capitals or brackets."""
        return " ".join(takewhile(lambda word: word.islower() and word[0] != "[", self.usage.split()))


FORMS: dict[str, CommandForm] = {
    "sched_at": CommandForm(
        "sched at WHEN COMMAND",
        "schedule COMMAND once at WHEN, in the zone of `sched` if WHEN names none: `08:00`, `0800`, `8am`, `noon`,"
        " `midnight`, `tomorrow`, `tomorrow 08:00`, `08:00 tomorrow`, `2026-11-29 08:00 Europe/Berlin`,"
        " `now + 5 minutes`, a Unix timestamp, or ISO 8601 with zone; print the job's id",
        drop=True,
        changes=True,
    ),
    "sched_in": CommandForm(
        "sched in SECONDS COMMAND",
        "schedule COMMAND once, SECONDS from now (90, 1.5, 15m, 2h30m, 1d); print the job's id",
        drop=True,
        changes=True,
    ),
    "sched_every": CommandForm(
        "sched every SECONDS COMMAND",
        "schedule COMMAND every SECONDS, for the first time one period from now; print the job's id",
        drop=True,
        changes=True,
    ),
    "sched_cron": CommandForm(
        "sched cron WHEN COMMAND",
        'schedule COMMAND at the times of a cron expression, such as "30 2 * * 1-5" or @daily; print the job\'s id',
        drop=True,
        changes=True,
    ),
    "sched_calendar": CommandForm(
        "sched calendar WHEN COMMAND",
        'schedule COMMAND at the times of a calendar expression, such as "Mon..Fri 02:30"; print the job\'s id',
        drop=True,
        changes=True,
    ),
    "sched_list": CommandForm(
        "sched list [find TEXT] [limit NUMBER] [after ID]",
        "list the jobs, the next one due first; TEXT is a part of the id, the name or the command",
        drop=True,
    ),
    "sched_next": CommandForm("sched next ID [COUNT]", "show the next due times of a job, 10 by default", drop=True),
    "sched_delete": CommandForm("sched delete ID", "delete a job and cancel its waiting runs", drop=True, changes=True),
    "sched_history": CommandForm(
        "sched history [ID] [state STATE[,STATE...]] [since TIME] [until TIME] [active TIME] [before RUN] [limit NUMBER]",
        "list the last runs, 100 by default, of one job or of all; TIME is a due time, such as 12h (ago), 22:00 or"
        " 2026-11-28",
        drop=True,
    ),
    "sched_show": CommandForm(
        "sched show ID [output none]",
        "show everything about a job, or about a run (ID/OCCURRENCE) with its output; `output none` leaves outputs out",
        drop=True,
    ),
    "sched_output": CommandForm(
        "sched output RUN [attempt NUMBER] [from BYTE] [as base64]",
        "show the output of a run, even while it runs; by default that of the last attempt, from its beginning",
        schedulable=False,
    ),
    "sched_why": CommandForm("sched why ID", "explain why a job runs next, did not run, or will not run", drop=True),
    "sched_run": CommandForm("sched run ID", "run a job now; its due times do not change", drop=True, changes=True),
    "sched_stop": CommandForm(
        "sched stop RUN",
        "end the program of a run with SIGTERM, and after `kill_after` with SIGKILL; cancel a run that waits",
        drop=True,
        changes=True,
    ),
    "sched_wait": CommandForm(
        "sched wait RUN [timeout DURATION]",
        "wait until a run has ended, and exit with the status of its program",
        schedulable=False,
        instead="remove it; no client waits for the answer",
    ),
    "sched_pause": CommandForm(
        "sched pause ID|PATTERN|--all",
        "pause a job until it is resumed, and cancel its waiting runs; PATTERN, such as `backup-*`, matches names and ids of"
        " declared jobs",
        drop=True,
        changes=True,
    ),
    "sched_resume": CommandForm("sched resume ID|PATTERN|--all", "resume paused jobs", drop=True, changes=True),
    "sched_hold": CommandForm(
        "sched hold [for DURATION] [REASON]",
        "start nothing new until `sched release`, or for DURATION; running programs go on, and due times wait",
        drop=True,
        changes=True,
    ),
    "sched_release": CommandForm(
        "sched release",
        "end `sched hold`; due times that passed are caught up or missed as `catch_up` says",
        drop=True,
        changes=True,
        schedulable=False,
        instead="no job runs while the appliance is held: write `sched hold for DURATION`, or give it on the console",
    ),
    "sched_incidents": CommandForm(
        "sched incidents [after NUMBER] [limit NUMBER]", "list the jobs that have failed and not recovered", drop=True
    ),
    "sched_ack": CommandForm(
        "sched ack ID", "acknowledge an incident, or all of a job: no reminder follows", drop=True, changes=True
    ),
    "run": CommandForm(
        "run PROGRAM [ARGS...]", "start a declared program now; print the run's id", drop=True, changes=True
    ),
    "run_wait": CommandForm(
        "run --wait PROGRAM [ARGS...]",
        "start a declared program now and wait until it ends; print its output, and exit with its status",
        changes=True,
        schedulable=False,
        instead="remove `--wait`; no client waits for the answer",
    ),
    "config_get": CommandForm(
        "config get [SCOPE] OPTION",
        "show an option as set in one scope: global, `sched`, `program NAME` or `job NAME`",
        drop=True,
    ),
    "config_eval": CommandForm(
        "config eval [SCOPE] OPTION",
        "show the effective value of an option: as set in the scope, or its default, or the global option of that name",
    ),
    "config_set": CommandForm(
        "config set [SCOPE] OPTION [=] VALUE",
        "set an option until the next `config reload`",
        drop=True,
        changes=True,
    ),
    "config_unset": CommandForm(
        "config unset [SCOPE] [OPTION]",
        "undo `config set` for an option, or for all options of a stanza",
        drop=True,
        changes=True,
    ),
    "config_show": CommandForm("config show [SCOPE]", "show one level of the configuration in effect"),
    "config_showrecurse": CommandForm(
        "config showrecurse [SCOPE]", "show the whole configuration in effect, as a stanza file"
    ),
    "config_begin": CommandForm(
        "config begin",
        "begin a transaction: the changes that follow on this connection take effect together, at `config commit`",
        changes=True,
        schedulable=False,
    ),
    "config_commit": CommandForm(
        "config commit", "put the changes of the transaction into effect", changes=True, schedulable=False
    ),
    "config_rollback": CommandForm(
        "config rollback", "discard the changes of the transaction", changes=True, schedulable=False
    ),
    "config_reload": CommandForm(
        "config reload", "read the stanza files again, and undo every `config set`", changes=True
    ),
    "config_status": CommandForm(
        "config status", "show the active files, the result of the last reload, and the options that are set"
    ),
    "config_history": CommandForm("config history", "list the generations of the stanza files"),
    "config_diff": CommandForm(
        "config diff [GENERATION]",
        "show what changed from a generation, by default the previous one, to the active one",
    ),
    "authz_id": CommandForm("authz id", "show your user and your roles, as the appliance sees them"),
    "authz_roles_list": CommandForm("authz roles list", "list the declared roles"),
    "authz_may": CommandForm("authz may COMMAND", "tell whether your roles allow COMMAND; the exit status is 0 or 1"),
    "spool_list": CommandForm("spool list", "list the files in the spool, and the last results of drops"),
    "spool_why": CommandForm("spool why NAME", "show the result of a drop, or why it is still waiting"),
    "spool_retry": CommandForm("spool retry NAME", "drop a failed file again", changes=True, schedulable=False),
    "help": CommandForm("help [COMMAND]", "list the commands, or explain one"),
    "version": CommandForm("version", "show the version"),
    "pid": CommandForm("pid", "show the process id of the daemon"),
    "health": CommandForm(
        "health", "show `ok`, or what is wrong; the exit status is 1 if commands or programs cannot run"
    ),
    "summary": CommandForm("summary", "show the statistics"),
    "summary_reset": CommandForm("summary reset", "set the statistics to zero", changes=True),
    "metrics": CommandForm("metrics", "show what is counted and measured; `json metrics` is for monitoring programs"),
    "preview": CommandForm(
        "preview [DURATION] [job ID|PATTERN] [limit NUMBER]",
        "show which jobs will run in the next DURATION, and which will not; by default for 24h, and at most 100 rows",
        schedulable=False,
    ),
    "watch": CommandForm(
        "watch [NUMBER]",
        "send each event to this client as JSON; with NUMBER, send the kept events after that one first; for programs",
        schedulable=False,
    ),
    "shutdown": CommandForm("shutdown [--keep]", "stop; with --keep, programs run on", changes=True, recurrent=False),
    "quit": CommandForm("quit", "leave the console", schedulable=False),
    "json": CommandForm("json COMMAND", "answer COMMAND with data: JSON on one line", drop=True),
}


class Command(NamedTuple):
    """The meaning of a line. `milliseconds`: the due time of `at`, the wait of `in`, or the period of `every`.

    It is None for a time of `at` that depends on now or on a time zone, until the command is carried out.

    `words` are the words without those of the form; for `config` they are a path in the option tree; none after `sched
    pause` mean all jobs. `text` is the command as it was given, without the blanks at both ends.
    """

    form: str
    words: tuple[str, ...]
    milliseconds: int | None
    inner: Command | None
    text: str

    def nest(self) -> Iterator[Command]:
        """The command, and every command inside it."""
        command: Command | None = self
        while command is not None:
            yield command
            command = command.inner

    @property
    def bare(self) -> Command:
        """The command without the prefix `json`."""
        command = self
        while command.form == "json" and command.inner is not None:
            command = command.inner
        return command


class ReadCommand(NamedTuple):
    """A line that was read: its tree, if it could be parsed; its meaning, if no diagnostic is an error."""

    tree: CommandTree | None
    command: Command | None
    diagnostics: tuple[Diagnostic, ...] = ()


def read_command(line: str) -> ReadCommand:
    """The meaning of a line, or every mistake in it."""
    try:
        tree = parse_command(line)
    except CommandError as error:
        return ReadCommand(None, None, (_with_usage(error),))
    if tree.inner is None or not any(_objections(tree)):
        with suppress(InvalidValue):
            return ReadCommand(tree, _meaning(tree, line))
    # Mistakes are looked for only after a failure, so that a correct line is read fast.
    mistakes = tuple(_mistakes(tree, Source.of_command(line)))
    assert mistakes, "a line without meaning has a mistake"
    return ReadCommand(tree, None, mistakes)


def read_scheduled(line: str, recurrent: bool) -> ReadCommand:
    """The meaning of a line that a stanza schedules, or every mistake in it."""
    read = read_command(line)
    # The stanza schedules the command, so `scheduling_mistakes` is asked again with that in mind, and replaces E303.
    mistakes = [mistake for mistake in read.diagnostics if mistake.code != "E303"]
    if read.tree:
        mistakes += scheduling_mistakes(read.tree, Source.of_command(line), scheduled=True, recurrent=recurrent)
    return read._replace(diagnostics=tuple(mistakes))


def run_line(program: str) -> str:
    """The line that starts a program without arguments."""
    return f"run {_shown(program)}"


def is_json(line: str) -> bool:
    """Whether a line is `json COMMAND`. If the command is wrong, its error is data too, as the answer would be."""
    return outer_form(line) == "json"


def _with_usage(error: CommandError) -> Diagnostic:
    """Replaces the remedy by the usage if words are missing: the grammar does not know which words."""
    form_name = " ".join(error.unfinished.lower().split())
    usage = next((form.usage for form in FORMS.values() if form.name == form_name), None)
    return replace(error.diagnostic, help=f"usage: `{usage}`") if usage else error.diagnostic


def _meaning(tree: CommandTree, line: str) -> Command:
    """The Command of a tree. Raises InvalidValue if a time, a period or a path is invalid."""
    inner = None if tree.inner is None else _meaning(tree.inner, line)
    words = tuple([word.value for word in tree.words])
    milliseconds = _milliseconds(tree) if tree.form in _TIMES else None
    if read_words := _WORDS.get(tree.form):
        words = read_words(tree, line)
    elif check := CHECKS.get(tree.form):
        check(tree.words)
    if tree.form == "run_wait":
        inner = Command("run", words, None, None, _awaited_line(tree))
    return Command(tree.form, words, milliseconds, inner, tree.text)


def _awaited_line(tree: CommandTree) -> str:
    """The line `run NAME` for `run --wait NAME`. A program named `--wait` needs quotes in the first, not in the second."""
    program = tree.words[0].span
    name = tree.text[program.start - tree.span.start : program.end - tree.span.start]
    rest = tree.text[program.end - tree.span.start :]
    return f'run "{name}"{rest}' if name == _WAIT else f"run {name}{rest}"


_WAIT = "--wait"


def _at(text: str) -> int | None:
    when = read_when(text)
    return when if isinstance(when, int) else None


def _cron(text: str) -> None:
    # Only these two commands need the calendars. Their modules take as long to import as all the others of a client.
    from schedappliance.model.calendars.checks import check_cron

    check_cron(text)


def _calendar(text: str) -> None:
    from schedappliance.model.calendars.checks import check_calendar

    check_calendar(text)


# What a scheduling command reads from its first word: milliseconds, or nothing but mistakes.
_TIMES: dict[str, Callable[[str], int | None]] = {
    "sched_at": _at,
    "sched_in": positive_duration,
    "sched_every": period,
    "sched_cron": _cron,
    "sched_calendar": _calendar,
}


# What reads the words of a command from its tree and its line.
_WORDS: dict[str, Callable[[CommandTree, str], tuple[str, ...]]] = PATHS | dict.fromkeys(OF_JOBS, read_jobs)

RECURRENT = ("sched_every", "sched_cron", "sched_calendar")


def _milliseconds(tree: CommandTree) -> int | None:
    return _TIMES[tree.form](tree.words[0].value)


def _mistakes(tree: CommandTree, source: Source) -> Iterator[Diagnostic]:
    if tree.inner is not None:
        yield from scheduling_mistakes(tree, source)
    for level in tree.nest():
        try:
            if level.form in _TIMES:
                _milliseconds(level)
            elif read_words := _WORDS.get(level.form):
                read_words(level, source.text)
            elif check := CHECKS.get(level.form):
                check(level.words)
        except InvalidValue as invalid:
            mistake = _mistake(invalid, source, level)
            if mistake.code in ("E109", "E508"):
                mistake = replace(mistake, help=f"{mistake.help}; usage: `{FORMS[level.form].usage}`")
            yield mistake


def _mistake(invalid: InvalidValue, source: Source, level: CommandTree) -> Diagnostic:
    """A mistake in its place. A part of an expression is a part of its word, which is in quotes."""
    if level.form not in _TIMES:
        return invalid.diagnostic(source, level.span)
    word = level.words[0]
    begin = source.text.find(word.value, word.start, word.end)
    if invalid.span is None or begin < 0:
        return invalid.at(word.span).diagnostic(source, word.span)
    return invalid.at(invalid.span.shifted(begin)).diagnostic(source, word.span)


def scheduling_mistakes(
    tree: CommandTree, source: Source, scheduled: bool = False, recurrent: bool = False
) -> Iterator[Diagnostic]:
    """The commands in a tree that cannot be scheduled, or cannot be recurrent.

    `scheduled` and `recurrent` say how the outermost command is used.
    """
    for command, objection in _objections(tree, scheduled, recurrent):
        yield Diagnostic("E303", *objection, source, Span(command.start, _head_end(command)))


def _objections(
    tree: CommandTree, scheduled: bool = False, recurrent: bool = False
) -> Iterator[tuple[CommandTree, tuple[str, str]]]:
    outer = "a recurrent job" if recurrent else None
    for command in tree.nest():
        if scheduled and (objection := _objection(command, outer)):
            yield command, objection
        scheduled = scheduled or command.form in _TIMES
        if outer is None and command.form in RECURRENT:
            outer = f"`{FORMS[command.form].name}`"


def _objection(command: CommandTree, outer: str | None) -> tuple[str, str] | None:
    """Message and remedy for a command that cannot be scheduled, or cannot be recurrent. `outer`: what makes it recurrent."""
    form = FORMS[command.form]
    if not form.schedulable:
        return f"`{form.name}` cannot be scheduled", form.instead or "give it on the console"
    if _searches(command):
        return f"`{form.name}` with a search cannot be scheduled", "give it on the console"
    if outer and not form.recurrent:
        return f"`{form.name}` cannot be recurrent", "schedule it once, with `sched in` or `sched at`"
    if outer and command.form in RECURRENT:
        remedy = "schedule the inner command alone; each period would add one more recurrent job"
        return f"`{form.name}` is not allowed inside {outer}", remedy
    return None


def _searches(command: CommandTree) -> bool:
    """Whether a command searches jobs or runs, which may take long: it would delay everything that is due."""
    if command.form in ("sched_history", "sched_list"):
        with suppress(InvalidValue):
            return read_listing(command.form, command.words).searches
    return False


def _head_end(command: CommandTree) -> int:
    """The end of the form and of the first word of a command."""
    if command.words:
        return command.words[0].end
    return command.inner.start - 1 if command.inner else command.span.end


def drop_mistakes(tree: CommandTree, source: Source) -> Iterator[Diagnostic]:
    """Mistakes of a command that a drop may not contain. A drop is one transaction, so its commands change only rows."""
    command = tree
    while command.form == "json" and command.inner is not None:
        command = command.inner
    form = FORMS[command.form]
    if not form.drop:
        allowed = "a drop may contain `sched ...`, `config get|set|unset` and `run`; use the console for other commands"
        yield Diagnostic(
            "E304", f"`{form.name}` is not allowed in a drop", form.instead or allowed, source, command.span
        )
    elif _searches(command):
        message = f"`{form.name}` with a search is not allowed in a drop"
        yield Diagnostic("E304", message, "give it on the console", source, command.span)


# `json.dumps` makes an encoder for each command: 7 µs instead of 4.
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def pack(command: Command) -> str:
    """The stored form of a command, so that a run need not parse the text again."""
    return _encode(_as_data(command))


def _as_data(command: Command) -> list[Any]:
    inner = None if command.inner is None else _as_data(command.inner)
    return [command.form, command.words, command.milliseconds, inner, command.text]


_DECODER = json.JSONDecoder()
# A longer command is decoded each time, so that the cache holds at most 2 MB.
LONGEST_CACHED = 1000


def unpack(packed: str, grammar: int, text: str) -> Command | None:
    """The command of a stored row; None when its text is no longer a command.

    The text is parsed again when another version of the grammar stored the row, or when `packed` is damaged.
    """
    if grammar == GRAMMAR_VERSION:
        command = _cached(packed) if len(packed) <= LONGEST_CACHED else _decode(packed)
        if command is not None:
            return command
    return read_command(text).command


def _decode(packed: str) -> Command | None:
    """None when `pack` cannot have made this."""
    try:
        data, end = _DECODER.raw_decode(packed)
        return _from_data(data) if end == len(packed) else None
    except (ValueError, TypeError):
        return None


# A recurrent job has the same command at each due time. A hit takes 8 % of the time of decoding.
_cached = lru_cache(maxsize=1024)(_decode)


def _from_data(data: list[Any]) -> Command:
    """Raises ValueError or TypeError when `pack` cannot have made this."""
    form, words, milliseconds, inner, text = data
    if form not in FORMS:
        raise ValueError(form)
    return Command(form, tuple(words), milliseconds, _from_data(inner) if inner else None, text)


def canonical_line(command: Command) -> str:
    """The line in which the patterns of roles are searched. It is built from the meaning of the command, not its spelling.

    Verbs are in lower case, there are single blanks and no `json`; words are in double quotes where they need it. So
    commands that differ have lines that differ.
    """
    levels = [level for level in command.nest() if level.form != "json"]
    if levels[0].form == "run_wait":
        # The inner `run` is the same command, without `--wait`.
        del levels[1:]
    return " ".join(part for level in levels for part in (FORMS[level.form].name, *_shown_words(level)))


def _shown_words(command: Command) -> Iterator[str]:
    """The words of a command, quoted where they need it.

    The pattern of jobs is always quoted: a role that allows `sched pause job.` does not allow `sched pause job*`.
    So is the job with the name `--all`.
    """
    names_jobs = command.form in OF_JOBS and bool(command.words)
    for word in _words(command):
        yield quoted(word) if names_jobs and (word == ALL or is_pattern(word)) else _shown(word)


def required_lines(command: Command) -> Iterator[str]:
    """The canonical lines that roles must allow: that of the command, and that of every command inside it."""
    return (canonical_line(level) for level in command.nest() if level.form != "json")


def next_page(command: Command, name: str, value: str) -> str:
    """The line of a listing command that continues a list: with the filter `name` at this value."""
    key, pairs = _filters(command.words)
    others = [word for pair in pairs if pair[0] != name for word in pair]
    return " ".join([FORMS[command.form].name, *map(_shown, (*key, *others, name, value))])


def _filters(words: Sequence[str]) -> tuple[Sequence[str], list[tuple[str, str]]]:
    """The id in a listing command, if there is one, and its filters."""
    first = len(words) % 2
    return words[:first], [
        (name.lower(), value.lower() if name.lower() in WITH_KEYWORDS else value)
        for name, value in zip(words[first::2], words[first + 1 :: 2], strict=True)
    ]


def _words(command: Command) -> Sequence[str]:
    """The words of a command; the path of a `config` command in one spelling, without its empty parts."""
    if words := spelled(command.form, command.words):
        return words
    if command.form in FILTERS:
        key, pairs = _filters(command.words)
        return *key, *chain.from_iterable(pairs)
    if not command.form.startswith("config_") or len(command.words) < 2:
        return command.words
    stanza, name, *rest = command.words
    spec = STANZAS.get(stanza)
    scope = [] if spec is None else [stanza, name] if spec.named else [stanza]
    option = [rest[0].lower()] if rest and rest[0] else []
    return [*scope, *option, *rest[1:]]


def _shown(word: str) -> str:
    """A word, quoted unless it is clearly one word: no pattern may take a part of it for a blank or for `--wait`."""
    if not word or word == _WAIT or any(character.isspace() or character in "\"'" for character in word):
        return quoted(word)
    return word
