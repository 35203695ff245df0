"""`watch` on a real socket: events between answers, resuming after a lost connection, and clients that never read."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.support.daemon import Daemon


class Client:
    """A program that speaks JSON on one connection."""

    def __init__(self, connection: socket.socket) -> None:
        self._lines = connection.makefile("rwb")
        self._number = 0

    def ask(self, command: str) -> dict[str, Any]:
        self._number += 1
        self._lines.write(json.dumps({"v": 1, "id": self._number, "command": command}).encode() + b"\n")
        self._lines.flush()
        while "event" in (line := self.line()):
            pass
        return line

    def line(self) -> dict[str, Any]:
        return dict(json.loads(self._lines.readline()))

    def event(self) -> dict[str, Any]:
        line = self.line()
        assert line["id"] == 1
        return dict(line["event"])


@contextmanager
def client(daemon: Daemon) -> Iterator[Client]:
    with daemon.connect() as connection:
        yield Client(connection)


def test_a_client_follows_the_runs_and_resumes_where_it_was(daemon: Daemon) -> None:
    daemon.start()
    with client(daemon) as watcher:
        begun = watcher.ask("watch")
        assert begun["ok"] and begun["data"]["seq"] > 0
        daemon.run("run hello")
        states = [watcher.event() for _ in range(3)]
        assert [(event["kind"], event["state"]) for event in states] == [
            ("job", "gone"),
            ("run", "started"),
            ("run", "succeeded"),
        ]
        assert [event["seq"] for event in states] == [begun["data"]["seq"] + number for number in (1, 2, 3)]
        # Answers of the same connection come between the events.
        assert watcher.ask("version")["ok"]
    daemon.run("run hello")
    with client(daemon) as watcher:
        assert watcher.ask(f"watch {states[1]['seq']}")["ok"]
        resumed = [watcher.event()["seq"] for _ in range(4)]
        assert resumed == [states[2]["seq"] + number for number in range(4)]


def test_a_restart_is_a_gap(daemon: Daemon) -> None:
    daemon.start()
    with client(daemon) as watcher:
        number = watcher.ask("watch")["data"]["seq"]
    daemon.stop()
    daemon.start()
    with client(daemon) as watcher:
        watcher.ask(f"watch {number}")
        assert watcher.event()["kind"] == "gap"


def test_a_client_that_never_reads_delays_nobody(daemon: Daemon) -> None:
    daemon.start()
    with client(daemon) as lazy, client(daemon) as watcher:
        lazy.ask("watch")
        watcher.ask("watch")
        for _ in range(30):
            daemon.say("config set a " + "x" * 1000)
        assert [watcher.event()["kind"] for _ in range(30)] == ["override"] * 30


def test_a_text_line_cannot_watch(daemon: Daemon) -> None:
    daemon.start()
    assert "answers only requests in JSON" in daemon.say("watch")


def test_a_client_that_sends_no_more_goes_on_watching(daemon: Daemon) -> None:
    daemon.start()
    with daemon.connect() as connection:
        connection.sendall(b'{"v": 1, "id": 1, "command": "watch"}\n')
        connection.shutdown(socket.SHUT_WR)
        lines = connection.makefile("rb")
        assert json.loads(lines.readline())["ok"]
        daemon.say("config set a 1")
        assert json.loads(lines.readline())["event"]["kind"] == "override"
