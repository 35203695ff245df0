"""Errors of the API: problems as RFC 9457 describes them, with the diagnostics of the appliance."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from schedappliance.client.errors import Unavailable
from schedappliance.client.wire import Message
from schedappliance.diagnostics import CODES
from schedappliance.web.access.refusal import problem

EXPLANATIONS = "https://github.com/schedappliance/schedappliance/blob/main/schedappliance/lint/explanations"
# The statuses of diagnostics. All others mean that the command is wrong.
STATUSES = {
    **dict.fromkeys(("E301", "E310", "E501", "E511", "E513"), HTTPStatus.NOT_FOUND),
    **dict.fromkeys(("E502", "E508", "E509", "E510"), HTTPStatus.CONFLICT),
    **dict.fromkeys(("E504", "E505"), HTTPStatus.SERVICE_UNAVAILABLE),
    "E506": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "E512": HTTPStatus.FORBIDDEN,
    "E514": HTTPStatus.REQUEST_TIMEOUT,
}


class Problem(Exception):
    """A request that is not carried out."""

    def __init__(self, status: HTTPStatus, detail: str) -> None:
        super().__init__(detail)
        self.status = status


def status_of(code: str | None) -> HTTPStatus:
    """The status of a rejection, by the code of its first mistake."""
    return STATUSES.get(code or "", HTTPStatus.UNPROCESSABLE_ENTITY)


def rejected(message: Message) -> Response:
    diagnostics = message.get("diagnostics") or []
    errors = [one for one in diagnostics if one["severity"] == "error"] or diagnostics
    code = errors[0]["code"] if errors else None
    status = status_of(code)
    members: dict[str, Any] = {"diagnostics": diagnostics}
    if code is not None:
        members["type"] = f"{EXPLANATIONS}/{code}.md"
    if message.get("data") is not None:
        members["data"] = message["data"]
    title = CODES[code].capitalize() if code in CODES else status.phrase
    return problem(status, title, str(message.get("error")), **members)


async def _problem(_request: Request, error: Problem) -> Response:
    return problem(error.status, error.status.phrase, str(error))


async def _http_problem(_request: Request, error: HTTPException) -> Response:
    answer = problem(error.status_code, HTTPStatus(error.status_code).phrase, str(error.detail))
    answer.headers.update(error.headers or {})
    return answer


async def _unavailable(request: Request, error: Unavailable) -> Response:
    """504: a change was sent. The appliance may have carried it out."""
    is_lost = error.unanswered and request.method != "GET"
    status = HTTPStatus.GATEWAY_TIMEOUT if is_lost else HTTPStatus.SERVICE_UNAVAILABLE
    answer = problem(status, "The appliance does not answer", str(error))
    answer.headers["retry-after"] = "1"
    return answer


async def client_has_left(_request: Request, _error: ClientDisconnect) -> Response:
    """Nobody reads the answer to a request whose body has no end. It is no bug of the page."""
    return Response(status_code=HTTPStatus.BAD_REQUEST)


HANDLERS: Mapping[Any, Any] = {
    HTTPException: _http_problem,
    Problem: _problem,
    Unavailable: _unavailable,
    ClientDisconnect: client_has_left,
}
