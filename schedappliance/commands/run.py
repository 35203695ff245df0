"""`run PROGRAM [ARGS...]` as it is typed, dropped or nested: a one-shot job that is due now.

A job whose command is `run` does not come here: its run is that of the job itself.
"""

from __future__ import annotations

from schedappliance.commands.context import Context, Refused, check_room
from schedappliance.diagnostics import Source
from schedappliance.engine.effects import Answer
from schedappliance.engine.records import NewJob, RunKey, run_id
from schedappliance.model.commands import Command, read_command
from schedappliance.model.references import command_mistakes


def run(context: Context, command: Command) -> Answer:
    check_programs(context, command)
    check_room(context)
    now, mark = context.moment.wall, context.on_failure_of
    job = NewJob("run", now, None, command, context.user, context.origin, on_failure_of=mark)
    number = context.store.jobs.add(job, now)
    text = run_id(context.store.node, RunKey(number, 1))
    return context.answer(text, {"run": text})


def check_programs(context: Context, command: Command) -> None:
    """A command that a person gives must name programs that are declared now; raises Refused."""
    if context.arrived_ms is None or context.checked or _all_declared(context, command):
        return
    read = read_command(command.text)
    assert read.tree is not None
    source = Source("<command>", command.text)
    mistakes = command_mistakes(read.tree, source, context.options.configuration)
    raise Refused([mistake for mistake in mistakes if mistake.is_error])


def _all_declared(context: Context, command: Command) -> bool:
    """Parsed again only where there is something to point at."""
    programs = context.options.configuration.programs
    for level in command.nest():
        if level.form == "run":
            program = programs.get(level.words[0])
            if program is None or program.misfit(level.words[1:]):
                return False
    return True
