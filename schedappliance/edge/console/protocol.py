"""The two languages of the console socket: text lines for people and socat, JSON lines for programs. Pure: bytes and answers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from schedappliance.diagnostics import Diagnostic, Source, as_data, shortened
from schedappliance.engine.effects import Answer

MAX_LINE = 64 * 1024
PROTOCOL_VERSION = 1

_JSON_PREFIX = re.compile(r"(?ai:[ \t]*json)(?=[ \t])")


class Request(NamedTuple):
    """One line from a client. `structured`: a JSON request, answered in JSON under its `id`."""

    command: str
    structured: bool
    id: Any = None
    mistake: Diagnostic | None = None

    @property
    def wants_data(self) -> bool:
        return _JSON_PREFIX.match(self.command) is not None


def read_request(line: bytes) -> Request:
    """What a line asks; `mistake` when it cannot be understood."""
    structured = line.lstrip(b" \t").startswith(b"{")
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        found = f"the line is not UTF-8 text (byte {error.start + 1})"
        return Request("", structured, mistake=_mistake("E506", found, "send text"))
    if not structured:
        return Request(text.removesuffix("\r"), False)
    try:
        data = json.loads(text, object_pairs_hook=_no_key_twice, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        mistake = _mistake("E507", f"the request is no JSON: {error}", "send one object on one line")
        return Request("", True, mistake=mistake)
    return _structured(data)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON value")


def _no_key_twice(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of two commands in one request, neither is surely the one that was meant."""
    found = dict(members)
    if len(found) < len(members):
        names = [name for name, _ in members]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key `{shortened(twice)}` is given twice")
    return found


def _structured(data: dict[str, Any]) -> Request:
    id = data.get("id")
    try:
        json.dumps(id, allow_nan=False)
    except ValueError:
        return Request("", True, None, _mistake("E507", "the `id` is no JSON value", "send a number, or a string"))
    if type(data.get("v")) is not int or data["v"] != PROTOCOL_VERSION:
        return Request("", True, id, _mistake("E507", 'the request has no `"v": 1`', "this appliance speaks version 1"))
    if unknown := sorted(set(data) - {"v", "id", "command"}):
        found = f"the request has an unknown key `{unknown[0]}`"
        return Request("", True, id, _mistake("E507", found, "send `v`, `id` and `command`"))
    if not isinstance(data.get("command"), str):
        return Request("", True, id, _mistake("E507", "the request has no `command`", "send it as a string"))
    return Request(data["command"], True, id)


def too_long(structured: bool) -> Request:
    found = f"the line is longer than {MAX_LINE:,} bytes"
    return Request("", structured, mistake=_mistake("E506", found, "send it as a drop, or shorter"))


def unfinished(structured: bool) -> Request:
    return Request("", structured, mistake=_mistake("E506", "the last line has no line end; it was not run", "add one"))


def _mistake(code: str, message: str, help: str) -> Diagnostic:
    return Diagnostic(code, message, help, Source("<request>", ""))


def response(request: Request, answer: Answer) -> Iterator[bytes]:
    """The answer in the language of the request, in pieces."""
    pieces = _json_response(request, answer) if request.structured else _text_response(request, answer)
    # A name of a file may be no text; it is shown escaped.
    return (piece.encode(errors="backslashreplace") for piece in pieces)


def _text_response(request: Request, answer: Answer) -> Iterator[str]:
    if answer.error is not None and request.wants_data:
        told: dict[str, Any] = {"error": answer.error, "diagnostics": as_data(answer.diagnostics)}
        yield _dumps(told | ({"data": json.loads(str(answer.output))} if answer.output else {})) + "\n"
        return
    if isinstance(answer.output, str):
        if answer.output:
            yield answer.output if answer.output.endswith("\n") else f"{answer.output}\n"
    else:
        yield from answer.output
        if answer.is_json:
            yield "\n"
    if answer.error is not None:
        yield f"{answer.error}\n" if answer.verbatim else f"error: {answer.error}\n"


def _json_response(request: Request, answer: Answer) -> Iterator[str]:
    head = f'{{"v": {PROTOCOL_VERSION}, "id": {json.dumps(request.id)}, "ok": {_dumps(answer.ok)}, '
    if answer.exit_status is not None:
        head += f'"exit_status": {answer.exit_status}, '
    if answer.error is not None:
        head += f'"error": {_dumps(answer.error)}, "diagnostics": {_dumps(as_data(answer.diagnostics))}'
        if not answer.output:
            yield f"{head}}}\n"
            return
        head += ", "
    pieces = [answer.output] if isinstance(answer.output, str) else answer.output
    yield f'{head}"{"data" if answer.is_json else "output"}": '
    if not answer.is_json:
        yield '"'
    for piece in pieces:
        yield piece if answer.is_json else _dumps(piece)[1:-1]
    yield "}\n" if answer.is_json else '"}\n'


def _dumps(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False)
