"""The console server: passes the lines of many clients to the core, and sends each client its answers in order.

Rule: it runs on the deciding thread and never blocks; a client that hangs or leaves affects no other client.
"""

# The way of a line, if everything goes well. Example: a client sends `sched list`, and before its answer `summary`.
#
#   _welcome        The client has connected. Its user is looked up.
#   _read_requests  The lines have arrived. Each gets a slot and waits in `_Lines`.
#   _Lines._take    The inbox takes them into a turn, if there is room for their answers.
#   reply           The core has answered: the slot gets the answer.
#   _send           sends the answers of the turn in the order of the lines, as fast as the socket takes them.
#
# What can go wrong, and what then happens:
#
#   a client sends many lines        At most MAX_OUTSTANDING of them are read. The rest stays in its socket.
#   a client reads no answers        Above MAX_ANSWERED bytes of answers, its next lines are not carried out.
#   many clients read no answers     The bytes also count for their user, and for all clients. Other users go on.
#   then root asks for `summary`     Nobody may keep a trusted user out, so this line is *tried* without room. A short answer is
#                                    sent. A long one is discarded, and the line waits for room (`is_long`).
#   a turn has made enough answers   The core returns PutOff for the other lines: they come again in the next turn.
#   a client leaves                  Its lines are carried out all the same, but nobody gets the answers.

from __future__ import annotations

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

from schedappliance.diagnostics import Diagnostic, Source
from schedappliance.edge.console.events import Watchers
from schedappliance.edge.console.fairness import Fairness
from schedappliance.edge.console.listener import Acceptor, ListeningSocket
from schedappliance.edge.console.protocol import Request, RequestReader, response
from schedappliance.edge.threads import Offer, weight_of
from schedappliance.edge.users import ClientNames, LookUps
from schedappliance.engine.effects import Answer, EndWatches, PutOff, Reply, rejection
from schedappliance.engine.events import ConnectionClosed, LineTyped
from schedappliance.engine.records import User
from schedappliance.store.failures import StoreFailed

if TYPE_CHECKING:
    from schedappliance.edge.loop import Alarm, Loop
    from schedappliance.engine.events import ConsoleEvent

# The most lines of one client that wait for an answer, and their most bytes. Further lines stay in the socket.
MAX_OUTSTANDING = 256
MAX_ASKED = 256 * 1024
# The most bytes of answers that wait for one client. Above it, its next lines are not carried out. One answer may be longer.
MAX_ANSWERED = 1024 * 1024
# The most bytes of answers that wait for all clients of one user who is not trusted.
MAX_ANSWERED_OF_USER = 16 * 1024 * 1024
# The most bytes of answers that wait for all clients of users who are not trusted, and for all clients of one trusted user.
MAX_ANSWERED_OF_ALL = 64 * 1024 * 1024
# The most bytes of an answer that a trusted user gets without room for it.
MAX_SHORT = 64 * 1024
# The most lines of departed clients that are still carried out.
MAX_DEPARTED = 1024
# The most bytes that are received or sent for one client before the next client has its turn. The answer of `json metrics`
# with 1,000 jobs fits: sending it in two turns took 0.1 ms more.
CHUNK = 128 * 1024
# A client with an open transaction may be idle for this time, since a person may be thinking.
THINKING_MS = 600_000
NOTHING = memoryview(b"")
WATCH_REQUEST = 'send `{"v": 1, "id": 1, "command": "watch"}`'


# One client


class _Slot:
    """A request with its answer. The pieces of the answer are made while it is sent."""

    __slots__ = ("_pieces", "answer", "in_transaction", "is_long", "is_tried", "line", "number", "request", "size")

    def __init__(self, request: Request, number: int, answer: Answer | None = None) -> None:
        self.request = request
        # Identifies the request in events and replies; 0 for a line that is not passed to the core.
        self.number = number
        # The event for the core; None while the core has it.
        self.line: LineTyped | None = None
        # The core has got the line, although there was no room for a long answer.
        self.is_tried = False
        # Its answer was long, so it was discarded. The line waits until there is room.
        self.is_long = False
        # None until the core replies.
        self.answer = answer
        # The size of the answer in memory.
        self.size = 0
        # Whether a transaction is open after the request; None if the request was not understood.
        self.in_transaction: bool | None = None
        self._pieces: Iterator[bytes] | None = None

    def ask(self, connection: _Connection) -> None:
        """Makes the event for the core, for the first time or again."""
        request = self.request
        who = connection.user, self.number, connection.number
        self.line = LineTyped(request.command, *who, request.on_behalf_of, request.instead, request.quiet)

    def next_piece(self, in_transaction: bool) -> bytes | None:
        """The next piece of the answer, None after the last one."""
        assert self.answer is not None
        if self._pieces is None:
            self._pieces = response(self.request, self.answer, in_transaction)
        try:
            return next(self._pieces, None)
        except StoreFailed as failed:
            # `_send` ends a connection that fails.
            raise OSError(f"the store cannot be read: {failed}") from failed


@dataclass(slots=True, eq=False)
class _Connection:
    """One client. Its slots are answered in their order."""

    number: int
    socket: socket.socket
    user: User
    # The boot time of the last line that arrived, or of the last byte that was sent.
    active_ms: int
    reader: RequestReader = field(default_factory=RequestReader)
    slots: deque[_Slot] = field(default_factory=deque)
    # The bytes of the lines, and of the answers, in the slots.
    asked_bytes: int = 0
    answered_bytes: int = 0
    # How many of the bytes of answers the server has counted for the user.
    counted_bytes: int = 0
    # A number that grows with each reply of the server.
    last_reply: int = 0
    # The bytes that the socket has not accepted yet.
    unsent: memoryview = NOTHING
    # Whether a transaction was open after the last answered request.
    in_transaction: bool = False
    # The client gets events too.
    is_watching: bool = False
    # The watched epoll events; 0 until the user is known, and while nothing is wanted.
    interest: int = 0
    # Checks whether the client is idle.
    alarm: Alarm = (0, 0)

    @property
    def is_done(self) -> bool:
        """Whether the client has finished sending and has received all its answers."""
        return self.reader.is_over and not self.slots and not self.unsent

    @property
    def waits(self) -> bool:
        """Whether a request is unanswered, and nothing is on its way to the client."""
        return bool(self.slots) and not self.unsent

    @property
    def room(self) -> int:
        """How many lines may be read now."""
        is_full = self.asked_bytes > MAX_ASKED or self.answered_bytes > MAX_ANSWERED
        return 0 if is_full else MAX_OUTSTANDING - len(self.slots)

    def add(self, slot: _Slot) -> None:
        self.slots.append(slot)
        self.asked_bytes += len(slot.request.command)

    def fill_with_answers(self, must_yield: Callable[[int, bool], bool]) -> bool:
        """Fills `unsent` from the answers that are ready, in order. Returns False if it stays empty. Raises OSError."""
        if not self.slots:
            return False
        pieces: list[bytes] = []
        size = 0
        while size < CHUNK and self.slots and (answer := self.slots[0].answer) is not None:
            # CHUNK does not limit the time of pieces that are made now: the search of a long list gives empty ones.
            if not isinstance(answer.output, str) and must_yield(self.user.uid, bool(pieces)):
                break
            slot = self.slots[0]
            if slot.in_transaction is not None:
                self.in_transaction = slot.in_transaction
            if (piece := slot.next_piece(self.in_transaction)) is None:
                self.slots.popleft()
                self.asked_bytes -= len(slot.request.command)
                self.answered_bytes -= slot.size
            else:
                pieces.append(piece)
                size += len(piece)
        # With a view, cutting off what was sent copies nothing, however long the answer is.
        self.unsent = memoryview(b"".join(pieces))
        return bool(self.unsent)

    def wanted_events(self) -> int:
        reading = select.EPOLLIN if not self.reader.is_over and self.room > 0 else 0
        has_answer = bool(self.unsent) or (bool(self.slots) and self.slots[0].answer is not None)
        return reading | (select.EPOLLOUT if has_answer else 0)


# All clients


class _Lines:
    """The lines that the core has not got yet.

    Rule: the lines of one client keep their order, and its end follows its lines.
    """

    def __init__(
        self, loop: Loop, has_room: Callable[[_Connection], bool], is_trusted: Callable[[_Connection], bool]
    ) -> None:
        self._inbox = loop.inbox
        self.fairness = Fairness(loop)
        self._has_room = has_room
        self._is_trusted = is_trusted
        self._is_offered = False
        self._clients: dict[_Connection, None] = {}
        self._departed: deque[ConsoleEvent] = deque()
        # Events of departed clients that the core has put off. They come before the others of their clients.
        self._departed_first: list[ConsoleEvent] = []
        self._is_turn_of_departed = False

    def offer(self) -> None:
        """Offers the lines to the inbox, which takes them when it has room. Does nothing if none may be carried out."""
        if not self._is_offered and (self._departed or self._departed_first or any(map(self._may_ask, self._clients))):
            self._is_offered = True
            self._inbox.put(Offer(self._take))

    def _may_ask(self, connection: _Connection) -> bool:
        """Whether the next line of a client may be carried out."""
        return self._has_room(connection) or self._may_try(connection)

    def _may_try(self, connection: _Connection) -> bool:
        """Whether the next line of a client may be tried without room for its answer: nobody may keep a trusted user out."""
        first = connection.slots[0]
        return first.line is not None and not first.is_long and self._is_trusted(connection)

    def add(self, connection: _Connection) -> None:
        self._clients[connection] = None

    def put_off(self, event: ConsoleEvent) -> None:
        self._departed_first.append(event)

    def leave(self, connection: _Connection) -> None:
        """Keeps the lines of a client that has left. If too many wait, it discards them: nobody reads their answers."""
        self._clients.pop(connection, None)
        if len(self._departed) + len(self._departed_first) < MAX_DEPARTED:
            self._departed += [slot.line for slot in connection.slots if slot.line is not None]
        # The core needs a turn only if a transaction may be open: the last answer said so, or an answer is still missing.
        if connection.in_transaction or connection.slots:
            self._departed.append(ConnectionClosed(connection.number))

    def _take(self, limit: int) -> list[ConsoleEvent]:
        """The lines for one turn: about `limit` of them, by their weight.

        A turn may put off all lines but the first one. So the first place is given fairly: to present and departed clients
        alternately, and among the present ones to the user whose last reply is the oldest.
        """
        self._is_offered = False
        self._is_turn_of_departed = not self._is_turn_of_departed
        events: list[ConsoleEvent] = []
        if self._is_turn_of_departed:
            limit = self._take_departed(events, limit)
        clients = list(filter(self._may_ask, self._clients))
        for connection in self.fairness.in_order(clients) if len(clients) > 1 else clients:
            limit = self._take_from(connection, events, limit)
        self._take_departed(events, limit)
        self.offer()
        return events

    def _take_from(self, connection: _Connection, events: list[ConsoleEvent], limit: int) -> int:
        """Adds lines of a client to the events. Returns what is left of the limit."""
        del self._clients[connection]
        has_room = self._has_room(connection)
        # Only one line of a client is tried at a time. It may come again, and must then come before the next one.
        most = len(connection.slots) if has_room else 1
        for slot in connection.slots:
            if slot.line is not None and limit > 0 and most > 0:
                events.append(slot.line)
                limit, most = limit - weight_of(slot.line), most - 1
                slot.line, slot.is_tried = None, not has_room
            elif slot.line is not None:
                self._clients[connection] = None
                break
        return limit

    def _take_departed(self, events: list[ConsoleEvent], limit: int) -> int:
        self._departed.extendleft(reversed(self._departed_first))
        self._departed_first.clear()
        while self._departed and limit > 0:
            events.append(event := self._departed.popleft())
            limit -= weight_of(event)
        return limit


@dataclass(slots=True)
class ConsoleServer:
    """Passes the lines of clients to the core, and sends the core's replies."""

    listener: ListeningSocket
    loop: Loop
    # Looks up the names of users on threads of its own, since a directory service may be slow.
    look_ups: LookUps
    idle_timeout_ms: int
    max_clients: int
    log: logging.Logger
    # The users that other clients cannot keep from the console.
    trusted: frozenset[int] = field(default_factory=lambda: frozenset({0, os.geteuid()}))
    watchers: Watchers[_Connection] = field(init=False)
    _acceptor: Acceptor = field(init=False)
    _names: ClientNames = field(init=False)
    _lines: _Lines = field(init=False)
    _connections: set[_Connection] = field(default_factory=set)
    # The requests that the core has not answered, by their numbers.
    _unanswered: dict[int, tuple[_Connection, _Slot]] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))  # Of connections, requests and replies.
    # The number of clients of each user.
    _clients: Counter[int] = field(default_factory=Counter)
    # The bytes of answers that wait: for each user, and for all clients that are not trusted.
    _answered: Counter[int] = field(default_factory=Counter)
    _answered_of_all: int = 0

    def __post_init__(self) -> None:
        self.watchers = Watchers(self.loop, self._send)
        self._acceptor = Acceptor(self.listener, self.loop, self.log, self._why_full, self._welcome)
        self._names = ClientNames(self.loop, self.look_ups, self.log)
        self._lines = _Lines(self.loop, self._has_room, self._is_trusted)

    def open(self) -> None:
        self._acceptor.open()
        # Later there may be no thread for it, and the log would not name the operator.
        for uid in self.trusted:
            self._names.name(uid, lambda _user: None)

    def close(self) -> None:
        """Sends the answers that are ready, ends every connection and removes the socket."""
        for connection in list(self._connections):
            self._send(connection)
            self._end(connection)
        self._acceptor.close()

    def audit(self) -> None:
        """Creates the socket and its lock file again if somebody removed them. Connected clients stay connected."""
        self.watchers.audit()
        self._acceptor.audit()

    def measure(self) -> dict[str, float]:
        """How many clients there are, and how many of them watch."""
        return {"console_clients": len(self._connections), "watchers": len(self.watchers.clients())}

    # New clients

    def _why_full(self, uid: int) -> str:
        """Why there is no place for another client of a user; empty if there is one.

        A user who is not trusted gets at most a quarter of the places. An eighth of them is kept for trusted users.
        """
        places = self.max_clients
        if uid not in self.trusted:
            if self._clients[uid] >= places // 4:
                return "too many clients of one user; close some"
            places -= places // 8
        return "too many clients; try again later" if len(self._connections) >= places else ""

    def _welcome(self, client: socket.socket, uid: int) -> None:
        now = self.loop.clock.moment().boot
        connection = _Connection(next(self._numbers), client, User(uid, ""), now)
        self._connections.add(connection)
        self._clients[uid] += 1
        self._check_idle_at(now + self.idle_timeout_ms, connection)
        self._names.name(uid, partial(self._let_in, connection))

    def _let_in(self, connection: _Connection, user: User) -> None:
        """Reads from a client whose user has a name."""
        if connection in self._connections:
            connection.user = user
            self._watch_socket(connection, select.EPOLLIN)

    def _watch_socket(self, connection: _Connection, events: int) -> None:
        connection.interest = events
        self.loop.watch(connection.socket.fileno(), events, partial(self._on_ready, connection))

    # Lines in

    def _on_ready(self, connection: _Connection, events: int) -> None:
        if events & select.EPOLLIN and not connection.reader.is_over:
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
        self._read_requests(connection)

    def _read_requests(self, connection: _Connection) -> None:
        for request in connection.reader.read(connection.room):
            # Only a line counts as activity. With empty lines and parts of lines, a client is still idle.
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

    # Effects of the core

    def reply(self, effect: Reply) -> None:
        """Takes the answer to a line, unless the client has left. The answers of a turn are sent together."""
        if effect.reply_to not in self._unanswered:
            return
        connection, slot = self._unanswered[effect.reply_to]
        if self._must_wait(connection, slot, effect):
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
        connection.answered_bytes += slot.size
        self.loop.at_turn_end(self._send, connection)

    def _must_wait(self, connection: _Connection, slot: _Slot, effect: Reply) -> bool:
        """Whether an answer that can be made again is discarded for want of room, so that its line waits."""
        is_long = slot.is_tried and effect.size > MAX_SHORT
        return is_long and effect.is_repeatable and not self._has_room(connection)

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

    def end_watches(self, _effect: EndWatches) -> None:
        """Performs the effect EndWatches."""
        for connection in self.watchers.clients():
            self._send(connection)
            self._end(connection)

    # Answers out

    def _send(self, connection: _Connection) -> None:
        """Sends until the socket is full, or others must have their turn: after about one chunk, or some time."""
        if connection not in self._connections:
            return
        budget = CHUNK
        try:
            while budget > 0 and (connection.unsent or self._fill(connection)):
                sent = connection.socket.send(connection.unsent)
                connection.unsent = connection.unsent[sent:]
                connection.active_ms = self.loop.clock.moment().boot
                budget -= CHUNK if self.loop.must_yield() else sent
            if not connection.unsent:
                # Lines that came while there was no room are read now. Otherwise they would wait for the client's next byte.
                self._read_waiting_lines(connection)
        except BlockingIOError:
            pass
        except OSError:
            self._end(connection)
            return
        self._count_answers(connection)
        if connection.slots and connection.slots[0].line is not None:
            self._lines.offer()
        self._settle(connection)

    def _fill(self, connection: _Connection) -> bool:
        """Fills `unsent` with answers, also to lines that had no room before, or with events. Returns False if there are none."""
        must_yield = self._lines.fairness.must_yield
        is_filled = connection.fill_with_answers(must_yield) or self._read_waiting_lines(connection)
        return is_filled or self._fill_with_events(connection)

    def _read_waiting_lines(self, connection: _Connection) -> bool:
        """Reads lines that waited for a free slot. Returns True if one of them has filled `unsent` with its answer."""
        if connection.reader.is_empty or connection.room <= 0:
            return False
        self._read_requests(connection)
        return connection.fill_with_answers(self._lines.fairness.must_yield)

    def _settle(self, connection: _Connection) -> None:
        """Ends a client that is done. For any other, watches its socket for what is needed next."""
        if connection.is_done and (connection.reader.has_quit or not connection.is_watching):
            self._end(connection)
            return
        events = connection.wanted_events()
        if connection.is_watching and self.watchers.is_behind(connection):
            events |= select.EPOLLOUT
        if events != connection.interest:
            self._watch_socket(connection, events)

    # Room for answers

    def _is_trusted(self, connection: _Connection) -> bool:
        return connection.user.uid in self.trusted

    def _has_room(self, connection: _Connection) -> bool:
        """Whether the next line of a client may be carried out, however long its answer is."""
        if connection.answered_bytes > MAX_ANSWERED:
            return False
        of_user = self._answered[connection.user.uid]
        if self._is_trusted(connection):
            return of_user <= MAX_ANSWERED_OF_ALL
        return of_user <= MAX_ANSWERED_OF_USER and self._answered_of_all <= MAX_ANSWERED_OF_ALL

    def _count_answers(self, connection: _Connection) -> None:
        """Counts the bytes of the answers that wait for a client. If there are fewer now, waiting lines may have room."""
        change = connection.answered_bytes - connection.counted_bytes
        connection.counted_bytes = connection.answered_bytes
        self._answered[connection.user.uid] += change
        if not self._is_trusted(connection):
            self._answered_of_all += change
        if change < 0:
            self._lines.offer()

    # Clients that watch

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

    # Clients that leave

    def _check_idle_at(self, boot_ms: int, connection: _Connection) -> None:
        connection.alarm = self.loop.alarms.at(boot_ms, partial(self._check_idle, connection))

    def _check_idle(self, connection: _Connection) -> None:
        """Disconnects a client that neither sends nor receives for too long, unless it waits for an answer."""
        now = self.loop.clock.moment().boot
        expires = connection.active_ms + max(self.idle_timeout_ms, THINKING_MS if connection.in_transaction else 0)
        waits = connection.waits or connection.is_watching
        if waits or expires > now:
            again = now + self.idle_timeout_ms if waits else expires
            self._check_idle_at(again, connection)
        else:
            self._end(connection)

    def _end(self, connection: _Connection) -> None:
        """Forgets a client at once, with its buffers and its answers. `_Lines` keeps the lines that the core has not got."""
        if connection not in self._connections:
            return
        self._connections.discard(connection)
        self._clients[connection.user.uid] -= 1
        self._lines.leave(connection)
        self.watchers.leave(connection)
        connection.answered_bytes = 0
        self._count_answers(connection)
        self._lines.offer()
        self.loop.unwatch(connection.socket.fileno())
        connection.socket.close()
        self.loop.alarms.cancel(connection.alarm)
        for slot in connection.slots:
            self._unanswered.pop(slot.number, None)
