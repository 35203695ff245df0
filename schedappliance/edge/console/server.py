"""The console on its Unix socket: lines in, answers out, in order, for any number of clients that may hang or leave."""

from __future__ import annotations

import contextlib
import errno
import select
import socket
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import count

from schedappliance.clock import Clock
from schedappliance.edge.console.listener import ListeningSocket
from schedappliance.edge.console.protocol import MAX_LINE, Request, read_request, response, too_long, unfinished
from schedappliance.edge.console.unix_socket import peer_uid
from schedappliance.edge.inbox import Inbox
from schedappliance.edge.loop import Alarms
from schedappliance.edge.users import user_named
from schedappliance.edge.worker import Worker
from schedappliance.engine.effects import Reply, rejection
from schedappliance.engine.events import ConnectionClosed, LineTyped
from schedappliance.engine.records import User
from schedappliance.store.failures import StoreFailed

# Lines of one client that are under way; more are left in the socket until answers have gone out.
MAX_OUTSTANDING = 256
CHUNK = 64 * 1024
REST_MS = 1000

Watch = Callable[[int, int, Callable[[int], None]], None]


@dataclass(slots=True)
class _Slot:
    """A request and, when it is there, its answer; slots are answered in the order of the requests."""

    request: Request
    pieces: Iterator[bytes] | None = None


@dataclass(slots=True, eq=False)
class _Client:
    number: int
    connection: socket.socket
    user: User
    active_ms: int
    received: bytearray = field(default_factory=bytearray)
    slots: deque[_Slot] = field(default_factory=deque)
    unsent: bytes = b""
    skipping: bool = False
    may_have_begun: bool = False
    ended: bool = False
    interest: int = 0


@dataclass(slots=True)
class Console:
    """The server. Runs on the deciding thread with sockets that never block it; only names are looked up elsewhere."""

    listener: ListeningSocket
    inbox: Inbox
    names: Worker
    alarms: Alarms
    clock: Clock
    idle_timeout_ms: int
    most_clients: int
    watch: Watch
    unwatch: Callable[[int], None]
    _clients: set[_Client] = field(default_factory=set)
    _slots: dict[int, tuple[_Client, _Slot]] = field(default_factory=dict)
    _tokens: Iterator[int] = field(default_factory=lambda: count(1))
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))
    _known: dict[int, User] = field(default_factory=dict)

    def open(self) -> None:
        self.watch(self.listener.socket.fileno(), select.EPOLLIN, lambda _events: self._accept())

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno == errno.ECONNABORTED:
                    continue
                if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    raise
                self._rest()
                return
            connection.setblocking(False)
            if len(self._clients) >= self.most_clients:
                with contextlib.suppress(OSError):
                    connection.send(b"error: too many clients; try again later\n")
                connection.close()
                continue
            self._welcome(connection, peer_uid(connection))

    def _rest(self) -> None:
        """No descriptor is left: clients wait in the queue for a second, not in a loop of ours."""
        self.unwatch(self.listener.socket.fileno())
        self.alarms.at(self.clock.moment().boot + REST_MS, self.open)

    def _welcome(self, connection: socket.socket, uid: int) -> None:
        client = _Client(next(self._numbers), connection, self._known.get(uid, User(uid, "")), self.clock.moment().boot)
        self._clients.add(client)
        self.alarms.at(client.active_ms + self.idle_timeout_ms, partial(self._check_idle, client))
        if client.user.name:
            self._listen_to(client)
        else:
            self.names.submit(lambda: self.inbox.post(partial(self._named, client, user_named(uid))))

    def _named(self, client: _Client, user: User) -> None:
        self._known[user.uid] = user
        if client in self._clients:
            client.user = user
            self._listen_to(client)

    def _listen_to(self, client: _Client) -> None:
        client.interest = select.EPOLLIN
        self.watch(client.connection.fileno(), client.interest, partial(self._ready, client))

    def _ready(self, client: _Client, events: int) -> None:
        client.active_ms = self.clock.moment().boot
        if events & select.EPOLLIN and not client.ended:
            self._receive(client)
        elif events & (select.EPOLLHUP | select.EPOLLERR):
            self._drop(client)
            return
        self._send(client)

    def _receive(self, client: _Client) -> None:
        try:
            data = client.connection.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            self._drop(client)
            return
        if data:
            client.received += data
        else:
            client.ended = True
        self._take_lines(client)
        if client.ended and client.received and b"\n" not in client.received and not client.skipping:
            # A client that died in the middle looks the same; half a command must not be run.
            self._ask(client, unfinished(client.received.lstrip().startswith(b"{")))
            client.received.clear()

    def _take_lines(self, client: _Client) -> None:
        """Takes the lines that are whole; a flood of empty ones costs one pass over what was received."""
        received, start = client.received, 0
        while len(client.slots) < MAX_OUTSTANDING and (end := received.find(b"\n", start)) >= 0:
            self._take_line(client, bytes(received[start:end]))
            start = end + 1
        del received[:start]
        if len(received) > MAX_LINE and b"\n" not in received:
            if not client.skipping:
                self._ask(client, too_long(received.lstrip().startswith(b"{")))
            client.skipping = True
            received.clear()

    def _take_line(self, client: _Client, line: bytes) -> None:
        if client.skipping:
            client.skipping = False
        elif len(line) > MAX_LINE:
            self._ask(client, too_long(line.lstrip().startswith(b"{")))
        elif line.strip(b" \t\r"):
            self._ask(client, read_request(line))

    def _ask(self, client: _Client, request: Request) -> None:
        slot = _Slot(request)
        client.slots.append(slot)
        if request.mistake is not None:
            slot.pieces = response(request, rejection([request.mistake]))
            return
        # The core is told of the end of those connections only that may have opened a transaction.
        client.may_have_begun = client.may_have_begun or "begin" in request.command.lower()
        token = next(self._tokens)
        self._slots[token] = (client, slot)
        self.inbox.put(LineTyped(request.command, client.user, token, client.number))

    def reply(self, effect: Reply) -> None:
        """The answer to a line; of a client that has left it is thrown away."""
        client, slot = self._slots.pop(effect.reply_to)
        slot.pieces = response(slot.request, effect.answer)
        if client in self._clients:
            self._send(client)
        else:
            _close(slot)

    def _send(self, client: _Client) -> None:
        """Sends what the socket takes, a chunk a turn: a long answer, made while it is sent, keeps nobody waiting."""
        if client not in self._clients:
            return
        budget = CHUNK
        try:
            while budget > 0 and (client.unsent or self._next_piece(client) or self._take_more(client)):
                sent = client.connection.send(client.unsent)
                client.unsent = client.unsent[sent:]
                client.active_ms = self.clock.moment().boot
                budget -= sent
        except BlockingIOError:
            pass
        except OSError:
            self._drop(client)
            return
        if client.ended and not client.slots and not client.unsent:
            self._drop(client)
        else:
            self._set_interest(client)

    def _take_more(self, client: _Client) -> bool:
        """Takes lines that had to wait; true when one of them is answered already."""
        if client.received and len(client.slots) < MAX_OUTSTANDING:
            self._take_lines(client)
            return self._next_piece(client)
        return False

    def _next_piece(self, client: _Client) -> bool:
        """Fills `unsent` from the answers that are there, in order."""
        pieces: list[bytes] = []
        size = 0
        while size < CHUNK and client.slots and (answer := client.slots[0].pieces) is not None:
            try:
                piece = next(answer, None)
            except StoreFailed as failed:
                raise OSError(f"the store cannot be read: {failed}") from failed
            if piece is None:
                client.slots.popleft()
            else:
                pieces.append(piece)
                size += len(piece)
        client.unsent = b"".join(pieces)
        return bool(client.unsent)

    def _set_interest(self, client: _Client) -> None:
        reading = select.EPOLLIN if not client.ended and len(client.slots) < MAX_OUTSTANDING else 0
        more = bool(client.unsent) or (bool(client.slots) and client.slots[0].pieces is not None)
        interest = reading | (select.EPOLLOUT if more else 0)
        if interest != client.interest:
            client.interest = interest
            self.watch(client.connection.fileno(), interest, partial(self._ready, client))

    def _check_idle(self, client: _Client) -> None:
        """A client that says nothing, or takes nothing, is let go; one that waits for an answer is not."""
        if client not in self._clients:
            return
        waits = bool(client.slots) and not client.unsent
        expires = client.active_ms + self.idle_timeout_ms
        now = self.clock.moment().boot
        if waits or expires > now:
            again = now + self.idle_timeout_ms if waits else expires
            self.alarms.at(again, partial(self._check_idle, client))
        else:
            self._drop(client)

    def _drop(self, client: _Client) -> None:
        if client in self._clients:
            self._clients.discard(client)
            if client.may_have_begun:
                self.inbox.put(ConnectionClosed(client.number))
            if client.interest or client.user.name:
                self.unwatch(client.connection.fileno())
            client.connection.close()
            for slot in client.slots:
                _close(slot)

    def close(self) -> None:
        """Sends what is there, then ends every connection and removes the socket."""
        for client in list(self._clients):
            self._send(client)
            self._drop(client)
        self.unwatch(self.listener.socket.fileno())
        self.listener.close()


def _close(slot: _Slot) -> None:
    """Ends an answer that nobody will read, so that what it reads from is let go."""
    if slot.pieces is not None:
        slot.pieces.close()  # type: ignore[attr-defined]
