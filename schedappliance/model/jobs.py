"""Reads a `job` stanza into a DeclaredJob. Rule: a stanza with an error declares no job."""

from __future__ import annotations

from schedappliance.diagnostics import has_errors
from schedappliance.model.closure import Block
from schedappliance.model.commands import read_scheduled
from schedappliance.model.configuration import DeclaredJob
from schedappliance.model.options import STANZAS
from schedappliance.model.schedules import Every, Once
from schedappliance.model.stanza_options import Place, ReadOptions, StanzaReader


def read_job(reader: StanzaReader, block: Block, name: str) -> DeclaredJob | None:
    """The job that a stanza declares; None if the stanza has an error."""
    head = block.head
    before = len(reader.diagnostics)
    options, names = reader.options(STANZAS["job"], f'job "{name}"', block.body, head)
    _check_times(reader, names, name, head)
    text = options.get("command")
    read = read_scheduled(text.value, recurrent="every" in names) if text else None
    if text and read:
        reader.report_inside(text, read.diagnostics)
    schedule = _schedule(options)
    if not (text and read and read.command and read.tree and schedule) or has_errors(reader.diagnostics[before:]):
        return None
    return DeclaredJob(
        name=name,
        schedule=schedule,
        command=read.command,
        enabled=options["enabled"].value if "enabled" in options else True,
        tree=read.tree,
        text=text.node,
        source=block.source,
        span=block.stanza.head,
    )


def _schedule(options: ReadOptions) -> Once | Every | None:
    """None without a time, which is no error of its own where a part of the stanza could not be read."""
    if "every" in options:
        return Every(options["every"].value, options["offset"].value if "offset" in options else 0)
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
