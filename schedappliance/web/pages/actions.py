"""What a viewer does: each action is one console command, and its answer is shown on the page that follows.

Rule: an action that destroys something is asked for twice, by a page of its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from schedappliance.client.errors import Rejected, Unavailable
from schedappliance.client.questions import error_in
from schedappliance.client.wire import quoted
from schedappliance.web.messages import Answer
from schedappliance.web.pages.look import Look
from schedappliance.web.site import Site

# The command of each action; `{}` is its object.
COMMANDS = {
    "run": "sched run {}",
    "pause": "sched pause {}",
    "resume": "sched resume {}",
    "stop": "sched stop {}",
}


def routes(site: Site) -> list[Route]:
    return [Route("/do", _handler(site), methods=["POST"])]


def _handler(site: Site) -> Callable[[Request], Awaitable[Response]]:
    async def act(request: Request) -> Response:
        look = site.look(request)
        fields = parse_qs((await request.body()).decode(errors="replace"), keep_blank_values=True)
        action, target = (fields.get(name, [""])[0] for name in ("action", "id"))
        if action not in COMMANDS or site.is_read_only:
            return Response("unknown action\n", 400)
        answer = await _answer_to(look, COMMANDS[action].format(quoted(target)))
        following = _own_address(fields.get("next", ["/"])[0])
        mark = "&" if "?" in following else "?"
        return RedirectResponse(f"{following}{mark}message={site.messages.put(look.viewer, answer)}", 303)

    return act


def _own_address(text: str) -> str:
    """An address of this page: a redirection leads nowhere else."""
    return text if text.startswith("/") and not text.startswith(("//", "/\\")) else "/"


async def _answer_to(look: Look, line: str) -> Answer:
    try:
        response: Any = await look.gateway.ask(look.viewer, line)
    except Unavailable as unavailable:
        doubt = "; nobody knows whether the command was carried out" if unavailable.unanswered else ""
        return Answer(True, line, f"{unavailable}{doubt}")
    if response["ok"]:
        return Answer(False, line, response.get("note") or "done")
    error = error_in(response)
    details = error.diagnostics if isinstance(error, Rejected) else ()
    return Answer(True, line, str(error), tuple(f"{one.code}: {one.message}" for one in details))
