"""The events of an appliance for the subcommands that follow it: `watch`, on a connection of its own.

Rule: a connection that has ended is opened again, and the events go on after the last one.
"""

from __future__ import annotations

import select
import socket
from pathlib import Path
from typing import Any

from schedappliance.client.errors import Unavailable
from schedappliance.client.wire import Message, Wire
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
        self._wire = Wire(endpoint)
        # The number of the last event, 0 before the first answer.
        self._last = 0
        self.is_allowed = True

    def open(self) -> None:
        """Opens the connection if it is closed. Nothing happens if no appliance answers."""
        if self._connection is not None or not self.is_allowed:
            return
        try:
            self._connection = connect(self._endpoint)
            self._wire = Wire(self._endpoint)
            self._connection.sendall(self._wire.request(f"watch {self._last}" if self._last else "watch"))
            response = self._next_message()
        except (OSError, Unavailable):
            self.close()
            return
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
        events = self._events()
        if not events:
            ready, _, _ = select.select([self._connection, *others], [], [], max(0, milliseconds) / 1000)
            if self._connection not in ready:
                return []
            try:
                self._receive()
            except (OSError, Unavailable):
                self.close()
                return [{"kind": "gap"}]
            events = self._events()
        if events:
            self._last = events[-1]["seq"]
        return events

    def _next_message(self) -> Message:
        while (message := self._wire.message()) is None:
            self._receive()
        return message

    def _events(self) -> list[Event]:
        """The events that have arrived."""
        events = []
        while (message := self._wire.message()) is not None:
            events.append(message["event"])
        return events

    def _receive(self) -> None:
        assert self._connection is not None
        self._wire.add(self._connection.recv(1 << 20))

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None
