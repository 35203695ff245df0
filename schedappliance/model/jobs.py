"""Reads a `job` stanza into a DeclaredJob, and into a Program if it has `argv`. Rule: a stanza with an error declares no job."""

from __future__ import annotations

from schedappliance.diagnostics import has_errors
from schedappliance.model.closure import Block
from schedappliance.model.commands import ReadCommand, read_command, read_scheduled, run_line
from schedappliance.model.configuration import DeclaredJob, Defaults, Program, ReadOptions
from schedappliance.model.job_times import RECURRENT, check_times, schedule_of, time_options
from schedappliance.model.options import OF_ITS_PROGRAM, STANZAS
from schedappliance.model.programs import program_of
from schedappliance.model.stanza_options import Place, StanzaReader


def read_job(
    reader: StanzaReader, block: Block, name: str, defaults: Defaults | None
) -> tuple[DeclaredJob | None, Program | None]:
    """The job that a stanza declares, None if the stanza has an error; and the program that it declares with `argv`."""
    before = len(reader.diagnostics)
    options, names = reader.options(STANZAS["job"], f'job "{name}"', block.body, block.head)
    check_times(reader, options, names, name, block.head)
    _check_command(reader, names, name, block.head)
    # After a statement whose name is missing, all options count as present.
    own = "argv" in options or ("argv" in names and "command" not in names)
    program = program_of(reader, block, name, options, defaults) if own else None
    text = options.get("command")
    read = (
        read_command(run_line(name))
        if program
        else _command(reader, options, name, bool(RECURRENT & names))
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
    known = set(STANZAS["job"].options)
    if names >= known:
        return
    if "command" in names and "argv" in names:
        remedy = f"remove one of them; with `argv`, the job declares program `{name}` and runs it"
        reader.report("E211", f'job "{name}" has both `command` and `argv`', remedy, *head)
    elif "command" not in names and "argv" not in names and names <= known:
        remedy = 'add `command = "run NAME"`, or `argv = ( "/absolute/path" )`'
        reader.report("E205", f'job "{name}" has neither `command` nor `argv`', remedy, *head)
