"""Connections to an appliance that ends them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from schedappliance.client import Unavailable
from schedappliance.client.asynchronous import AsyncSession
from schedappliance.client.console import Connection, Session


@pytest.fixture
def turn_away(tmp_path: Path) -> Iterator[Callable[[Connection, int], None]]:
    """Connects, and lets the server say why it ends the connection before the client sends anything."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "console.sock"))
        listener.listen()

        def turn(session: Connection, flags: int) -> None:
            session._open(flags)
            client, _ = listener.accept()
            client.sendall(b"error: too many clients; try again later\n")
            client.close()

        yield turn


def test_an_event_is_no_response(tmp_path: Path) -> None:
    """After `watch` at the prompt or in a pipe, the answers to the next lines are between its events."""
    with socket.socket(socket.AF_UNIX) as listener, closing(Session(tmp_path / "console.sock")) as session:
        listener.bind(str(tmp_path / "console.sock"))
        listener.listen()
        session._open()
        client, _ = listener.accept()
        with client:
            client.sendall(b'{"event": "run", "seq": 1}\n' * 2 + b'{"ok": true, "transaction": false, "output": "7"}\n')
            assert session.ask("pid")["output"] == "7"


def test_a_client_that_was_turned_away_before_it_spoke_says_why(
    tmp_path: Path, turn_away: Callable[[Connection, int], None]
) -> None:
    path = tmp_path / "console.sock"
    with closing(Session(path)) as session:
        turn_away(session, 0)
        with pytest.raises(Unavailable, match=r"^too many clients; try again later$"):
            session.ask("pid")
    with closing(AsyncSession(path)) as waiting:
        turn_away(waiting, socket.SOCK_NONBLOCK)
        with pytest.raises(Unavailable, match=r"^too many clients; try again later$"):
            asyncio.run(waiting.ask("pid"))
