"""The events of an appliance for the subcommands that follow it: `watch`, on a connection of its own.

Rule: a connection that has ended is opened again, and the events go on after the last one.
"""

from __future__ import annotations

import json
import select
import socket
from pathlib import Path
from typing import Any

from schedappliance.edge.console.unix_socket import connect

# How long a wait lasts at most while no appliance answers, and if the roles of the user do not allow `watch`.
RETRY_MS, BLIND_MS = 200, 1000

Event = dict[str, Any]


def pause(milliseconds: int) -> None:
    select.select([], [], [], milliseconds / 1000)


class Watch:
    """The events of an appliance. It opens its connection again when it is asked for events."""

    def __init__(self, endpoint: Path) -> None:
        self._endpoint = endpoint
        self._connection: socket.socket | None = None
        self._received = b""
        # The number of the last event, 0 before the first answer.
        self._last = 0
        self.is_allowed = True

    def open(self) -> None:
        """Opens the connection if it is closed. Nothing happens if no appliance answers."""
        if self._connection is not None or not self.is_allowed:
            return
        try:
            self._connection = connect(self._endpoint)
            request = {"v": 1, "id": 1, "command": f"watch {self._last}" if self._last else "watch"}
            self._connection.sendall(json.dumps(request).encode() + b"\n")
            while b"\n" not in self._received:
                self._receive()
        except OSError:
            self.close()
            return
        line, _, self._received = self._received.partition(b"\n")
        response: dict[str, Any] = json.loads(line) if line.startswith(b"{") else {"ok": False}
        if response["ok"]:
            self._last = self._last or response["data"]["seq"]
        else:
            self.is_allowed = not response.get("diagnostics")
            self.close()

    def wait(self, milliseconds: int, others: tuple[Any, ...] = ()) -> list[Event]:
        """The events that have come within this time, as soon as there are some or another file can be read.

        An appliance that ends the connection is the event `gap`.
        """
        self.open()
        if self._connection is None:
            most = RETRY_MS if self.is_allowed else BLIND_MS
            select.select(others, [], [], max(0, min(milliseconds, most)) / 1000)
            return []
        if b"\n" not in self._received:
            ready, _, _ = select.select([self._connection, *others], [], [], max(0, milliseconds) / 1000)
            if self._connection not in ready:
                return []
            try:
                self._receive()
            except OSError:
                self.close()
                return [{"kind": "gap"}]
        *lines, self._received = self._received.split(b"\n")
        events = [json.loads(line)["event"] for line in lines]
        if events:
            self._last = events[-1]["seq"]
        return events

    def _receive(self) -> None:
        assert self._connection is not None
        data = self._connection.recv(1 << 20)
        if not data:
            raise ConnectionResetError
        self._received += data

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection, self._received = None, b""
