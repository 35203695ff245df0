"""The connections of the page: uvicorn's own protocol, with deadlines, and with the user at the other end.

Rule: no client can hold a connection that it does not use, and no user's connections make those of a user with fewer ones
end.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections import Counter

import h11
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from schedappliance.edge.console.unix_socket import peer_uid
from schedappliance.web.access.guard import PEER, SECURITY_HEADERS
from schedappliance.web.access.identity import Peer

# How long the head of a request may take, and how long a client may leave what is sent to it unread.
HEAD_SECONDS = 10.0
UNREAD_SECONDS = 30.0
# On so many connections at once may the page wait for its client: for a request, or for it to read. Beyond that, of those of
# the user who has the most, the one on which it has waited longest is ended, unless it is as new as the others: the
# requests of many clients that come at once may have arrived, but are read after all of them have connected.
MOST_WAITING = 200
BURST_SECONDS = 1.0
# Beyond that, the newest one of the user who has the most is ended, and first one that waits for its client.
MOST_CONNECTIONS = 600
_INCOMPLETE = (h11.IDLE, h11.SEND_BODY)


class Connection(H11Protocol):
    """A connection of a viewer. `owner`: see Peer."""

    owner = ""
    is_ended = False
    # When it was made, by the time of the loop.
    _since = 0.0
    _head: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None
    # Since when the page waits for the client, by the time of the loop.
    _waits_since: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        peer, app = _peer(transport.get_extra_info("socket")), self.app

        async def app_of_peer(scope: Scope, receive: Receive, send: Send) -> None:
            scope[PEER] = peer
            await app(scope, receive, send)

        self.app, self.owner, self._since = app_of_peer, peer.owner, self.loop.time()
        self._await_head()
        self._note_wait()
        self._make_room()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_awaiting_head()
        elif self._head is None:
            self._await_head()
        self._note_wait()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._note_wait()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = self.loop.call_later(UNREAD_SECONDS, self._abort)
        self._note_wait()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_waiting_for_reader()
        self._note_wait()

    def send_400_response(self, msg: str) -> None:
        """As uvicorn's own answer to what is not HTTP, with the security headers."""
        head = SECURITY_HEADERS | {"content-type": "text/plain; charset=utf-8", "connection": "close"}
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            for event in (
                h11.Response(status_code=400, headers=list(head.items()), reason=b"Bad Request"),
                h11.Data(data=msg.encode()),
                h11.EndOfMessage(),
            ):
                self.transport.write(self.conn.send(event) or b"")
        if self.cycle is not None:
            # What the application still answers has no reader.
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_awaiting_head()
        self._stop_waiting_for_reader()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Ends a stream, which would never end by itself. A short answer is completed."""
        super().shutdown()
        if self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete:
            self.transport.close()

    def _make_room(self) -> None:
        """Ends a connection, perhaps this one, if there are too many."""
        now = self.loop.time()
        connections = [one for one in self.connections if isinstance(one, Connection) and not one.is_ended]
        waiting = [one for one in connections if one._waits_since is not None]
        if len(waiting) > MOST_WAITING:
            longest = min(_of_largest_owner(waiting), key=lambda one: one._waits_since or 0)
            if now - (longest._waits_since or 0) >= BURST_SECONDS:
                longest._abort()
                return
        if len(connections) > MOST_CONNECTIONS:
            some = _of_largest_owner(connections)
            max(some, key=lambda one: (one._waits_since is not None, one._since))._abort()

    def _await_head(self) -> None:
        self._head = self.loop.call_later(HEAD_SECONDS, self._abort)

    def _stop_awaiting_head(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _stop_waiting_for_reader(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _note_wait(self) -> None:
        waits = self._unread is not None or self.conn.their_state in _INCOMPLETE
        self._waits_since = (self._waits_since or self.loop.time()) if waits else None

    def _abort(self) -> None:
        self._stop_awaiting_head()
        self._waits_since = None
        # It is among the connections until the loop has closed it.
        self.is_ended = True
        self.transport.abort()


def _of_largest_owner(connections: list[Connection]) -> list[Connection]:
    [(owner, _)] = Counter(one.owner for one in connections).most_common(1)
    return [one for one in connections if one.owner == owner]


def _peer(connection: socket.socket) -> Peer:
    if connection.family == socket.AF_UNIX:
        return Peer(uid=peer_uid(connection))
    try:
        address = connection.getpeername()[0]
        return Peer(is_loopback=ipaddress.ip_address(address).is_loopback, address=address)
    except (OSError, ValueError):
        # It has gone already, or its address names an interface.
        return Peer()
