"""`preview`: which jobs will run and which will not. A child process of the daemon finds it out, and answers later.

Rule: the engine of the simulation never runs on the thread that runs jobs.
"""

from __future__ import annotations

from schedappliance.commands.lookup import matching_jobs, number_of
from schedappliance.commands.outcome import AfterPreview, Outcome
from schedappliance.commands.view import View
from schedappliance.diagnostics import shortened
from schedappliance.engine.effects import Answer
from schedappliance.engine.events import PreviewMade
from schedappliance.model.commands import Command
from schedappliance.model.listings import read_wanted_preview
from schedappliance.syntax.command import Word


def show_preview(view: View, command: Command) -> Outcome:
    wanted = read_wanted_preview([Word(word, 0, 0) for word in command.words])
    if wanted.job is not None:
        jobs = matching_jobs(view.store, wanted.job)
        if jobs is None:
            number_of(view, wanted.job)
        elif not jobs:
            raise view.reject("E501", f"no job matches `{shortened(wanted.job)}`", "`sched list` shows the jobs")
    return Outcome(pending=AfterPreview(wanted.period_ms, wanted.limit, wanted.job, view.order.as_json))


def preview_answer(view: View, event: PreviewMade) -> Outcome:
    """The answer to `preview`, after the child has ended. Raises Rejected if it has failed."""
    if event.problem is not None:
        remedy = "; ".join(filter(None, ("jobs run as before", event.remedy)))
        raise view.reject("E516", f"there is no preview: {event.problem}", remedy)
    return Outcome(Answer(event.text, is_json=view.order.as_json, note=event.note))
