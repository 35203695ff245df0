"""The console's client: one command, lines from a pipe, or a prompt. Speaks the JSON protocol, prints what people read."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from schedappliance.edge.sockets import connect

OK, FAILED, UNAVAILABLE = 0, 1, 69


class Unavailable(Exception):
    """No appliance answers."""


def ask(endpoint: Path, lines: Iterable[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Sends each line and yields it with its response; raises Unavailable."""
    try:
        with connect(endpoint) as connection, connection.makefile("rb") as answers:
            for number, line in enumerate(lines, 1):
                request = {"v": 1, "id": number, "command": line}
                connection.sendall(json.dumps(request, ensure_ascii=False).encode(errors="surrogateescape") + b"\n")
                answer = answers.readline()
                if not answer.endswith(b"\n"):
                    raise Unavailable(f"the appliance at {endpoint} ended the connection")
                if not answer.startswith(b"{"):
                    raise Unavailable(answer.decode(errors="replace").strip().removeprefix("error: "))
                yield line, json.loads(answer)
    except PermissionError as error:
        help = "see `console.mode` and `console.group` of the appliance"
        raise Unavailable(f"you may not open {endpoint}: {error.strerror}; {help}") from error
    except OSError as error:
        raise Unavailable(f"no appliance answers at {endpoint}: {error.strerror or error}") from error


def show(response: dict[str, Any], line: str, out: TextIO, err: TextIO) -> int:
    """Prints a response: output on stdout, errors on stderr with status 1."""
    if not response["ok"]:
        print(_error(response, line), file=err)
        return FAILED
    text = response["output"] if "output" in response else json.dumps(response["data"], ensure_ascii=False)
    if text:
        out.write(text if text.endswith("\n") else f"{text}\n")
    return OK


# Momentum's own texts stand as they are; every other error says that it is one.
_VERBATIM = ("Option '", "Reconfigure failed.", "Not Authorized for this command")


def _error(response: dict[str, Any], line: str) -> str:
    """As the text protocol tells it; after `json` as data."""
    text = str(response["error"])
    if line.split(maxsplit=1)[:1] and line.split(maxsplit=1)[0].lower() == "json":
        found = {"error": text, "diagnostics": response.get("diagnostics", [])}
        return json.dumps(found, ensure_ascii=False)
    verbatim = text.startswith(_VERBATIM) or text.endswith(_VERBATIM)
    return text if verbatim else f"error: {text}"


def run(endpoint: Path, lines: Iterable[str], out: TextIO, err: TextIO) -> int:
    """The status of the worst of the lines."""
    status = OK
    try:
        for line, response in ask(endpoint, lines):
            status = max(status, show(response, line, out, err))
            out.flush()
    except Unavailable as unavailable:
        print(f"error: {unavailable}", file=err)
        return UNAVAILABLE
    return status


def prompt(endpoint: Path) -> int:
    """A prompt for people. Each line has a connection of its own, so an appliance may restart meanwhile."""
    import readline

    from schedappliance.syntax.command import first_words

    words = sorted(first_words())
    readline.set_completer(lambda text, n: [*(f"{w} " for w in words if w.startswith(text)), None][n])
    readline.parse_and_bind("tab: complete")
    status = run(endpoint, ["version"], sys.stdout, sys.stderr)
    if status == UNAVAILABLE:
        return status
    while True:
        try:
            line = input(f"{endpoint.name}> ").strip()
        except (EOFError, KeyboardInterrupt):
            print()
            return OK
        if line.lower() == "quit":
            return OK
        if line:
            run(endpoint, [line], sys.stdout, sys.stderr)
