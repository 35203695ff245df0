"""A connection to the console of an appliance: one JSON request for each line, and its response.

Rule: a request is sent only after the response to the last one.
"""

from __future__ import annotations

import re
import select
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from schedappliance.client.errors import Unavailable
from schedappliance.client.wire import Message, Wire, cannot_connect, lost
from schedappliance.edge.console.unix_socket import connect

CHUNK = 256 * 1024
# An answer that takes longer is late, but not that of a command that waits for the end of a run.
LATE_SECONDS = 5.0
_WAITS = re.compile(r"(json +)?(run +--wait|sched +wait)\b", re.IGNORECASE)


class Connection:
    """What both kinds of session share. The first line opens it, and the first line after a close opens it again.

    `timeout`: how many seconds the appliance may take for a response; None: as long as it wants. `on_behalf_of`: as in
    Wire.
    """

    def __init__(self, endpoint: Path, timeout: float | None = None, on_behalf_of: str | None = None) -> None:
        self._endpoint = endpoint
        self._on_behalf_of = on_behalf_of
        self._timeout = timeout
        self._connection: socket.socket | None = None
        self._wire = Wire(endpoint, on_behalf_of)
        # Whether a transaction was open after the last response. It ends with the connection.
        self.in_transaction = False

    def _open(self, flags: int = 0) -> socket.socket:
        if self._connection is None:
            try:
                self._connection = connect(self._endpoint, flags, None if flags else self._timeout)
            except OSError as error:
                raise cannot_connect(self._endpoint, error) from error
            self._wire = Wire(self._endpoint, self._on_behalf_of)
        return self._connection

    def is_closed(self) -> bool:
        """Whether there is no connection, or the appliance has ended it; nothing is sent to find out."""
        if self._connection is None:
            return True
        try:
            # A socket with a timeout would wait for it in spite of MSG_DONTWAIT.
            return _has_input(self._connection, 0) and not self._connection.recv(1, socket.MSG_PEEK)
        except OSError:
            return True

    def renew(self) -> None:
        """Forgets a connection that has ended. Raises Unavailable once if a transaction was open on it.

        The next lines belong to the transaction. They must not take effect at once instead.
        """
        if not self.is_closed():
            return
        was_open, self.in_transaction = self.in_transaction, False
        self.close()
        if was_open:
            raise Unavailable("the connection has ended, and the transaction with it; nothing was changed")

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


class Session(Connection):
    """A connection whose calls wait.

    `on_late`: called once for each line whose answer is late, with the seconds that have passed. The call goes on to wait.
    """

    def __init__(
        self,
        endpoint: Path,
        timeout: float | None = None,
        on_behalf_of: str | None = None,
        on_late: Callable[[float], None] | None = None,
    ) -> None:
        super().__init__(endpoint, timeout, on_behalf_of)
        self._on_late = on_late

    def ask(self, line: str, instead: str | None = None, quiet: bool = False) -> dict[str, Any]:
        """The response to a line; raises Unavailable. After that, the next line opens a new connection.

        `instead`: the `run` line that is meant if the first one, a `sched run`, runs no job or is not allowed. `quiet`:
        nobody typed the line, so the appliance does not log that no role allows it.
        """
        connection = self._open()
        try:
            try:
                connection.sendall(self._wire.request(line, instead, quiet))
            except BrokenPipeError:
                # The appliance may have said why it ended the connection.
                pass
            except OSError as error:
                raise lost(self._endpoint, error) from error
            if self._on_late and not _WAITS.match(line) and not _has_input(connection, LATE_SECONDS):
                self._on_late(LATE_SECONDS)
            response = self._next_response()
        except BaseException:
            # The answer may still come. It must not be read as the answer to the next line.
            self.close()
            raise
        self.in_transaction = response["transaction"]
        return response

    def _next_response(self) -> Message:
        while "event" in (message := self.next_message()):
            # Somebody typed `watch` before this line.
            pass
        return message

    def next_message(self) -> Message:
        """The next response or event. Raises Unavailable."""
        connection = self._open()
        while (message := self._wire.message()) is None:
            try:
                self._wire.add(connection.recv(CHUNK))
            except OSError as error:
                raise lost(self._endpoint, error) from error
        return message

    def set_timeout(self, timeout: float | None) -> None:
        """How many seconds each of the next messages may take, until the connection ends."""
        self._open().settimeout(timeout)

    def pause(self, milliseconds: int) -> None:
        """Waits for this time, or until the appliance ends the connection."""
        connections = [] if self._connection is None else [self._connection]
        select.select(connections, [], [], milliseconds / 1000)


def _has_input(connection: socket.socket, seconds: float) -> bool:
    """Whether something can be read from a connection, or it has ended, within this time."""
    poller = select.poll()
    poller.register(connection, select.POLLIN)
    return bool(poller.poll(seconds * 1000))
