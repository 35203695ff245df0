"""The console server with real sockets and a manual clock: what it keeps of its clients, and whom it lets in."""

from __future__ import annotations

import gc
import logging
import os
import shutil
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest

from schedappliance.clock import ManualClock
from schedappliance.edge import users
from schedappliance.edge.console import listener
from schedappliance.edge.console.listener import ListeningSocket
from schedappliance.edge.console.server import (
    CHUNK,
    MAX_ANSWERED,
    MAX_ANSWERED_OF_ALL,
    MAX_ANSWERED_OF_USER,
    MAX_DEPARTED,
    THINKING_MS,
    ConsoleServer,
    _Connection,
)
from schedappliance.edge.console.unix_socket import connect
from schedappliance.edge.loop import Loop
from schedappliance.edge.threads import Inbox
from schedappliance.edge.users import LookUps, user_of
from schedappliance.engine.effects import ONLY_LATER, Answer, EndWatches, PutOff, Reply
from schedappliance.engine.events import ConnectionClosed, Event, LineTyped
from schedappliance.engine.records import KnownUser, User
from schedappliance.lockfile import LockHeld, lock_file
from tests.support.waiting import PATIENCE_SECONDS

TIMEOUT_MS = 60_000


class Immediately(LookUps):
    """Makes a look-up where it is submitted."""

    def submit(self, look_up: Callable[[], None]) -> None:
        look_up()


class Served:
    """A console without a core: the test answers the lines."""

    def __init__(self, path: Path, max_clients: int = 100) -> None:
        self.path = path
        self.clock = ManualClock(0)
        self.loop = Loop(self.clock, Inbox())
        self.console = ConsoleServer(
            ListeningSocket(path, 0o600, None),
            self.loop,
            Immediately(),
            TIMEOUT_MS,
            max_clients,
            logging.getLogger("test"),
        )
        self.console.open()

    def turn(self) -> list[Event]:
        """The events of one turn; without any, it does not wait."""
        self.loop.inbox.post(lambda: None)
        return self.loop.wait(None, None)[0]

    def events(self) -> list[Event]:
        """The events of a few turns."""
        return [event for _ in range(8) for event in self.turn()]

    def lines(self) -> list[LineTyped]:
        return [event for event in self.events() if isinstance(event, LineTyped)]

    def reply(self, *replies: Reply) -> None:
        """The replies of one turn of the core."""
        for reply in replies:
            self.console.reply(reply)
        self.loop.end_turn()

    def answer(self, line: LineTyped, text: str) -> None:
        self.reply(Reply(line.reply_to, Answer(text), False, len(text)))

    def close(self) -> None:
        self.console.close()
        self.loop.close()
        self.loop.inbox.close()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with closing(Served(tmp_path / "console.sock")) as served:
        yield served


def connections() -> int:
    """The connections in memory, whoever refers to them."""
    gc.collect()
    return sum(type(thing) is _Connection for thing in gc.get_objects())


def test_users_get_in_while_no_thread_can_be_started(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The programs may have taken all threads that the machine allows, before anybody has connected."""
    served.events()

    def submit(_look_ups: LookUps, _look_up: Callable[[], None]) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(Immediately, "submit", submit)
    own = user_of(os.geteuid())
    assert users_of_line(served) == [own]
    assert not caplog.messages
    monkeypatch.setattr(listener, "peer_uid", lambda _client: 1002)
    assert users_of_line(served) == users_of_line(served) == [User(1002, "uid-1002")]
    assert caplog.messages == ["the console calls user 1002 `uid-1002`: look-up failed: the machine has no thread left"]


def users_of_line(served: Served) -> list[User]:
    """Whose line the core gets when a client sends one."""
    with closing(connect(served.path)) as client:
        client.sendall(b"a\n")
        return [line.user for line in served.lines()]


def test_a_look_up_that_fails_keeps_nobody_out(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The name comes with the next client after the look-up has succeeded. The first look-up alone is repeated."""
    served.events()
    known, asked = [KnownUser(1002, "uid-1002", problem="/etc/passwd is empty")], list[int]()

    def known_after_tries(_uid: int, with_groups: bool, tries: int) -> KnownUser:
        assert not with_groups
        asked.append(tries)
        return known[0]

    monkeypatch.setattr(users, "known_after_tries", known_after_tries)
    monkeypatch.setattr(listener, "peer_uid", lambda _client: 1002)
    assert users_of_line(served) == users_of_line(served) == [User(1002, "uid-1002")]
    assert caplog.messages == ["the console calls user 1002 `uid-1002`: look-up failed: /etc/passwd is empty"]
    known[0] = KnownUser(1002, "eve")
    assert users_of_line(served) == users_of_line(served) == [User(1002, "eve")]
    assert asked == [users.NAME_TRIES, 1, 1]
    assert (users.NAME_TRIES - 1) * users.AGAIN_SECONDS * 1000 < users.NAME_MS, "the log names the problem"


def test_a_look_up_that_hangs_keeps_nobody_out(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    served.events()
    hanging = list[Callable[[], None]]()
    monkeypatch.setattr(Immediately, "submit", lambda _self, look_up: hanging.append(look_up))
    monkeypatch.setattr(users, "known_after_tries", lambda uid, **_options: KnownUser(uid, "eve"))
    monkeypatch.setattr(listener, "peer_uid", lambda _client: 1002)
    with closing(connect(served.path)) as first, closing(connect(served.path)) as second:
        first.sendall(b"a\n")
        second.sendall(b"b\n")
        served.clock.advance(users.NAME_MS - 1)
        assert served.lines() == []
        served.clock.advance(users.NAME_MS)
        assert {(line.line, line.user.name) for line in served.lines()} == {("a", "uid-1002"), ("b", "uid-1002")}
    # The next client waits for nothing, and causes no other look-up.
    assert users_of_line(served) == [User(1002, "uid-1002")]
    (look_up,) = hanging
    look_up()
    served.events()
    assert users_of_line(served) == [User(1002, "eve")]


def test_an_open_transaction_is_not_ended_while_a_person_thinks(served: Served) -> None:
    with closing(connect(served.path)) as client:
        client.sendall(b"config begin\n")
        (line,) = served.lines()
        served.reply(Reply(line.reply_to, Answer(""), True, 0))
        for milliseconds in (TIMEOUT_MS, THINKING_MS - TIMEOUT_MS - 1):
            served.clock.advance(milliseconds)
            assert not any(isinstance(event, ConnectionClosed) for event in served.events())
        served.clock.advance(1)
        assert any(isinstance(event, ConnectionClosed) for event in served.events())


@pytest.mark.slow
def test_a_client_that_disconnects_leaves_nothing_in_memory(served: Served) -> None:
    for sent in (b"", b"x" * 65_000, b"run --wait a\n" + b"x" * 65_000):
        with closing(connect(served.path)) as client:
            client.sendall(sent)
            events = served.events()
            assert connections() == 1
        events += served.events()
        assert (connections(), served.loop.alarms.next()) == (0, None)
        for event in events:
            if isinstance(event, LineTyped):
                served.answer(event, "the client has left")
        assert [type(event) for event in events] == [LineTyped, ConnectionClosed] * (b"\n" in sent)


def test_a_silent_client_is_disconnected(served: Served) -> None:
    with closing(connect(served.path)) as client, ExitStack():
        served.events()
        served.clock.advance(TIMEOUT_MS - 1)
        served.events()
        assert connections() == 1
        served.clock.advance(1)
        served.events()
        assert connections() == 0
        assert client.recv(1) == b""


@pytest.mark.parametrize("sent", [b"\n", b" \t\r\n", b"x"])
def test_only_whole_lines_keep_a_client_connected(served: Served, sent: bytes) -> None:
    with closing(connect(served.path)) as client:
        for _ in range(4):
            client.sendall(sent)
            served.events()
            served.clock.advance(TIMEOUT_MS // 4)
        served.events()
        assert connections() == 0


def test_a_line_keeps_a_client_connected(served: Served) -> None:
    with closing(connect(served.path)) as client:
        for _ in range(8):
            client.sendall(b"pid\n")
            for line in served.lines():
                served.answer(line, "4711")
            served.clock.advance(TIMEOUT_MS // 4)
        served.events()
        assert connections() == 1


def rejections(served: Served, number: int, stack: ExitStack) -> list[str]:
    """Connects so many clients; returns what those read that get no place."""
    clients = [stack.enter_context(closing(connect(served.path))) for _ in range(number)]
    served.events()
    texts = []
    for client in clients:
        client.setblocking(False)
        with suppress(BlockingIOError):
            texts.append(client.recv(100).decode())
    return texts


def test_one_user_gets_a_quarter_of_the_places(served: Served) -> None:
    served.console.trusted = frozenset()
    with ExitStack() as stack:
        assert rejections(served, 30, stack) == ["error: too many clients of one user; close some\n"] * 5
    assert connections() == 25
    served.events()
    with ExitStack() as stack:
        assert rejections(served, 25, stack) == [], "a client that leaves makes room"


def test_places_are_kept_for_root_and_the_user_of_the_appliance(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.console.trusted = frozenset({0})
    with ExitStack() as stack:
        for uid in range(1, 6):
            monkeypatch.setattr(listener, "peer_uid", lambda _client, uid=uid: uid)
            texts = rejections(served, 20, stack)
        assert texts == ["error: too many clients; try again later\n"] * 12
        monkeypatch.setattr(listener, "peer_uid", lambda _client: 0)
        assert len(rejections(served, 20, stack)) == 8


class Client:
    """A client that can send many lines. It reads nothing until it is told to."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.socket = connect(served.path)

    def send(self, *lines: str) -> list[str]:
        """Sends the lines and returns those that reach the core now, whoever sent them."""
        self.socket.sendall("".join(f"{line}\n" for line in lines).encode())
        return [line.line for line in self.answered(LARGE)]

    def answered(self, answer: str) -> list[LineTyped]:
        """The lines that reach the core now. Each of them is answered at once."""
        lines = self.served.lines()
        for line in lines:
            self.served.answer(line, answer)
        return lines

    def read(self, size: int) -> list[str]:
        """Reads so many bytes of answers; returns the lines that reach the core then."""
        self.socket.settimeout(PATIENCE_SECONDS)
        arrived: list[str] = []
        while size > 0:
            arrived += [event.line for event in self.served.turn() if isinstance(event, LineTyped)]
            size -= len(self.socket.recv(65536))
        return arrived + [line.line for line in self.served.lines()]


LARGE = "x" * (MAX_ANSWERED + 1)


@pytest.fixture
def clients(served: Served) -> Iterator[Callable[[], Client]]:
    with ExitStack() as stack:

        def client() -> Client:
            client = Client(served)
            stack.callback(client.socket.close)
            return client

        yield client


def test_the_lines_of_a_client_wait_while_a_megabyte_waits_for_it(clients: Callable[[], Client]) -> None:
    first, second = clients(), clients()
    assert first.send("a") == ["a"]
    assert first.send("b", "c") == []
    assert second.send("d") == ["d"], "another client is not delayed"
    assert first.read(len(LARGE) + 1) == ["b", "c"]


def test_a_client_that_reads_nothing_is_not_read_from(served: Served, clients: Callable[[], Client]) -> None:
    client = clients()
    client.send("a")
    client.socket.setblocking(False)
    sent = 0
    with pytest.raises(BlockingIOError):
        while sent < 10_000_000:
            sent += client.socket.send(b"x" * 60_000 + b"\n")
            served.turn()
    assert sent < 2_000_000


def test_a_long_answer_is_sent_from_a_short_buffer(served: Served, clients: Callable[[], Client]) -> None:
    """The rest of the whole answer was copied for each part that the socket took: 16 MB took 53 s of a processor."""
    client = clients()
    client.send()
    (connection,) = (thing for thing in gc.get_objects() if type(thing) is _Connection)
    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
    client.socket.sendall(b"a\n")
    (line,) = served.lines()
    served.answer(line, "x" * 1_000_000)
    client.socket.settimeout(PATIENCE_SECONDS)
    received, lengths = 0, []
    while received <= 1_000_000:
        served.turn()
        lengths.append(len(connection.unsent))
        received += len(client.socket.recv(1 << 20))
    assert 0 < max(lengths) <= 2 * CHUNK


def test_a_list_is_made_in_rounds_so_that_other_clients_have_their_turn(
    served: Served, clients: Callable[[], Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    """2,000 rows of `sched list` were made at once, and took up to 16 ms."""
    monkeypatch.setattr(served.loop, "must_yield", lambda: True)
    listing, other = clients(), clients()
    listing.socket.sendall(b"a\n")
    (line,) = served.lines()
    made: list[int] = []

    def rows() -> Iterator[str]:
        for number in range(100):
            made.append(number)
            yield "" if number % 2 else "row\n"

    served.reply(Reply(line.reply_to, Answer(rows()), False, 0))
    counts = []
    while len(made) < 100:
        counts.append(len(made))
        served.turn()
    assert counts == sorted(set(counts)) and len(counts) > 40, "each round makes a few pieces"
    other.send("b")
    assert other.socket.recv(10) == b"x" * 10
    assert listing.read(200) == []


def test_the_answers_of_a_turn_are_sent_together_at_its_end(served: Served) -> None:
    """One call for each answer took 15 % of the processor time for a client that sends many lines at once."""
    with closing(connect(served.path)) as client:
        client.sendall(b"a\nb\nc\n")
        lines = served.lines()
        client.setblocking(False)
        for line in lines:
            served.console.reply(Reply(line.reply_to, Answer(line.line), False, 1))
            with pytest.raises(BlockingIOError):
                client.recv(100)
        served.loop.end_turn()
        assert client.recv(100) == b"a\nb\nc\n"
        served.loop.end_turn()
        with pytest.raises(BlockingIOError):
            client.recv(100)


def test_a_client_whose_watch_ends_gets_the_answers_of_the_turn(served: Served) -> None:
    with closing(connect(served.path)) as client:
        client.sendall(b'{"v": 1, "id": 1, "command": "watch"}\nb\n')
        watch, line = served.lines()
        served.reply(Reply(watch.reply_to, Answer("", events_after=ONLY_LATER), False, 0))
        served.console.reply(Reply(line.reply_to, Answer("done"), False, 4))
        served.console.end_watches(EndWatches())
        served.loop.end_turn()
        client.settimeout(PATIENCE_SECONDS)
        received = b"".join(iter(lambda: client.recv(1000), b""))
        assert received.splitlines()[-1] == b"done"


def test_users_get_time_and_not_their_clients(
    served: Served, clients: Callable[[], Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The 240 clients of one user with a long search each kept root waiting for seconds: each made a piece in each round."""
    monkeypatch.setattr(served.loop, "must_yield", lambda: True)
    many = [clients() for _ in range(5)]
    served.events()
    made: list[tuple[int, int]] = []

    def rows(uid: int) -> Iterator[str]:
        for _ in range(20):
            made.append((served.loop.round, uid))
            yield ""

    def search(client: Client, uid: int) -> None:
        client.socket.sendall(b"a\n")
        (line,) = served.lines()
        served.reply(Reply(line.reply_to, Answer(rows(uid)), False, 0))

    for client in many:
        search(client, 1001)
    monkeypatch.setattr(listener, "peer_uid", lambda _client: 1002)
    other = clients()
    served.events()
    search(other, 1002)
    while len(made) < 120:
        served.turn()
    per_round = Counter(made)
    assert set(per_round.values()) == {1}
    assert len([uid for _, uid in made[-80:] if uid == 1002]) <= 20
    last = max(number for number, uid in made if uid == 1002)
    assert last < max(number for number, uid in made if uid == 1001), "the only client of the other user is done first"


def test_lines_are_taken_from_one_client_of_each_user_at_a_time(
    served: Served, clients: Callable[[], Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "peer_uid", lambda _client: 1001)
    many = [clients() for _ in range(3)]
    served.events()
    monkeypatch.setattr(listener, "peer_uid", lambda _client: 1002)
    other = clients()
    served.events()
    for _ in range(2):
        for number, client in enumerate([*many, other]):
            client.socket.sendall(f"{number}\n{number}\n".encode())
        lines = served.lines()
        arrived = [line.line for line in lines]
        assert sorted(arrived) == sorted("00112233")
        assert arrived.index("3") <= 2, "the other user has the first or the second client"
        for line in lines:
            served.answer(line, "ok")
    assert arrived[:2] == ["3", "3"], "the last reply to the other user is older"


def test_a_turn_takes_few_long_lines_also_of_clients_that_have_left(
    served: Served, clients: Callable[[], Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them may take 50 ms, and other users wait meanwhile."""
    monkeypatch.setattr(listener, "peer_uid", lambda _client: 1001)
    many = [clients() for _ in range(8)]
    served.events()
    line = "x" * 60_000
    for client in many:
        client.socket.sendall(f"{line}\n".encode())
    turns = [served.turn()]
    for client in many[4:]:
        client.socket.close()
    turns += [served.turn() for _ in range(20)]
    of_turns = [[event.line for event in turn if isinstance(event, LineTyped)] for turn in turns]
    assert [typed for turn in of_turns for typed in turn] == [line] * len(many)
    assert max(map(len, of_turns)) == 2


def test_the_answers_of_a_long_turn_are_sent_at_once(
    served: Served, clients: Callable[[], Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served.loop, "must_yield", lambda: True)
    client = clients()
    client.socket.sendall(b"a\nb\nc\n")
    for line in served.lines():
        served.answer(line, "short")
    client.socket.setblocking(False)
    assert client.socket.recv(100) == b"short\n" * 3


def test_many_long_lines_are_all_carried_out(clients: Callable[[], Client]) -> None:
    client = clients()
    lines = [f"{number} {'x' * 60_000}" for number in range(20)]
    sender = threading.Thread(target=lambda: client.socket.sendall("".join(f"{line}\n" for line in lines).encode()))
    sender.start()
    arrived: list[str] = []
    while len(arrived) < len(lines):
        arrived += [line.line for line in client.answered("ok")]
    sender.join()
    assert arrived == lines


def test_the_answers_for_one_user_are_limited_and_trusted_users_are_not_delayed(
    served: Served, clients: Callable[[], Client]
) -> None:
    served.console.trusted = frozenset()
    first, *others = [clients() for _ in range(20)]
    assert first.send("first") == ["first"]
    arrived = [line for number, other in enumerate(others) for line in other.send(str(number))]
    assert len(arrived) == MAX_ANSWERED_OF_USER // len(LARGE)
    served.console.trusted = frozenset({os.geteuid()})
    assert clients().send("trusted")[-1:] == ["trusted"]


def test_clients_of_a_trusted_user_get_short_answers_while_there_is_no_room_for_long_ones(
    served: Served, clients: Callable[[], Client]
) -> None:
    """A long answer of a command that changed nothing is dropped, and its line waits; an answer to a change is not."""
    first = clients()
    assert first.send("first") == ["first"]
    for _ in range(MAX_ANSWERED_OF_ALL // len(LARGE)):
        assert clients().send("x") == ["x"]
    long, short, change = clients(), clients(), clients()
    long.socket.sendall(b"a\nb\n")
    (line,) = served.lines()
    assert line.line == "a", "the next line waits for this answer"
    served.reply(Reply(line.reply_to, Answer(LARGE), False, len(LARGE), is_repeatable=True))
    assert served.lines() == []
    for _ in range(2):
        short.socket.sendall(b"c\n")
        assert [line.line for line in short.answered("ok")] == ["c"]
        assert short.socket.recv(10) == b"ok\n"
    assert change.send("d") == ["d"]
    assert change.socket.recv(1) == b"x"
    assert change.read(len(LARGE)) == []
    assert first.read(len(LARGE) + 1) == ["a", "b"]


def test_reading_an_answer_makes_room_for_the_other_clients_of_the_user(
    served: Served, clients: Callable[[], Client]
) -> None:
    served.console.trusted = frozenset()
    many = [clients() for _ in range(18)]
    arrived = [line for number, client in enumerate(many) for line in client.send(str(number))]
    assert "16" not in arrived
    assert many[0].read(len(LARGE) + 1) == ["16", "17"]


def test_a_line_that_was_put_off_comes_again_before_the_next_line_of_its_client(
    served: Served, clients: Callable[[], Client]
) -> None:
    client = clients()
    client.socket.sendall(b"a\nb\nc\n")
    for line in served.lines()[1:]:
        served.console.put_off(PutOff(line))
    client.socket.sendall(b"d\n")
    assert [line.line for line in served.lines()] == ["b", "c", "d"]


def test_the_lines_of_a_client_that_left_are_carried_out_before_its_end(
    served: Served, clients: Callable[[], Client]
) -> None:
    client = clients()
    client.socket.sendall(b"a\nb\n")
    a, b = served.lines()
    client.socket.sendall(b"c\n")
    client.socket.close()
    served.console.put_off(PutOff(a))
    served.console.put_off(PutOff(b))
    events = served.events()
    assert [getattr(event, "line", "end") for event in events] == ["a", "b", "c", "end"]
    for event in events:
        if isinstance(event, LineTyped | ConnectionClosed):
            served.console.put_off(PutOff(event))
    assert [getattr(event, "line", "end") for event in served.events()] == ["a", "b", "c", "end"]
    assert connections() == 0


def test_lines_of_clients_that_have_left_do_not_pile_up(served: Served) -> None:
    for _ in range(3 * MAX_DEPARTED // 250):
        with closing(connect(served.path)) as client:
            client.sendall(b"x\n" * 250)
            for _ in range(8):
                for event in served.turn():
                    if isinstance(event, LineTyped | ConnectionClosed):
                        served.console.put_off(PutOff(event))
    assert len(served.lines()) < 2 * MAX_DEPARTED


@pytest.mark.parametrize("also", ["", ".lock"])
def test_a_socket_that_was_removed_is_created_again(
    served: Served, also: str, caplog: pytest.LogCaptureFixture
) -> None:
    with ExitStack() as stack:
        before, waiting = (stack.enter_context(closing(connect(served.path))) for _ in range(2))
        served.path.unlink()
        Path(f"{served.path}{also}").unlink(missing_ok=True)
        served.console.audit()
        served.console.audit()
        after = stack.enter_context(closing(connect(served.path)))
        for client in (before, waiting, after):
            client.sendall(b"pid\n")
        assert len(served.lines()) == 3
        assert Path(f"{served.path}.lock").exists()
    assert caplog.messages == [f"the console's socket {served.path} was removed or replaced; it was created again"]


@pytest.mark.parametrize("harm", ["removed", "replaced"])
def test_a_lock_file_alone_is_created_again(served: Served, harm: str, caplog: pytest.LogCaptureFixture) -> None:
    lock, inode = Path(f"{served.path}.lock"), served.path.stat().st_ino
    lock.unlink()
    if harm == "replaced":
        lock.touch(0o600)
    served.console.audit()
    served.console.audit()
    assert served.path.stat().st_ino == inode
    with pytest.raises(LockHeld):
        lock_file(lock)
    assert caplog.messages == [f"the lock file {lock} was removed or replaced; it was created again"]


def test_a_removed_directory_is_created_again(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    directory.mkdir()
    with closing(Served(directory / "console.sock")) as served:
        shutil.rmtree(directory)
        served.console.audit()
        connect(served.path).close()
        assert directory.stat().st_mode & 0o777 == 0o755


def test_another_socket_at_the_path_is_left_alone_and_reported_once(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    served.path.unlink()
    with closing(socket.socket(socket.AF_UNIX)) as other:
        other.bind(str(served.path))
        other.listen(0)
        inode = served.path.stat().st_ino
        # The backlog is full, and a connection would wait.
        connect(served.path, socket.SOCK_NONBLOCK).close()
        with suppress(BlockingIOError):
            connect(served.path, socket.SOCK_NONBLOCK).close()
        served.console.audit()
        served.console.audit()
        assert served.path.stat().st_ino == inode
    assert len(caplog.messages) == 1
    assert "was removed or replaced, and cannot be created again: another process listens" in caplog.messages[0]
    served.console.audit()
    connect(served.path).close()
