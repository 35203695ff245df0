"""The protocol of the console, without a socket: requests to bytes, and bytes to messages. Every client here uses it.

Rule: it reads and writes nothing, and imports little, since every console command imports it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import count
from pathlib import Path
from typing import Any

from schedappliance.client.errors import Unavailable

# A response, or an event of `watch`: see docs/protocol.md.
Message = dict[str, Any]
# What the clients here read of a response: all keys of the first set, and one of the second.
ALWAYS, ONE_OF = frozenset({"ok", "transaction"}), frozenset({"output", "data", "error"})


class Wire:
    """One connection: it numbers the requests, and cuts the bytes that arrive into messages."""

    def __init__(self, endpoint: Path, on_behalf_of: str | None = None) -> None:
        """`on_behalf_of`: the user for whom the requests are made; None: for the user of this process."""
        self._endpoint = endpoint
        self._on_behalf_of = on_behalf_of
        self._numbers = count(1)
        self._received = bytearray()
        # No newline is before this place, so that each byte of a long answer is searched once.
        self._searched = 0

    def request(self, command: str, instead: str | None = None, quiet: bool = False) -> bytes:
        """The bytes that ask for a command, or for the other one; see `or` and `quiet` in docs/protocol.md.

        An argument that is not UTF-8 is passed on as it is.
        """
        request = {"v": 1, "id": next(self._numbers), "command": command}
        if self._on_behalf_of is not None:
            request["as"] = self._on_behalf_of
        if instead is not None:
            request["or"] = instead
        if quiet:
            request["quiet"] = True
        return json.dumps(request, ensure_ascii=False).encode(errors="surrogateescape") + b"\n"

    def add(self, data: bytes) -> None:
        """Adds received bytes. Raises Unavailable if there are none: the appliance has ended the connection."""
        if not data:
            raise Unavailable(f"the appliance at {self._endpoint} ended the connection", unanswered=True)
        self._received += data

    def message(self) -> Message | None:
        """The next message, None if it has not arrived.

        Raises Unavailable if the appliance takes no more clients, or if something other than an appliance answers.
        """
        end = self._received.find(b"\n", self._searched)
        if end < 0:
            self._searched = len(self._received)
            return None
        line = bytes(self._received[:end])
        del self._received[: end + 1]
        self._searched = 0
        if not line.startswith(b"{"):
            error = line.decode(errors="replace").strip().removeprefix("error: ")
            raise Unavailable(error or self._is_foreign())
        try:
            message: Message = json.loads(line)
        except ValueError:
            raise Unavailable(self._is_foreign()) from None
        if "event" not in message and not (message.keys() >= ALWAYS and message.keys() & ONE_OF):
            raise Unavailable(self._is_foreign())
        return message

    def _is_foreign(self) -> str:
        return f"what listens at {self._endpoint} is no appliance: it does not answer as docs/protocol.md says"


def cannot_connect(endpoint: Path, error: OSError) -> Unavailable:
    """The error after a failure of the socket before anything was sent."""
    if isinstance(error, PermissionError):
        remedy = "see `console.mode` and `console.group` of the appliance"
        return Unavailable(f"cannot open {endpoint}: {error.strerror}; {remedy}")
    return Unavailable(f"no appliance answers at {endpoint}: {error.strerror or error}")


def lost(endpoint: Path, error: OSError) -> Unavailable:
    """The error after a failure of the socket during an exchange."""
    if isinstance(error, TimeoutError):
        return Unavailable(f"the appliance at {endpoint} has not answered in time", unanswered=True)
    return Unavailable(f"the connection to {endpoint} is lost: {error.strerror or error}", unanswered=True)


def line_of(words: list[str]) -> str:
    """The words of a shell command as a line. A single word is the whole line; several words are quoted if necessary."""
    if len(words) == 1:
        return words[0]
    return joined(words)


def joined(words: Iterable[str]) -> str:
    """The words as a line, each quoted if necessary."""
    return " ".join(quoted(word) for word in words)


# Without quotes, these are no names: they stand after `run`, and after `sched pause` and `sched resume`.
OPTIONS = ("--wait", "--all")


def joined_as_is(words: Iterable[str]) -> str:
    """As `joined`, for names and arguments. OPTIONS are quoted too."""
    return " ".join(f'"{word}"' if word in OPTIONS else quoted(word) for word in words)


def quoted(word: str) -> str:
    """A word as it is typed at the console, quoted only if necessary."""
    if word and not any(character in " \t\"'" for character in word):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
