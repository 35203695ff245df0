"""Why a request is not let in, and how this is answered. Rule: an answer says nothing about the appliance."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from jinja2 import Environment
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.types import Scope

API = "/api/"
PROBLEM = "application/problem+json"


@dataclass(frozen=True, slots=True)
class Refusal:
    """`sentence`: for people. `link`: a new one-time link can be printed where the page was started."""

    status: int
    title: str
    sentence: str
    link: bool = False


class Refused(Exception):
    """The request is not let in."""

    def __init__(self, status: HTTPStatus, title: str, sentence: str, link: bool = False) -> None:
        super().__init__(sentence)
        self.refusal = Refusal(status, title, sentence, link)


def plain_refusal(_scope: Scope, refusal: Refusal) -> Response:
    return PlainTextResponse(f"{refusal.title}\n\n{refusal.sentence}\n", refusal.status)


def html_refusal(templates: Environment) -> Callable[[Scope, Refusal], Response]:
    """Refusals as pages for people."""
    template = templates.get_template("refused.html")
    return lambda _scope, refusal: HTMLResponse(
        template.render(refusal=refusal, title="schedappliance"), refusal.status
    )


def problem(status: int, title: str, detail: str, **members: object) -> Response:
    """An error of the API as RFC 9457 describes it."""
    content = {"type": "about:blank", "title": title, "status": status, "detail": detail, **members}
    return Response(json.dumps(content, ensure_ascii=False), status, media_type=PROBLEM)
