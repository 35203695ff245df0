"""The OpenAPI document of the API, made from the table of operations and from the schemas of the answers.

Rule: nothing is described twice. An operation that is in the table is in the document.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from schedappliance import __version__
from schedappliance.client import shapes
from schedappliance.client.answers import Diagnostic
from schedappliance.client.schemas import OTHERS
from schedappliance.web.api.operations import OPERATIONS, Operation, Parameter

PROBLEM_TYPE = "application/problem+json"


@dataclass(frozen=True)
class Problem:
    """Why a request was not carried out, as RFC 9457 describes it. `type`: the page that explains the diagnostic."""

    type: str
    title: str
    status: int
    detail: str
    diagnostics: tuple[Diagnostic, ...] = ()
    data: Any = None


def document(path: str) -> dict[str, Any]:
    """The document. `path`: that of the API."""
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    paths["/events"] = {"get": _events()}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "schedappliance",
            "version": __version__,
            "description": "Each request is a console command of its viewer, and the roles of the appliance decide. "
            "Times that end in `_ms` are milliseconds since 1970. Later versions only add keys.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": path}],
        "security": [{"token": []}, {}],
        "paths": paths,
        "components": {
            "schemas": {"Problem": shapes.schema(Problem)},
            "responses": {
                "Problem": {
                    "description": "The request was not carried out",
                    "content": {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
                }
            },
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of `schedappliance web token add`. On a Unix socket, the user who connects needs none.",
                }
            },
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": _name(operation),
        "summary": operation.summary,
        "description": f"Gives the command `{operation.command}`.",
        "parameters": [*_path_parameters(operation), *map(_query_parameter, operation.query)],
        "responses": {
            str(operation.status): {
                "description": "Created" if operation.status == 201 else "The answer",
                "content": {"application/json": {"schema": _answer(operation)}},
            },
            "default": {"$ref": "#/components/responses/Problem"},
        },
    }
    if operation.body:
        described["requestBody"] = _request_body(operation.body)
    return described


def _name(operation: Operation) -> str:
    """`POST /jobs/{job}/run` is `postJobsRun`; each operation has a name of its own."""
    words = re.sub(r"\{(\w+)\}", r"of_\1", operation.path).replace("/", "_").split("_")
    return operation.method.lower() + "".join(word.capitalize() for word in words)


def _path_parameters(operation: Operation) -> Iterable[dict[str, Any]]:
    for name in re.findall(r"\{(\w+)\}", operation.path):
        example = operation.examples[name]
        kind = "integer" if isinstance(example, int) else "string"
        yield {"name": name, "in": "path", "required": True, "schema": {"type": kind}, "example": example}


def _query_parameter(parameter: Parameter) -> dict[str, Any]:
    described = {"name": parameter.name, "in": "query", "description": parameter.help, "schema": dict(parameter.schema)}
    return described if parameter.example is None else {**described, "example": parameter.example}


def _request_body(parameters: tuple[Parameter, ...]) -> dict[str, Any]:
    schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": {one.name: {"description": one.help, **one.schema} for one in parameters},
        "required": [one.name for one in parameters if one.is_required],
    }
    example = {one.name: one.example for one in parameters if one.example is not None}
    content = {"application/json": {"schema": schema, "example": example}}
    return {"required": bool(schema["required"]), "content": content}


def _answer(operation: Operation) -> Mapping[str, Any]:
    if operation.pages is None:
        return shapes.schema(operation.answer)
    schema = shapes.schema(operation.answer)
    rows = schema["properties"].pop(operation.pages.rows) if operation.pages.rows else schema
    others = schema["properties"] if operation.pages.rows else {}
    following = {"type": ["string", "null"], "description": "the address of the next page; null after the last one"}
    return {
        "type": "object",
        "properties": {"items": rows, "next": following, **others},
        "required": ["items", "next", *others],
    }


def _events() -> dict[str, Any]:
    number = {"type": "integer", "minimum": 0}
    return {
        "operationId": "getEvents",
        "summary": "Follow what happens, as server-sent events",
        "description": "Gives the command `watch`. The data of each event are JSON; its `id` is the number of the event. "
        "A client that connects again with Last-Event-ID misses nothing, or gets the event `gap`.",
        "parameters": [
            {"name": "Last-Event-ID", "in": "header", "description": "continue after this event", "schema": number},
            {
                "name": "after",
                "in": "query",
                "description": "the same, for clients that cannot send headers",
                "schema": number,
            },
        ],
        "responses": {
            "200": {
                "description": "The stream",
                "content": {"text/event-stream": {"schema": shapes.schema(OTHERS["event"])}},
            },
            "default": {"$ref": "#/components/responses/Problem"},
        },
    }
