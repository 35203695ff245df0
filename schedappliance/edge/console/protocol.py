"""The console protocol: bytes to requests, and answers to bytes. People send text, programs send JSON.

Rule: nothing here reads or writes a socket.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain
from typing import Any, NamedTuple

from schedappliance.diagnostics import Diagnostic, Source, as_data, shortened
from schedappliance.engine.effects import Answer, Rest, rejection
from schedappliance.store.failures import StoreFailed

MAX_LINE = 64 * 1024
# The most bytes of an `id`, as JSON text with escapes: each response repeats it.
MAX_ID = 1024
PROTOCOL_VERSION = 1
# The most characters of the name of a user in `as`.
MAX_NAME = 255
# The most characters of a text that are encoded at once.
PIECE = 64 * 1024


class Request(NamedTuple):
    """One line of a client. `structured`: the line is JSON, and so is its response, which repeats its `id`.

    `mistake`: why the line is invalid, None if it is valid. An invalid line has no command. `on_behalf_of`: the name of
    the user on whose behalf the client asks; None: it asks for itself. `instead`, `quiet`: see LineTyped.
    """

    command: str
    structured: bool
    id: Any = None
    mistake: Diagnostic | None = None
    on_behalf_of: str | None = None
    instead: str | None = None
    quiet: bool = False

    @property
    def is_quit(self) -> bool:
        return self.command.strip().lower() == "quit"


class RequestReader:
    """Cuts the bytes of one connection into requests. A line that is too long is discarded while it arrives.

    `has_quit`: a client has sent `quit`; what follows is discarded.
    """

    def __init__(self) -> None:
        self._received = bytearray()
        self._ended = False
        self._skipping = False
        self.has_quit = False

    @property
    def is_over(self) -> bool:
        """Whether the client has sent everything: its stream has ended, or it has sent `quit`."""
        return self._ended or self.has_quit

    def add(self, data: bytes) -> None:
        """Adds received bytes. No bytes mean the end of the stream."""
        self._received += data
        self._ended = not data

    @property
    def is_empty(self) -> bool:
        return not self._received

    def read(self, most: int) -> list[Request]:
        """The next requests, at most `most`.

        It skips empty lines in one pass over the bytes, even if there are many.
        """
        requests: list[Request] = []
        start = 0
        while len(requests) < most and (end := self._received.find(b"\n", start)) >= 0:
            requests += self._requests(bytes(self._received[start:end]))
            start = end + 1
            if requests and requests[-1].is_quit:
                self.has_quit = True
                self._received.clear()
        del self._received[:start]
        # What is left is a line without its end.
        is_partial = b"\n" not in self._received and len(requests) < most
        if is_partial and (self._ended or len(self._received) > MAX_LINE):
            requests += self._unended()
        return requests

    def _requests(self, line: bytes) -> list[Request]:
        """The request of a line; none if it is empty, or the end of a line that was rejected as too long."""
        if self._skipping:
            self._skipping = False
            return []
        if len(line) > MAX_LINE:
            return [too_long(_is_structured(line))]
        return [read_request(line)] if line.strip(b" \t\r") else []

    def _unended(self) -> list[Request]:
        """The request of a line without a newline: the connection has ended, or the line is too long."""
        skipping = self._skipping
        line = bytes(self._received)
        self._received.clear()
        self._skipping = not self._ended
        if skipping or not line:
            return []
        # The client may have been killed while it sent the line, and a part of a command must not be run.
        return [unfinished(_is_structured(line)) if self._ended else too_long(_is_structured(line))]


def _is_structured(line: bytes) -> bool:
    return line.lstrip(b" \t").startswith(b"{")


def read_request(line: bytes) -> Request:
    """The request of a line. The newline has been removed."""
    structured = _is_structured(line)
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        return _mistaken(structured, "E506", f"the line is not UTF-8 text (byte {error.start + 1})", "send text")
    if not structured:
        return Request(text.removesuffix("\r"), False)
    remedy = "send one object on one line"
    try:
        members = json.loads(
            text, object_pairs_hook=_without_repetition, parse_constant=_no_constant, parse_int=_integer
        )
        return _structured(members)
    except json.JSONDecodeError as error:
        return _mistaken(True, "E507", f"the request is not JSON from character {error.pos + 1} on", remedy)
    except _NotJson as error:
        return _mistaken(True, "E507", f"the request is not JSON: {error}", remedy)
    except RecursionError:
        return _mistaken(True, "E507", "the request is nested too deeply", remedy)


class _NotJson(Exception):
    """A value that JSON does not have; the message names it."""


def _no_constant(name: str) -> None:
    raise _NotJson(f"{name} is not a JSON value")


def _integer(digits: str) -> int:
    if len(digits) > MAX_ID:
        raise _NotJson(f"a number has more than {MAX_ID:,} digits")
    return int(digits)


def _without_repetition(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """The members as a dictionary. Raises _NotJson for a repeated key, since its value is ambiguous."""
    values = dict(members)
    if len(values) < len(members):
        names = [name for name, _ in members]
        repeated = next(name for name in names if names.count(name) > 1)
        raise _NotJson(f"the key `{shortened(repeated)}` is given twice")
    return values


def _structured(members: dict[str, Any]) -> Request:
    request_id = members.get("id")
    try:
        size = len(json.dumps(request_id, allow_nan=False))
    except ValueError:
        return _mistaken(True, "E507", "the `id` is not a JSON value", "send a number, or a string")
    if size > MAX_ID:
        return _mistaken(True, "E507", f"the `id` is longer than {MAX_ID:,} bytes", "send a number, or a short string")
    if type(members.get("v")) is not int or members["v"] != PROTOCOL_VERSION:
        return _mistaken(True, "E507", 'the request has no `"v": 1`', "this appliance speaks version 1", request_id)
    if unknown := sorted(set(members) - {"v", "id", "command", "as", "or", "quiet"}):
        message = f"the request has an unknown key `{unknown[0]}`"
        remedy = (
            "send `v`, `id` and `command`; `as` names another user, `or` another command, `quiet` logs no rejection"
        )
        return _mistaken(True, "E507", message, remedy, request_id)
    if not isinstance(members.get("command"), str):
        return _mistaken(True, "E507", "the request has no `command`", "send it as a string", request_id)
    if not isinstance(members.get("or", ""), str):
        return _mistaken(True, "E507", "the `or` is not a command", "send it as a string", request_id)
    if type(members.get("quiet", True)) is not bool:
        return _mistaken(True, "E507", "the `quiet` is neither true nor false", "send one of them", request_id)
    if "as" in members and not _is_name(members["as"]):
        return _mistaken(True, "E507", "the `as` is not the name of a user", "send the name as a string", request_id)
    return Request(
        members["command"],
        True,
        request_id,
        on_behalf_of=members.get("as"),
        instead=members.get("or"),
        quiet=members.get("quiet", False),
    )


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable() and 0 < len(value) <= MAX_NAME


def too_long(structured: bool) -> Request:
    return _mistaken(
        structured, "E506", f"the line is longer than {MAX_LINE:,} bytes", "shorten it, or send it as a drop"
    )


def unfinished(structured: bool) -> Request:
    return _mistaken(structured, "E506", "the last line does not end in a newline; it was not run", "add one")


def _mistaken(structured: bool, code: str, message: str, remedy: str, request_id: Any = None) -> Request:
    return Request("", structured, request_id, Diagnostic(code, message, remedy, Source("<request>", "")))


def response(request: Request, answer: Answer, in_transaction: bool) -> Iterator[bytes]:
    """The answer in the form of the request, text or JSON, in pieces that are made while they are sent.

    If the store fails before the first piece, the command is rejected. If it fails later, this raises StoreFailed.
    """
    if not isinstance(answer.output, str):
        try:
            answer = answer._replace(output=chain([next(answer.output, "")], answer.output))
        except StoreFailed as failed:
            mistake = failed.of_command(request.command, "read")
            answer = rejection([mistake])._replace(is_json=answer.is_json)
    pieces = _json_response(request, answer, in_transaction) if request.structured else _text_response(answer)
    for piece in pieces:
        # A file name may hold bytes that are not UTF-8; they are shown escaped.
        yield piece.encode(errors="backslashreplace")


def _text_response(answer: Answer) -> Iterator[str]:
    if answer.error is not None and answer.is_json:
        data: dict[str, Any] = {"error": answer.error, "diagnostics": as_data(answer.diagnostics)}
        yield _dumps(data | ({"data": json.loads(str(answer.output))} if answer.output else {})) + "\n"
        return
    if isinstance(answer.output, str):
        yield from _cut(answer.output)
        if answer.output and not answer.output.endswith("\n"):
            yield "\n"
    else:
        last = ""
        for piece in answer.output:
            yield piece
            last = piece or last
        if answer.is_json or (last and not last.endswith("\n")):
            yield "\n"
    if answer.error is not None:
        yield f"{answer.error}\n" if answer.verbatim else f"error: {answer.error}\n"


def _json_response(request: Request, answer: Answer, in_transaction: bool) -> Iterator[str]:
    # The head is made at once and the output in pieces, so the object is put together by hand.
    members: dict[str, Any] = {"ok": answer.ok, "transaction": in_transaction}
    if answer.exit_status is not None:
        members["exit_status"] = answer.exit_status
    if answer.note is not None:
        members["note"] = answer.note
    if answer.next is not None:
        members["next"] = answer.next
    if answer.error is not None:
        members |= {"error": answer.error, "verbatim": answer.verbatim, "diagnostics": as_data(answer.diagnostics)}
    head = f'{{"v": {PROTOCOL_VERSION}, "id": {json.dumps(request.id)}, {_dumps(members)[1:-1]}'
    if answer.error is not None and not answer.output:
        yield head + (', "data": null}\n' if answer.is_json else "}\n")
        return
    pieces = _cut(answer.output) if isinstance(answer.output, str) else answer.output
    yield f'{head}, "{"data" if answer.is_json else "output"}": '
    if not answer.is_json:
        yield '"'
    for piece in pieces:
        yield piece if answer.is_json else _dumps(piece)[1:-1]
    if not answer.is_json:
        yield '"'
    rest = answer.rest() if answer.rest is not None else Rest()
    yield "".join(f', "{key}": {_dumps(text)}' for key, text in rest._asdict().items() if text is not None) + "}\n"


def _cut(text: str) -> Iterator[str]:
    """The text in pieces, so that a client which reads nothing keeps no second copy of it in memory."""
    return (text[start : start + PIECE] for start in range(0, len(text), PIECE))


def _dumps(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False)
