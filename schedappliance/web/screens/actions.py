"""What a viewer does: an action is a console command, and the page that follows shows its answer.

Rule: an action that destroys something is confirmed on a page of its own. The guard has checked that the request comes from
this page and that the page is not read only; the appliance checks the roles.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from schedappliance.client import questions
from schedappliance.client.errors import Rejected, Unavailable
from schedappliance.client.questions import error_in
from schedappliance.client.wire import joined_as_is
from schedappliance.diagnostics import counted
from schedappliance.web.rendering.addresses import job_href, run_href
from schedappliance.web.screens.look import Look
from schedappliance.web.screens.messages import Answer
from schedappliance.web.screens.site import Site

# The commands that the page gives.
ACTIONS = (
    *("sched run", "sched pause", "sched resume", "sched delete", "sched stop", "sched ack", "sched hold"),
    *("sched release", "sched at", "sched in", "sched every", "sched cron", "sched calendar", "run", "spool retry"),
    "config reload",
)
BULK = ("run", "pause", "resume")
MOST_OBJECTS = 500
# The title of the page that asks again, and what the action does.
CONFIRMED = {
    "sched delete": ("Delete this job?", "The job and its waiting runs are gone for good. Its history stays."),
    "sched stop": ("Stop this run?", "Its program is ended. The run is cancelled, and it is not tried again."),
    "sched hold": ("Hold the appliance?", "Nothing new starts until the hold ends. Running programs go on."),
}
# Messages are shown in an address of this page only.
LONGEST_ADDRESS = 2000


async def confirm(look: Look) -> dict[str, Any]:
    """The page that asks again."""
    line = look.query("line")
    known = CONFIRMED.get(" ".join(line.split()[:2]))
    title, text = known or ("There is nothing to confirm", "This page does not give such a command.")
    return {"line": line if known else "", "head": title, "text": text, "next": own_address(look.query("next"))}


async def act(site: Site, request: Request) -> Response:
    """Carries out the commands of a form, and shows the page that the form names."""
    look = site.look(request)
    fields = parse_qs((await request.body()).decode(errors="replace"))
    lines = _lines(fields)
    if lines and all(map(is_action, lines)):
        answers = [await _carried_out(look, line) for line in lines]
        answer = _together(answers)
        await site.feed.read_again(one.job for one in answers if one.job)
    else:
        text = "This page does not give such a command." if lines else "Nothing is chosen."
        answer = Answer(True, next(iter(lines), ""), text)
    key = site.messages.put(look.viewer, answer)
    return RedirectResponse(_with_message(own_address(_one(fields, "next")), key), 303)


def _one(fields: dict[str, list[str]], name: str) -> str:
    return fields.get(name, [""])[0].strip()


def _lines(fields: dict[str, list[str]]) -> list[str]:
    """The commands of a form: a line, a verb with many objects, or the fields of a hold."""
    if line := _one(fields, "line"):
        return [line]
    if (verb := _one(fields, "verb")) in BULK:
        return [f"sched {verb} {joined_as_is([key])}" for key in fields.get("id", [])[:MOST_OBJECTS]]
    if verb == "hold":
        return [questions.hold(_one(fields, "reason"), _one(fields, "duration") or None).line]
    return []


def is_action(line: str) -> bool:
    """Whether the page gives such a command."""
    words = line.lower().split()
    return "\n" not in line and not {" ".join(words[:1]), " ".join(words[:2])}.isdisjoint(ACTIONS)


def own_address(text: str) -> str:
    """The address if it is one of this page, or else that of the screen Now: a redirection leads nowhere else."""
    is_own = text.startswith("/") and not text.startswith(("//", "/\\")) and len(text) <= LONGEST_ADDRESS
    return text if is_own and text.isprintable() else "/"


def _with_message(address: str, key: str) -> str:
    parts = urlsplit(address)
    query = f"{parts.query}&message={key}" if parts.query else f"message={key}"
    return f"{parts.path or '/'}?{query}"


async def _carried_out(look: Look, line: str) -> Answer:
    try:
        response = await look.ask(line)
    except Unavailable as unavailable:
        doubt = "; nobody knows whether the command was carried out" if unavailable.unanswered else ""
        return Answer(True, line, f"{unavailable}{doubt}")
    if not response["ok"]:
        error = error_in(response)
        details = error.diagnostics if isinstance(error, Rejected) else ()
        # The error is the first of them already.
        return Answer(True, line, str(error), tuple(f"{one.code}: {one.message}" for one in details[1:]))
    data = response["data"] if isinstance(response["data"], dict) else {}
    job, run = str(data.get("id") or ""), str(data.get("run") or "")
    answer = Answer(False, line, response["note"] or "Done.", job=job)
    if run:
        return answer._replace(href=run_href(run), label=run)
    if job and "deleted" not in data:
        return answer._replace(href=job_href(job), label=job)
    return answer


def _together(answers: list[Answer]) -> Answer:
    """One answer for all commands of a form."""
    if len(answers) == 1:
        return answers[0]
    failed = [answer for answer in answers if answer.is_error]
    text = f"{counted(len(answers) - len(failed), 'command')} carried out"
    if failed:
        text += f", {len(failed)} not"
    return Answer(bool(failed), "", f"{text}.", tuple(f"{one.line}: {one.text}" for one in failed[:20]))
