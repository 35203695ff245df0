"""The REST API of the page, below `/api/v1`: each request is a console command of its viewer, and gives the same data."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from schedappliance.client.questions import bare_words
from schedappliance.client.wire import Message
from schedappliance.web.api.events import EventStreams
from schedappliance.web.api.openapi import document
from schedappliance.web.api.operations import OPERATIONS, Operation, Pages, Parameter
from schedappliance.web.api.problems import HANDLERS, Problem, rejected
from schedappliance.web.appliance.feed import Feed
from schedappliance.web.appliance.gateway import Gateway

API_PATH = "/api/v1"
# The commands of a connection. A request of HTTP has none of its own.
BOUND = ("watch", "quit", "config begin", "config commit", "config rollback")


def api(gateway: Gateway, feed: Feed) -> Starlette:
    """The API, to be mounted at API_PATH."""
    streams = EventStreams(gateway)
    described = json.dumps(document(API_PATH), ensure_ascii=False, indent=1)

    async def describe(_request: Request) -> Response:
        return Response(described, media_type="application/json")

    routes = [Route(_pattern(one), _handler(gateway, feed, one), methods=[one.method]) for one in OPERATIONS]
    routes += [Route("/events", streams.answer, methods=["GET"]), Route("/openapi.json", describe, methods=["GET"])]
    return Starlette(routes=routes, exception_handlers=HANDLERS)


def _pattern(operation: Operation) -> str:
    return operation.path.replace("{occurrence}", "{occurrence:int}").replace("{incident}", "{incident:int}")


def _handler(gateway: Gateway, feed: Feed, operation: Operation) -> Callable[[Request], Awaitable[Response]]:
    async def handle(request: Request) -> Response:
        values = _query(operation, request) | await _body(operation, request)
        try:
            line = operation.command_of(request.path_params, values)
        except ValueError as error:
            raise Problem(HTTPStatus.BAD_REQUEST, str(error)) from None
        if operation.path == "/command" and is_bound(line):
            raise Problem(HTTPStatus.BAD_REQUEST, f"`{line}` belongs to a connection; use the console")
        answer = gateway.ask(request.state.viewer, line)
        # A change is awaited: its answer says whether it took effect.
        message = await (feed.unless_silent(answer) if operation.method == "GET" else answer)
        if message.get("data") is None or not (message["ok"] or operation.path == "/health"):
            return rejected(message)
        return JSONResponse(_content(operation, message, values), operation.status)

    return handle


def is_bound(line: str) -> bool:
    """Whether a command belongs to a connection."""
    words = bare_words(line)
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
        following = f"{API_PATH}{operation.path}?{query}"
    return {"items": rows, "next": following, **others}
