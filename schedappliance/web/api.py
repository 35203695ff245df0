"""The REST API of the page, below `/api/v1`: each request is a console command of its viewer, and gives the same data.

Rule: errors are problems as RFC 9457 describes them, with the diagnostics of the appliance.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from schedappliance.client.asynchronous import AsyncSession
from schedappliance.client.errors import Error, Unavailable
from schedappliance.client.events import Follower
from schedappliance.client.wire import Message
from schedappliance.diagnostics import CODES
from schedappliance.web.gateway import Gateway
from schedappliance.web.openapi import document
from schedappliance.web.operations import OPERATIONS, Operation, Pages, Parameter
from schedappliance.web.places import Places
from schedappliance.web.refusal import problem
from schedappliance.web.viewer import Viewer

PLACE = "/api/v1"
EXPLANATIONS = "https://github.com/schedappliance/schedappliance/blob/main/schedappliance/lint/explanations"
# A comment keeps proxies from closing a quiet stream. A browser connects again after the pause.
QUIET_SECONDS, RETRY_MS = 15.0, 2000
# Each stream is a connection of its own to the console, which gives a quarter of its places to the user of the page.
MOST_STREAMS = 64
# The number of an event has 64 bits.
LONGEST_NUMBER = 19
# The statuses of diagnostics. All others mean that the command is wrong.
STATUSES = {
    **dict.fromkeys(("E301", "E310", "E501", "E511", "E513"), HTTPStatus.NOT_FOUND),
    **dict.fromkeys(("E502", "E508", "E509", "E510"), HTTPStatus.CONFLICT),
    **dict.fromkeys(("E504", "E505"), HTTPStatus.SERVICE_UNAVAILABLE),
    "E506": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "E512": HTTPStatus.FORBIDDEN,
    "E514": HTTPStatus.REQUEST_TIMEOUT,
}
# The commands of a connection. A request of HTTP has none of its own.
BOUND = ("watch", "quit", "config begin", "config commit", "config rollback")


class Problem(Exception):
    """A request that is not carried out."""

    def __init__(self, status: HTTPStatus, detail: str) -> None:
        super().__init__(detail)
        self.status = status


def api(gateway: Gateway) -> Starlette:
    """The API, to be mounted at PLACE."""
    streams = _Streams(gateway)
    described = json.dumps(document(PLACE), ensure_ascii=False, indent=1)

    async def describe(_request: Request) -> Response:
        return Response(described, media_type="application/json")

    routes = [Route(_pattern(one), _handler(gateway, one), methods=[one.method]) for one in OPERATIONS]
    routes += [Route("/events", streams.answer, methods=["GET"]), Route("/openapi.json", describe, methods=["GET"])]
    handlers: Mapping[Any, Any] = {HTTPException: _http_problem, Problem: _problem, Unavailable: _unavailable}
    return Starlette(routes=routes, exception_handlers=handlers)


def _pattern(operation: Operation) -> str:
    return operation.path.replace("{occurrence}", "{occurrence:int}").replace("{incident}", "{incident:int}")


def _handler(gateway: Gateway, operation: Operation) -> Callable[[Request], Awaitable[Response]]:
    async def handle(request: Request) -> Response:
        values = _query(operation, request) | await _body(operation, request)
        try:
            line = operation.command_of(request.path_params, values)
        except ValueError as error:
            raise Problem(HTTPStatus.BAD_REQUEST, str(error)) from None
        if operation.path == "/command" and is_bound(line):
            raise Problem(HTTPStatus.BAD_REQUEST, f"`{line}` belongs to a connection; use the console")
        message = await gateway.ask(request.state.viewer, line)
        if message.get("data") is None or not (message["ok"] or operation.path == "/health"):
            return _rejected(message)
        return JSONResponse(_content(operation, message, values), operation.status)

    return handle


def is_bound(line: str) -> bool:
    """Whether a command belongs to a connection."""
    words = line.lower().split()
    while words[:1] == ["json"]:
        del words[0]
    return any(words[: len(bound.split())] == bound.split() for bound in BOUND)


def _query(operation: Operation, request: Request) -> dict[str, Any]:
    """The values in the address. Raises Problem for an unknown name, or one that is there twice."""
    pairs = request.query_params.multi_items()
    _check_names(operation.query, [name for name, _ in pairs], "parameter")
    return dict(pairs)


async def _body(operation: Operation, request: Request) -> dict[str, Any]:
    """The values in the body. Raises Problem."""
    content = await request.body()
    if not content and not any(parameter.is_required for parameter in operation.body):
        return {}
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send a body as `Content-Type: application/json`")
    try:
        values = json.loads(content)
        # JSON has escapes for halves of characters, which are no text and cannot be sent on.
        json.dumps(values, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise Problem(HTTPStatus.BAD_REQUEST, "the body is not JSON") from None
    if not isinstance(values, dict):
        raise Problem(HTTPStatus.BAD_REQUEST, "the body is not an object")
    _check_names(operation.body, list(values), "key")
    for parameter in operation.body:
        if parameter.name in values and not _fits(values[parameter.name], parameter.schema):
            raise Problem(HTTPStatus.BAD_REQUEST, f"`{parameter.name}` has a wrong type")
        if parameter.is_required and parameter.name not in values:
            raise Problem(HTTPStatus.BAD_REQUEST, f"missing key `{parameter.name}`")
    return values


def _check_names(parameters: tuple[Parameter, ...], names: list[str], kind: str) -> None:
    known = [parameter.name for parameter in parameters]
    for name in names:
        if name not in known:
            raise Problem(HTTPStatus.BAD_REQUEST, f"unknown {kind} `{name}`; known: {', '.join(known) or 'none'}")
        if names.count(name) > 1:
            raise Problem(HTTPStatus.BAD_REQUEST, f"{kind} `{name}` is there twice")


def _fits(value: Any, schema: Mapping[str, Any]) -> bool:
    """Whether a value of a body has the type of its schema: a text, or a list of texts."""
    kinds = schema["type"]
    if isinstance(value, str):
        return "string" in kinds
    return "array" in kinds and isinstance(value, list) and all(isinstance(item, str) for item in value)


def _content(operation: Operation, message: Message, values: Mapping[str, Any]) -> Any:
    if operation.pages is not None:
        return _page(operation, operation.pages, message, values)
    if operation.path == "/command":
        return {name: message.get(name) for name in ("data", "note", "next", "exit_status")}
    return message["data"]


def _page(operation: Operation, pages: Pages, message: Message, values: Mapping[str, Any]) -> dict[str, Any]:
    """The rows, and the address of the next page. None: this is the last one."""
    data = message["data"]
    rows, others = (
        (data, {}) if not pages.rows else (data[pages.rows], {k: v for k, v in data.items() if k != pages.rows})
    )
    limit = next(str(values.get(one.name, one.default)) for one in operation.query if one.name == "limit")
    has_next = bool(message.get("next")) if pages.is_cut else str(len(rows)) == limit
    following = None
    if has_next and rows:
        query = urlencode({**values, pages.filter: pages.cursor(rows[-1])})
        following = f"{PLACE}{operation.path}?{query}"
    return {"items": rows, "next": following, **others}


def _rejected(message: Message) -> Response:
    diagnostics = message.get("diagnostics") or []
    errors = [one for one in diagnostics if one["severity"] == "error"] or diagnostics
    code = errors[0]["code"] if errors else None
    status = STATUSES.get(code or "", HTTPStatus.UNPROCESSABLE_ENTITY)
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


async def _unavailable(_request: Request, error: Unavailable) -> Response:
    """504: the command was sent. The appliance may have carried it out."""
    status = HTTPStatus.GATEWAY_TIMEOUT if error.unanswered else HTTPStatus.SERVICE_UNAVAILABLE
    answer = problem(status, "The appliance does not answer", str(error))
    answer.headers["retry-after"] = "1"
    return answer


class _Streams:
    """The streams of events. Each is one `watch` of its viewer, so the roles decide what it holds."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._places = Places(MOST_STREAMS)

    async def answer(self, request: Request) -> Response:
        after = request.headers.get("last-event-id") or request.query_params.get("after", "0")
        if not after.isdecimal() or len(after) > LONGEST_NUMBER:
            raise Problem(HTTPStatus.BAD_REQUEST, "Last-Event-ID is the number of an event")
        viewer: Viewer = request.state.viewer
        if not self._places.take(viewer.name):
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "there are too many streams already; close some")
        session, follower = self._gateway.new_session(viewer), Follower(int(after))
        end = partial(self._end, viewer, session)
        try:
            response = await session.ask(follower.line)
            if not response["ok"]:
                end()
                return _rejected(response)
            follower.begin(response)
        except BaseException:
            end()
            raise
        return _Stream(_followed(session, follower), end)

    def _end(self, viewer: Viewer, session: AsyncSession) -> None:
        session.close()
        self._places.leave(viewer.name)


class _Stream(StreamingResponse):
    """`end` is called at the end, even if the client has gone before the first event."""

    def __init__(self, events: AsyncIterator[str], end: Callable[[], None]) -> None:
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(events, media_type="text/event-stream", headers=headers)
        self._end = end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._end()


async def _followed(session: AsyncSession, follower: Follower) -> AsyncIterator[str]:
    """The events as parts of a stream, over restarts of the appliance. Ends when the viewer may watch no more."""
    yield f"retry: {RETRY_MS}\n\n"
    while True:
        try:
            async for message in _messages(session):
                yield ": \n\n" if message is None else _part(follower, message)
        except Unavailable as unavailable:
            session.close()
            pause_s = follower.pause_after(unavailable)
        await asyncio.sleep(pause_s)
        try:
            follower.begin(await session.ask(follower.line))
        except Unavailable:
            continue
        except Error:
            return


async def _messages(session: AsyncSession) -> AsyncIterator[Message | None]:
    """The messages of a connection; None if there was none for a while. Raises Unavailable."""
    while True:
        # A deadline of the message itself could lose what has arrived at that moment.
        message = asyncio.ensure_future(session.next_message(None))
        try:
            while not (await asyncio.wait((message,), timeout=QUIET_SECONDS))[0]:
                yield None
            yield message.result()
        finally:
            message.cancel()


def _part(follower: Follower, message: Message) -> str:
    event = follower.take(message)
    data = json.dumps(message["event"], ensure_ascii=False)
    return f"id: {event.seq}\nevent: {event.kind}\ndata: {data}\n\n"
