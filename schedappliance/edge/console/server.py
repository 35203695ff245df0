"""The console server: passes the lines of many clients to the core, and sends each client its answers in order.

Rule: it runs on the deciding thread and never blocks; a client that hangs or leaves affects no other client.
"""

from __future__ import annotations

import contextlib
import errno
import select
import socket
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

from schedappliance.edge.console.listener import ListeningSocket
from schedappliance.edge.console.protocol import Request, RequestReader, response
from schedappliance.edge.console.unix_socket import peer_uid
from schedappliance.edge.users import user_named
from schedappliance.edge.worker import Worker
from schedappliance.engine.effects import Answer, Reply, rejection
from schedappliance.engine.events import ConnectionClosed, LineTyped
from schedappliance.engine.records import User
from schedappliance.store.failures import StoreFailed

if TYPE_CHECKING:
    from schedappliance.edge.loop import Alarm, Loop

# The most lines of one client that wait for an answer; further lines stay in the socket.
MAX_OUTSTANDING = 256
# The most bytes that are received or sent for one client before the next client has its turn.
CHUNK = 64 * 1024
# The pause before the next accept when the process has no descriptor left.
REST_MS = 1000


class _Slot:
    """A request with its answer; None until the core replies. The pieces of the answer are made while it is sent.

    `number`: identifies the request in events and replies; 0 for a line that is not passed to the core.
    """

    __slots__ = ("_pieces", "answer", "in_transaction", "number", "request")

    def __init__(self, request: Request, number: int = 0, answer: Answer | None = None) -> None:
        self.request = request
        self.number = number
        self.answer = answer
        # Whether a transaction is open after the request; None if the request was not understood.
        self.in_transaction: bool | None = None
        self._pieces: Iterator[bytes] | None = None

    def next_piece(self, in_transaction: bool) -> bytes | None:
        """The next piece of the answer, None after the last one."""
        assert self.answer is not None
        if self._pieces is None:
            self._pieces = response(self.request, self.answer, in_transaction)
        try:
            return next(self._pieces, None)
        except StoreFailed as failed:
            raise OSError(f"the store cannot be read: {failed}") from failed


@dataclass(slots=True, eq=False)
class _Connection:
    """One client. Its slots are answered in their order. `unsent`: bytes that the socket has not accepted yet.

    `in_transaction`: whether a transaction was open after the last answered request. `active_ms`: the boot time of the
    last byte. `interest`: the watched epoll events, 0 until the name of the user is known.
    """

    number: int
    socket: socket.socket
    user: User
    active_ms: int
    reader: RequestReader = field(default_factory=RequestReader)
    slots: deque[_Slot] = field(default_factory=deque)
    unsent: bytes = b""
    in_transaction: bool = False
    has_ended: bool = False
    interest: int = 0
    alarm: Alarm = (0, 0)

    @property
    def is_done(self) -> bool:
        """Whether the client has finished sending and has received all its answers."""
        return self.has_ended and not self.slots and not self.unsent

    @property
    def waits(self) -> bool:
        """Whether the client waits for an answer that the server does not have yet."""
        return bool(self.slots) and not self.unsent

    def fill(self) -> bool:
        """Fills `unsent` from the answers that are ready, in order. Returns False if there are none. Raises OSError."""
        pieces: list[bytes] = []
        size = 0
        while size < CHUNK and self.slots and self.slots[0].answer is not None:
            slot = self.slots[0]
            if slot.in_transaction is not None:
                self.in_transaction = slot.in_transaction
            piece = slot.next_piece(self.in_transaction)
            if piece is None:
                self.slots.popleft()
            else:
                pieces.append(piece)
                size += len(piece)
        self.unsent = b"".join(pieces)
        return bool(self.unsent)

    def wanted_events(self) -> int:
        reading = select.EPOLLIN if not self.has_ended and len(self.slots) < MAX_OUTSTANDING else 0
        has_answer = bool(self.unsent) or (bool(self.slots) and self.slots[0].answer is not None)
        return reading | (select.EPOLLOUT if has_answer else 0)


@dataclass(slots=True)
class ConsoleServer:
    """Accepts clients, passes their lines to the core, and sends the core's replies.

    The names of users are looked up on another thread, since a directory service may be slow.
    """

    listener: ListeningSocket
    loop: Loop
    names: Worker
    idle_timeout_ms: int
    max_clients: int
    _connections: set[_Connection] = field(default_factory=set)
    _unanswered: dict[int, tuple[_Connection, _Slot]] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))
    _users: dict[int, User] = field(default_factory=dict)

    def open(self) -> None:
        self.loop.watch(self.listener.socket.fileno(), select.EPOLLIN, lambda _events: self._accept())

    def close(self) -> None:
        """Sends the answers that are ready, ends every connection and removes the socket."""
        for connection in list(self._connections):
            self._send(connection)
            self._end(connection)
        self.loop.unwatch(self.listener.socket.fileno())
        self.listener.close()

    def reply(self, effect: Reply) -> None:
        """Sends the answer to a line, unless the client has left."""
        if effect.reply_to in self._unanswered:
            connection, slot = self._unanswered.pop(effect.reply_to)
            slot.answer, slot.in_transaction = effect.answer, effect.in_transaction
            self._send(connection)

    # New clients

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno == errno.ECONNABORTED:
                    continue
                if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    raise
                self._pause_accepting()
                return
            client.setblocking(False)
            if len(self._connections) >= self.max_clients:
                with contextlib.suppress(OSError):
                    client.send(b"error: too many clients; try again later\n")
                client.close()
            else:
                self._welcome(client, peer_uid(client))

    def _pause_accepting(self) -> None:
        """Stops accepting for REST_MS, because no descriptor is left. A loop of failing accepts would use a whole core."""
        self.loop.unwatch(self.listener.socket.fileno())
        self.loop.alarms.at(self.loop.clock.moment().boot + REST_MS, self.open)

    def _welcome(self, client: socket.socket, uid: int) -> None:
        now = self.loop.clock.moment().boot
        connection = _Connection(next(self._numbers), client, self._users.get(uid, User(uid, "")), now)
        self._connections.add(connection)
        self._check_idle_at(now + self.idle_timeout_ms, connection)
        if connection.user.name:
            self._watch(connection, select.EPOLLIN)
        else:
            self.names.submit(lambda: self.loop.inbox.post(partial(self._set_user, connection, user_named(uid))))

    def _set_user(self, connection: _Connection, user: User) -> None:
        self._users[user.uid] = user
        if connection in self._connections:
            connection.user = user
            self._watch(connection, select.EPOLLIN)

    def _watch(self, connection: _Connection, events: int) -> None:
        connection.interest = events
        self.loop.watch(connection.socket.fileno(), events, partial(self._on_ready, connection))

    # Lines in

    def _on_ready(self, connection: _Connection, events: int) -> None:
        connection.active_ms = self.loop.clock.moment().boot
        if events & select.EPOLLIN and not connection.has_ended:
            self._receive(connection)
        elif events & (select.EPOLLHUP | select.EPOLLERR):
            self._end(connection)
        self._send(connection)

    def _receive(self, connection: _Connection) -> None:
        try:
            data = connection.socket.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            self._end(connection)
            return
        connection.reader.add(data)
        connection.has_ended = not data
        self._read_requests(connection)

    def _read_requests(self, connection: _Connection) -> None:
        for request in connection.reader.read(MAX_OUTSTANDING - len(connection.slots)):
            if request.mistake is not None:
                connection.slots.append(_Slot(request, 0, rejection([request.mistake])))
                continue
            slot = _Slot(request, next(self._numbers))
            connection.slots.append(slot)
            self._unanswered[slot.number] = (connection, slot)
            self.loop.inbox.put(LineTyped(request.command, connection.user, slot.number, connection.number))

    # Answers out

    def _send(self, connection: _Connection) -> None:
        """Sends until the socket is full, but at most about one chunk, so that a long answer delays no other client."""
        if connection not in self._connections:
            return
        budget = CHUNK
        try:
            while budget > 0 and (connection.unsent or connection.fill() or self._fill_from_lines(connection)):
                sent = connection.socket.send(connection.unsent)
                connection.unsent = connection.unsent[sent:]
                connection.active_ms = self.loop.clock.moment().boot
                budget -= sent
        except BlockingIOError:
            pass
        except OSError:
            self._end(connection)
            return
        if connection.is_done:
            self._end(connection)
        elif (events := connection.wanted_events()) != connection.interest:
            self._watch(connection, events)

    def _fill_from_lines(self, connection: _Connection) -> bool:
        """Reads lines that waited for a free slot. Returns True if one of them has an answer already."""
        if connection.reader.is_empty or len(connection.slots) >= MAX_OUTSTANDING:
            return False
        self._read_requests(connection)
        return connection.fill()

    # Clients that leave

    def _check_idle_at(self, boot_ms: int, connection: _Connection) -> None:
        connection.alarm = self.loop.alarms.at(boot_ms, partial(self._check_idle, connection))

    def _check_idle(self, connection: _Connection) -> None:
        """Disconnects a client that neither sends nor receives for too long, unless it waits for an answer."""
        now = self.loop.clock.moment().boot
        expires = connection.active_ms + self.idle_timeout_ms
        if connection.waits or expires > now:
            again = now + self.idle_timeout_ms if connection.waits else expires
            self._check_idle_at(again, connection)
        else:
            self._end(connection)

    def _end(self, connection: _Connection) -> None:
        """Forgets a client at once, with its buffers and its answers. Lines that the core has received are carried out."""
        if connection not in self._connections:
            return
        self._connections.discard(connection)
        # The core needs a turn only if a transaction may be open. A request whose answer was not sent may have opened one.
        if connection.in_transaction or connection.slots:
            self.loop.inbox.put(ConnectionClosed(connection.number))
        if connection.interest or connection.user.name:
            self.loop.unwatch(connection.socket.fileno())
        connection.socket.close()
        self.loop.alarms.cancel(connection.alarm)
        for slot in connection.slots:
            self._unanswered.pop(slot.number, None)
