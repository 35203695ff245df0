"""The console server with real sockets and a manual clock: what it keeps of its clients, and whom it lets in."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from schedappliance.clock import ManualClock
from schedappliance.edge.console.listener import ListeningSocket
from schedappliance.edge.console.server import ConsoleServer, _Connection
from schedappliance.edge.console.unix_socket import connect
from schedappliance.edge.inbox import Inbox
from schedappliance.edge.loop import Loop
from schedappliance.engine.effects import Answer, Reply
from schedappliance.engine.events import ConnectionClosed, Event, LineTyped
from tests.support.watched_files import AtOnce

TIMEOUT_MS = 60_000


class Served:
    """A console without a core: the test answers the lines."""

    def __init__(self, path: Path, max_clients: int = 100) -> None:
        self.path = path
        self.clock = ManualClock(0)
        self.loop = Loop(self.clock, Inbox())
        self.console = ConsoleServer(ListeningSocket(path, 0o600, None), self.loop, AtOnce(), TIMEOUT_MS, max_clients)
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

    def answer(self, line: LineTyped, text: str) -> None:
        self.console.reply(Reply(line.reply_to, Answer(text), False))

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
