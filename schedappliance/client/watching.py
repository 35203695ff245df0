"""The connection on which `run --wait`, `logs -f` and `top` get the events of `watch`.

Rule: a connection that has ended is opened again, and the events go on after the last one.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from pathlib import Path
from typing import Any

from schedappliance.client.console import CHUNK, Session
from schedappliance.client.errors import Error, Rejected, Unavailable
from schedappliance.client.events import Event, Follower, Gap

# How long a wait lasts at most while no appliance answers, and if the roles of the user do not allow `watch`.
RETRY_MS, BLIND_MS = 200, 1000


def pause(milliseconds: int) -> None:
    select.select([], [], [], milliseconds / 1000)


class Watch(Session):
    """The events of an appliance. It opens its connection again when it is asked for events."""

    def __init__(self, endpoint: Path, on_late: Callable[[float], None] | None = None) -> None:
        super().__init__(endpoint, on_late=on_late)
        self._follower = Follower()
        self.is_allowed = True

    def begin(self) -> None:
        """Opens the connection if it is closed. Nothing happens if no appliance answers."""
        if self._connection is not None or not self.is_allowed:
            return
        try:
            self._follower.begin(self.ask(self._follower.line))
        except Error as error:
            self.close()
            self.is_allowed = not (isinstance(error, Rejected) and error.diagnostics)

    def wait(self, milliseconds: int, others: tuple[Any, ...] = ()) -> list[Event]:
        """The events that have come within this time, as soon as there are some or another file can be read.

        An appliance that ends the connection is the event Gap.
        """
        self.begin()
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
                self._wire.add(self._connection.recv(CHUNK))
            except (OSError, Unavailable):
                self.close()
                return [Gap(seq=0, kind="gap")]
            events = self._events()
        return events

    def _events(self) -> list[Event]:
        """The events that have arrived."""
        events = []
        while (message := self._wire.message()) is not None:
            events.append(self._follower.take(message))
        return events
