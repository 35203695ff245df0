"""Reads a `job` stanza into a DeclaredJob, and into a Program if it has `argv`. Rule: a stanza with an error declares no job."""

from __future__ import annotations

from schedappliance.diagnostics import has_errors
from schedappliance.model.closure import Block
from schedappliance.model.commands import ReadCommand, read_command, read_scheduled, run_line
from schedappliance.model.configuration import DeclaredJob, Defaults, Program, ReadOptions
from schedappliance.model.options import BOOT, OF_ITS_PROGRAM, STANZAS
from schedappliance.model.programs import program_of
from schedappliance.model.schedules import AtBoot, Every, Once
from schedappliance.model.stanza_options import Place, StanzaReader


def read_job(
    reader: StanzaReader, block: Block, name: str, defaults: Defaults | None
) -> tuple[DeclaredJob | None, Program | None]:
    """The job that a stanza declares, None if the stanza has an error; and the program that it declares with `argv`."""
    before = len(reader.diagnostics)
    options, names = reader.options(STANZAS["job"], f'job "{name}"', block.body, block.head)
    _check_times(reader, names, name, block.head)
    _check_delay(reader, options, names, name)
    _check_command(reader, names, name, block.head)
    program = program_of(reader, block, name, options, defaults) if "argv" in names else None
    text = options.get("command")
    read = (
        read_command(run_line(name)) if program else _command(reader, options, name, "every" in names) if text else None
    )
    schedule = _schedule(options)
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


def _schedule(options: ReadOptions) -> Once | Every | AtBoot | None:
    """None without a time, which is no error of its own where a part of the stanza could not be read."""
    if "every" in options:
        return Every(options["every"].value, options["offset"].value if "offset" in options else 0)
    if "at" in options and options["at"].value == BOOT:
        return AtBoot(options["delay"].value if "delay" in options else 0)
    return Once(options["at"].value) if "at" in options else None


def _check_times(reader: StanzaReader, names: set[str], name: str, head: Place) -> None:
    """Reports a job that has not exactly one of `every` and `at`, or has `offset` without `every`."""
    known = set(STANZAS["job"].options)
    if names >= known:
        return
    if "every" in names and "at" in names:
        reader.report("E211", f'job "{name}" has both `every` and `at`', "remove one of them", *head)
    elif "every" not in names and "at" not in names and names <= known:
        remedy = "add `every = SECONDS` or `at = TIME`"
        reader.report("E205", f'job "{name}" has neither `every` nor `at`', remedy, *head)
    elif "at" in names and "offset" in names:
        reader.report("E211", f'job "{name}" has `offset` without `every`', "remove it", *head)


def _check_delay(reader: StanzaReader, options: ReadOptions, names: set[str], name: str) -> None:
    """Reports `delay` beside anything but `at = boot`. A wrong `at` is reported already."""
    at, delay = options.get("at"), options.get("delay")
    if delay and ("at" not in names or (at and at.value != BOOT)):
        reader.report("E211", f'job "{name}" has `delay` without `at = boot`', "remove it", delay.source, delay.span)
