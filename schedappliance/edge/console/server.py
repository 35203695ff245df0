"""The console server: passes the lines of many clients to the core, and sends each client its answers in order.

Rule: it runs on the deciding thread and never blocks; a client that hangs or leaves affects no other client.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import select
import socket
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

from schedappliance.diagnostics import Diagnostic, Source, Unusable
from schedappliance.edge.console.events import Watchers
from schedappliance.edge.console.listener import ListeningSocket
from schedappliance.edge.console.protocol import Request, RequestReader, response
from schedappliance.edge.console.unix_socket import peer_uid
from schedappliance.edge.threads import NO_THREAD, Offer
from schedappliance.edge.users import LookUps, known_after_tries
from schedappliance.engine.effects import Answer, EndWatches, PutOff, Reply, rejection
from schedappliance.engine.events import ConnectionClosed, LineTyped
from schedappliance.engine.records import User
from schedappliance.store.failures import StoreFailed

if TYPE_CHECKING:
    from schedappliance.edge.loop import Alarm, Loop
    from schedappliance.edge.threads import Inbox
    from schedappliance.engine.events import ConsoleEvent, Event

# The most lines of one client, and their most bytes, that wait for an answer; further lines stay in the socket.
MAX_OUTSTANDING = 256
MAX_ASKED = 256 * 1024
# The most bytes of answers that wait for a client, for all clients of a user, and for all clients that are not trusted.
# While more wait, the next lines are not carried out. One answer may be longer. A trusted user may have as many as all
# others together; while more wait, its clients get only short answers.
MAX_ANSWERED = 1024 * 1024
MAX_ANSWERED_OF_USER = 16 * 1024 * 1024
MAX_ANSWERED_OF_ALL = 64 * 1024 * 1024
MAX_SHORT = 64 * 1024
# The most lines of clients which have left that are still carried out.
MAX_LEFT = 1024
# The most bytes that are received or sent for one client before the next client has its turn.
CHUNK = 64 * 1024
# The pause before the next accept when the process has no descriptor left.
REST_MS = 1000
# A transaction is not discarded while a person thinks.
THINKING_MS = 600_000
NOTHING = memoryview(b"")
# The most pieces of answers that are made at once. A piece is empty while a long list is searched.
PIECES = 2000
WATCH_REQUEST = 'send `{"v": 1, "id": 1, "command": "watch"}`'
# The most clients that are accepted before others have their turn.
ACCEPTED_AT_ONCE = 64


class _Slot:
    """A request with its answer; None until the core replies. The pieces of the answer are made while it is sent.

    `number`: identifies the request in events and replies; 0 for a line that is not passed to the core. `line`: the event
    for the core; None while the core has it. `is_tried`: there was no room for a long answer when the core got it. `is_long`:
    its answer was too long then, so it waits for room.
    """

    __slots__ = ("_pieces", "answer", "in_transaction", "is_long", "is_tried", "line", "number", "request", "size")

    def __init__(self, request: Request, number: int, answer: Answer | None = None) -> None:
        self.request = request
        self.number = number
        self.answer = answer
        self.line: LineTyped | None = None
        # The size of the answer in memory.
        self.size = 0
        self.is_tried = self.is_long = False
        # Whether a transaction is open after the request; None if the request was not understood.
        self.in_transaction: bool | None = None
        self._pieces: Iterator[bytes] | None = None

    def ask(self, connection: _Connection) -> None:
        """Makes the event for the core."""
        request = self.request
        who = connection.user, self.number, connection.number
        self.line = LineTyped(request.command, *who, request.on_behalf_of, request.instead)

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
    last line, or of the last byte sent. `interest`: the watched epoll events, 0 until the name of the user is known.
    `alarm`: checks whether the client is idle. `asked`, `answered`: the bytes of the lines and of the answers in the slots.
    `counted`: the bytes of answers that the server has counted for the user. `last_reply`: grows with each reply. `is_watching`:
    it gets events too.
    """

    number: int
    socket: socket.socket
    user: User
    active_ms: int
    reader: RequestReader = field(default_factory=RequestReader)
    slots: deque[_Slot] = field(default_factory=deque)
    unsent: memoryview = NOTHING
    in_transaction: bool = False
    has_ended: bool = False
    interest: int = 0
    alarm: Alarm = (0, 0)
    asked: int = 0
    answered: int = 0
    counted: int = 0
    last_reply: int = 0
    is_watching: bool = False

    @property
    def is_done(self) -> bool:
        """Whether the client has finished sending and has received all its answers."""
        return self.has_ended and not self.slots and not self.unsent

    @property
    def waits(self) -> bool:
        """Whether the client waits for an answer that the server does not have yet."""
        return bool(self.slots) and not self.unsent

    @property
    def room(self) -> int:
        """How many lines may be read now."""
        is_full = self.asked > MAX_ASKED or self.answered > MAX_ANSWERED
        return 0 if is_full else MAX_OUTSTANDING - len(self.slots)

    def add(self, slot: _Slot) -> None:
        self.slots.append(slot)
        self.asked += len(slot.request.command)

    def fill(self) -> bool:
        """Fills `unsent` from the answers that are ready, in order. Returns False if there are none. Raises OSError."""
        pieces: list[bytes] = []
        size = 0
        while size < CHUNK and len(pieces) < PIECES and self.slots and self.slots[0].answer is not None:
            slot = self.slots[0]
            if slot.in_transaction is not None:
                self.in_transaction = slot.in_transaction
            piece = slot.next_piece(self.in_transaction)
            if piece is None:
                self.slots.popleft()
                self.asked -= len(slot.request.command)
                self.answered -= slot.size
            else:
                pieces.append(piece)
                size += len(piece)
        # A view: cutting off what was sent copies nothing, however long the answer is.
        self.unsent = memoryview(b"".join(pieces))
        return bool(self.unsent)

    def wanted_events(self) -> int:
        reading = select.EPOLLIN if not self.has_ended and self.room > 0 else 0
        has_answer = bool(self.unsent) or (bool(self.slots) and self.slots[0].answer is not None)
        return reading | (select.EPOLLOUT if has_answer else 0)


class _Lines:
    """The lines that the core has not got yet.

    Rule: the lines of one client keep their order, and its end follows its lines.
    """

    def __init__(
        self, inbox: Inbox, has_room: Callable[[_Connection], bool], is_trusted: Callable[[_Connection], bool]
    ) -> None:
        self._inbox = inbox
        self._has_room = has_room
        self._is_trusted = is_trusted
        self._is_offered = False
        self._clients: dict[_Connection, None] = {}
        self._left: deque[ConsoleEvent] = deque()
        # Events of clients that have left, which the core has put off. They come before the others of their clients.
        self._left_first: list[ConsoleEvent] = []
        self._left_is_first = False

    def offer(self) -> None:
        """Tells the inbox that there are lines, if there are lines of a client that may ask."""
        if not self._is_offered and (self._left or self._left_first or any(map(self._may_ask, self._clients))):
            self._is_offered = True
            self._inbox.put(Offer(self._take))

    def _may_ask(self, connection: _Connection) -> bool:
        """Whether the next line of a client may be carried out."""
        return self._has_room(connection) or self._may_try(connection)

    def _may_try(self, connection: _Connection) -> bool:
        """Whether the next line may be carried out without room for a long answer: others cannot keep a trusted user out.

        Its answer may be dropped and the line repeated, so it is the only line of its client that waits for an answer.
        """
        first = connection.slots[0]
        return first.line is not None and not first.is_long and self._is_trusted(connection)

    def add(self, connection: _Connection) -> None:
        self._clients[connection] = None

    def put_off(self, event: ConsoleEvent) -> None:
        self._left_first.append(event)

    def leave(self, connection: _Connection) -> None:
        """Keeps the lines of a client that has left. It drops them if too many wait, since nobody reads their answers."""
        self._clients.pop(connection, None)
        if len(self._left) + len(self._left_first) < MAX_LEFT:
            self._left += [slot.line for slot in connection.slots if slot.line is not None]
        # The core needs a turn only if a transaction may be open. A request whose answer was not sent may have opened one.
        if connection.in_transaction or connection.slots:
            self._left.append(ConnectionClosed(connection.number))

    def _take(self, limit: int) -> list[Event]:
        """The lines for one turn, at most `limit`.

        A turn may put off all but the first line. Therefore clients that are there and clients that have left take turns at
        being first, and a client comes before others whose last reply is newer.
        """
        self._is_offered = False
        self._left_is_first = not self._left_is_first
        events: list[Event] = []
        if self._left_is_first:
            self._take_left(events, limit)
        for connection in sorted(filter(self._may_ask, self._clients), key=lambda client: client.last_reply):
            del self._clients[connection]
            most, has_room = limit, self._has_room(connection)
            if not has_room:
                # A line whose answer is dropped comes again, before the next line of its client.
                most = min(limit, len(events) + 1)
            for slot in connection.slots:
                if slot.line is not None and len(events) < most:
                    events.append(slot.line)
                    slot.line, slot.is_tried = None, not has_room
                elif slot.line is not None:
                    self._clients[connection] = None
                    break
        self._take_left(events, limit)
        self.offer()
        return events

    def _take_left(self, events: list[Event], limit: int) -> None:
        self._left.extendleft(reversed(self._left_first))
        self._left_first.clear()
        while self._left and len(events) < limit:
            events.append(self._left.popleft())


@dataclass(slots=True)
class ConsoleServer:
    """Accepts clients, passes their lines to the core, and sends the core's replies.

    The names of users are looked up on another thread, since a directory service may be slow. `trusted`: the users that
    other clients cannot keep from the console.
    """

    listener: ListeningSocket
    loop: Loop
    names: LookUps
    idle_timeout_ms: int
    max_clients: int
    log: logging.Logger
    trusted: frozenset[int] = field(default_factory=lambda: frozenset({0, os.geteuid()}))
    _lines: _Lines = field(init=False)
    _connections: set[_Connection] = field(default_factory=set)
    _unanswered: dict[int, tuple[_Connection, _Slot]] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))
    _users: dict[int, User] = field(default_factory=dict)
    _clients: Counter[int] = field(default_factory=Counter)
    _answered: Counter[int] = field(default_factory=Counter)
    _answered_of_all: int = 0
    _trouble: str = ""
    watchers: Watchers[_Connection] = field(init=False)

    def __post_init__(self) -> None:
        self.watchers = Watchers(self.loop, self._send)
        self._lines = _Lines(self.loop.inbox, self._has_room, self._is_trusted)

    def open(self) -> None:
        self.loop.watch(self.listener.socket.fileno(), select.EPOLLIN, lambda _events: self._accept())

    def close(self) -> None:
        """Sends the answers that are ready, ends every connection and removes the socket."""
        for connection in list(self._connections):
            self._send(connection)
            self._end(connection)
        self.loop.unwatch(self.listener.socket.fileno())
        self.listener.close()

    def audit(self) -> None:
        """Creates the socket and its lock file again if somebody removed them. Connected clients stay connected."""
        self.watchers.audit()
        lost = self.listener.lost()
        if lost is None:
            self._trouble = ""
            return
        # The clients that connected before the removal wait in the old socket.
        self._accept()
        old = self.listener.socket
        try:
            self.listener.renew()
        except Unusable as unusable:
            trouble = f"{lost} was removed or replaced, and cannot be created again: {unusable}"
        else:
            trouble = f"{lost} was removed or replaced; it was created again"
            if self.listener.socket is not old:
                self.loop.unwatch(old.fileno())
                old.close()
                self.open()
        if trouble != self._trouble:
            self.log.warning(trouble)
        self._trouble = trouble

    def measure(self) -> dict[str, float]:
        """How many clients there are, and how many of them watch."""
        return {"console_clients": len(self._connections), "watchers": len(self.watchers.clients())}

    def reply(self, effect: Reply) -> None:
        """Sends the answer to a line, unless the client has left."""
        if effect.reply_to in self._unanswered:
            connection, slot = self._unanswered[effect.reply_to]
            if slot.is_tried and effect.is_repeatable and effect.size > MAX_SHORT and not self._has_room(connection):
                slot.is_long = True
                slot.ask(connection)
                self._lines.add(connection)
                return
            del self._unanswered[effect.reply_to]
            answer = effect.answer
            if answer.events_after is not None:
                answer = self._begin_watch(connection, slot, answer, answer.events_after)
            slot.answer, slot.in_transaction, slot.size = answer, effect.in_transaction, effect.size
            connection.last_reply = next(self._numbers)
            connection.answered += slot.size
            self._send(connection)

    def put_off(self, effect: PutOff) -> None:
        """Performs the effect PutOff: passes the line again when there is room for its answer."""
        event = effect.event
        if isinstance(event, LineTyped) and event.reply_to in self._unanswered:
            connection, slot = self._unanswered[event.reply_to]
            slot.line = event
            self._lines.add(connection)
        else:
            self._lines.put_off(event)
        self._lines.offer()

    def _is_trusted(self, connection: _Connection) -> bool:
        return connection.user.uid in self.trusted

    def _has_room(self, connection: _Connection) -> bool:
        """Whether there is room for the answer to the next line of a client, however long it is."""
        if connection.answered > MAX_ANSWERED:
            return False
        of_user = self._answered[connection.user.uid]
        if self._is_trusted(connection):
            return of_user <= MAX_ANSWERED_OF_ALL
        return of_user <= MAX_ANSWERED_OF_USER and self._answered_of_all <= MAX_ANSWERED_OF_ALL

    def _count(self, connection: _Connection) -> None:
        """Counts the bytes of the answers that wait for a client, and lets others ask if there are fewer."""
        change, connection.counted = connection.answered - connection.counted, connection.answered
        self._answered[connection.user.uid] += change
        if not self._is_trusted(connection):
            self._answered_of_all += change
        if change < 0:
            self._lines.offer()

    # New clients

    def _accept(self) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
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
            uid = peer_uid(client)
            if why := self._why_full(uid):
                with contextlib.suppress(OSError):
                    client.send(f"error: {why}\n".encode())
                client.close()
            else:
                self._welcome(client, uid)

    def _why_full(self, uid: int) -> str:
        """Why there is no place for another client of a user; empty if there is one.

        Nobody can keep root, or the user of the appliance, from the console.
        """
        places = self.max_clients
        if uid not in self.trusted:
            if self._clients[uid] >= places // 4:
                return "too many clients of one user; close some"
            places -= places // 8
        return "too many clients; try again later" if len(self._connections) >= places else ""

    def _pause_accepting(self) -> None:
        """Stops accepting for REST_MS, because no descriptor is left. A loop of failing accepts would use a whole core."""
        self.loop.unwatch(self.listener.socket.fileno())
        self.loop.alarms.at(self.loop.clock.moment().boot + REST_MS, self.open)

    def _welcome(self, client: socket.socket, uid: int) -> None:
        now = self.loop.clock.moment().boot
        connection = _Connection(next(self._numbers), client, self._users.get(uid, User(uid, "")), now)
        self._connections.add(connection)
        self._clients[uid] += 1
        self._check_idle_at(now + self.idle_timeout_ms, connection)
        if connection.user.name:
            self._watch(connection, select.EPOLLIN)
        else:
            self._look_up(connection, uid)

    def _look_up(self, connection: _Connection, uid: int) -> None:
        def look_up() -> None:
            known = known_after_tries(uid, with_groups=False)
            self.loop.inbox.post(partial(self._set_user, connection, known.user, known.problem))

        try:
            self.names.submit(look_up)
        except RuntimeError:
            self._set_user(connection, connection.user, NO_THREAD)

    def _set_user(self, connection: _Connection, user: User, problem: str | None) -> None:
        """Goes on with a client whose user is known. A client whose look-up failed is turned away: it may come again."""
        if problem is None:
            self._users[user.uid] = user
        if connection not in self._connections:
            return
        if problem is None:
            connection.user = user
            self._watch(connection, select.EPOLLIN)
            return
        with contextlib.suppress(OSError):
            connection.socket.send(f"error: your user cannot be looked up: {problem}; try again later\n".encode())
        self._end(connection)

    def _watch(self, connection: _Connection, events: int) -> None:
        connection.interest = events
        self.loop.watch(connection.socket.fileno(), events, partial(self._on_ready, connection))

    # Lines in

    def _on_ready(self, connection: _Connection, events: int) -> None:
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
        for request in connection.reader.read(connection.room):
            # Only a line counts as activity: empty lines and parts of lines do not keep a place.
            connection.active_ms = self.loop.clock.moment().boot
            if request.mistake is not None:
                connection.add(_Slot(request, 0, rejection([request.mistake])))
                continue
            slot = _Slot(request, next(self._numbers))
            slot.ask(connection)
            connection.add(slot)
            self._unanswered[slot.number] = (connection, slot)
            self._lines.add(connection)
        self._lines.offer()

    # Answers out

    def _send(self, connection: _Connection) -> None:
        """Sends until the socket is full, but at most about one chunk, so that a long answer delays no other client."""
        if connection not in self._connections:
            return
        budget = CHUNK
        try:
            while budget > 0 and (
                connection.unsent
                or connection.fill()
                or self._fill_from_lines(connection)
                or self._fill_with_events(connection)
            ):
                sent = connection.socket.send(connection.unsent)
                connection.unsent = connection.unsent[sent:]
                connection.active_ms = self.loop.clock.moment().boot
                budget -= sent
            if not connection.unsent:
                # Without this, lines that were received while there was no room would wait for the next byte.
                self._fill_from_lines(connection)
        except BlockingIOError:
            pass
        except OSError:
            self._end(connection)
            return
        self._count(connection)
        if connection.slots and connection.slots[0].line is not None:
            self._lines.offer()
        if connection.is_done and not connection.is_watching:
            self._end(connection)
        else:
            events = connection.wanted_events()
            if connection.is_watching and self.watchers.is_behind(connection):
                events |= select.EPOLLOUT
            if events != connection.interest:
                self._watch(connection, events)

    def end_watches(self, _effect: EndWatches) -> None:
        """Performs the effect EndWatches."""
        for connection in self.watchers.clients():
            self._end(connection)

    def _begin_watch(self, connection: _Connection, slot: _Slot, answer: Answer, after: int) -> Answer:
        if not slot.request.structured:
            source = Source("<request>", "")
            return rejection([Diagnostic("E507", "`watch` answers only requests in JSON", WATCH_REQUEST, source)])
        connection.is_watching = True
        number = self.watchers.begin(connection, json.dumps(slot.request.id), after)
        return answer._replace(output=json.dumps({"seq": number}))

    def _fill_with_events(self, connection: _Connection) -> bool:
        """Fills `unsent` with events, unless an answer is being sent. Returns False if there are none."""
        if not connection.is_watching or (connection.slots and connection.slots[0].answer is not None):
            return False
        connection.unsent = memoryview(self.watchers.next_bytes(connection, CHUNK))
        return bool(connection.unsent)

    def _fill_from_lines(self, connection: _Connection) -> bool:
        """Reads lines that waited for a free slot. Returns True if one of them has an answer already."""
        if connection.reader.is_empty or connection.room <= 0:
            return False
        self._read_requests(connection)
        return connection.fill()

    # Clients that leave

    def _check_idle_at(self, boot_ms: int, connection: _Connection) -> None:
        connection.alarm = self.loop.alarms.at(boot_ms, partial(self._check_idle, connection))

    def _check_idle(self, connection: _Connection) -> None:
        """Disconnects a client that neither sends nor receives for too long, unless it waits for an answer."""
        now = self.loop.clock.moment().boot
        limit = max(self.idle_timeout_ms, THINKING_MS if connection.in_transaction else 0)
        expires = connection.active_ms + limit
        waits = connection.waits or connection.is_watching
        if waits or expires > now:
            again = now + self.idle_timeout_ms if waits else expires
            self._check_idle_at(again, connection)
        else:
            self._end(connection)

    def _end(self, connection: _Connection) -> None:
        """Forgets a client at once, with its buffers and its answers. Lines that the core has received are carried out."""
        if connection not in self._connections:
            return
        self._connections.discard(connection)
        self._clients[connection.user.uid] -= 1
        self._lines.leave(connection)
        self.watchers.leave(connection)
        connection.answered = 0
        self._count(connection)
        self._lines.offer()
        if connection.interest or connection.user.name:
            self.loop.unwatch(connection.socket.fileno())
        connection.socket.close()
        self.loop.alarms.cancel(connection.alarm)
        for slot in connection.slots:
            self._unanswered.pop(slot.number, None)
