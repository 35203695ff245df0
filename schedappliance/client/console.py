"""A connection to the console of an appliance: one JSON request for each line, and its response.

Rule: a request is sent only after the response to the last one.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO

from schedappliance.edge.console.unix_socket import connect


class Unavailable(Exception):
    """No appliance answers."""


class Session:
    """A connection. The first line opens it, and the first line after a close opens it again."""

    def __init__(self, endpoint: Path) -> None:
        self._endpoint = endpoint
        self._connection: socket.socket | None = None
        self._answers: BinaryIO | None = None
        self._numbers = count(1)
        # Whether a transaction was open after the last response. It ends with the connection.
        self.in_transaction = False

    def ask(self, line: str) -> dict[str, Any]:
        """The response to a line; raises Unavailable."""
        with _explained(self._endpoint):
            if self._connection is None or self._answers is None:
                self._connection = connect(self._endpoint)
                self._answers = self._connection.makefile("rb")
            request = json.dumps({"v": 1, "id": next(self._numbers), "command": line}, ensure_ascii=False)
            self._connection.sendall(request.encode(errors="surrogateescape") + b"\n")
            answer = self._answers.readline()
        if not answer.endswith(b"\n"):
            raise Unavailable(f"the appliance at {self._endpoint} ended the connection")
        if not answer.startswith(b"{"):
            raise Unavailable(answer.decode(errors="replace").strip().removeprefix("error: "))
        response: dict[str, Any] = json.loads(answer)
        self.in_transaction = response["transaction"]
        return response

    def is_closed(self) -> bool:
        """Whether there is no connection, or the appliance has ended it; nothing is sent to find out."""
        if self._connection is None:
            return True
        try:
            return not self._connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def pause(self, milliseconds: int) -> None:
        """Waits so long, or until the appliance ends the connection."""
        connections = [] if self._connection is None else [self._connection]
        select.select(connections, [], [], milliseconds / 1000)

    def close(self) -> None:
        for part in (self._answers, self._connection):
            if part is not None:
                part.close()
        self._answers = self._connection = None


@contextlib.contextmanager
def _explained(endpoint: Path) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        remedy = "see `console.mode` and `console.group` of the appliance"
        raise Unavailable(f"cannot open {endpoint}: {error.strerror}; {remedy}") from error
    except OSError as error:
        raise Unavailable(f"no appliance answers at {endpoint}: {error.strerror or error}") from error


def line_of(words: list[str]) -> str:
    """The words of a shell command as a line. A single word is the whole line; several words are quoted if necessary."""
    if len(words) == 1:
        return words[0]
    return " ".join(quoted(word) for word in words)


def quoted(word: str) -> str:
    """A word as it is typed at the console, quoted only if necessary."""
    if word and not any(character in " \t\"'" for character in word):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
