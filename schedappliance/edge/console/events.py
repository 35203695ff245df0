"""Sends events to the clients that watch: keeps the last events by number, and for each client the number of the next one.

Rule: a client that reads too slowly costs no memory. It misses events, and is told so by the event `gap`.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from schedappliance.edge.console.protocol import PROTOCOL_VERSION
from schedappliance.engine.effects import ONLY_LATER
from schedappliance.engine.events import NobodyWatches

if TYPE_CHECKING:
    from schedappliance.edge.loop import Loop
    from schedappliance.engine.effects import Happened

# About 3 MB of events of runs.
KEPT = 4096
# Events are sent this long after the first of them, so that many turns need one call for each client.
FLUSH_MS = 20
# Events are kept this long after the last client has stopped watching: one that lost its connection misses nothing.
REMEMBERED_MS = 600_000
# A daemon tells fewer events than this in a millisecond, so the next daemon begins with higher numbers.
EVENTS_PER_MS = 1000

Client = TypeVar("Client")


@dataclass(slots=True)
class Watch:
    """A client that watches.

    `key`: the id of its request, as JSON. `next`: the number of the next event that it gets.
    """

    key: str
    next: int


class EventRing:
    """The last events. Numbers grow, also over restarts of the daemon unless the clock is set back."""

    def __init__(self, first: int) -> None:
        """`first`: the number of the first event."""
        self._events: deque[bytes] = deque(maxlen=KEPT)
        self._next = first

    @property
    def last(self) -> int:
        """The number of the last event."""
        return self._next - 1

    def add(self, events: Iterable[dict[str, Any]]) -> None:
        for event in events:
            data = json.dumps({"seq": self._next, **event}, ensure_ascii=False)
            self._events.append(data.encode(errors="backslashreplace"))
            self._next += 1

    def begin(self, key: str, after: int) -> Watch:
        """The watch of a client that knows the events up to `after`, or wants ONLY_LATER."""
        return Watch(key, self._next if after == ONLY_LATER else after + 1)

    def has_more(self, watch: Watch) -> bool:
        return watch.next != self._next

    def take(self, watch: Watch, size: int) -> list[bytes]:
        """The next lines for a client, about `size` bytes."""
        oldest = self._next - len(self._events)
        lines = []
        if not oldest <= watch.next <= self._next:
            # The client asks for an event that is no longer kept, or for one of another daemon.
            watch.next = self._next if watch.next > self._next else oldest
            lines.append(_line(watch, json.dumps({"seq": watch.next - 1, "kind": "gap"}).encode()))
        for event in islice(self._events, watch.next - oldest, None):
            if size <= 0:
                break
            lines.append(_line(watch, event))
            size -= len(lines[-1])
            watch.next += 1
        return lines


def _line(watch: Watch, event: bytes) -> bytes:
    return b'{"v": %d, "id": %s, "event": %s}\n' % (PROTOCOL_VERSION, watch.key.encode(), event)


class Watchers(Generic[Client]):
    """The clients that watch. `send`: sends a client its next events, as many as its socket takes."""

    def __init__(self, loop: Loop, send: Callable[[Client], None]) -> None:
        self._loop = loop
        self._send = send
        self._ring = EventRing(loop.clock.moment().wall * EVENTS_PER_MS)
        self._watches: dict[Client, Watch] = {}
        self._is_flush_due = False
        # When a client watched last. None: the core collects no news.
        self._watched_ms: int | None = None

    def begin(self, client: Client, key: str, after: int) -> int:
        """Lets a client watch; as `EventRing.begin`. Returns the number of the last event."""
        self._watches[client] = self._ring.begin(key, after)
        self._watched_ms = self._loop.clock.moment().boot
        return self._ring.last

    def leave(self, client: Client) -> None:
        self._watches.pop(client, None)

    def clients(self) -> list[Client]:
        return list(self._watches)

    def is_behind(self, client: Client) -> bool:
        """Whether a client watches and lacks events."""
        watch = self._watches.get(client)
        return watch is not None and self._ring.has_more(watch)

    def next_bytes(self, client: Client, size: int) -> bytes:
        """The next lines for a client, about `size` bytes; none if it does not watch."""
        watch = self._watches.get(client)
        return b"".join(self._ring.take(watch, size)) if watch is not None else b""

    def publish(self, effect: Happened) -> None:
        """Performs the effect Happened."""
        if self._watched_ms is None:
            # The core collects news although nobody watches: the client of `watch` has left before the answer, or was rejected.
            # The audit will stop it.
            self._watched_ms = self._loop.clock.moment().boot
        self._ring.add(effect.events)
        if not self._is_flush_due:
            self._is_flush_due = True
            self._loop.alarms.at(self._loop.clock.moment().boot + FLUSH_MS, self._flush)

    def _flush(self) -> None:
        self._is_flush_due = False
        for client in self.clients():
            self._send(client)

    def audit(self) -> None:
        """Tells the core when nobody has watched for a while, so that it need not collect news."""
        now = self._loop.clock.moment().boot
        if self._watches:
            self._watched_ms = now
        elif self._watched_ms is not None and now >= self._watched_ms + REMEMBERED_MS:
            self._watched_ms = None
            self._loop.inbox.post(NobodyWatches())
