"""Reads `program`, `job`, `notify` and `defaults` stanzas. A job with `argv` declares a program too.

Rule: a wrong option has its default, so that the others are checked too. A job with an error is not declared.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from schedappliance.clock import span_text
from schedappliance.diagnostics import Diagnostic, Span, command_diagnostic, has_errors, shortened
from schedappliance.model.closure import Block
from schedappliance.model.commands import FORMS, RECURRENT, ReadCommand, read_command, read_scheduled, run_line
from schedappliance.model.configuration import (
    CommandOption,
    DeclaredJob,
    Defaults,
    Notify,
    OptionUse,
    Program,
    ReadOption,
    ReadOptions,
)
from schedappliance.model.job_times import RECURRENT_TIMES, check_times, schedule_of, time_options, without_unquoted
from schedappliance.model.listings import other_meaning
from schedappliance.model.option_paths import absent
from schedappliance.model.options import NOTIFY, OF_ITS_PROGRAM, PROGRAM, STANZAS
from schedappliance.model.resources import Resources
from schedappliance.model.shell_words import first_shell_word, without_shell_words
from schedappliance.model.stanza_options import Place, StanzaReader, accounts_in, merged
from schedappliance.model.templates import references
from schedappliance.syntax.command import CommandTree
from schedappliance.syntax.tree import Dictionary, ListValue, Scalar, Value

# Nobody lets alerts wait for longer on purpose.
LONGEST_COLLECT_MS = 31 * 24 * 60 * 60 * 1000
# The values of a program that has no options.
_ABSENT = {name: absent(option) for name, option in PROGRAM.items()}


def read_defaults(reader: StanzaReader, block: Block) -> Defaults:
    """The options of all `defaults` stanzas, merged into one block."""
    options, _ = reader.options(STANZAS["defaults"], "defaults", block.body)
    return Defaults(options, program_of(reader, block, "", options, None))


def read_program(reader: StanzaReader, block: Block, name: str, defaults: Defaults | None) -> Program:
    """The program that a stanza declares. Options that are wrong have their defaults."""
    options, _ = reader.options(STANZAS["program"], f'program "{name}"', block.body, block.head)
    return program_of(reader, block, name, options, defaults)


def program_of(reader: StanzaReader, block: Block, name: str, own: ReadOptions, defaults: Defaults | None) -> Program:
    """The program that the options of a stanza describe."""
    options = _inheriting(own, defaults.options) if defaults else own
    if "argv" in own:
        _check_shell_words(reader, own["argv"])
    on_failure = _on_failure(reader, own.get("on_failure"))
    if defaults and "on_failure" not in own:
        on_failure = defaults.program.on_failure

    values = {**_ABSENT, **{option: read.value for option, read in options.items()}}
    return Program(
        name=name,
        argv=values["argv"] or (),
        args=values["args"],
        timeout_ms=values["timeout"],
        kill_after_ms=values["kill_after"],
        env=values["env"],
        cwd=values["cwd"],
        output_limit=values["output_limit"],
        umask=values["umask"],
        user=values["user"],
        group=values["group"],
        overlap=values["overlap"],
        max_running=values["max_running"],
        retries=values["retries"],
        retry_delay_ms=values["retry_delay"],
        on_interrupt=values["on_interrupt"],
        on_failure=on_failure,
        success=values["success"],
        source=block.source,
        span=block.stanza.head,
        uses=tuple(_uses(options)),
        accounts=tuple(accounts_in(options)),
        executable=(options["argv"].source, options["argv"].node.items[0].span) if "argv" in options else None,
        directory=(options["cwd"].source, options["cwd"].node.span) if "cwd" in options else None,
        stdin=values["stdin"],
        env_file=values["env_file"],
        env_file_place=(options["env_file"].source, options["env_file"].node.span) if "env_file" in options else None,
        timeout_place=(options["timeout"].source, options["timeout"].node.span) if "timeout" in options else None,
        pass_env=values["pass_env"],
        tree=values["tree"],
        resources=Resources(
            nice=values["nice"],
            ionice=values["ionice"],
            limits=tuple((name, most) for name, most in values["limits"] if most is not None),
            memory_max=values["memory_max"],
            cpu_weight=values["cpu_weight"],
        ),
        resource_places=tuple(
            (name, options[name].source, options[name].node.span) for name in Resources._fields if name in options
        ),
    )


def _check_shell_words(reader: StanzaReader, argv: ReadOption) -> None:
    index = first_shell_word(argv.value)
    if index is not None:
        message = f"`{shortened(argv.value[index])}` becomes an argument: no shell reads `argv`"
        remedy = without_shell_words(argv.value, index)
        reader.report("W425", message, remedy, argv.source, argv.node.items[index].span)


def _inheriting(own: ReadOptions, defaults: ReadOptions) -> ReadOptions:
    """The options of a stanza and those that it takes from `defaults`. Its own keys of a dictionary count before theirs."""
    options = {**defaults, **own}
    for name in ("env", "limits"):
        if name in own and name in defaults:
            options[name] = merged([defaults[name], own[name]])
    return options


def _on_failure(reader: StanzaReader, option: ReadOption | None) -> CommandOption | None:
    """The command of `on_failure`. Each failure gives it again, so it may not add a recurrent job."""
    if option is None or option.value is None:
        return None
    read = read_scheduled(option.value, recurrent=False)
    reader.report_inside(option, [*read.diagnostics, *(_recurrent_jobs(read.tree, option.value) if read.tree else ())])
    return CommandOption(read.command, read.tree, option.node, option.source) if read.command and read.tree else None


def _recurrent_jobs(tree: CommandTree, line: str) -> Iterator[Diagnostic]:
    for level in tree.nest():
        if level.form in RECURRENT:
            remedy = "declare the job in the files; each failure would add one more recurrent job"
            span = Span(level.span.start, level.words[0].span.end)
            yield command_diagnostic(
                "E303", f"`{FORMS[level.form].name}` is not allowed in `on_failure`", remedy, line, span
            )


def _uses(options: ReadOptions) -> Iterator[OptionUse]:
    """The options that a program's templates name, each at its own place in a string."""
    for name in ("argv", "env", "stdin"):
        for source, value in options[name].parts if name in options else ():
            for text in _texts(value):
                for option, span in references(text.value):
                    yield OptionUse(option, source, text.inner(span))


def _texts(value: Value) -> Iterator[Scalar]:
    if isinstance(value, Scalar):
        yield value
    elif isinstance(value, ListValue):
        yield from value.items
    elif isinstance(value, Dictionary):
        yield from (entry.value for entry in value.entries if isinstance(entry.value, Scalar))


def _check_name(reader: StanzaReader, block: Block, name: str) -> None:
    if (meaning := other_meaning(name)) and block.stanza.name:
        message = f"commands may take the name of job `{shortened(name)}` for {meaning}"
        remedy = "rename the job, or call it by its id, which `sched list` shows"
        reader.report("W431", message, remedy, block.source, block.stanza.name.span)


def read_job(
    reader: StanzaReader, block: Block, name: str, defaults: Defaults | None
) -> tuple[DeclaredJob | None, Program | None]:
    """The job that a stanza declares, None if the stanza has an error; and the program that it declares with `argv`."""
    _check_name(reader, block, name)
    before = len(reader.diagnostics)
    body, unquoted = without_unquoted(reader, block.body)
    options, names = reader.options(STANZAS["job"], f'job "{name}"', body, block.head)
    names |= unquoted
    check_times(reader, options, names, name, block)
    _check_command(reader, names, name, block.head)
    # After a statement whose name is missing, all options count as present.
    own = "argv" in options or ("argv" in names and "command" not in names)
    program = program_of(reader, block, name, options, defaults) if own else None
    text = options.get("command")
    read = (
        read_command(run_line(name))
        if program
        else _command(reader, options, name, bool(RECURRENT_TIMES & names))
        if text
        else None
    )
    schedule = schedule_of(options, name)
    if not (read and read.command and read.tree and schedule) or has_errors(reader.diagnostics[before:]):
        return None, program
    assert block.stanza.name
    job = DeclaredJob(
        name=name,
        schedule=schedule,
        command=read.command,
        enabled=options["enabled"].value if "enabled" in options else True,
        tree=read.tree,
        text=text.node if text else block.stanza.name,
        source=block.source,
        span=block.stanza.head,
        own_program=program is not None,
        catch_up=options["catch_up"].value if "catch_up" in options else None,
        catch_up_within_ms=options["catch_up_within"].value if "catch_up_within" in options else None,
        times=time_options(options),
    )
    return job, program


def _command(reader: StanzaReader, options: ReadOptions, name: str, recurrent: bool) -> ReadCommand:
    """The command of a job without `argv`, which cannot have options of a program."""
    text = options["command"]
    read = read_scheduled(text.value, recurrent)
    reader.report_inside(text, read.diagnostics)
    runs = read.tree is not None and read.tree.form == "run"
    remedy = "move it into the stanza of the program" if runs else "remove it; the command starts no program"
    for option, misplaced in options.items():
        if option in OF_ITS_PROGRAM:
            message = f'job "{name}" has `{option}` without `argv`'
            reader.report("E211", message, remedy, misplaced.source, misplaced.span)
    return read


def _check_command(reader: StanzaReader, names: set[str], name: str, head: Place) -> None:
    """Reports a job that has not exactly one of `command` and `argv`."""
    known = STANZAS["job"].options.keys()
    if names >= known:
        return
    if "command" in names and "argv" in names:
        remedy = f"remove one of them; with `argv`, the job declares program `{name}` and runs it"
        reader.report("E211", f'job "{name}" has both `command` and `argv`', remedy, *head)
    elif "command" not in names and "argv" not in names and names <= known:
        remedy = 'add `command = "run NAME"`, or `argv = ( "/absolute/path" )`'
        reader.report("E205", f'job "{name}" has neither `command` nor `argv`', remedy, *head)


def read_notify(reader: StanzaReader, block: Block, name: str) -> Notify | None:
    """The `notify` stanza; None if it has an error."""
    before = len(reader.diagnostics)
    options, _ = reader.options(STANZAS["notify"], f'notify "{name}"', block.body, block.head)
    command = _delivery(reader, options["command"]) if "command" in options else None
    if command is None or has_errors(reader.diagnostics[before:]):
        return None

    def get(option: str) -> Any:
        return options[option].value if option in options else absent(NOTIFY[option])

    if "at" in options and get("collect"):
        read = options["at"]
        reader.report("E211", f'notify "{name}" has both `at` and `collect`', "remove one", read.source, read.span)
        return None
    if get("collect") > LONGEST_COLLECT_MS:
        read = options["collect"]
        message = f"alerts of `{shortened(name)}` wait for {span_text(get('collect'))}"
        reader.report("W430", message, "give a shorter time, or `at` for a digest", read.source, read.node.span)
    jobs = options.get("jobs")
    items = () if jobs is None else (jobs.node,) if isinstance(jobs.node, Scalar) else jobs.node.items
    return Notify(
        name=name,
        jobs=get("jobs"),
        when=get("when"),
        after=get("after"),
        again_ms=get("again"),
        longer_than=get("longer_than"),
        has_incidents=get("incidents"),
        collect_ms=get("collect"),
        at=options.get("at"),
        command=command,
        source=block.source,
        span=block.stanza.head,
        patterns_place=(jobs.source, items) if jobs else None,
    )


def _delivery(reader: StanzaReader, option: ReadOption) -> CommandOption | None:
    """The command that starts the program of a `notify` stanza."""
    read = read_command(option.value)
    reader.report_inside(option, read.diagnostics)
    if read.command is None or read.tree is None:
        return None
    if read.tree.form != "run":
        remedy = "write `run NAME`; a program delivers the alerts"
        reader.report(
            "E215", "the command of `notify` does not start a program", remedy, option.source, option.node.span
        )
        return None
    return CommandOption(read.command, read.tree, option.node, option.source)
